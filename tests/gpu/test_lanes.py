"""Field arithmetic in lanes against plain integers, at random and at every edge of limbs and bounds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from gpu.constants import BASE_MODULUS, SCALAR_MODULUS

FIELDS = {"Fp": (BASE_MODULUS, 8, 3), "Fr": (SCALAR_MODULUS, 5, 4)}
FieldOp = Callable[..., list[int]]


def stored_values(field: str) -> list[int]:
    """Every kind of value below BOUND m: multiples of m and their neighbours, full and single limbs."""
    m, limbs, bound = FIELDS[field]
    top = bound * m - 1
    values = {q * m + d for q in range(bound + 1) for d in (-2, -1, 0, 1, 2)}
    values |= {(1 << 52 * i) + d for i in range(limbs) for d in (-1, 0, 1)}
    values |= {((1 << 52) - 1) << 52 * i for i in range(limbs)}
    values |= {(1 << 52 * limbs) // 3 >> i for i in range(10)}
    values |= {(1 << m.bit_length()) * q + d for q in range(3) for d in (-1, 0, 1)}
    rng = random.Random(52)
    values |= {rng.randrange(top) for _ in range(60)}
    return sorted(value for value in values if 0 <= value <= top)


def pairs(field: str) -> tuple[list[int], list[int], list[int]]:
    values = stored_values(field)
    x, y = zip(*itertools.product(values, values), strict=True)
    rng = random.Random(7)
    return list(x), list(y), [rng.choice(values) for _ in x]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("op", "exact"),
    [
        (0, lambda x, y, z, m, R: x + y),
        (1, lambda x, y, z, m, R: x - y),
        (2, lambda x, y, z, m, R: x * y * R),
        (3, lambda x, y, z, m, R: x * y * R - z),
        (4, lambda x, y, z, m, R: (x - y) * (y - z) * R),
        (11, lambda x, y, z, m, R: x * x * R),
        (12, lambda x, y, z, m, R: x * x * R - z),
    ],
    ids=["add", "sub", "mul", "mul_sub", "mul of lazy differences", "sqr", "sqr_sub"],
)
def test_operations_at_every_edge(field: str, op: int, exact: Callable[..., int], field_op: FieldOp) -> None:
    m, limbs, bound = FIELDS[field]
    x, y, z = pairs(field)
    R_inverse = pow(1 << 52 * limbs, -1, m)
    for a, b, c, got in zip(x, y, z, field_op(field, op, x, y, z), strict=True):
        assert got < bound * m
        assert (got - exact(a, b, c, m, R_inverse)) % m == 0, (a, b, c)


@pytest.mark.parametrize("field", FIELDS)
def test_normal_forms_and_tests(field: str, field_op: FieldOp) -> None:
    m, limbs, _ = FIELDS[field]
    R = 1 << 52 * limbs
    values = stored_values(field)
    assert field_op(field, 5, values) == [value % m for value in values]
    assert field_op(field, 8, values) == [value * pow(R, -1, m) % m for value in values]
    assert field_op(field, 7, values) == [R % m if value % m == 0 else 0 for value in values]


@pytest.mark.parametrize("field", FIELDS)
def test_inverse_in_every_lane(field: str, field_op: FieldOp) -> None:
    m, limbs, bound = FIELDS[field]
    R = 1 << 52 * limbs
    for value in (0, m, 1, 2, m - 1, m + 1, R % m):
        for lane in range(8):
            operands = [random.Random(lane).randrange(bound * m) for _ in range(8)]
            operands[lane] = value
            for a, got in zip(operands, field_op(field, 6, operands), strict=True):
                assert got < bound * m
                assert (got * a - (R * R if a % m else 0)) % m == 0


def test_sums_of_64_products_are_reduced_once(field_op: FieldOp) -> None:
    m, limbs, bound = FIELDS["Fr"]
    x = [5 * m // 2 - 1, 0, 1, m - 1, m, 2 * m, 5 * m // 2 - 2, 12345]
    y = [m - 1, m - 1, m - 1, m - 1, m - 1, 0, 1, m // 2]
    for a, b, got in zip(x, y, field_op("Fr", 9, x, y), strict=True):
        assert got < bound * m
        assert (got - 64 * a * b * pow(1 << 52 * limbs, -1, m)) % m == 0


def test_sums_of_products_of_any_stored_values_are_reduced_once(field_op: FieldOp) -> None:
    """In the base field, as the pairing adds them."""
    m, limbs, bound = FIELDS["Fp"]
    x, y, _ = pairs("Fp")
    R_inverse = pow(1 << 52 * limbs, -1, m)
    for a, b, got in zip(x, y, field_op("Fp", 9, x, y), strict=True):
        assert got < bound * m
        assert (got - 64 * a * b * R_inverse) % m == 0


def test_the_fused_forms_of_an_affine_addition(field_op: FieldOp) -> None:
    """chord_x(signed_sub_lazy(odd lanes, x, y), sub_lazy(z, x), x) = (+-x - y)^2 / R - z - x."""
    m, limbs, bound = FIELDS["Fp"]
    x, y, z = pairs("Fp")
    R_inverse = pow(1 << 52 * limbs, -1, m)
    for i, (a, b, c, got) in enumerate(zip(x, y, z, field_op("Fp", 10, x, y, z), strict=True)):
        s = (-a if i % 2 else a) - b
        assert got < bound * m
        assert (got - (s * s * R_inverse - c - a)) % m == 0
