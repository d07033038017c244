"""The connections under an asynchronous HTTP client: aiohttp's pool, without any memory of answers.

Invariants: no cookies (aiohttp keeps a jar of its own below httpx's); an answer's head is at most
HEADERS_MAX lines of FIELD_BYTES_MAX bytes; one address never has more than `per_address` connections, so that
one that answers slowly leaves those of others alone; a connection goes back to the pool only after an answer
that ended where it said (aiohttp closes one with bytes left over or not read).

Does not: use proxies of the environment.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import aiohttp
from httpx_aiohttp import AiohttpTransport

HEADERS_MAX = 64
FIELD_BYTES_MAX = 4096
_KEEP_ALIVE_S = 30.0


class _NoCookies(aiohttp.DummyCookieJar):
    """aiohttp's empty jar, which would still parse what it drops."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: Any) -> None:
        """Ignore the answer's cookies."""


def pooled(context: ssl.SSLContext, per_address: int) -> AiohttpTransport:
    """A transport for `da.outgoing.async_client`.

    There is no limit for all addresses together: it would let those that are slow use up what the others
    need. A committee's size times `per_address` is the limit.

    Args:
        context: for TLS; making one takes milliseconds, so that several transports share it.
        per_address: connections to one host and port.
    """

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=per_address, ssl=context, keepalive_timeout=_KEEP_ALIVE_S
            ),
            cookie_jar=_NoCookies(),
            auto_decompress=False,
            max_line_size=FIELD_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            trust_env=False,
        )

    return AiohttpTransport(verify=context, client=session)
