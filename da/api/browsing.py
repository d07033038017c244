"""The page at /docs: the API's description to browse, with everything that the page needs from this node.

The framework's own page takes its scripts from a public network of caches, which an operator's browser behind
a firewall does not reach, and which a node's page has no reason to trust. Swagger UI's files come from the
package `fastapi-offline`, of which nothing else is used (docs/reference/dependencies.md).

Does not: describe anything; that is /openapi.json.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from da.api.errors import RouteNotFound

router = APIRouter(include_in_schema=False)

DIRECTORY = Path(str(files("fastapi_offline") / "static"))
SCRIPT, STYLE, ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
DAY_CACHED = {"cache-control": "public, max-age=86400"}


@router.get("/docs")
async def get_docs(request: Request) -> HTMLResponse:
    """The page."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title=request.app.title,
        swagger_js_url=f"docs/{SCRIPT}",
        swagger_css_url=f"docs/{STYLE}",
        swagger_favicon_url=f"docs/{ICON}",
        swagger_ui_parameters={"validatorUrl": None},  # by default a public service is told of the node
    )


@router.get("/docs/{file}")
async def get_docs_file(file: str) -> FileResponse:
    """One of the files that the page loads."""
    if file not in (SCRIPT, STYLE, ICON):
        raise RouteNotFound(f"no route /docs/{file}")
    return FileResponse(DIRECTORY / file, headers=DAY_CACHED)
