"""Namespaces: 32 bytes that identify whose payload it is, written as a short name or as hex.

The idea: a name of 1..32 characters of [a-z0-9._-] stands for its ASCII bytes padded with zeros on the
right; any other 32 bytes are written as 0x followed by 64 hex digits. So parse(label(ns)) == ns always.

Invariants: a text has one meaning; a name never begins with "0x".

Does not: decide who may post to a namespace (see da.tokens).
"""

from __future__ import annotations

import re
from typing import NewType

from da.protocol.errors import InvalidNamespace

NAMESPACE_BYTES = 32

Namespace = NewType("Namespace", bytes)

_NAME = re.compile(r"[a-z0-9._-]{1,32}", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)


def parse(text: str) -> Namespace:
    """Parse a namespace: 0x followed by 64 hex digits, or a name. Raises InvalidNamespace."""
    if _HEX.fullmatch(text):
        return Namespace(bytes.fromhex(text[2:]))
    if _NAME.fullmatch(text) and not text.startswith("0x"):
        return Namespace(text.encode("ascii").ljust(NAMESPACE_BYTES, b"\0"))
    raise InvalidNamespace(
        "namespace must be 0x followed by 64 hex digits, or a name of 1 to 32 characters of a-z 0-9 . _ - "
        "that does not begin with 0x"
    )


def from_bytes(namespace_bytes: bytes) -> Namespace:
    """The 32 bytes as a namespace. Raises InvalidNamespace for any other length."""
    if len(namespace_bytes) != NAMESPACE_BYTES:
        raise InvalidNamespace(f"namespace must be {NAMESPACE_BYTES} bytes; got {len(namespace_bytes)}")
    return Namespace(bytes(namespace_bytes))


def label(namespace_bytes: bytes) -> str:
    """The text of a namespace: its name if it has one, else 0x followed by 64 hex digits.

    Raises InvalidNamespace for any length other than 32.
    """
    value = from_bytes(namespace_bytes)
    name = value.rstrip(b"\0").decode("latin-1")
    if _NAME.fullmatch(name) and not name.startswith("0x"):
        return name
    return "0x" + value.hex()
