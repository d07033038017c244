"""Reading request bodies from strangers: bounded in size, in time, in rate and in memory.

Flow:
- `check_binary` refuses other media types, and lengths over the limit, before a byte is read.
- `read` takes the stream piece by piece against one deadline, that of the whole body or that of the minimum
  rate, whichever comes first; it stops at the first byte over the limit. Each piece is admitted before the
  next is read (da/api/intake.py); the time that takes is not the sender's.

Invariants: at most `limit_bytes` are ever buffered for a request, and of what is not admitted yet one piece.
Does not: look into the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from da.api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InvalidContentLength,
    TruncatedBody,
    UnsupportedMediaType,
)

OCTET_STREAM = "application/octet-stream"
JSON = "application/json"
DRAIN_TIMEOUT_S = 2.0

_BODY_READ = "cellar.body_read"  # set in the scope of a request whose body has been read to its end


@dataclass(frozen=True)
class BodyPace:
    """How slowly a body may come: seconds in all, and bytes per second once `grace_s` is over."""

    timeout_s: float
    grace_s: float
    min_bytes_per_s: int

    def deadline_s(self, received: int) -> float:
        """Seconds after the start by which the next piece must be there, `received` bytes being there."""
        return min(self.timeout_s, self.grace_s + received / self.min_bytes_per_s)


def check_media_type(request: Request, wanted: str = OCTET_STREAM) -> None:
    """Refuse a content type other than the wanted one (none at all is taken as meant), and compressed bodies.

    Nothing here decompresses, and bytes that are stored as they came would not be what the sender meant.
    """
    for header, plain in (("content-encoding", "identity"), ("transfer-encoding", "chunked")):
        coding = request.headers.get(header, plain).strip().lower()
        if coding != plain:
            raise UnsupportedMediaType(f"send the body without the {header} {coding[:40]!r}")
    given = request.headers.get("content-type")
    if given is not None and given.split(";")[0].strip().lower() != wanted:
        raise UnsupportedMediaType(f"send the body as {wanted}, not {given}")


def declared_length(request: Request, limit_bytes: int) -> int | None:
    """The Content-Length, or None for a chunked body.

    Raises:
        InvalidContentLength: it is no number. BodyTooLarge: it is over the limit.
    """
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidContentLength(f"Content-Length {text[:40]!r} is no number of bytes")
    length = int(text)
    if length > limit_bytes:
        raise BodyTooLarge(
            f"the body has {length} bytes; at most {limit_bytes} are taken", limit_bytes=limit_bytes
        )
    return length


@dataclass(frozen=True)
class HeadCheck:
    """A look at the first `size` bytes of a body before the rest is taken.

    `check` raises to refuse the body, and answers whether the rest is wanted or shall be read and dropped.
    The time that it takes is not the sender's.
    """

    size: int
    check: Callable[[bytes], Awaitable[bool]]


async def read(
    request: Request,
    *,
    limit_bytes: int,
    pace: BodyPace,
    head: HeadCheck | None = None,
    admit: Callable[[int], Awaitable[None]] | None = None,
) -> bytearray:
    """The whole body of the request; only its beginning if `head.check` does not want the rest.

    Args:
        admit: is called with the length of every piece that is kept; with a head, once that is accepted.
    Raises:
        BodyTooLarge, BodyTooSlow, TruncatedBody, InvalidContentLength; and whatever `head.check` and `admit`
        raise.
    """
    declared = declared_length(request, limit_bytes)
    body, received, admitted, wanted = bytearray(), 0, 0, True
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    more = True
    while more:
        try:
            async with asyncio.timeout_at(started_s + pace.deadline_s(received)):
                piece, more = await _next_piece(request)
        except TimeoutError:
            raise BodyTooSlow(
                f"only {received} bytes came in {loop.time() - started_s:.0f} s; "
                f"at least {pace.min_bytes_per_s} bytes a second are expected",
                received_bytes=received,
            ) from None
        except ClientDisconnect:
            raise TruncatedBody("the sender closed the connection", received_bytes=received) from None
        received += len(piece)
        if received > limit_bytes:
            raise BodyTooLarge(f"the body has more than {limit_bytes} bytes", limit_bytes=limit_bytes)
        if wanted:
            body += piece
        if head is not None and received >= head.size:
            paused_s = loop.time()
            wanted = await head.check(bytes(body[: head.size]))
            started_s += loop.time() - paused_s
            head = None
        if admit is not None and head is None and wanted and len(body) > admitted:
            paused_s = loop.time()
            await admit(len(body) - admitted)
            admitted = len(body)
            started_s += loop.time() - paused_s
    if declared is not None and received != declared:
        raise TruncatedBody(f"Content-Length says {declared} bytes, {received} came", received_bytes=received)
    return body


async def drain(request: Request) -> bool:
    """Read and drop what is left of a refused body, for a bounded time; whether its end was reached."""
    if request.scope.get(_BODY_READ) or not _has_body(request):
        return True
    if request.headers.get("expect", "").lower() == "100-continue":
        return False  # the client waits for leave to send, which it does not get
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            while (await _next_piece(request))[1]:
                pass
    except (TimeoutError, ClientDisconnect):
        return False
    return True


async def _next_piece(request: Request) -> tuple[bytes, bool]:
    """The next piece of the body, and whether more will come. Raises ClientDisconnect."""
    message = await request.receive()
    if message["type"] != "http.request":
        raise ClientDisconnect
    more = bool(message.get("more_body", False))
    if not more:
        request.scope[_BODY_READ] = True
    return message.get("body", b""), more


def _has_body(request: Request) -> bool:
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
