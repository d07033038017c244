"""Cells of the whole 2R x 128 matrix, checked against the R data commitments alone.

Rows 0..R-1 of the matrix are the data, rows R..2R-1 the parity. Commitments of parity rows are never sent:
they follow from those of the data rows, and their weights are folded into the verification equation. The
functions here do that with an engine, right for thousands of cells, or without one (None, see `folded`),
right for the samples of a light client, which need not wait for an engine to start. The answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable

from kzg.checks import check_cells, check_matrix_verification
from kzg.engine import Verifier
from kzg.errors import InvalidCell, InvalidPoint
from kzg.folded import FoldedVerifier
from kzg.types import Bytes, Indices


def verify_matrix_cells(
    verifier: Verifier | None,
    commitments: Bytes,
    row_indices: Indices,
    cell_indices: Indices,
    cells: Bytes,
    proofs: Bytes,
) -> bool:
    """Whether all k cells belong at their claimed positions, as one batch.

    Args:
        verifier: what computes; None means this process, without an engine.
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
    return _checked(verifier, commitments, row_indices, cell_indices, cells, proofs)(slice(None))


def find_invalid(
    verifier: Verifier | None,
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
    verify = _checked(verifier, commitments, row_indices, cell_indices, cells, proofs)

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


def _checked(
    verifier: Verifier | None,
    commitments: Bytes,
    row_indices: Indices,
    cell_indices: Indices,
    cells: Bytes,
    proofs: Bytes,
) -> Callable[[slice], bool]:
    """Checks shapes and indices; returns what verifies a part of the cells."""
    commitments, rows, columns, cells, proofs = check_matrix_verification(
        commitments, row_indices, cell_indices, cells, proofs
    )
    if verifier is not None:
        verify = verifier.verify_matrix_cells
        return lambda part: verify(commitments, rows[part], columns[part], cells[part], proofs[part])

    folded = FoldedVerifier(commitments)
    return lambda part: folded.verify(rows[part], columns[part], check_cells(cells[part]), proofs[part])
