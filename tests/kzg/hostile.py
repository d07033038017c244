"""What an attacker sends: points that are none, and batches of which one byte was changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from py_arkworks_bls12381 import G1Point, Scalar

from gpu.constants import BASE_MODULUS
from kzg.types import Bytes

_COMPRESSED: Final = 1 << 383
_INFINITY: Final = 1 << 382
_LARGER_Y: Final = 1 << 381


def _encoded(flags_and_x: int) -> bytes:
    return flags_and_x.to_bytes(48, "big")


def _alias() -> bytes:
    """A multiple of the generator with x + p in place of x: the same point to whoever reduces."""
    for k in range(1, 100):
        encoded = int.from_bytes((G1Point() * Scalar(k)).to_compressed_bytes(), "big")
        x = encoded % _LARGER_Y
        if x + BASE_MODULUS < _LARGER_Y:
            return _encoded(encoded + BASE_MODULUS)
    raise AssertionError("a quarter of all x would do")


def _off_the_curve() -> bytes:
    p = BASE_MODULUS
    x = next(x for x in range(1, 100) if pow(x**3 + 4, (p - 1) // 2, p) == p - 1)
    return _encoded(_COMPRESSED | x)


def _outside_of_the_group() -> bytes:
    """The generator and a point of order 3: of an order with the group's and another factor."""
    order_three = G1Point.from_compressed_bytes_unchecked(_encoded(_COMPRESSED))
    return bytes((G1Point() + order_three).to_compressed_bytes())


_GENERATOR = int.from_bytes(G1Point().to_compressed_bytes(), "big")

MALFORMED_POINTS: Final = {
    "zeros": bytes(48),
    "ones": b"\xff" * 48,
    "a point without the flag": _encoded(_GENERATOR ^ _COMPRESSED),
    "infinity without the flag": _encoded(_INFINITY),
    "infinity with a sign": _encoded(_COMPRESSED | _INFINITY | _LARGER_Y),
    "infinity with a last byte": _encoded(_COMPRESSED | _INFINITY | 1),
    "infinity with a first bit": _encoded(_COMPRESSED | _INFINITY | 1 << 376),
    "infinity with a point": _encoded(_GENERATOR | _INFINITY),
    "x is p": _encoded(_COMPRESSED | BASE_MODULUS),
    "x is p + 4": _encoded(_COMPRESSED | BASE_MODULUS + 4),
    "x is the largest": _encoded(_COMPRESSED | _LARGER_Y - 1),
    "x of a point, and p": _alias(),
    "off the curve": _off_the_curve(),
    "of order three": _encoded(_COMPRESSED),
    "of order three, with a sign": _encoded(_COMPRESSED | _LARGER_Y),
    "on the curve alone": _encoded(_COMPRESSED | 4),
    "outside of the group by a little": _outside_of_the_group(),
}
"""48 bytes each that every engine refuses as a point."""


def changed_points(points: Bytes, position: int) -> Iterator[Bytes]:
    """The array with each byte of one point changed in turn, by one bit: all eight bits have their turn."""
    for byte in range(points.shape[1]):
        changed = points.copy()
        changed[position, byte] ^= 1 << byte % 8
        yield changed


def changed_cells(cells: Bytes, position: int) -> Iterator[Bytes]:
    """One cell with a bit changed in each of its elements, at every place in an element."""
    for element in range(64):
        changed = cells.copy()
        changed[position, 32 * element + element % 32] ^= 1 << element % 8
        yield changed


def changed_indices(indices: Sequence[int], position: int, size: int) -> Iterator[Bytes]:
    """One index replaced by each of the other numbers below `size`."""
    for other in range(size):
        if other != indices[position]:
            changed = np.array(indices)
            changed[position] = other
            yield changed
