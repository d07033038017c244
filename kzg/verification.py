"""Cells of the whole 2R x 128 matrix, checked against the R data commitments alone.

Rows 0..R-1 of the matrix are the data, rows R..2R-1 the parity. Commitments of parity rows are never sent:
they follow from those of the data rows (see `parity`), and a cell of either kind is then one more cell in the
engine's single batch.
"""

from __future__ import annotations

import numpy as np

from erasure.constants import BYTES_PER_CELL
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from kzg.engine import Engine, check_bytes, check_cell_indices, check_indices
from kzg.errors import InvalidCell, InvalidPoint, InvalidRowIndex, LengthMismatch
from kzg.parity import parity_commitments
from kzg.types import Bytes, IndexArray, Indices


def verify_matrix_cells(
    engine: Engine,
    commitments: Bytes,
    row_indices: Indices,
    cell_indices: Indices,
    cells: Bytes,
    proofs: Bytes,
) -> bool:
    """Whether all k cells belong where they are said to be, as one batch.

    Args:
        commitments: u8[R, 48] of the data rows.
        row_indices: k integers in 0..2R-1; R and above are parity rows.
        cell_indices: k integers in 0..127.
        cells: u8[k, 2048].
        proofs: u8[k, 48].

    Raises:
        KzgError: the input is malformed (see `Engine.verify_cells`); InvalidRowIndex.
    """
    batch = _batch(commitments, row_indices, cell_indices, cells, proofs)
    return engine.verify_cells(*batch)


def find_invalid(
    engine: Engine,
    commitments: Bytes,
    row_indices: Indices,
    cell_indices: Indices,
    cells: Bytes,
    proofs: Bytes,
) -> list[int]:
    """Positions (0..k-1, ascending) of the cells that are wrong, by bisection; empty if all are right.

    A cell that is not canonical, or a proof that is no point, is wrong like any other. b wrong cells of k
    take about b log2(k) verifications.

    Args:
        As of `verify_matrix_cells`.

    Raises:
        KzgError: shapes, indices or commitments are malformed.
    """
    row_commitments, columns, cells, proofs = _batch(commitments, row_indices, cell_indices, cells, proofs)

    def right(start: int, stop: int) -> bool:
        part = slice(start, stop)
        try:
            return engine.verify_cells(row_commitments[part], columns[part], cells[part], proofs[part])
        except InvalidCell:
            return False
        except InvalidPoint as error:
            if error.name != "proof":
                raise
            return False

    def search(start: int, stop: int, known_wrong: bool) -> list[int]:
        if start == stop or (not known_wrong and right(start, stop)):
            return []
        if stop - start == 1:
            return [start]
        middle = (start + stop) // 2
        first = search(start, middle, known_wrong=False)
        return first + search(middle, stop, known_wrong=not first)

    return search(0, len(row_commitments), known_wrong=False)


def _batch(
    commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
) -> tuple[Bytes, IndexArray, Bytes, Bytes]:
    """The arguments of `Engine.verify_cells`, shapes and indices checked."""
    commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    rows = check_indices("row_indices", row_indices)
    columns = check_cell_indices(cell_indices)
    cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
    proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
    for name, length in (("row_indices", len(rows)), ("cells", len(cells)), ("proofs", len(proofs))):
        if length != len(columns):
            raise LengthMismatch(name, length, len(columns))
    return _commitments_of_rows(commitments, rows), columns, cells, proofs


def _commitments_of_rows(commitments: Bytes, rows: IndexArray) -> Bytes:
    """u8[k, 48]: the commitment of each of the rows, those of parity rows derived."""
    count = len(commitments)
    outside = np.flatnonzero((rows < 0) | (rows >= 2 * count))
    if outside.size:
        position = int(outside[0])
        raise InvalidRowIndex(position, int(rows[position]), count)

    # Data rows first, then parity rows: only those that are asked for are derived, each once.
    wanted = np.unique(rows[rows >= count])
    derived = parity_commitments(commitments, [int(row) - count for row in wanted])
    places = np.where(rows < count, rows, count + np.searchsorted(wanted, rows))
    return np.concatenate([commitments, derived])[places]
