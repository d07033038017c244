"""Columns: the vertical code, from R data rows to R parity rows, for any R in 1..256.

The idea: let n be the smallest power of two >= R and D the 2n-th roots of unity in bit-reversed order. The
data rows are values of a polynomial of degree < n at positions 0..R-1 of D, it is zero at R..n-1, and the
parity rows are its values at n..n+R-1; all this element by element. The map is linear, with weights
W[j][i] that depend on R alone, so it may be applied to single cells, to proofs and to commitments alike, and
each parity row is a row of EIP-7594 itself. Any R of the 2R rows, with the zeros, are n known values.

Invariants: rows 0..R-1 of 2R are data, rows R..2R-1 parity; outputs are canonical.

What it does not do: check that given cells agree with each other or with a commitment; with more than R
rows the first R decide and the others are copied. Proofs and commitments: `kzg/parity.py`.

Source: ours; `docs/architecture.md`, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from erasure.constants import BYTES_PER_CELL, FIELD_ELEMENTS_PER_CELL, MAX_ROWS
from erasure.errors import InvalidFieldElement, InvalidShape
from erasure.field import Bytes, first_invalid
from erasure.interpolation import coset_extension_matrix, interpolation_matrix
from erasure.residues import Constants, constants, decode, encode, product
from erasure.rows import Indices, checked_indices

_ELEMENTS_AT_A_TIME: Final = 2**14
"""Elements of a block: bounds the memory of the residues, which take 192 bytes each."""


@lru_cache(maxsize=4)
def parity_weights(rows: int) -> tuple[tuple[int, ...], ...]:
    """W[j][i]: the weight of data row i in parity row j, for a batch of `rows` data rows.

    Raises:
        InvalidShape: rows is not in 1..MAX_ROWS.
    """
    _check_rows(rows)
    positions = [_position(rows, row) for row in range(rows, 2 * rows)]
    matrix = coset_extension_matrix(_log2_domain(rows), range(rows), positions)
    return tuple(tuple(row) for row in matrix)


@lru_cache(maxsize=256)
def parity_weight_row(rows: int, parity_index: int) -> tuple[int, ...]:
    """W[j]: the weights of the data rows in parity row j = parity_index.

    Raises:
        InvalidShape: rows is not in 1..MAX_ROWS, or parity_index not in 0..rows-1.
    """
    _check_parity_index(rows, parity_index)
    position = _position(rows, rows + parity_index)
    (weights,) = coset_extension_matrix(_log2_domain(rows), range(rows), [position])
    return tuple(weights)


def parity_cells(cells: Bytes) -> Bytes:
    """All parity cells of one or many columns.

    Args:
        cells: u8[R, ..., 2048], the data cells; axes between are columns, or none.

    Returns:
        u8[R, ..., 2048], the cells of parity rows 0..R-1.

    Raises:
        InvalidShape: not such an array, or R not in 1..MAX_ROWS.
        InvalidFieldElement: an element is not smaller than the modulus.
    """
    _check_cells(cells)
    rows = cells.shape[0]
    _check_elements(cells, range(rows))
    return _combine(_parity_constants(rows), cells.reshape(rows, -1)).reshape(cells.shape)


def parity_cell(cells: Bytes, parity_index: int) -> Bytes:
    """One parity cell of a column.

    Args:
        cells: u8[R, 2048], the data cells of the column.
        parity_index: j, 0..R-1: the cell of row R + j of the matrix.

    Returns:
        u8[2048].

    Raises:
        InvalidShape: not such an array, or the index is out of range.
        InvalidFieldElement: an element is not smaller than the modulus.
    """
    _check_cells(cells)
    if cells.ndim != 2:
        raise InvalidShape(f"a column must be u8[R, {BYTES_PER_CELL}], got {cells.dtype}{list(cells.shape)}")
    rows = cells.shape[0]
    weights = list(parity_weight_row(rows, parity_index))
    _check_elements(cells, range(rows))
    combined: Bytes = _combine(constants(weights, 1, rows), cells)[0]
    return combined


def recover_columns(rows: int, row_indices: Indices, cells: Bytes) -> Bytes:
    """Rebuild all 2R cells of columns of which the same R..2R cells are known.

    Args:
        rows: R, the number of data rows.
        row_indices: int[m], R <= m <= 2R, strictly ascending, 0..2R-1; from R on they are parity rows.
        cells: u8[m, k, 2048], the cells in these rows of k columns.

    Returns:
        u8[2R, k, 2048].

    Raises:
        InvalidShape: rows is not in 1..MAX_ROWS, or cells are not such an array.
        InvalidCellIndices: indices are not strictly ascending in 0..2R-1.
        NotEnoughCells: fewer than R.
        InvalidFieldElement: an element is not smaller than the modulus.
    """
    _check_rows(rows)
    indices = checked_indices(row_indices, 2 * rows, rows)
    if cells.dtype != np.uint8 or cells.ndim != 3 or cells.shape[::2] != (indices.size, BYTES_PER_CELL):
        raise InvalidShape(
            f"cells must be u8[{indices.size}, k, {BYTES_PER_CELL}], got {cells.dtype}{list(cells.shape)}"
        )
    _check_elements(cells, indices.tolist())

    column = np.empty((2 * rows, *cells.shape[1:]), dtype=np.uint8)
    column[indices] = cells
    missing = np.setdiff1d(np.arange(2 * rows), indices)
    if missing.size:
        weights = _pattern_constants(rows, tuple(indices[:rows].tolist()), tuple(missing.tolist()))
        rebuilt = _combine(weights, cells[:rows].reshape(rows, -1))
        column[missing] = rebuilt.reshape(missing.size, *cells.shape[1:])
    return column


def _log2_domain(rows: int) -> int:
    """log2 of 2n, n the smallest power of two >= rows."""
    return (rows - 1).bit_length() + 1


def _position(rows: int, row: int) -> int:
    """Position in D of one of the 2R rows."""
    return row if row < rows else (1 << _log2_domain(rows)) // 2 + row - rows


@lru_cache(maxsize=2)
def _parity_constants(rows: int) -> Constants:
    return constants([weight for row in parity_weights(rows) for weight in row], rows, rows)


@lru_cache(maxsize=2)
def _pattern_constants(rows: int, known: tuple[int, ...], missing: tuple[int, ...]) -> Constants:
    log2_domain = _log2_domain(rows)
    matrix = interpolation_matrix(
        log2_domain,
        [_position(rows, row) for row in known],
        [_position(rows, row) for row in missing],
        zeros=range(rows, 1 << (log2_domain - 1)),
    )
    return constants([weight for row in matrix for weight in row], len(missing), len(known))


def _combine(weights: Constants, cells: Bytes) -> Bytes:
    """weights[K, m, R] times cells u8[R, N]: u8[m, N]."""
    rows, width = cells.shape
    out = np.empty((weights.shape[1], width), dtype=np.uint8)
    step = BYTES_PER_CELL * max(1, _ELEMENTS_AT_A_TIME // (rows * FIELD_ELEMENTS_PER_CELL))
    for start in range(0, width, step):
        block = slice(start, start + step)
        elements = decode(np.ascontiguousarray(cells[:, block]))
        out[:, block] = encode(product(weights, elements))
    return out


def _check_rows(rows: int) -> None:
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidShape(f"a batch must have 1..{MAX_ROWS} data rows, got {rows}")


def _check_parity_index(rows: int, parity_index: int) -> None:
    _check_rows(rows)
    if not 0 <= parity_index < rows:
        raise InvalidShape(f"parity row must be in 0..{rows - 1}, got {parity_index}")


def _check_cells(cells: Bytes) -> None:
    if cells.dtype != np.uint8 or cells.ndim < 2 or cells.shape[-1] != BYTES_PER_CELL:
        raise InvalidShape(
            f"cells must be u8[R, ..., {BYTES_PER_CELL}], got {cells.dtype}{list(cells.shape)}"
        )
    _check_rows(cells.shape[0])


def _check_elements(cells: Bytes, rows: Sequence[int] | NDArray[np.int64]) -> None:
    position = first_invalid(cells)
    if position is not None:
        row, index = divmod(position, cells[0].size // (BYTES_PER_CELL // FIELD_ELEMENTS_PER_CELL))
        raise InvalidFieldElement(int(rows[row]), index)
