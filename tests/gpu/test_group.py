"""The group law in lanes and in plain words, against the chord and tangent rule in integers."""

from __future__ import annotations

import ctypes
import itertools
import random

import numpy as np
import pytest

from gpu.constants import BASE_MODULUS, GENERATOR_X, SCALAR_MODULUS

P = BASE_MODULUS

DOUBLE, ADD, MIXED_ADD, IN_SUBGROUP, DOUBLE_TWINS, ADD_TWINS, MIXED_ADD_TWINS = range(7)
IMPLEMENTATIONS = {"words": 0, "lanes": 1}

Point = tuple[int, int] | None


def affine_add(p: Point, q: Point) -> Point:
    """The chord and tangent rule, in plain integers."""
    if p is None:
        return q
    if q is None:
        return p
    (x1, y1), (x2, y2) = p, q
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = 3 * x1 * x1 * pow(2 * y1, -1, P) if p == q else (y2 - y1) * pow(x2 - x1, -1, P)
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(p: Point, scalar: int) -> Point:
    total: Point = None
    for bit in bin(scalar)[2:]:
        total = affine_add(total, total)
        if bit == "1":
            total = affine_add(total, p)
    return total


def curve_point(x: int) -> tuple[int, int]:
    """The first point of the curve, most likely outside of G1, at or after x."""
    while True:
        square = (x**3 + 4) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            return x, y
        x += 1


@pytest.fixture(scope="session")
def generator() -> tuple[int, int]:
    x, y = curve_point(GENERATOR_X)
    assert multiply((x, y), SCALAR_MODULUS) is None
    return x, y


def encode(point: Point) -> bytes:
    """The ZCash encoding of 48 bytes."""
    if point is None:
        return b"\xc0" + bytes(47)
    x, y = point
    flags = 0x80 | (0x20 if y > (P - 1) // 2 else 0)
    raw = bytearray(x.to_bytes(48, "big"))
    raw[0] |= flags
    return bytes(raw)


def projective(point: Point, z: int) -> list[int]:
    """X, Y, ZZ, ZZZ with a denominator z; infinity with coordinates that are not 0."""
    if point is None:
        return [z, z * z % P, 0, 0]
    x, y = point
    return [x * z**2 % P, y * z**3 % P, z**2 % P, z**3 % P]


def affine(coordinates: list[int]) -> Point:
    x, y, zz, zzz = coordinates
    assert pow(zz, 3, P) == pow(zzz, 2, P)
    return None if zz == 0 else (x * pow(zz, -1, P) % P, y * pow(zzz, -1, P) % P)


def words(points: list[list[int]]) -> np.ndarray:
    return np.array(
        [[value >> 64 * i & 2**64 - 1 for value in point for i in range(6)] for point in points],
        dtype=np.uint64,
    )


def operate(
    library: ctypes.CDLL, kind: str, op: int, p: list[list[int]], q: list[list[int]]
) -> list[list[int]]:
    count = len(p)
    padding = [p[0]] * (-count % 8)
    left, right = words(p + padding), words(q + padding)
    out = np.zeros_like(left)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (left, right, out)]
    library.cellar_probe_group(IMPLEMENTATIONS[kind], op, *pointers, len(left))
    return [
        [sum(int(row[6 * k + i]) << 64 * i for i in range(6)) for k in range(4)]
        for row in out.reshape(-1, 24)[:count]
    ]


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@pytest.mark.parametrize("lane", range(8))
def test_addition_is_complete_in_every_lane(library: ctypes.CDLL, generator, kind: str, lane: int) -> None:
    """P + P, P - P, P + 0, 0 + P and 0 + 0 in one lane while the others add unequal points."""
    rng = random.Random(lane)
    five = multiply(generator, 5)
    minus = (five[0], P - five[1])
    for special in [(five, five), (five, minus), (five, None), (None, five), (None, None)]:
        rows = [
            (multiply(generator, rng.randrange(2**64)), multiply(generator, rng.randrange(2**64)))
            for _ in range(8)
        ]
        rows[lane] = special
        p, q = zip(*rows, strict=True)
        for denominator in (1, rng.randrange(2, P)):
            got = operate(
                library, kind, ADD, [projective(a, denominator) for a in p], [projective(b, 3) for b in q]
            )
            assert [affine(row) for row in got] == [affine_add(a, b) for a, b in rows]
        if special[1] is not None:
            got = operate(
                library, kind, MIXED_ADD, [projective(a, 7) for a in p], [projective(b, 1) for b in q]
            )
            assert [affine(row) for row in got] == [affine_add(a, b) for a, b in rows]


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
def test_doubling(library: ctypes.CDLL, generator, kind: str) -> None:
    points = [multiply(generator, k) for k in (1, 2, 3, SCALAR_MODULUS - 1)] + [None]
    got = operate(
        library, kind, DOUBLE, [projective(p, 11) for p in points], [projective(p, 1) for p in points]
    )
    assert [affine(row) for row in got] == [affine_add(p, p) for p in points]


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
def test_membership_in_the_group(library: ctypes.CDLL, generator, kind: str) -> None:
    """Multiples of the generator are in; points of small order, and sums of both, are not."""
    cofactor = (BASE_MODULUS + 1 - (-0xD201000000010000 + 1)) // SCALAR_MODULUS
    outside = curve_point(10**9)
    assert multiply(outside, SCALAR_MODULUS) is not None
    order3 = (0, 2)
    assert multiply(order3, 3) is None
    small = multiply(outside, SCALAR_MODULUS)  # of an order that divides the cofactor
    assert multiply(small, cofactor) is None
    inside = [multiply(generator, k) for k in (1, 2, 12345, SCALAR_MODULUS - 1)]
    points = [
        *inside,
        outside,
        order3,
        (0, P - 2),
        small,
        affine_add(inside[2], order3),
        affine_add(inside[1], small),
    ]
    rows = [projective(p, 1) for p in points]
    got = operate(library, kind, IN_SUBGROUP, rows, rows[::-1])
    want = [1] * len(inside) + [0] * (len(points) - len(inside))
    assert [row[0] for row in got] == want
    if kind == "lanes":  # two vectors at a time
        assert [row[2] for row in got] == want[::-1]


