"""Repair of a batch's matrix: 2R rows by 128 columns, rows and columns in turn.

The idea: a row with 64 cells gives back its other cells, a column with R gives back its others, and what
one direction fills in may be just what the other lacks. Which cells that reaches depends on the pattern
alone, so the pattern is followed first, in booleans, and nothing is computed for a matrix that cannot be
completed. Then each pass rebuilds all rows, or columns, that miss the same cells in one call.

Invariants: the matrix is complete on return; cells that were present are unchanged. What stays missing in
an unrecoverable matrix lacks more than half in every direction: at least (R + 1) x 65 cells.

What it does not do: check that present cells belong together (`rows.py` describes what happens then), so
verify them first; a wrong cell spreads. The content of cells that are not present is ignored.

Source: the iterative decoding of product codes; `docs/architecture.md`, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from erasure.columns import recover_columns
from erasure.constants import (
    BYTES_PER_CELL,
    CELLS_PER_BLOB,
    CELLS_PER_EXT_BLOB,
    FIELD_ELEMENTS_PER_CELL,
    MAX_ROWS,
)
from erasure.errors import InvalidFieldElement, InvalidShape, UnrecoverableMatrix
from erasure.field import Bytes, first_invalid
from erasure.rows import recover_rows

Mask: TypeAlias = NDArray[np.bool_]

_LINES_AT_A_TIME: Final = 16
"""Rows or columns rebuilt in one call: bounds what a call copies and returns to 32 MiB for 256 data rows."""


def repair_matrix(cells: Bytes, present: Mask) -> Bytes:
    """Rebuild all missing cells of a batch's matrix.

    Args:
        cells: u8[2R, 128, 2048]; rows R..2R-1 are the parity rows.
        present: bool[2R, 128], True where the cell is known.

    Returns:
        u8[2R, 128, 2048], a new array, complete.

    Raises:
        InvalidShape: not such arrays, or R not in 1..MAX_ROWS.
        InvalidFieldElement: an element of a present cell is not smaller than the modulus.
        UnrecoverableMatrix: some cells cannot be rebuilt; names the rows and columns they are in.
    """
    _check_shapes(cells, present)
    rows = cells.shape[0] // 2
    _check_elements(cells, present)
    if (stuck := stopping_set(present)) is not None:
        raise stuck

    repaired, known = cells.copy(), present.copy()
    while not known.all():
        _repair_rows(repaired, known)
        _repair_columns(repaired, known, rows)
    return repaired


def reachable(present: Mask) -> Mask:
    """bool[2R, 128]: cells that rows and columns in turn give back, those present among them."""
    known, rows, before = present.copy(), present.shape[0] // 2, -1
    while (count := int(known.sum())) != before:
        before = count
        known[known.sum(axis=1) >= CELLS_PER_BLOB] = True
        known[:, known.sum(axis=0) >= rows] = True
    return known


def stopping_set(present: Mask) -> UnrecoverableMatrix | None:
    """The rows and columns that keep cells from being rebuilt; None when all can be."""
    known = reachable(present)
    if known.all():
        return None
    lost_rows = np.flatnonzero(~known.all(axis=1))
    lost_columns = np.flatnonzero(~known.all(axis=0))
    return UnrecoverableMatrix(tuple(lost_rows.tolist()), tuple(lost_columns.tolist()))


def _repair_rows(cells: Bytes, known: Mask) -> None:
    """Complete, in place, every row with at least 64 known cells."""
    counts = known.sum(axis=1)
    for group in _same_pattern(known, np.flatnonzero((counts >= CELLS_PER_BLOB) & ~known.all(axis=1))):
        indices = np.flatnonzero(known[group[0]])
        for start in range(0, group.size, _LINES_AT_A_TIME):
            lines = group[start : start + _LINES_AT_A_TIME]
            cells[lines] = recover_rows(indices, cells[np.ix_(lines, indices)])
        known[group] = True


def _repair_columns(cells: Bytes, known: Mask, rows: int) -> None:
    """Complete, in place, every column with at least R known cells."""
    counts = known.sum(axis=0)
    for group in _same_pattern(known.T, np.flatnonzero((counts >= rows) & ~known.all(axis=0))):
        indices = np.flatnonzero(known[:, group[0]])
        for start in range(0, group.size, _LINES_AT_A_TIME):
            lines = group[start : start + _LINES_AT_A_TIME]
            cells[:, lines] = recover_columns(rows, indices, cells[np.ix_(indices, lines)])
        known[:, group] = True


def _same_pattern(patterns: Mask, candidates: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Candidates grouped by their rows of `patterns`."""
    if candidates.size == 0:
        return
    distinct, group_of = np.unique(patterns[candidates], axis=0, return_inverse=True)
    for group in range(len(distinct)):
        yield candidates[group_of.reshape(-1) == group]


def _check_shapes(cells: Bytes, present: Mask) -> None:
    height = cells.shape[0] if cells.ndim else 0
    if (
        cells.dtype != np.uint8
        or cells.ndim != 3
        or cells.shape[1:] != (CELLS_PER_EXT_BLOB, BYTES_PER_CELL)
        or height % 2
        or not 2 <= height <= 2 * MAX_ROWS
    ):
        raise InvalidShape(
            f"a matrix must be u8[2R, {CELLS_PER_EXT_BLOB}, {BYTES_PER_CELL}], R in 1..{MAX_ROWS}, "
            f"got {cells.dtype}{list(cells.shape)}"
        )
    if present.dtype != np.bool_ or present.shape != cells.shape[:2]:
        raise InvalidShape(
            f"presence must be bool[{height}, {CELLS_PER_EXT_BLOB}], got {present.dtype}{list(present.shape)}"
        )


def _check_elements(cells: Bytes, present: Mask) -> None:
    for row in range(cells.shape[0]):
        columns = np.flatnonzero(present[row])
        position = first_invalid(cells[row, columns])
        if position is not None:
            column, element = divmod(position, FIELD_ELEMENTS_PER_CELL)
            raise InvalidFieldElement(row, int(columns[column]) * FIELD_ELEMENTS_PER_CELL + element)
