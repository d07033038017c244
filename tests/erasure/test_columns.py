"""Columns: parity weights, parity cells and recovery for small, odd and the largest numbers of rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure import reference
from erasure.columns import (
    parity_cell,
    parity_cells,
    parity_weight_row,
    parity_weights,
    recover_columns,
)
from erasure.constants import BLS_MODULUS
from erasure.errors import InvalidCellIndices, InvalidFieldElement, InvalidShape, NotEnoughCells
from erasure.field import Bytes, elements_from_array
from erasure.rows import extend_rows

ROWS = [1, 2, 3, 5, 133, 256]


def random_cells(seed: int, *shape: int) -> Bytes:
    """u8[*shape, 2048] of canonical elements."""
    rng = np.random.default_rng(seed)
    elements = rng.integers(0, 256, (*shape, 64, 32), dtype=np.uint8)
    elements[..., 0] = rng.integers(0, 0x73, elements.shape[:-1], dtype=np.uint8)
    return elements.reshape(*shape, 2048)


def both_halves(cells: Bytes) -> Bytes:
    return np.concatenate([cells, parity_cells(cells)])


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 9, 17])
def test_weights_are_those_of_the_definition(rows: int) -> None:
    expected = reference.parity_weights(rows)
    assert [list(weights) for weights in parity_weights(rows)] == expected
    assert [list(parity_weight_row(rows, j)) for j in range(rows)] == expected


@pytest.mark.parametrize("rows", [133, 256])
def test_weights_of_large_batches(rows: int) -> None:
    """A few rows against the definition; a column of ones cannot hide a wrong weight in all of them."""
    weights = parity_weights(rows)
    assert len(weights) == rows
    assert {len(row) for row in weights} == {rows}
    domain = reference.bit_reversal_permutation(reference.compute_roots_of_unity(512))
    for j in (0, rows // 2, rows - 1):
        assert parity_weight_row(rows, j) == weights[j]
        for i in (0, 1, rows - 1):
            assert weights[j][i] == reference._lagrange(domain[:256], i, domain[256 + j])


def test_one_row_is_its_own_parity() -> None:
    assert parity_weights(1) == ((1,),)
    cells = random_cells(1, 1, 4)
    np.testing.assert_array_equal(parity_cells(cells), cells)


@pytest.mark.parametrize("rows", [0, -1, 257])
def test_numbers_of_rows_out_of_range(rows: int) -> None:
    with pytest.raises(InvalidShape):
        parity_weights(rows)
    with pytest.raises(InvalidShape):
        parity_weight_row(rows, 0)
    with pytest.raises(InvalidShape):
        recover_columns(rows, [], np.zeros((0, 1, 2048), dtype=np.uint8))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_parity_cells_are_those_of_the_reference(rows: int) -> None:
    cells = random_cells(rows, rows)
    expected = reference.parity_elements([elements_from_array(cell) for cell in cells])
    assert [elements_from_array(cell) for cell in parity_cells(cells)] == expected


@pytest.mark.parametrize("rows", ROWS)
def test_one_parity_cell_is_that_of_all(rows: int) -> None:
    cells = random_cells(rows, rows)
    parity = parity_cells(cells)
    for j in {0, rows // 2, rows - 1}:
        np.testing.assert_array_equal(parity_cell(cells, j), parity[j])


@pytest.mark.parametrize("rows", [3, 133])
def test_a_parity_cell_is_the_weighted_sum(rows: int) -> None:
    cells = random_cells(rows + 1, rows)
    first = [elements_from_array(cell[:32])[0] for cell in cells]
    weights = parity_weight_row(rows, rows - 1)
    expected = sum(w * e for w, e in zip(weights, first, strict=True)) % BLS_MODULUS
    assert elements_from_array(parity_cell(cells, rows - 1)[:32]) == [expected]


def test_columns_of_many_are_those_of_one() -> None:
    cells = random_cells(9, 5, 3, 7)
    parity = parity_cells(cells)
    assert parity.shape == cells.shape
    np.testing.assert_array_equal(parity[:, 2, 6], parity_cells(np.ascontiguousarray(cells[:, 2, 6])))
    np.testing.assert_array_equal(parity[:, 1], parity_cells(cells[:, 1]))


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6])
def test_each_parity_row_is_a_row_of_eip_7594(
    rows: int, random_blobs: Callable[[int, int], Bytes], ckzg_extend: Callable[[Bytes], Bytes]
) -> None:
    """Extending and taking parity commute: the parity of extended rows is the extension of parity blobs."""
    parity = parity_cells(extend_rows(random_blobs(rows, rows)))
    blobs = parity[:, :64].reshape(rows, -1)
    np.testing.assert_array_equal(extend_rows(blobs), parity)
    np.testing.assert_array_equal(ckzg_extend(blobs[-1:]), parity[-1:])


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_any_half_of_the_rows_gives_back_the_rest(rows: int) -> None:
    matrix = both_halves(random_cells(rows, rows, 2))
    for indices in combinations(range(2 * rows), rows):
        np.testing.assert_array_equal(recover_columns(rows, indices, matrix[list(indices)]), matrix)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(0, 2**32))
def test_random_halves_give_back_the_rest(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = both_halves(random_cells(seed, rows, 1))
    count = int(rng.integers(rows, 2 * rows + 1))
    indices = np.sort(rng.permutation(2 * rows)[:count])
    np.testing.assert_array_equal(recover_columns(rows, indices, matrix[indices]), matrix)


@pytest.mark.parametrize("rows", [133, 256])
def test_large_batches_come_back(rows: int) -> None:
    matrix = both_halves(random_cells(rows, rows, 2))
    rng = np.random.default_rng(rows)
    for indices in (np.arange(rows, 2 * rows), np.sort(rng.permutation(2 * rows)[:rows])):
        np.testing.assert_array_equal(recover_columns(rows, indices, matrix[indices]), matrix)


def test_too_few_or_bad_rows() -> None:
    matrix = both_halves(random_cells(2, 3, 1))
    with pytest.raises(NotEnoughCells) as caught:
        recover_columns(3, [0, 5], matrix[[0, 5]])
    assert (caught.value.actual, caught.value.required) == (2, 3)
    bad: list[list[int]] = [[0, 1, 6], [-1, 0, 1], [0, 0, 1], [1, 0, 2]]
    for indices in bad:
        with pytest.raises(InvalidCellIndices):
            recover_columns(3, indices, matrix[:3])


@pytest.mark.parametrize(
    "cells",
    [
        np.zeros(2048, dtype=np.uint8),
        np.zeros((2, 2047), dtype=np.uint8),
        np.zeros((0, 2048), dtype=np.uint8),
        np.zeros((257, 2048), dtype=np.uint8),
        np.zeros((2, 2048), dtype=np.uint16),
    ],
)
def test_cells_of_another_shape(cells: Any) -> None:
    with pytest.raises(InvalidShape):
        parity_cells(cells)
    with pytest.raises(InvalidShape):
        parity_cell(cells, 0)


def test_shapes_of_single_columns_and_indices() -> None:
    with pytest.raises(InvalidShape):
        parity_cell(random_cells(0, 2, 2), 0)
    for j in (-1, 2):
        with pytest.raises(InvalidShape):
            parity_cell(random_cells(0, 2), j)
    for shape in [(2, 2048), (3, 1, 2048), (2, 1, 2047)]:
        with pytest.raises(InvalidShape):
            recover_columns(2, [0, 1], np.zeros(shape, dtype=np.uint8))


def test_a_cell_that_is_not_canonical() -> None:
    cells = random_cells(4, 4, 2)
    cells[2, 1, 3 * 32 : 4 * 32] = 255
    with pytest.raises(InvalidFieldElement) as caught:
        parity_cells(cells)
    assert (caught.value.row, caught.value.index) == (2, 64 + 3)
    with pytest.raises(InvalidFieldElement):
        parity_cell(np.ascontiguousarray(cells[:, 1]), 0)
    with pytest.raises(InvalidFieldElement) as caught:
        recover_columns(4, [1, 3, 5, 7], cells)
    assert (caught.value.row, caught.value.index) == (5, 64 + 3)
