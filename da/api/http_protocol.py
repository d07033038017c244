"""uvicorn's HTTP protocol with limits on what strangers may do below the app.

uvicorn closes idle connections between requests; everything else about a connection's pace is left to the
app, which never sees
- a request line and headers that dribble in: a timer runs from a connection's first moment, or a later
  request's first byte, to the end of its headers;
- endless headers, trailers or chunk extensions: bytes that are no body are counted against a budget that
  grows with the body;
- an answer that nobody reads: while the kernel's buffer is full, the rest must shrink at the minimum rate;
- one address that opens all the connections there may be: those over its share get a refusal and their end,
  at once, before they have said anything.
Refusals of HTTP itself are JSON like all others.

Does not: limit bodies (da/api/bodies.py does).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from da.api.addresses import Network, Places, is_among, owner_of

HEAD_BYTES_MAX = 64 * 1024
# Framing of the smallest chunks: "1\r\nx\r\n" carries one byte in six.
FRAMING_PER_BODY_BYTE = 8
WRITE_CHECK_S = 10.0


def _refusal(status: str, error: str, message: str, *, retry_after_s: int | None = None) -> bytes:
    retry = {} if retry_after_s is None else {"retry_after_s": retry_after_s}
    body = json.dumps({"error": error, "message": message, **retry}).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    if retry_after_s is not None:
        head += f"retry-after: {retry_after_s}\r\n"
    return head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body


HEAD_TOO_SLOW = _refusal("408 Request Timeout", "HeadTooSlow", "the request line and headers took too long")
HEAD_TOO_LARGE = _refusal(
    "431 Request Header Fields Too Large", "HeadTooLarge", f"headers are at most {HEAD_BYTES_MAX} bytes"
)
TOO_MANY_CONNECTIONS = _refusal(
    "429 Too Many Requests",
    "TooManyFromAddress",
    "your address has as many connections as one address may",
    retry_after_s=1,
)
INVALID_HTTP = _refusal("400 Bad Request", "InvalidHttp", "that is no HTTP/1.1 request")


def protocol_class(
    head_timeout_s: float,
    read_bytes_per_s_min: int,
    *,
    connections_per_address_max: int,
    trusted_proxies: Sequence[Network] = (),
    write_check_s: float = WRITE_CHECK_S,
) -> type[HttpToolsProtocol]:
    """The protocol with these limits; uvicorn takes a class, not an instance.

    A trusted proxy may have any number of connections: its clients are told apart by request.
    """
    places = Places(connections_per_address_max)

    class BoundedProtocol(HttpToolsProtocol):
        """One connection."""

        _head_timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None
        _in_head = True
        _received = 0
        _body_bytes = 0
        _owner: str | None = None  # whose place this connection takes

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start_head()
            host = self.client[0] if self.client else ""
            if not is_among(host, trusted_proxies):
                owner = owner_of(host)
                if places.take(owner):
                    self._owner = owner
                else:
                    self._refuse(TOO_MANY_CONNECTIONS)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._owner is not None:
                places.give_back(self._owner)
                self._owner = None
            self._stop_head_timer()
            self._stop_write_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._received += len(data)
            super().data_received(data)
            allowed = HEAD_BYTES_MAX + (FRAMING_PER_BODY_BYTE + 1) * self._body_bytes
            if self._received > allowed and not self.transport.is_closing():
                self._refuse(HEAD_TOO_LARGE)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._received = self._body_bytes = 0
            self._start_head()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._in_head:  # what comes after the body is a trailer, which nobody here reads
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._stop_head_timer()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._body_bytes += len(body)
            super().on_body(body)

        def send_400_response(self, msg: str) -> None:
            self._refuse(INVALID_HTTP)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_write(self.transport.get_write_buffer_size())

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_write_timer()

        def _start_head(self) -> None:
            self._in_head = True
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout_s, self._refuse, HEAD_TOO_SLOW)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _refuse(self, answer: bytes) -> None:
            if self.transport.is_closing():
                return
            if self._is_next_to_answer():
                self.transport.write(answer)
                if self.cycle is not None:  # what the app still has to say comes too late
                    self.cycle.disconnected = True
                    self.cycle.message_event.set()
            self.transport.close()

        def _is_next_to_answer(self) -> bool:
            """Whether an answer written now would be taken for that of the request being read."""
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                return True
            own = cycle.more_body and not self._in_head  # else the cycle is that of an earlier request
            return own and not cycle.response_started and not self.pipeline

        def _watch_write(self, before: int) -> None:
            self._stop_write_timer()
            self._write_timer = self.loop.call_later(write_check_s, self._check_write, before)

        def _check_write(self, before: int) -> None:
            left = self.transport.get_write_buffer_size()
            if before - left < read_bytes_per_s_min * write_check_s:
                self.transport.abort()
            else:
                self._watch_write(left)

        def _stop_write_timer(self) -> None:
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

    return BoundedProtocol
