"""Making responses: JSON of a model, bytes, and the caching headers of things that never change.

Everything named by a hash is immutable: its ETag is its name, any HTTP cache in front may keep it for good,
and a client that shows the ETag gets 304 without the bytes being read.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from da.api.bodies import JSON, OCTET_STREAM
from da.api.schemas import Schema

BINARY: dict[int | str, dict[str, Any]] = {200: {"content": {OCTET_STREAM: {}}}}
IMMUTABLE = "public, max-age=31536000, immutable"


class HeldResponse(Response):
    """Bytes whose memory is counted until they are sent, or the reader is gone."""

    media_type = OCTET_STREAM

    def __init__(self, body: bytes, headers: dict[str, str], held: contextlib.AsyncExitStack) -> None:
        super().__init__(body, headers=headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, then let go."""
        async with self._held:
            await super().__call__(scope, receive, send)


def model(value: Schema, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The model as JSON."""
    return Response(value.model_dump_json(), status_code=status, media_type=JSON, headers=headers)


def document(ready: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON-ready document of da.wire."""
    return Response(encoded(ready), status_code=status, media_type=JSON, headers=headers)


def encoded(ready: dict[str, Any]) -> str:
    """A JSON-ready document as JSON text, without white space."""
    return json.dumps(ready, separators=(",", ":"))


def octets(body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Bytes as they are."""
    return Response(body, media_type=OCTET_STREAM, headers=headers)


def accepts_octets(request: Request) -> bool:
    """Whether the client names the binary form; who accepts anything gets the usual one."""
    wanted = request.headers.get("accept", "").split(",")
    return any(each.split(";")[0].strip().lower() == OCTET_STREAM for each in wanted)


def immutable(etag: str) -> dict[str, str]:
    """Headers of something that will never have other bytes under this address."""
    return {"cache-control": IMMUTABLE, "etag": f'"{etag}"'}


def revalidated(etag: str) -> dict[str, str]:
    """Headers of something that may change: caches ask again, with the ETag."""
    return {"cache-control": "no-cache", "etag": f'"{etag}"'}


def not_modified(request: Request, headers: dict[str, str], *, looked_up: bool = True) -> Response | None:
    """304 when the client shows the ETag it would get, else None. Source: RFC 9110, 13.1.2.

    `*` is the ETag of whatever is there, which only those can tell who have `looked_up`.
    """
    shown = request.headers.get("if-none-match")
    if shown is None:
        return None
    tags = {tag.strip().removeprefix("W/") for tag in shown.split(",")}
    if headers["etag"] in tags or (looked_up and "*" in tags):
        return Response(status_code=304, headers=headers)
    return None
