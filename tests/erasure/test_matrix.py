"""Repair in two dimensions: random patterns, the smallest unrecoverable one, and the error for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.columns import parity_cells
from erasure.errors import InvalidFieldElement, InvalidShape, UnrecoverableMatrix
from erasure.field import Bytes
from erasure.matrix import repair_matrix
from erasure.rows import extend_rows

Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
ROWS = [1, 2, 3, 5]


@pytest.fixture(scope="module")
def matrices(random_blobs: Callable[[int, int], Bytes]) -> dict[int, Bytes]:
    """R -> complete matrix u8[2R, 128, 2048]."""
    built = {}
    for rows in ROWS:
        cells = extend_rows(random_blobs(rows, 50 + rows))
        built[rows] = np.concatenate([cells, parity_cells(cells)])
    return built


def damaged(matrix: Bytes, present: Mask) -> Bytes:
    """The matrix with bytes that are no elements in the cells that are not present."""
    copy = matrix.copy()
    copy[~present] = 255
    return copy


def stuck(present: Mask) -> tuple[list[int], list[int]]:
    """Rows and columns that no order of steps completes, cell by cell, independent of the code's passes."""
    known = [[bool(cell) for cell in row] for row in present]
    half = len(known) // 2
    moved = True
    while moved:
        moved = False
        for row in range(2 * half):
            if 64 <= sum(known[row]) < 128:
                known[row] = [True] * 128
                moved = True
        for column in range(128):
            if half <= sum(known[row][column] for row in range(2 * half)) < 2 * half:
                for row in range(2 * half):
                    known[row][column] = True
                moved = True
    rows = [row for row in range(2 * half) if not all(known[row])]
    columns = [column for column in range(128) if not all(line[column] for line in known)]
    return rows, columns


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ROWS), st.floats(0.0, 0.85), st.integers(0, 2**32))
def test_random_patterns(matrices: dict[int, Bytes], rows: int, missing: float, seed: int) -> None:
    matrix = matrices[rows]
    present = np.random.default_rng(seed).random((2 * rows, 128)) >= missing
    given_cells = damaged(matrix, present)
    before = given_cells.copy()
    lost_rows, lost_columns = stuck(present)
    if lost_rows:
        with pytest.raises(UnrecoverableMatrix) as caught:
            repair_matrix(given_cells, present)
        assert caught.value.rows == tuple(lost_rows)
        assert caught.value.columns == tuple(lost_columns)
    else:
        np.testing.assert_array_equal(repair_matrix(given_cells, present), matrix)
    np.testing.assert_array_equal(given_cells, before)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(ROWS), st.integers(0, 2**32))
def test_smallest_unrecoverable_pattern(matrices: dict[int, Bytes], rows: int, seed: int) -> None:
    """(R + 1) x 65 missing cells are refused and named; with any one of them back, all comes back."""
    rng = np.random.default_rng(seed)
    matrix = matrices[rows]
    lost_rows = np.sort(rng.permutation(2 * rows)[: rows + 1])
    lost_columns = np.sort(rng.permutation(128)[:65])
    present = np.ones((2 * rows, 128), dtype=np.bool_)
    present[np.ix_(lost_rows, lost_columns)] = False
    assert int((~present).sum()) == (rows + 1) * 65
    with pytest.raises(UnrecoverableMatrix) as caught:
        repair_matrix(damaged(matrix, present), present)
    assert caught.value.rows == tuple(lost_rows.tolist())
    assert caught.value.columns == tuple(lost_columns.tolist())

    present[lost_rows[rng.integers(rows + 1)], lost_columns[rng.integers(65)]] = True
    np.testing.assert_array_equal(repair_matrix(damaged(matrix, present), present), matrix)


def test_rows_and_columns_must_take_turns(matrices: dict[int, Bytes]) -> None:
    """No row can begin; column 5 completes rows 0 and 1, these the other columns, and these rows 2 and 3."""
    matrix, present = matrices[2], np.zeros((4, 128), dtype=np.bool_)
    present[:2, 65:] = True
    present[2, [5, *range(66, 100)]] = True
    present[3, [5, 80]] = True
    assert (present.sum(axis=1) < 64).all()
    assert stuck(present) == ([], [])
    np.testing.assert_array_equal(repair_matrix(damaged(matrix, present), present), matrix)

    present[3, 5] = False
    assert stuck(present) == ([0, 1, 3], list(range(65)))
    with pytest.raises(UnrecoverableMatrix):
        repair_matrix(damaged(matrix, present), present)


def test_one_quarter_of_the_matrix_is_enough(matrices: dict[int, Bytes]) -> None:
    for rows, matrix in matrices.items():
        present = np.zeros((2 * rows, 128), dtype=np.bool_)
        present[rows:, 64:] = True
        np.testing.assert_array_equal(repair_matrix(damaged(matrix, present), present), matrix)


def test_a_complete_matrix_is_copied(matrices: dict[int, Bytes]) -> None:
    matrix = matrices[1]
    repaired = repair_matrix(matrix, np.ones((2, 128), dtype=np.bool_))
    np.testing.assert_array_equal(repaired, matrix)
    assert not np.shares_memory(repaired, matrix)


def test_an_empty_matrix_is_unrecoverable(matrices: dict[int, Bytes]) -> None:
    with pytest.raises(UnrecoverableMatrix) as caught:
        repair_matrix(matrices[3], np.zeros((6, 128), dtype=np.bool_))
    assert caught.value.rows == tuple(range(6))
    assert caught.value.columns == tuple(range(128))


def test_an_element_that_is_not_canonical_is_named(matrices: dict[int, Bytes]) -> None:
    cells = matrices[2].copy()
    present = np.ones((4, 128), dtype=np.bool_)
    cells[3, 100, 64:96] = 255
    present[3, 7] = False
    with pytest.raises(InvalidFieldElement) as caught:
        repair_matrix(cells, present)
    assert (caught.value.row, caught.value.index) == (3, 100 * 64 + 2)
    present[3, 100] = False
    np.testing.assert_array_equal(repair_matrix(cells, present), matrices[2])


@pytest.mark.parametrize(
    ("cells", "present"),
    [
        (np.zeros((3, 128, 2048), np.uint8), np.ones((3, 128), np.bool_)),
        (np.zeros((0, 128, 2048), np.uint8), np.ones((0, 128), np.bool_)),
        (np.zeros((514, 128, 1), np.uint8), np.ones((514, 128), np.bool_)),
        (np.zeros((2, 127, 2048), np.uint8), np.ones((2, 127), np.bool_)),
        (np.zeros((2, 128, 2048), np.int8), np.ones((2, 128), np.bool_)),
        (np.zeros((2, 128, 2048), np.uint8), np.ones((2, 127), np.bool_)),
        (np.zeros((2, 128, 2048), np.uint8), np.ones((2, 128), np.uint8)),
        (np.zeros(2048, np.uint8), np.ones((2, 128), np.bool_)),
        (np.uint8(0), np.ones((2, 128), np.bool_)),
    ],
)
def test_other_shapes(cells: Any, present: Any) -> None:
    with pytest.raises(InvalidShape):
        repair_matrix(cells, present)
