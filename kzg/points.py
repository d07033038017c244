"""G1 points as py_arkworks_bls12381 keeps them: decoding, encoding and sums.

Points come from outside compressed (48 bytes, ZCash format). A point is accepted only if its encoding is the
canonical one, it is on the curve and in the prime-order group. The library checks that, with one exception:
it takes any bytes with the infinity bit for infinity. The long operations release the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from py_arkworks_bls12381 import G1Point, Scalar

from kzg.constants import BYTES_PER_G1, G1_POINT_AT_INFINITY
from kzg.errors import InvalidPoint
from kzg.types import Bytes

_INFINITY_BIT: Final = 0x40


def decode_points(name: str, points: Bytes | Iterable[bytes]) -> list[G1Point]:
    """Checked points.

    Args:
        name: what they are, for the error ("proof").
        points: u8[k, 48], or 48 bytes each.

    Raises:
        InvalidPoint: the encoding is not canonical, or not of a point in the prime-order group.
    """
    decoded = []
    for position, point_bytes in enumerate(points):
        encoded = bytes(point_bytes)
        try:
            point = G1Point.from_compressed_bytes(encoded)
        except ValueError as error:
            raise InvalidPoint(name, position) from error
        if encoded[0] & _INFINITY_BIT and encoded != G1_POINT_AT_INFINITY:
            raise InvalidPoint(name, position)
        decoded.append(point)
    return decoded


def first_invalid_point(points: Bytes) -> int | None:
    """Position of the first of u8[k, 48] that `decode_points` refuses, or None."""
    try:
        decode_points("point", points)
    except InvalidPoint as error:
        return error.position
    return None


def linear_combination(points: Sequence[G1Point], scalars: Sequence[int]) -> G1Point:
    """The sum of scalars[i] * points[i]; scalars in 0..r-1."""
    return G1Point.multiexp_unchecked(list(points), [Scalar(scalar) for scalar in scalars])


def combine_points(name: str, points: Bytes, weights: Sequence[Sequence[int]]) -> Bytes:
    """Weighted sums of the same points.

    Args:
        name: what the points are, for the error ("proof").
        points: u8[k, 48].
        weights: m rows of k scalars in 0..r-1.

    Returns:
        u8[m, 48].

    Raises:
        InvalidPoint: as `decode_points`.
    """
    decoded = decode_points(name, points)
    sums = b"".join(linear_combination(decoded, row).to_compressed_bytes() for row in weights)
    return np.frombuffer(sums, dtype=np.uint8).reshape(len(weights), BYTES_PER_G1)