def test_jacobian_twins(library: ctypes.CDLL, generator) -> None:
    rng = random.Random(8)
    p, q = ([multiply(generator, rng.randrange(2**64)) for _ in range(8)] for _ in range(2))
    sums = [affine_add(a, b) for a, b in zip(p, q, strict=True)]
    for denominator in (1, rng.randrange(2, P)):
        left = [projective(a, denominator) for a in p]
        doubled = operate(library, "lanes", DOUBLE_TWINS, left, left)
        assert [affine(row) for row in doubled] == [affine_add(a, a) for a in p]
        for op, z in ((ADD_TWINS, 5), (MIXED_ADD_TWINS, 1)):
            got = operate(library, "lanes", op, left, [projective(b, z) for b in q])
            assert [affine(row) for row in got] == sums


@pytest.mark.parametrize("lane", range(8))
def test_jacobian_points_that_meet_end_at_infinity(library: ctypes.CDLL, generator, lane: int) -> None:
    """Where the incomplete formulas do not hold, for both of the twins, and nowhere else."""
    five = multiply(generator, 5)
    for special in [(five, five), (five, (five[0], P - five[1])), (None, five)]:
        rows = [(multiply(generator, k + 2), multiply(generator, 100 + k)) for k in range(8)]
        rows[lane] = special
        for op in (ADD_TWINS, MIXED_ADD_TWINS):
            got = operate(
                library, "lanes", op, [projective(a, 7) for a, _ in rows], [projective(b, 1) for _, b in rows]
            )
            want = [affine_add(a, b) for a, b in rows]
            want[lane] = None
            assert [None if row[2] == 0 else affine(row) for row in got] == want
    infinity = [projective(None, 3)] * 8
    assert [row[2:] for row in operate(library, "lanes", DOUBLE_TWINS, infinity, infinity)] == [[0, 0]] * 8


def accumulate(library: ctypes.CDLL, sums: list[Point], points: list[Point]) -> tuple[int, list[bytes]]:
    a, b = (np.frombuffer(b"".join(map(encode, side)), dtype=np.uint8).copy() for side in (sums, points))
    out = np.zeros_like(a)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (a, b, out)]
    good = library.cellar_probe_accumulate(*pointers, len(sums))
    return good, [bytes(row) for row in out.reshape(-1, 48)]


def test_batched_affine_addition(library: ctypes.CDLL, generator) -> None:
    for count in (8, 24, 64, 72, 136):  # vectors around a block of 8
        sums = [multiply(generator, 2 * k + 1) for k in range(count)]
        points = [multiply(generator, 1000 + k * k) for k in range(count)]
        good, got = accumulate(library, sums, points)
        assert good == 1
        assert got == [encode(affine_add(a, b)) for a, b in zip(sums, points, strict=True)]


@pytest.mark.parametrize(("at", "sign"), list(itertools.product(range(0, 16, 3), (1, -1))))
def test_batched_addition_notices_points_that_meet(
    library: ctypes.CDLL, generator, at: int, sign: int
) -> None:
    sums = [multiply(generator, 2 * k + 1) for k in range(16)]
    points = [multiply(generator, 1000 + k) for k in range(16)]
    x, y = sums[at]
    points[at] = (x, y if sign == 1 else P - y)
    good, got = accumulate(library, sums, points)
    assert good == 0
    assert got == [encode(point) for point in sums]
