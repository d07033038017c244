"""The pairing check of the host engine, against arkworks and the definition."""

from __future__ import annotations

import ctypes
import random

import pytest
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from gpu.constants import BASE_MODULUS, BLS_X, SCALAR_MODULUS
from gpu.host import pairing

R = SCALAR_MODULUS


def scalar(value: int) -> Scalar:
    return Scalar.from_be_bytes((value % R).to_bytes(32, "big"))


def equal(library: ctypes.CDLL, first: G2Point, second: G2Point, left: G1Point, right: G1Point) -> bool:
    lines, frobenius = pairing.line_bytes(first, second), pairing.frobenius_bytes()
    found = library.cellar_probe_pairing(
        ctypes.c_void_p(lines.ctypes.data),
        ctypes.c_void_p(frobenius.ctypes.data),
        bytes(left.to_compressed_bytes()),
        bytes(right.to_compressed_bytes()),
    )
    assert found in (0, 1)
    return bool(found)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_bilinear(library: ctypes.CDLL, seed: int) -> None:
    rng = random.Random(seed)
    a, b, c = (rng.randrange(1, R) for _ in range(3))
    first, second = G2Point() * scalar(b), G2Point() * scalar(c)
    left = G1Point() * scalar(a)
    for factor in (1, 2, R - 1, rng.randrange(R)):
        right = G1Point() * scalar(a * b * pow(c, -1, R) * factor)
        want = bool(GT.pairing_check([left, -right], [first, second]))
        assert want == (factor == 1)
        assert equal(library, first, second, left, right) == want


def test_one_bit_of_a_scalar_matters(library: ctypes.CDLL) -> None:
    k = 0x1234567890ABCDEF << 100
    first, second = G2Point() * scalar(k), G2Point()
    for bit in range(0, 254, 23):
        right = G1Point() * scalar(k ^ 1 << bit)
        assert not equal(library, first, second, G1Point(), right)
    assert equal(library, first, second, G1Point(), G1Point() * scalar(k))


def test_points_at_infinity(library: ctypes.CDLL) -> None:
    points = G2Point() * scalar(7), G2Point()
    infinity = G1Point.identity()
    assert equal(library, *points, infinity, infinity)
    assert not equal(library, *points, G1Point(), infinity)
    assert not equal(library, *points, infinity, G1Point())


def test_equal_and_opposite_points(library: ctypes.CDLL) -> None:
    point = G1Point() * scalar(99)
    assert equal(library, G2Point(), G2Point(), point, point)
    assert not equal(library, G2Point(), G2Point(), point, -point)


def test_the_lines_pass_through_multiples_of_the_point() -> None:
    """On the twist: a tangent at T meets it again at -2T, a chord through T and Q at -(T + Q)."""
    point = G2Point() * scalar(5)
    lines = iter(pairing.lines(point))
    at = 1
    for bit in bin(-BLS_X)[3:]:
        for on_line, next_at in [([at, -2 * at], 2 * at), ([2 * at, 1, -2 * at - 1], 2 * at + 1)][
            : 1 + int(bit)
        ]:
            minus_slope, constant = next(lines)
            for k in on_line:
                xy = (point * scalar(k)).to_xy_bytes_be()
                x0, x1, y0, y1 = (int.from_bytes(xy[i : i + 48], "big") for i in range(0, 192, 48))
                product = pairing.multiply(minus_slope, (x0, x1))
                value = (product[0] + y0 + constant[0], product[1] + y1 + constant[1])
                assert [c % BASE_MODULUS for c in value] == [0, 0]
            last = next_at
        at = last
    assert next(lines, None) is None
