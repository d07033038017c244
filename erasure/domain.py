"""Domains: roots of unity, bit reversal, and the coset that each cell is evaluated on.

The idea: a row's extension is its polynomial at the 8192nd roots of unity, in bit-reversed order. In that
order the 64 elements of cell c are the coset h_c * <w_64>, h_c = w_8192^reverse(c), again bit-reversed, and
cells 0..63 are exactly the 4096th roots, so they are the blob itself.

Invariants: every root follows from PRIMITIVE_ROOT_OF_UNITY; results are canonical integers and cached.

What it does not do: arithmetic on arrays.

Source: consensus-specs deneb (`compute_roots_of_unity`, `bit_reversal_permutation`) and fulu
(`coset_shift_for_cell`, `coset_for_cell`).
"""

from __future__ import annotations

from functools import cache

from erasure.constants import (
    BLS_MODULUS,
    CELLS_PER_EXT_BLOB,
    FIELD_ELEMENTS_PER_EXT_BLOB,
    PRIMITIVE_ROOT_OF_UNITY,
    TWO_ADICITY,
)


def reverse_bits(value: int, bits: int) -> int:
    """The number whose `bits` binary digits are those of value (< 2**bits) read backwards."""
    assert 0 <= value < 1 << bits
    return int(f"{value:0{bits}b}"[::-1], 2) if bits else 0


@cache
def root_of_unity(log2_order: int) -> int:
    """The primitive root of unity of order 2**log2_order that the specs use."""
    assert 0 <= log2_order <= TWO_ADICITY
    return pow(PRIMITIVE_ROOT_OF_UNITY, (BLS_MODULUS - 1) >> log2_order, BLS_MODULUS)


@cache
def roots(log2_order: int) -> tuple[int, ...]:
    """All 2**log2_order roots of unity of that order, as ascending powers of `root_of_unity`."""
    generator = root_of_unity(log2_order)
    powers = [1]
    for _ in range((1 << log2_order) - 1):
        powers.append(powers[-1] * generator % BLS_MODULUS)
    return tuple(powers)


@cache
def roots_brp(log2_order: int) -> tuple[int, ...]:
    """The same roots in bit-reversed order."""
    natural = roots(log2_order)
    return tuple(natural[reverse_bits(i, log2_order)] for i in range(len(natural)))


def coset_shift(cell_index: int) -> int:
    """h_c: the first point that the elements of a cell are evaluated at."""
    log2_order = FIELD_ELEMENTS_PER_EXT_BLOB.bit_length() - 1
    log2_cells = CELLS_PER_EXT_BLOB.bit_length() - 1
    return roots(log2_order)[reverse_bits(cell_index, log2_cells)]
