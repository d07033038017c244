"""The page to browse the API: it works where nothing but the node can be reached."""

from __future__ import annotations

import re

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_the_page_needs_nothing_but_the_node(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("</", ""), "no address of anybody else"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 3
    for address in [*loaded, re.search(r"url: '([^']+)'", page.text)[1]]:  # type: ignore[index]
        found = await client.get(page.url.join(address))
        assert found.status_code == 200, address
        assert found.content


async def test_the_script_is_swagger_ui(client: httpx.AsyncClient) -> None:
    script = await client.get("/docs/swagger-ui-bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert b"SwaggerUIBundle" in script.content
    assert script.headers["etag"]


@pytest.mark.parametrize("file", ["redoc.standalone.js", "x", "..%2fcore.py", "oauth2-redirect"])
async def test_no_other_file_is_served(client: httpx.AsyncClient, file: str) -> None:
    answer = await client.get(f"/docs/{file}")
    assert (answer.status_code, answer.json()["error"]) == (404, "RouteNotFound")
