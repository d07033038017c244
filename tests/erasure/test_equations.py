"""Equations of a column: against plain integers, and against what a column really holds."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure import columns, equations
from erasure.constants import BLS_MODULUS, BYTES_PER_CELL, FIELD_ELEMENTS_PER_CELL
from erasure.errors import InvalidFieldElement, InvalidShape
from erasure.field import elements_from_array, elements_to_array


def column_of(rows: int, rng: random.Random) -> np.ndarray:
    values = [rng.randrange(BLS_MODULUS) for _ in range(rows * FIELD_ELEMENTS_PER_CELL)]
    return elements_to_array(values).reshape(rows, BYTES_PER_CELL).copy()


def side_of(weights: list[int], column: np.ndarray) -> np.ndarray:
    """The weighted sum of a column's cells, in plain integers."""
    cells = [elements_from_array(cell) for cell in column]
    sums = [
        sum(weight * cell[element] for weight, cell in zip(weights, cells, strict=True)) % BLS_MODULUS
        for element in range(FIELD_ELEMENTS_PER_CELL)
    ]
    return elements_to_array(sums).reshape(BYTES_PER_CELL)


def unit(rows: int, row: int) -> list[int]:
    return [int(i == row) for i in range(rows)]


def solved(rows: int, given_equations: list[list[int]], column: np.ndarray) -> np.ndarray | None:
    solution = equations.solve(rows, given_equations)
    if solution is None:
        return None
    return solution.apply(np.stack([side_of(given_equations[k], column) for k in solution.chosen]))


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 17])
def test_random_equations_give_the_column_back(rows: int) -> None:
    rng = random.Random(rows)
    column = column_of(rows, rng)
    folds = [[rng.getrandbits(128) for _ in range(rows)] for _ in range(rows)]
    assert equations.solve(rows, folds[:-1]) is None
    assert np.array_equal(solved(rows, folds, column), column)


@given(st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_folds_data_cells_and_parity_cells_mix(rows: int, rng: random.Random) -> None:
    column = column_of(rows, rng)
    known = [unit(rows, row) for row in range(rows)]
    known += [list(columns.parity_weight_row(rows, index)) for index in range(rows)]
    known += [[rng.getrandbits(128) for _ in range(rows)] for _ in range(rows)]
    rng.shuffle(known)
    assert np.array_equal(solved(rows, known[: 2 * rows], column), column)


def test_any_half_of_the_cells_of_an_extended_column_is_enough() -> None:
    rng = random.Random(4)
    rows, column = 4, column_of(4, rng)
    cells = [unit(rows, row) for row in range(rows)]
    cells += [list(columns.parity_weight_row(rows, index)) for index in range(rows)]
    for _ in range(10):
        assert np.array_equal(solved(rows, rng.sample(cells, rows), column), column)


def test_what_follows_from_others_is_left_out() -> None:
    rows = 3
    first, second, third = [1, 2, 3], [5, 7, 11], [0, 0, 1]
    total = [a + b for a, b in zip(first, second, strict=True)]
    multiple = [BLS_MODULUS - value for value in first]
    solution = equations.solve(rows, [[0, 0, 0], first, multiple, second, total, first, third])
    assert solution is not None
    assert solution.chosen == (1, 3, 6)
    assert equations.solve(rows, [[0, 0, 0], first, multiple, second, total, first]) is None


def test_extreme_weights() -> None:
    rng = random.Random(6)
    rows, column = 3, column_of(3, rng)
    top = 2**128 - 1
    given_equations = [[top, 0, 0], [top, top, 0], [BLS_MODULUS - 1, top, top]]
    assert np.array_equal(solved(rows, given_equations, column), column)


def test_most_rows() -> None:
    rng = random.Random(7)
    rows = 256
    swapped = [unit(rows, row) for row in range(rows)]
    rng.shuffle(swapped)
    swapped[0] = [rng.getrandbits(128) for _ in range(rows)]
    solution = equations.solve(rows, swapped)
    assert solution is not None
    column = column_of(rows, rng)
    assert np.array_equal(
        solution.apply(np.stack([side_of(swapped[0], column), *(column[w.index(1)] for w in swapped[1:])])),
        column,
    )


def test_refuses_other_shapes() -> None:
    for rows in (0, 257):
        with pytest.raises(InvalidShape):
            equations.solve(rows, [])
    with pytest.raises(InvalidShape, match="equation 1 has 2 weights, not 3"):
        equations.solve(3, [[1, 0, 0], [1, 0]])
    solution = equations.solve(1, [[3]])
    assert solution is not None
    with pytest.raises(InvalidShape):
        solution.apply(np.zeros((2, BYTES_PER_CELL), dtype=np.uint8))
    with pytest.raises(InvalidFieldElement):
        solution.apply(np.full((1, BYTES_PER_CELL), 255, dtype=np.uint8))
