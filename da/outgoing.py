"""HTTP clients for calls to others: an answer leaves nothing behind that the next request would carry.

Every program makes its clients here: nodes and light clients with `pooled` under `async_client` (one aiohttp
pool, fast with many requests in flight; see da/pool.py), rollups' clients and the devnet without.

Invariants of each client:
- no cookie is kept or sent, and Set-Cookie is not even parsed;
- redirects are not followed: a 3xx is an answer like any other, and never a success;
- nothing is decompressed. `identity` is asked for; bytes are counted as they come over the wire (`Body`);
- the head of an answer is bounded (100 KiB here by httpcore, less in da/pool.py).

The environment (HTTP_PROXY and so on) is used where a person's program calls a node (`trust_env=True`: the
rollup's clients), and never between members, in the light client or in the devnet: the committee says where
members are.

Does not: retry, or set time limits.
"""

from __future__ import annotations

import http.cookiejar
import urllib.request
from typing import Any

import httpx

_HEADERS = {"accept-encoding": "identity"}


class UnwantedAnswer(Exception):
    """The body of an answer is compressed, or longer than its request can have asked for."""


class NoCookies(http.cookiejar.CookieJar):
    """A cookie jar that stays empty: answers are not looked at, requests not changed."""

    def extract_cookies(self, response: Any, request: urllib.request.Request) -> None:
        """Ignore the answer's cookies."""

    def add_cookie_header(self, request: urllib.request.Request) -> None:
        """Leave the request as it is."""

    def set_cookie(self, cookie: http.cookiejar.Cookie) -> None:
        """Ignore the cookie."""


class Body:
    """Collects an answer's body as it comes over the wire.

    Raises UnwantedAnswer at once when the answer says that it is compressed: its bytes would not be those
    that were asked for, whatever their number.
    """

    def __init__(self, response: httpx.Response, limit_bytes: int) -> None:
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise UnwantedAnswer("the answer is compressed, which was not asked for")
        self._response = response
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Take the next bytes. Raises UnwantedAnswer when there are more than the limit."""
        self._size += len(part)
        if self._size > self._limit_bytes:
            raise UnwantedAnswer(f"the answer is longer than {self._limit_bytes} bytes")
        self._parts.append(part)

    def answer(self) -> httpx.Response:
        """The answer with what came as its body."""
        response = self._response
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            content=b"".join(self._parts),
            request=response.request,
        )


def client(
    transport: httpx.BaseTransport | None = None, *, trust_env: bool, timeout_s: float | None = 5.0
) -> httpx.Client:
    """A blocking client. `timeout_s` holds for connecting and for each read, unless a request says else."""
    return httpx.Client(**_options(trust_env, timeout_s), transport=transport)


def async_client(
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    trust_env: bool,
    timeout_s: float | None = 5.0,
    user_agent: str | None = None,
) -> httpx.AsyncClient:
    """A client for asyncio; arguments as for `client`."""
    made = httpx.AsyncClient(**_options(trust_env, timeout_s), transport=transport)
    if user_agent is not None:
        made.headers["user-agent"] = user_agent
    return made


def _options(trust_env: bool, timeout_s: float | None) -> dict[str, Any]:
    return {
        "cookies": NoCookies(),
        "follow_redirects": False,
        "headers": _HEADERS,
        "timeout": httpx.Timeout(timeout_s),
        "trust_env": trust_env,
    }
