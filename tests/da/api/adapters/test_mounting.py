"""An adapter that posts and reads in words of its own, mounted beside v1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from da.api.adapters import Adapter
from da.api.app import create_app
from da.api.context import context_of
from da.errors import NotFound
from da.settings import Settings
from tests.da.api.conftest import (
    FakeNode,
    anyio_backend,
    committee,
    make_settings,
    node,
    running,
    secrets,
)

__all__ = ["anyio_backend", "committee", "make_settings", "node", "running", "secrets"]

pytestmark = pytest.mark.anyio

NAMESPACE = b"adapter".ljust(32, b"\0")
LIMIT = 1000


async def put(request: Request) -> Response:
    context = context_of(request)
    grant = context.rights.grant(None, NAMESPACE)
    charge = context.rights.meter(grant)
    async with context.posts.take(request, "adapter", limit_bytes=LIMIT, charge=charge) as payload:
        receipt = await context.node.post(NAMESPACE, payload)
    return PlainTextResponse(receipt.payload_id.hex())


async def get(request: Request) -> Response:
    return Response(await context_of(request).node.payload_bytes(bytes.fromhex(request.path_params["id"])))


async def broken(request: Request) -> Response:
    raise ZeroDivisionError


def answer(error: Exception) -> Response:
    if isinstance(error, NotFound):
        return PlainTextResponse("", 404)
    if isinstance(error, HTTPException):
        return PlainTextResponse(f"dialect: {error.status_code}", error.status_code)
    return PlainTextResponse(f"dialect: {type(error).__name__}", 418)


ADAPTER = Adapter(
    "/other",
    [Route("/put", put, methods=["POST"]), Route("/get/{id}", get), Route("/broken", broken)],
    answer,
)


@pytest.fixture
async def client(node: FakeNode, make_settings: Callable[..., Settings]) -> AsyncIterator[httpx.AsyncClient]:
    settings = make_settings()
    app = create_app(node, settings.http, settings.tokens, [ADAPTER])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as made:
        yield made


async def test_it_posts_and_reads_by_the_same_service(client: httpx.AsyncClient, node: FakeNode) -> None:
    posted = await client.post("/other/put", content=b"abc")
    assert (posted.status_code, posted.text) == (200, "00" * 32)
    assert node.posted == [(NAMESPACE, b"abc")]
    assert (await client.get("/other/get/" + "00" * 32)).content == b"abc"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/other/get/" + "11" * 32, None, 404, ""),
        ("POST", "/other/put", b"x" * (LIMIT + 1), 418, "dialect: BodyTooLarge"),
        ("GET", "/other/nothing", None, 404, "dialect: 404"),
        ("PUT", "/other/put", b"", 405, "dialect: 405"),
        ("GET", "/other/broken", None, 418, "dialect: ZeroDivisionError"),
    ],
)
async def test_every_error_is_in_its_dialect(
    client: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int, text: str
) -> None:
    found = await client.request(method, path, content=body)
    assert (found.status_code, found.text) == (status, text)


async def test_v1_is_not_touched(client: httpx.AsyncClient) -> None:
    found = await client.get("/v1/payloads/0x" + "11" * 32)
    assert (found.status_code, found.json()["error"]) == (404, "NotFound")
    assert (await client.get("/elsewhere")).json()["error"] == "RouteNotFound"


async def test_its_requests_are_counted_under_its_path(client: httpx.AsyncClient, node: FakeNode) -> None:
    await client.post("/other/put", content=b"abc")
    labels: dict[str, Any] = {"method": "POST", "route": "/other", "status": "200"}
    assert node.metrics.registry.get_sample_value("cellar_http_requests_total", labels) == 1.0
