from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kzg.errors import InvalidArray, InvalidCellIndex, InvalidPoint, InvalidRowIndex, LengthMismatch
from kzg.verification import find_invalid, verify_matrix_cells

ROWS = np.array([0, 5, 3, 2, 4, 1, 3, 0])
COLUMNS = np.array([0, 127, 64, 3, 3, 90, 64, 77])


def test_data_and_parity_cells_verify_against_the_data_commitments(engine, matrix) -> None:
    cells, proofs = matrix.at(ROWS, COLUMNS)
    assert verify_matrix_cells(engine, matrix.data_commitments, ROWS, COLUMNS, cells, proofs)
    assert find_invalid(engine, matrix.data_commitments, ROWS, COLUMNS, cells, proofs) == []


def test_indices_may_be_lists(engine, matrix) -> None:
    cells, proofs = matrix.at(ROWS, COLUMNS)
    arguments = (matrix.data_commitments, list(ROWS), COLUMNS.tolist(), cells, proofs)
    assert verify_matrix_cells(engine, *arguments)
    assert find_invalid(engine, *arguments) == []


@pytest.mark.parametrize("position", range(8))
def test_a_cell_of_another_place_is_wrong(engine, matrix, position: int) -> None:
    cells, proofs = matrix.at(ROWS, COLUMNS)
    rows = ROWS.copy()
    rows[position] = (rows[position] + 1) % 6
    assert not verify_matrix_cells(engine, matrix.data_commitments, rows, COLUMNS, cells, proofs)
    assert find_invalid(engine, matrix.data_commitments, rows, COLUMNS, cells, proofs) == [position]


@given(wrong=st.sets(st.integers(0, 39)))
@settings(max_examples=8, deadline=None)
def test_all_wrong_cells_are_found_whatever_is_wrong_with_them(engine, matrix, wrong: set[int]) -> None:
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
    found = find_invalid(engine, matrix.data_commitments, rows, columns, cells, proofs)
    assert found == sorted(wrong)


def test_no_cells(engine, matrix) -> None:
    nothing = np.empty((0, 2048), dtype=np.uint8), np.empty((0, 48), dtype=np.uint8)
    assert verify_matrix_cells(engine, matrix.data_commitments, [], [], *nothing)
    assert find_invalid(engine, matrix.data_commitments, [], [], *nothing) == []


@pytest.mark.parametrize("check", [verify_matrix_cells, find_invalid])
def test_malformed_input_is_refused(engine, matrix, check) -> None:
    commitments = matrix.data_commitments
    cells, proofs = matrix.at(ROWS, COLUMNS)
    for row in (-1, 6):
        with pytest.raises(InvalidRowIndex) as caught:
            check(engine, commitments, [*ROWS[:7], row], COLUMNS, cells, proofs)
        assert (caught.value.position, caught.value.index, caught.value.rows) == (7, row, 3)
    with pytest.raises(InvalidCellIndex):
        check(engine, commitments, ROWS, [*COLUMNS[:7], 128], cells, proofs)
    with pytest.raises(LengthMismatch):
        check(engine, commitments, ROWS[:7], COLUMNS, cells, proofs)
    with pytest.raises(LengthMismatch):
        check(engine, commitments, ROWS, COLUMNS, cells[:7], proofs)
    with pytest.raises(InvalidArray):
        check(engine, commitments, ROWS, COLUMNS, cells, proofs[:, :47])
    for row in (0, 3):  # the commitment itself, and one that a parity row needs
        broken = commitments.copy()
        broken[0] = 0
        with pytest.raises(InvalidPoint, match="commitment"):
            check(engine, broken, [row], [0], matrix.cells[[row], 0], matrix.proofs[[row], 0])
