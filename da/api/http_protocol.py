"""uvicorn's HTTP protocol with a limit on how long a request's head may take.

uvicorn closes idle connections between requests, but lets a client dribble a request line and headers for
ever. A timer runs from the first byte of a connection, or of a later request, to the end of its headers.

Does not: limit bodies (da/api/bodies.py does).
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_BODY = b'{"error": "HeadTooSlow", "message": "the request line and headers took too long"}'
HEAD_TIMEOUT_RESPONSE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


def protocol_class(head_timeout_s: float) -> type[HttpToolsProtocol]:
    """The protocol with this limit; uvicorn takes a class, not an instance."""

    class TimedProtocol(HttpToolsProtocol):
        """One connection."""

        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start_timer()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._start_timer()

        def on_headers_complete(self) -> None:
            self._stop_timer()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _start_timer(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout_s, self._too_slow)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _too_slow(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(HEAD_TIMEOUT_RESPONSE)
                self.transport.close()

    return TimedProtocol
