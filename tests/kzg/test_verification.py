from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point

from erasure.columns import parity_cell
from kzg.errors import (
    InvalidArray,
    InvalidCell,
    InvalidCellIndex,
    InvalidPoint,
    InvalidRowIndex,
    LengthMismatch,
)
from kzg.parity import parity_proofs
from kzg.points import decode_points
from kzg.verification import find_invalid, verify_matrix_cells


@pytest.fixture(scope="module", params=["with an engine", "without"])
def verifier(request, engine):
    """What is passed as the engine: one, or None."""
    return engine if request.param == "with an engine" else None


ROWS = np.array([0, 5, 3, 2, 4, 1, 3, 0])
COLUMNS = np.array([0, 127, 64, 3, 3, 90, 64, 77])


def test_data_and_parity_cells_verify_against_the_data_commitments(verifier, matrix) -> None:
    cells, proofs = matrix.at(ROWS, COLUMNS)
    assert verify_matrix_cells(verifier, matrix.data_commitments, ROWS, COLUMNS, cells, proofs)
    assert find_invalid(verifier, matrix.data_commitments, ROWS, COLUMNS, cells, proofs) == []


def test_indices_may_be_lists(verifier, matrix) -> None:
    cells, proofs = matrix.at(ROWS, COLUMNS)
    arguments = (matrix.data_commitments, list(ROWS), COLUMNS.tolist(), cells, proofs)
    assert verify_matrix_cells(verifier, *arguments)
    assert find_invalid(verifier, *arguments) == []


@pytest.mark.parametrize("position", range(8))
def test_a_cell_of_another_place_is_wrong(verifier, matrix, position: int) -> None:
    cells, proofs = matrix.at(ROWS, COLUMNS)
    rows = ROWS.copy()
    rows[position] = (rows[position] + 1) % 6
    assert not verify_matrix_cells(verifier, matrix.data_commitments, rows, COLUMNS, cells, proofs)
    assert find_invalid(verifier, matrix.data_commitments, rows, COLUMNS, cells, proofs) == [position]


def test_errors_that_cancel_out_are_found(verifier, matrix) -> None:
    """Two proofs of one column, off by +G and -G: only the random weights tell."""
    rows, columns = [0, 1, 3], [7, 7, 7]
    cells, proofs = matrix.at(rows, columns)
    first, second = decode_points("proof", proofs[:2])
    shifted = (first + G1Point()).to_compressed_bytes() + (second - G1Point()).to_compressed_bytes()
    proofs[:2] = np.frombuffer(shifted, dtype=np.uint8).reshape(2, 48)
    assert not verify_matrix_cells(verifier, matrix.data_commitments, rows, columns, cells, proofs)
    assert find_invalid(verifier, matrix.data_commitments, rows, columns, cells, proofs) == [0, 1]


@given(wrong=st.sets(st.integers(0, 39)))
@settings(max_examples=8, deadline=None)
def test_all_wrong_cells_are_found_for_any_kind_of_fault(verifier, matrix, wrong: set[int]) -> None:
    rng = np.random.default_rng(4)
    rows, columns = rng.integers(0, 6, 40), rng.integers(0, 128, 40)
    cells, proofs = matrix.at(rows, columns)
    for position in wrong:
        if position % 4 == 0:
            cells[position, -1] ^= 1  # another cell
        elif position % 4 == 1:
            cells[position, :32] = 0xFF  # no field element
        elif position % 4 == 2:
            proofs[position] = matrix.commitments[0]  # another point
        else:
            proofs[position] = 0  # no point
    found = find_invalid(verifier, matrix.data_commitments, rows, columns, cells, proofs)
    assert found == sorted(wrong)


def test_no_cells(verifier, matrix) -> None:
    nothing = np.empty((0, 2048), dtype=np.uint8), np.empty((0, 48), dtype=np.uint8)
    assert verify_matrix_cells(verifier, matrix.data_commitments, [], [], *nothing)
    assert find_invalid(verifier, matrix.data_commitments, [], [], *nothing) == []


@pytest.mark.parametrize("check", [verify_matrix_cells, find_invalid])
def test_malformed_input_is_refused(verifier, matrix, check) -> None:
    commitments = matrix.data_commitments
    cells, proofs = matrix.at(ROWS, COLUMNS)
    for row in (-1, 6):
        with pytest.raises(InvalidRowIndex) as caught:
            check(verifier, commitments, [*ROWS[:7], row], COLUMNS, cells, proofs)
        assert (caught.value.position, caught.value.index, caught.value.rows) == (7, row, 3)
    with pytest.raises(InvalidCellIndex):
        check(verifier, commitments, ROWS, [*COLUMNS[:7], 128], cells, proofs)
    with pytest.raises(LengthMismatch):
        check(verifier, commitments, ROWS[:7], COLUMNS, cells, proofs)
    with pytest.raises(LengthMismatch):
        check(verifier, commitments, ROWS, COLUMNS, cells[:7], proofs)
    with pytest.raises(InvalidArray):
        check(verifier, commitments, ROWS, COLUMNS, cells, proofs[:, :47])
    for row in (0, 3):  # the commitment itself, and one that a parity row needs
        broken = commitments.copy()
        broken[0] = 0
        with pytest.raises(InvalidPoint, match="commitment 0"):
            check(verifier, broken, [1, row], [0, 0], matrix.cells[[1, row], 0], matrix.proofs[[1, row], 0])
    cells[3, :32] = 0xFF
    with pytest.raises(InvalidCell):
        verify_matrix_cells(verifier, commitments, ROWS, COLUMNS, cells, proofs)
    proofs[2] = 0
    with pytest.raises(InvalidPoint, match="proof 2"):
        verify_matrix_cells(verifier, commitments, ROWS[:3], COLUMNS[:3], cells[:3], proofs[:3])


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 256])
def test_matrices_of_any_height(verifier, matrix, rows: int) -> None:
    """Rows are repeated to the height; parity cells and proofs are derived from the column."""
    data = np.arange(rows) % 3
    commitments = matrix.commitments[data]
    wanted = [(0, 3), (rows - 1, 64), (rows, 3), (2 * rows - 1, 100), (rows + rows // 2, 127)]
    cells, proofs = [], []
    for row, column in wanted:
        if row < rows:
            cells.append(matrix.cells[data[row], column])
            proofs.append(matrix.proofs[data[row], column])
        else:
            cells.append(parity_cell(matrix.cells[data, column], row - rows))
            proofs.append(parity_proofs(matrix.proofs[data, column], [row - rows])[0])
    batch = (*zip(*wanted, strict=True), np.stack(cells), np.stack(proofs))
    assert verify_matrix_cells(verifier, commitments, *batch)
    batch[2][3, 63] ^= 1
    assert find_invalid(verifier, commitments, *batch) == [3]


def test_more_cells_than_one_product_holds(verifier, matrix) -> None:
    rng = np.random.default_rng(11)
    rows, columns = rng.integers(0, 6, 600), rng.integers(0, 128, 600)
    cells, proofs = matrix.at(rows, columns)
    assert verify_matrix_cells(verifier, matrix.data_commitments, rows, columns, cells, proofs)
    cells[599, 2047] ^= 1
    assert not verify_matrix_cells(verifier, matrix.data_commitments, rows, columns, cells, proofs)
