"""Bytes as 0x-hex, the one text form of bytes in JSON.

The idea: 0x, then two hex digits a byte, lower case when written, either case when read. White space, an odd
digit, a missing prefix or a sign is refused, so that every value has one reading.

Does not: know which field a text is of; callers add that to the error.
"""

from __future__ import annotations

from binascii import unhexlify
from functools import partial
from typing import Any


class InvalidHex(ValueError):
    """The value is not 0x followed by pairs of hex digits, or is not of the expected length."""


def encode(value: bytes) -> str:
    """0x and two lower-case hex digits a byte."""
    return "0x" + value.hex()


def decode(value: object, size: int | None = None) -> bytes:
    """The bytes of a 0x-hex string.

    Args:
        value: what JSON had in the field; anything but a string is refused.
        size: the only length in bytes that is accepted; None for any.
    Raises:
        InvalidHex.
    """
    if not isinstance(value, str):
        raise InvalidHex(f"expected a 0x-hex string, got {type(value).__name__}")
    if size is not None and len(value) != 2 + 2 * size:
        raise InvalidHex(f"expected 0x followed by {2 * size} hex digits, got {len(value)} characters")
    if not value.startswith("0x"):
        raise InvalidHex("expected 0x followed by pairs of hex digits")
    try:
        return unhexlify(value[2:])  # unlike bytes.fromhex it takes no white space
    except ValueError:
        raise InvalidHex("expected 0x followed by pairs of hex digits") from None


decode32 = partial(decode, size=32)  # hashes, ids and namespaces


def json_ready(value: Any) -> Any:
    """A copy of nested containers with bytes as 0x-hex and tuples and sets as lists."""
    if isinstance(value, bytes):
        return encode(value)
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item) for item in value]
    return value
