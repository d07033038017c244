"""The constants of the pairing check: lines through fixed points of G2, and Frobenius's powers.

The check of a verification is e(P, Q) e(P', Q') = 1 with Q, Q' known when an engine opens. So the points of
the Miller loop on the twist are known too, and all of each line but where it is evaluated. With XI = 1 + u,
Fp12 = Fp2[w] / (w^6 - XI), the line through T with slope m on the twist y^2 = x^3 + 4 XI is, at (x, y) of G1,

    y w^3 - m x w^2 + (m x_T - y_T),

times a factor that the final exponentiation takes out; so is 1/y, by which the host divides it.

What it does not do: the check itself, which is `host/pairing.hpp`.

Source: https://hackmd.io/@benjaminion/bls12-381 for the twist; Costello and Stebila, "Fixed argument
pairings", https://eprint.iacr.org/2010/342.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from py_arkworks_bls12381 import G2Point

from gpu.constants import BASE_MODULUS, BLS_X
from kzg.types import Bytes

Fp2 = tuple[int, int]
"""c0 + c1 u, u^2 = -1."""

XI: Final[Fp2] = (1, 1)

STEPS: Final = (-BLS_X).bit_length() - 1 + (-BLS_X).bit_count() - 1
"""Doublings and additions of the Miller loop: 68."""

_P: Final = BASE_MODULUS
_BYTES: Final = 48


def multiply(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % _P, (a[0] * b[1] + a[1] * b[0]) % _P


def power(a: Fp2, exponent: int) -> Fp2:
    out: Fp2 = (1, 0)
    for bit in bin(exponent)[2:]:
        out = multiply(out, out)
        if bit == "1":
            out = multiply(out, a)
    return out


def subtract(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] - b[0]) % _P, (a[1] - b[1]) % _P


def divide(a: Fp2, b: Fp2) -> Fp2:
    inverse = pow(b[0] ** 2 + b[1] ** 2, -1, _P)
    return multiply(a, (b[0] * inverse, -b[1] * inverse))


def lines(point: G2Point) -> list[tuple[Fp2, Fp2]]:
    """For each step of the Miller loop of a point of G2, not infinity: -m, and m x_T - y_T."""
    xy = point.to_xy_bytes_be()
    coordinates = [int.from_bytes(xy[i : i + _BYTES], "big") for i in range(0, 4 * _BYTES, _BYTES)]
    start = (coordinates[0], coordinates[1]), (coordinates[2], coordinates[3])
    out = []
    x, y = start
    for bit in bin(-BLS_X)[3:]:
        for addition in [False, True][: 1 + int(bit)]:
            if addition:
                slope = divide(subtract(start[1], y), subtract(start[0], x))
                other = start[0]
            else:
                slope = divide(multiply((3, 0), multiply(x, x)), multiply((2, 0), y))
                other = x
            out.append((subtract((0, 0), slope), subtract(multiply(slope, x), y)))
            next_x = subtract(subtract(multiply(slope, slope), x), other)
            x, y = next_x, subtract(multiply(slope, subtract(x, next_x)), y)
    assert len(out) == STEPS
    return out


def line_bytes(first: G2Point, second: G2Point) -> Bytes:
    """u8[2 points, 68 steps, 4, 48], big-endian: c0 and c1 of -m, and of m x_T - y_T."""
    values = [c for point in (first, second) for line in lines(point) for element in line for c in element]
    return _encoded(values).reshape(2, STEPS, 4, _BYTES)


def frobenius_bytes() -> Bytes:
    """u8[6, 3, 48], big-endian: w^j to the power p is w^j times (c0 + c1 u), to p^2 times the third."""
    first, second = power(XI, (_P - 1) // 6), power(XI, (_P * _P - 1) // 6)
    assert second[1] == 0
    values = [c for j in range(6) for c in (*power(first, j), pow(second[0], j, _P))]
    return _encoded(values).reshape(6, 3, _BYTES)


def _encoded(values: list[int]) -> Bytes:
    return np.frombuffer(b"".join(value.to_bytes(_BYTES, "big") for value in values), dtype=np.uint8).copy()
