"""Exact products in residues, against plain integers, up to the largest operands that are allowed."""

from __future__ import annotations

from itertools import combinations
from math import gcd, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.constants import BLS_MODULUS
from erasure.field import elements_from_array, elements_to_array
from erasure.residues import (
    MAX_TERMS,
    MODULI,
    SLACK,
    K,
    Residues,
    constants,
    decode,
    encode,
    fold,
    pointwise,
    product,
)

EDGES = [0, 1, 2, BLS_MODULUS - 1, BLS_MODULUS - 2, BLS_MODULUS // 2, BLS_MODULUS // 2 + 1, 2**254, 2**32 - 1]
ELEMENTS = st.one_of(st.sampled_from(EDGES), st.integers(0, BLS_MODULUS - 1))


def residues(elements: list[int], *shape: int) -> Residues:
    return decode(elements_to_array(elements).reshape(-1)).reshape(K, *shape)


def one() -> Residues:
    return constants([1], 1)


def test_the_moduli_are_coprime_and_there_is_room() -> None:
    assert all(gcd(a, b) == 1 for a, b in combinations(MODULI, 2))
    assert len(MODULI) == K
    assert prod(MODULI).bit_length() > 560


@given(st.lists(ELEMENTS, min_size=1, max_size=40))
def test_decode_then_encode(elements: list[int]) -> None:
    exact = pointwise(residues(elements, len(elements)), one())
    assert elements_from_array(encode(exact)) == elements


@given(st.lists(ELEMENTS, min_size=1, max_size=40))
def test_residues_are_those_of_the_element(elements: list[int]) -> None:
    held = residues(elements, len(elements))
    for plane, modulus in zip(held, MODULI, strict=True):
        assert [int(value) % modulus for value in plane] == [element % modulus for element in elements]
        assert np.abs(plane).max() <= modulus / 2 + SLACK


@settings(max_examples=30)
@given(st.data(), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
def test_product_is_exact(data: st.DataObject, m: int, t: int, n: int) -> None:
    left = data.draw(st.lists(ELEMENTS, min_size=m * t, max_size=m * t))
    right = data.draw(st.lists(ELEMENTS, min_size=t * n, max_size=t * n))
    exact = product(constants(left, m, t), residues(right, t, n))
    expected = [
        sum(left[i * t + k] * right[k * n + j] for k in range(t)) % BLS_MODULUS
        for i in range(m)
        for j in range(n)
    ]
    assert elements_from_array(encode(exact)) == expected
    folded = pointwise(fold(exact).reshape(K, -1), one())
    assert elements_from_array(encode(folded)) == expected


@pytest.mark.parametrize("edge", [BLS_MODULUS - 1, BLS_MODULUS // 2, 1])
@pytest.mark.parametrize("terms", [64, MAX_TERMS])
def test_longest_product_of_the_largest_operands(edge: int, terms: int) -> None:
    """Operands come out of a fold, which is where they are largest, through several rounds."""
    top = BLS_MODULUS - 1
    matrix = constants([edge] * terms * terms, terms, terms)
    held, expected = residues([top] * terms, terms, 1), top
    for _ in range(3):
        exact = product(matrix, held)
        expected = expected * edge * terms % BLS_MODULUS
        assert elements_from_array(encode(exact)) == [expected] * terms
        held = fold(exact)


def test_residues_at_their_bound() -> None:
    """Every residue of every operand at +-(p / 2 + SLACK), and sums that do not cancel: still exact."""
    rng = np.random.default_rng(3)
    bound = np.array(MODULI, dtype=np.float64)[:, None, None] // 2 + SLACK
    for signs in (1.0, -1.0, rng.choice([-1.0, 1.0], (K, MAX_TERMS, 1))):
        right = np.broadcast_to(bound * signs, (K, MAX_TERMS, 1)).copy()
        left = np.ascontiguousarray(np.swapaxes(right, 1, 2))
        exact = product(left, right)
        for plane, modulus in enumerate(MODULI):
            total = sum(int(value) ** 2 for value in right[plane, :, 0])
            assert (int(exact[plane, 0, 0]) - total) % modulus == 0
            assert abs(exact[plane, 0, 0]) <= modulus / 2 + SLACK


@pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 9000])
def test_sizes_around_the_blocks(count: int) -> None:
    rng = np.random.default_rng(count)
    elements = [int.from_bytes(rng.bytes(31), "big") for _ in range(count)]
    factor = BLS_MODULUS - 3
    exact = pointwise(residues(elements, count), constants([factor], 1))
    assert elements_from_array(encode(exact)) == [e * factor % BLS_MODULUS for e in elements]


def test_constants_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        one()[0] = 2


@pytest.mark.parametrize("multiple", [0, 1, 2])
def test_values_equal_to_a_multiple_of_the_modulus_are_zero(multiple: int) -> None:
    """a b = multiple * r exactly never happens for canonical a, b > 0, but sums of products reach it."""
    elements = [BLS_MODULUS - 1, 1] * multiple or [0, 0]
    exact = product(constants([1] * len(elements), 1, len(elements)), residues(elements, len(elements), 1))
    assert elements_from_array(encode(exact)) == [0]
