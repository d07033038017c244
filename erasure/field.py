"""Fr: the codec of field elements.

The idea: an element is 32 bytes, big-endian, and there is one encoding of each: values of the modulus and
above are refused, never reduced, or two different rows would mean the same thing. Whole arrays are checked
at once, by their first 8 bytes wherever these decide, which leaves about one random element in 2**31.

Invariants: `element_from_bytes` and `element_to_bytes` are inverse to each other; nothing here reduces.

What it does not do: arithmetic on arrays (`residues.py`).

Source: consensus-specs deneb, `bytes_to_bls_field`; EIP-4844.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from erasure.constants import BLS_MODULUS, BYTES_PER_FIELD_ELEMENT
from erasure.errors import InvalidFieldElement, InvalidShape

Bytes: TypeAlias = NDArray[np.uint8]

_WORDS: Final = tuple(BLS_MODULUS >> (64 * shift) & (2**64 - 1) for shift in (3, 2, 1, 0))


def element_from_bytes(encoded: bytes) -> int:
    """Decode one canonical element (32 bytes, big-endian).

    Raises:
        InvalidShape: not 32 bytes.
        InvalidFieldElement: the value is not smaller than the modulus.
    """
    if len(encoded) != BYTES_PER_FIELD_ELEMENT:
        raise InvalidShape(f"an element must have {BYTES_PER_FIELD_ELEMENT} bytes, got {len(encoded)}")
    value = int.from_bytes(encoded, "big")
    if value >= BLS_MODULUS:
        raise InvalidFieldElement(0, 0)
    return value


def element_to_bytes(element: int) -> bytes:
    """Encode one element, 0 <= element < BLS_MODULUS, as 32 bytes, big-endian."""
    assert 0 <= element < BLS_MODULUS
    return element.to_bytes(BYTES_PER_FIELD_ELEMENT, "big")


def elements_to_array(elements: list[int]) -> Bytes:
    """Encode canonical elements as u8[len(elements), 32]."""
    joined = b"".join(map(element_to_bytes, elements))
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, BYTES_PER_FIELD_ELEMENT)


def elements_from_array(encoded: Bytes) -> list[int]:
    """Decode all canonical elements of u8[..., 32k], in order of memory, to plain integers.

    Raises:
        InvalidFieldElement: an element is not canonical; `row` is 0 and `index` its position.
    """
    raw = np.ascontiguousarray(encoded).tobytes()
    values = [
        int.from_bytes(raw[start : start + BYTES_PER_FIELD_ELEMENT], "big")
        for start in range(0, len(raw), BYTES_PER_FIELD_ELEMENT)
    ]
    for index, value in enumerate(values):
        if value >= BLS_MODULUS:
            raise InvalidFieldElement(0, index)
    return values


def first_invalid(encoded: Bytes) -> int | None:
    """Position of the first element of u8[..., 32k] that is not canonical, None if all are.

    Positions count elements in order of memory of the (C-contiguous) array.
    """
    words = np.ascontiguousarray(encoded).reshape(-1).view(">u8").reshape(-1, 4)
    # Elements whose first word is smaller than the modulus' are smaller regardless of the rest.
    close = np.flatnonzero(words[:, 0] >= _WORDS[0])
    if close.size == 0:
        return None
    equal_so_far = np.ones(close.size, dtype=np.bool_)
    greater = np.zeros(close.size, dtype=np.bool_)
    for position, limit in enumerate(_WORDS):
        word = words[close, position]
        greater |= equal_so_far & (word > limit)
        equal_so_far &= word == limit
    invalid = close[greater | equal_so_far]
    return int(invalid[0]) if invalid.size else None
