"""Transforms of a row's cells, as products with constant 64 x 64 matrices.

The idea: split the row's polynomial by the exponent modulo 64, f(X) = sum_{k<64} X^k g_k(X^64), deg g_k < 64.
On the coset h_c <w_64> of cell c the argument X^64 is one point, y_c = h_c^64, a 128th root of unity. So

    cell -> lanes   an inverse transform of size 64 within the cell gives h_c^k g_k(y_c); times h_c^-k
    lanes           each k is a code of its own: 128 values g_k(y_c) of a polynomial with 64 coefficients
    lanes -> cell   times h_c^k, then a transform of size 64 gives the cell's elements

The 4096-point transforms that EIP-7594 speaks of are never done: extension and recovery both only go from
some cells to others. Elements of a cell are in bit-reversed order; the matrices account for it, so that no
data is ever permuted.

Invariants: `cells_from_lanes(lanes_from_cells(x, c), c) == x` for all cell indices c.

What it does not do: the codes of the lanes (`rows.py`).

Source: EIP-7594, consensus-specs fulu `coset_for_cell`; the split is the four-step transform of Bailey, 1990.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from erasure.constants import BLS_MODULUS, CELLS_PER_EXT_BLOB, FIELD_ELEMENTS_PER_CELL
from erasure.domain import coset_shift, reverse_bits, roots
from erasure.residues import Constants, Product, Residues, constants, fold, pointwise, product

_LOG2_CELL = FIELD_ELEMENTS_PER_CELL.bit_length() - 1


def lanes_from_cells(cells: Residues, cell_indices: NDArray[np.int64]) -> Residues:
    """Values g_k(y_c) from the elements of cells.

    Args:
        cells: float64[K, m, 64], elements of m cells of a row.
        cell_indices: int64[m], 0..127.

    Returns:
        float64[K, m, 64], the last axis is k.
    """
    shifted = fold(product(cells, _inverse_transform()))
    return fold(pointwise(shifted, _shifts(inverse=True)[:, cell_indices]))


def cells_from_lanes(lanes: Residues, cell_indices: NDArray[np.int64]) -> Product:
    """Elements of cells from the values g_k(y_c): the same shapes, as a product to be encoded."""
    shifted = fold(pointwise(lanes, _shifts(inverse=False)[:, cell_indices]))
    return product(shifted, _transform())


@cache
def _transform() -> Constants:
    """[k, e]: w_64^(k reverse(e)), applied from the right."""
    size, powers = FIELD_ELEMENTS_PER_CELL, roots(_LOG2_CELL)
    return constants(
        [powers[k * reverse_bits(e, _LOG2_CELL) % size] for k in range(size) for e in range(size)], size, size
    )


@cache
def _inverse_transform() -> Constants:
    """[e, k]: w_64^(-k reverse(e)) / 64, applied from the right."""
    size, powers = FIELD_ELEMENTS_PER_CELL, roots(_LOG2_CELL)
    scale = pow(size, -1, BLS_MODULUS)
    scaled = [power * scale % BLS_MODULUS for power in powers]
    return constants(
        [scaled[-k * reverse_bits(e, _LOG2_CELL) % size] for e in range(size) for k in range(size)],
        size,
        size,
    )


@cache
def _shifts(*, inverse: bool) -> Constants:
    """[c, k]: h_c^k, or h_c^-k."""
    elements = []
    for cell_index in range(CELLS_PER_EXT_BLOB):
        shift = coset_shift(cell_index)
        base = pow(shift, -1, BLS_MODULUS) if inverse else shift
        power = 1
        for _ in range(FIELD_ELEMENTS_PER_CELL):
            elements.append(power)
            power = power * base % BLS_MODULUS
    return constants(elements, CELLS_PER_EXT_BLOB, FIELD_ELEMENTS_PER_CELL)
