"""Roots of unity and bit reversal, against the specs' definitions in `reference.py`."""

from __future__ import annotations

import pytest

from erasure import reference
from erasure.constants import BLS_MODULUS
from erasure.domain import coset_shift, reverse_bits, root_of_unity, roots, roots_brp


@pytest.mark.parametrize("log2_order", [0, 1, 2, 7, 13])
def test_roots_are_those_of_the_specs(log2_order: int) -> None:
    expected = reference.compute_roots_of_unity(1 << log2_order)
    assert list(roots(log2_order)) == expected
    assert list(roots_brp(log2_order)) == reference.bit_reversal_permutation(expected)


def test_the_root_is_primitive() -> None:
    for log2_order in (1, 7, 13, 32):
        root = root_of_unity(log2_order)
        assert pow(root, 1 << (log2_order - 1), BLS_MODULUS) == BLS_MODULUS - 1


def test_the_generator_5_used_elsewhere_is_not_primitive() -> None:
    """5 is printed as the primitive root in an old script; its roots differ, and nothing interoperates."""
    assert pow(5, (BLS_MODULUS - 1) // 3, BLS_MODULUS) == 1
    assert pow(5, (BLS_MODULUS - 1) >> 13, BLS_MODULUS) != root_of_unity(13)


@pytest.mark.parametrize(
    ("value", "bits", "expected"), [(0, 0, 0), (1, 1, 1), (1, 7, 64), (0b0011, 4, 0b1100)]
)
def test_reverse_bits(value: int, bits: int, expected: int) -> None:
    assert reverse_bits(value, bits) == expected


@pytest.mark.parametrize("cell_index", [0, 1, 63, 64, 127])
def test_a_cell_starts_at_its_shift(cell_index: int) -> None:
    assert coset_shift(cell_index) == roots_brp(13)[cell_index * 64]
