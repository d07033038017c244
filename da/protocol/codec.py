"""Fixed-width big-endian reading and writing, used by all encodings of the protocol.

The idea: an encoding is fields one after another, integers big-endian at a fixed width, counts before the
items. Each value has one encoding, so that decode(x).encode() == x for every x that is accepted.

Invariants: a Reader never reads past the end, never allocates by a number before checking it against the
bytes present, and `finish` refuses trailing bytes. Every failure is a DecodeError.

Does not: validate values; the decoders do.
"""

from __future__ import annotations

from da.protocol.errors import DecodeError

HASH_BYTES = 32

U8_MAX = 2**8 - 1
U16_MAX = 2**16 - 1
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1


class Reader:
    """Reads fields from the front of a bytes-like object; `offset` is the position."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B")
        self.offset = 0

    @property
    def remaining(self) -> int:
        """Bytes that have not been read."""
        return len(self._view) - self.offset

    def take(self, size: int, field: str) -> memoryview:
        """The next `size` bytes, not copied. Raises DecodeError when there are fewer."""
        if self.remaining < size:
            raise DecodeError(field, f"needs {size} bytes; only {self.remaining} are left")
        start = self.offset
        self.offset += size
        return self._view[start : self.offset]

    def fixed(self, size: int, field: str) -> bytes:
        """The next `size` bytes as a copy."""
        return bytes(self.take(size, field))

    def u8(self, field: str) -> int:
        """The next byte as an integer."""
        return self.take(1, field)[0]

    def u16(self, field: str) -> int:
        """The next two bytes, big-endian."""
        return int.from_bytes(self.take(2, field), "big")

    def u32(self, field: str) -> int:
        """The next four bytes, big-endian."""
        return int.from_bytes(self.take(4, field), "big")

    def u64(self, field: str) -> int:
        """The next eight bytes, big-endian."""
        return int.from_bytes(self.take(8, field), "big")

    def finish(self, field: str) -> None:
        """Raises DecodeError for trailing bytes."""
        if self.remaining:
            raise DecodeError(field, f"has {self.remaining} trailing bytes")


def u8(value: int) -> bytes:
    """One byte. The caller has checked the range."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Two bytes, big-endian. The caller has checked the range."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Four bytes, big-endian. The caller has checked the range."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Eight bytes, big-endian. The caller has checked the range."""
    return value.to_bytes(8, "big")
