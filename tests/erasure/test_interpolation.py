"""Interpolation matrices, against polynomials that are evaluated directly."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.constants import BLS_MODULUS
from erasure.domain import roots_brp
from erasure.interpolation import batch_inverse, coset_extension_matrix, interpolation_matrix


def evaluate(coefficients: list[int], point: int) -> int:
    return sum(c * pow(point, power, BLS_MODULUS) for power, c in enumerate(coefficients)) % BLS_MODULUS


@settings(max_examples=40)
@given(st.integers(0, 5), st.randoms(use_true_random=False))
def test_matrix_evaluates_the_polynomial_elsewhere(log2_order: int, rng: random.Random) -> None:
    domain = roots_brp(log2_order)
    count = rng.randint(1, len(domain))
    positions = rng.sample(range(len(domain)), len(domain))
    known, wanted = positions[:count], positions[count:]
    coefficients = [rng.randrange(BLS_MODULUS) for _ in known]
    matrix = interpolation_matrix(log2_order, known, wanted)
    assert len(matrix) == len(wanted)
    for position, weights in zip(wanted, matrix, strict=True):
        values = [evaluate(coefficients, domain[k]) for k in known]
        combined = sum(w * v for w, v in zip(weights, values, strict=True)) % BLS_MODULUS
        assert combined == evaluate(coefficients, domain[position])


@settings(max_examples=40)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_zeros_count_as_known(log2_order: int, rng: random.Random) -> None:
    order = 1 << log2_order
    positions = rng.sample(range(order), order)
    count, zeros = rng.randint(1, order - 1), rng.randint(0, order - 1)
    known, zero = positions[:count], positions[count : count + zeros]
    wanted = positions[count + zeros :]
    whole = interpolation_matrix(log2_order, [*known, *zero], wanted)
    assert interpolation_matrix(log2_order, known, wanted, zeros=zero) == [row[:count] for row in whole]


@pytest.mark.parametrize("log2_order", [1, 2, 4, 6])
def test_closed_form_of_the_first_half(log2_order: int) -> None:
    n = 1 << (log2_order - 1)
    count = max(1, n - 1)
    general = interpolation_matrix(log2_order, range(count), range(n, 2 * n), zeros=range(count, n))
    assert coset_extension_matrix(log2_order, range(count), range(n, 2 * n)) == general


@given(st.lists(st.integers(1, BLS_MODULUS - 1) | st.integers(1 - BLS_MODULUS, -1), max_size=20))
def test_batch_inverse(elements: list[int]) -> None:
    inverses = batch_inverse(elements)
    assert [e * i % BLS_MODULUS for e, i in zip(elements, inverses, strict=True)] == [1] * len(elements)


def test_batch_inverse_of_zero_is_an_assertion() -> None:
    with pytest.raises(AssertionError):
        batch_inverse([1, 0])
