"""Payload bytes to rows and back.

The idea: element 0 of the first row holds the version of the encoding and the length of the payload; then the
payload itself, 31 bytes to an element, so that no element can reach the modulus; the rest is zero.

    element 0   00 | version 01 | length, u32 big-endian | 26 zero bytes
    element k   00 | payload[31 (k - 1) : 31 k], right-padded with zeros

Invariants: one payload has one encoding and takes the fewest rows that hold it, and `unpack` accepts that
encoding alone, so `pack(unpack(rows)) == rows` wherever `unpack` does not raise.

What it does not do: check rows against a commitment, or know of batches.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from erasure.constants import (
    BYTES_PER_BLOB,
    BYTES_PER_FIELD_ELEMENT,
    FIELD_ELEMENTS_PER_BLOB,
    MAX_PAYLOAD_BYTES,
    PAYLOAD_BYTES_PER_ELEMENT,
    PAYLOAD_VERSION,
)
from erasure.errors import InvalidPacking, InvalidPayload, InvalidShape
from erasure.field import Bytes

PayloadBytes: TypeAlias = bytes | bytearray | memoryview

_LENGTH: Final = slice(2, 6)
_HEADER_BYTES: Final = 6


def capacity(rows: int) -> int:
    """Most payload bytes that `rows` rows hold: all elements but the first, 31 bytes each."""
    if rows < 1:
        raise InvalidShape(f"rows must be at least 1, got {rows}")
    return (rows * FIELD_ELEMENTS_PER_BLOB - 1) * PAYLOAD_BYTES_PER_ELEMENT


def rows_for(length: int) -> int:
    """How many rows a payload of `length` bytes takes.

    Raises:
        InvalidPayload: length is not in 1..MAX_PAYLOAD_BYTES.
    """
    if not 1 <= length <= MAX_PAYLOAD_BYTES:
        raise InvalidPayload(length, MAX_PAYLOAD_BYTES)
    elements = 1 + -(-length // PAYLOAD_BYTES_PER_ELEMENT)
    return -(-elements // FIELD_ELEMENTS_PER_BLOB)


def head(length: int) -> bytes:
    """Element 0 of the first row of a payload of `length` bytes: bytes[32]."""
    return (
        bytes((0, PAYLOAD_VERSION))
        + length.to_bytes(4, "big")
        + bytes(BYTES_PER_FIELD_ELEMENT - _HEADER_BYTES)
    )


def pack(payload: PayloadBytes) -> Bytes:
    """Encode a payload as rows.

    Args:
        payload: 1..MAX_PAYLOAD_BYTES bytes.

    Returns:
        u8[rows, 131072], rows = rows_for(len(payload)).

    Raises:
        InvalidPayload: empty or too long.
    """
    data = np.frombuffer(payload, dtype=np.uint8)
    rows = rows_for(data.size)

    blobs = np.zeros((rows, BYTES_PER_BLOB), dtype=np.uint8)
    elements = blobs.reshape(-1, BYTES_PER_FIELD_ELEMENT)
    elements[0] = np.frombuffer(head(data.size), dtype=np.uint8)
    full, rest = divmod(data.size, PAYLOAD_BYTES_PER_ELEMENT)
    elements[1 : 1 + full, 1:] = data[: data.size - rest].reshape(full, PAYLOAD_BYTES_PER_ELEMENT)
    if rest:
        elements[1 + full, 1 : 1 + rest] = data[data.size - rest :]
    return blobs


def unpack(blobs: Bytes) -> bytes:
    """Decode rows to the payload they encode; anything but the one encoding of a payload is refused.

    Args:
        blobs: u8[rows, 131072].

    Raises:
        InvalidShape: not such an array.
        InvalidPacking: another version, a length that does not fit the number of rows, or a byte that
            is not zero where the encoding has a zero.
    """
    if blobs.dtype != np.uint8 or blobs.ndim != 2 or blobs.shape[0] < 1 or blobs.shape[1] != BYTES_PER_BLOB:
        raise InvalidShape(f"rows must be u8[rows, {BYTES_PER_BLOB}], got {blobs.dtype}{list(blobs.shape)}")
    elements = np.ascontiguousarray(blobs).reshape(-1, BYTES_PER_FIELD_ELEMENT)
    head = elements[0]
    if head[1] != PAYLOAD_VERSION:
        raise InvalidPacking(f"version {head[1]} is not supported, only version {PAYLOAD_VERSION}")
    length = int.from_bytes(head[_LENGTH].tobytes(), "big")
    if not 1 <= length <= MAX_PAYLOAD_BYTES:
        raise InvalidPacking(f"length {length} is not in 1..{MAX_PAYLOAD_BYTES}")
    if rows_for(length) != blobs.shape[0]:
        raise InvalidPacking(f"{length} bytes need {rows_for(length)} rows, got {blobs.shape[0]}")
    if elements[:, 0].any() or head[_HEADER_BYTES:].any():
        raise InvalidPacking("a byte beside the payload is not zero")

    body = elements[1:, 1:].tobytes()
    if body.count(0, length) != len(body) - length:
        raise InvalidPacking("a byte after the payload is not zero")
    return body[:length]
