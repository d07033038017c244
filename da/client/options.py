"""What a client is given: the node's address and the token, refused at once when no request can carry them.

A mistake here would otherwise surface on the first call, and be retried as if the network were down.
"""

from __future__ import annotations

import re

import httpx

from da.client.errors import InvalidOption

DEFAULT_URL = "http://127.0.0.1:4560"
DEFAULT_TIMEOUT_S = 60.0

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+", re.ASCII)


def checked_url(url: str) -> str:
    """The node's address without a trailing slash. Raises InvalidOption."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidOption(f"url must be http(s)://host[:port]; got {url!r} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise InvalidOption(f"url must be http(s)://host[:port]; got {url!r}")
    if parts.query or parts.fragment:
        raise InvalidOption(f"url must end before '?' and '#'; got {url!r}")
    return url.rstrip("/")


def checked_token(token: str | None) -> str | None:
    """The token, which no error message shows. Raises InvalidOption."""
    if token is not None and not _VISIBLE_ASCII.fullmatch(token):
        raise InvalidOption("token must be visible ASCII characters without spaces or line ends")
    return token
