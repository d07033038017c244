"""Reading path and query parameters: text in, a value or `InvalidParameter` out.

Invariants: total for any text; decimal numbers are ASCII digits of bounded length (so that `int` is cheap),
without leading zeros (so that a number has one address);
hex is 0x and an even number of digits of a fixed length, either case.
Does not: look anything up.
"""

from __future__ import annotations

import re

from da.api.errors import InvalidParameter
from da.protocol import namespace as namespaces
from da.protocol.errors import InvalidNamespace

U64_MAX = 2**64 - 1
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)


def integer(text: str, name: str, *, minimum: int = 0, maximum: int = U64_MAX) -> int:
    """A decimal number between the bounds, both included."""
    if _DECIMAL.fullmatch(text) and minimum <= (value := int(text)) <= maximum:
        return value
    raise InvalidParameter(f"{name} is a whole number from {minimum} to {maximum}", parameter=name)


def fixed_hex(text: str, name: str, size: int) -> bytes:
    """Exactly `size` bytes as 0x-hex."""
    if len(text) == 2 + 2 * size and _HEX.fullmatch(text):
        return bytes.fromhex(text[2:])
    raise InvalidParameter(f"{name} is 0x and {2 * size} hex digits", parameter=name)


def hash32(text: str, name: str) -> bytes:
    """A 32-byte hash or id as 0x-hex."""
    return fixed_hex(text, name, 32)


def optional_hash32(text: str | None, name: str) -> bytes | None:
    """As `hash32`; None stays None."""
    return None if text is None else hash32(text, name)


def batch_ref(text: str) -> int | bytes:
    """A batch: a decimal height from 1, or 0x and the header hash."""
    if text.startswith("0x"):
        return hash32(text, "batch")
    if _DECIMAL.fullmatch(text) and 1 <= (height := int(text)) <= U64_MAX:
        return height
    raise InvalidParameter(
        "batch is a height (1, 2, ...) or 0x and the 64 hex digits of a header hash", parameter="batch"
    )


def namespace(text: str) -> bytes:
    """A namespace: a short name, or 0x and 64 hex digits."""
    try:
        return namespaces.parse(text)
    except InvalidNamespace as error:
        raise InvalidParameter(str(error), parameter="namespace") from None


def optional_namespace(text: str | None) -> bytes | None:
    """As `namespace`; None stays None."""
    return None if text is None else namespace(text)


def seconds(text: str, name: str, maximum: float) -> float:
    """A time in seconds, more than 0; larger values are cut to the maximum."""
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", text, re.ASCII) or float(text) <= 0:
        raise InvalidParameter(f"{name} is a number of seconds above 0", parameter=name)
    return min(float(text), maximum)
