"""Cells of the whole 2R x 128 matrix, checked against the R data commitments alone.

Rows 0..R-1 of the matrix are the data, rows R..2R-1 the parity. Commitments of parity rows are never sent:
they follow from those of the data rows. There are two ways to use that, with the same answers:

- with an engine, the commitments of the parity rows that are asked for are derived (see `parity`), and a cell
  of either kind is one more cell of the engine's batch: right for thousands of cells;
- without one (None), the parity weights are folded into the verification equation (see `folded`): right for
  the samples of a light client, which need not wait for an engine to start.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erasure.constants import BYTES_PER_CELL
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from kzg.engine import Engine, check_bytes, check_cell_indices, check_cells, check_indices
from kzg.errors import InvalidCell, InvalidPoint, InvalidRowIndex, LengthMismatch
from kzg.folded import FoldedVerifier
from kzg.parity import parity_commitments
from kzg.types import Bytes, IndexArray, Indices


def verify_matrix_cells(
    engine: Engine | None,
    commitments: Bytes,
    row_indices: Indices,
    cell_indices: Indices,
    cells: Bytes,
    proofs: Bytes,
) -> bool:
    """Whether all k cells belong where they are said to be, as one batch.

    Args:
        engine: what computes; None means this process, without an engine.
        commitments: u8[R, 48] of the data rows.
        row_indices: k integers in 0..2R-1; R and above are parity rows.
        cell_indices: k integers in 0..127.
        cells: u8[k, 2048].
        proofs: u8[k, 48].

    Raises:
        KzgError: the input is malformed. The position of an InvalidPoint is a row for a commitment, a cell's
            position for a proof. A commitment that no cell depends on may go unchecked.
        EngineError: the engine broke down or is closed.
    """
    return _verifier(engine, commitments, row_indices, cell_indices, cells, proofs)(slice(None))


def find_invalid(
    engine: Engine | None,
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
        EngineError: the engine broke down or is closed.
    """
    verify = _verifier(engine, commitments, row_indices, cell_indices, cells, proofs)

    def right(start: int, stop: int) -> bool:
        try:
            return verify(slice(start, stop))
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

    return search(0, len(cells), known_wrong=False)


def _verifier(
    engine: Engine | None,
    commitments: Bytes,
    row_indices: Indices,
    cell_indices: Indices,
    cells: Bytes,
    proofs: Bytes,
) -> Callable[[slice], bool]:
    """Checks shapes and indices; returns what verifies a part of the cells."""
    commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    rows = _check_rows(row_indices, len(commitments))
    columns = check_cell_indices(cell_indices)
    cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
    proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
    for name, length in (("row_indices", len(rows)), ("cells", len(cells)), ("proofs", len(proofs))):
        if length != len(columns):
            raise LengthMismatch(name, length, len(columns))

    if engine is None:
        folded = FoldedVerifier(commitments)
        return lambda part: folded.verify(rows[part], columns[part], check_cells(cells[part]), proofs[part])

    row_commitments = _commitments_of_rows(commitments, rows)

    def verify_part(part: slice) -> bool:
        try:
            return engine.verify_cells(row_commitments[part], columns[part], cells[part], proofs[part])
        except InvalidPoint as error:
            if error.name == "commitment":
                raise InvalidPoint(error.name, int(rows[part][error.position])) from error
            raise

    return verify_part


def _check_rows(row_indices: Indices, count: int) -> IndexArray:
    """int64[k] in 0..2 count - 1."""
    rows = check_indices("row_indices", row_indices)
    outside = np.flatnonzero((rows < 0) | (rows >= 2 * count))
    if outside.size:
        position = int(outside[0])
        raise InvalidRowIndex(position, int(rows[position]), count)
    return rows


def _commitments_of_rows(commitments: Bytes, rows: IndexArray) -> Bytes:
    """u8[k, 48]: the commitment of each of the rows, those of parity rows derived."""
    count = len(commitments)
    # Data rows first, then parity rows: only those that are asked for are derived, each once.
    wanted = np.unique(rows[rows >= count])
    derived = parity_commitments(commitments, [int(row) - count for row in wanted])
    places = np.where(rows < count, rows, count + np.searchsorted(wanted, rows))
    return np.concatenate([commitments, derived])[places]
