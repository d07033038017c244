"""What every engine promises of parity rows: bytes, verification against data commitments, typed errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, Scalar

from erasure import columns
from erasure.constants import BLS_MODULUS
from kzg import parity
from kzg.errors import (
    EngineClosed,
    InvalidArray,
    InvalidCell,
    InvalidCellIndex,
    InvalidPoint,
    InvalidRowIndex,
    KzgError,
    LengthMismatch,
)
from kzg.types import Bytes
from tests.kzg.conftest import opened_engine
from tests.kzg.hostile import MALFORMED_POINTS, changed_cells, changed_indices, changed_points

HEIGHTS = [1, 2, 3, 5, 64, 133]
COLUMN = 77


def some_rows(height: int) -> list[int]:
    """First, last, some between, and one again: in no order."""
    return [height - 1, 0, height // 2, height - 1, height // 3, height // 5]


def data_cells(height: int, width: int) -> Bytes:
    """u8[height, width, 2048] of random elements, with the edges of the field among them."""
    cells = np.random.default_rng(height).integers(0, 256, (height, width, 64, 32), dtype=np.uint8)
    cells[..., 0] &= 0x3F
    edges = [0, 1, BLS_MODULUS - 1]
    cells[0, 0, :3] = [list(value.to_bytes(32, "big")) for value in edges]
    cells[-1, -1, 61:] = cells[0, 0, :3]
    return cells.reshape(height, width, 2048)


@pytest.mark.parametrize("height", HEIGHTS)
def test_parity_cells_are_those_of_the_code(engine, height: int) -> None:
    cells = data_cells(height, 3)
    expected = columns.parity_cells(cells)
    assert np.array_equal(engine.parity_cells(cells), expected)
    for rows in ([0], [height - 1], some_rows(height), np.array(some_rows(height), dtype=np.uint8), []):
        assert np.array_equal(engine.parity_cells(cells, rows), expected[list(rows)])


def test_whole_rows_have_whole_parity_rows(engine, matrix) -> None:
    assert np.array_equal(engine.parity_cells(matrix.cells[:3]), matrix.cells[3:])
    assert np.array_equal(engine.parity_cells(matrix.cells[:3, 5:9], [2]), matrix.cells[5:, 5:9])


@pytest.mark.parametrize("height", HEIGHTS)
def test_parity_proofs_are_the_weighted_sums(engine, height: int) -> None:
    """Points with known logarithms, infinity, equal and opposite ones among them."""
    logarithms = [pow(3, 7 * i + 1, BLS_MODULUS) for i in range(height)]
    for i, value in zip(range(1, height), (0, 1, -1, 1, 2), strict=False):
        logarithms[i] = value * logarithms[0] % BLS_MODULUS
    points = b"".join((G1Point() * Scalar(x)).to_compressed_bytes() for x in logarithms)
    proofs = np.frombuffer(points, dtype=np.uint8).reshape(height, 48)

    weights = columns.parity_weights(height)
    sums = [sum(w * x for w, x in zip(row, logarithms, strict=True)) % BLS_MODULUS for row in weights]
    derived = b"".join((G1Point() * Scalar(x)).to_compressed_bytes() for x in sums)
    expected = np.frombuffer(derived, dtype=np.uint8).reshape(height, 48)
    assert np.array_equal(engine.parity_proofs(proofs), expected)
    for rows in ([0], [height - 1], some_rows(height), np.array(some_rows(height), dtype=np.uint8), []):
        assert np.array_equal(engine.parity_proofs(proofs, rows), expected[list(rows)])


def test_parity_proofs_are_those_of_parity_rows_as_blobs(engine, matrix) -> None:
    for column in range(0, 128, 9):
        assert np.array_equal(engine.parity_proofs(matrix.proofs[:3, column]), matrix.proofs[3:, column])
    assert np.array_equal(engine.parity_proofs(matrix.data_commitments), matrix.commitments[3:])


def test_rows_at_infinity_have_parity_at_infinity(engine) -> None:
    infinity = np.tile(np.frombuffer(b"\xc0" + bytes(47), dtype=np.uint8), (5, 1))
    assert np.array_equal(engine.parity_proofs(infinity), infinity)


def test_nothing_has_no_parity(engine) -> None:
    assert engine.parity_cells(np.empty((0, 3, 2048), dtype=np.uint8)).shape == (0, 3, 2048)
    assert engine.parity_cells(np.empty((4, 0, 2048), dtype=np.uint8)).shape == (4, 0, 2048)
    assert engine.parity_cells(np.empty((4, 0, 2048), dtype=np.uint8), [3]).shape == (1, 0, 2048)
    assert engine.parity_proofs(np.empty((0, 48), dtype=np.uint8)).shape == (0, 48)


def test_arrays_need_not_be_contiguous(engine, matrix) -> None:
    records = np.concatenate([matrix.cells[:3, COLUMN], matrix.proofs[:3, COLUMN]], axis=1)
    records.flags.writeable = False
    assert np.array_equal(engine.parity_cells(records[:, None, :2048])[:, 0], matrix.cells[3:, COLUMN])
    assert np.array_equal(engine.parity_proofs(records[:, 2048:]), matrix.proofs[3:, COLUMN])


@pytest.mark.parametrize(
    "cells",
    [
        np.zeros((2, 2048), dtype=np.uint8),
        np.zeros((2, 3, 2047), dtype=np.uint8),
        np.zeros((2, 3, 2048), dtype=np.int8),
        np.zeros((257, 1, 2048), dtype=np.uint8),
        bytes(4096),
        None,
    ],
    ids=["2-D", "short", "signed", "too many rows", "bytes", "None"],
)
def test_malformed_cells_of_columns_are_refused(engine, cells: object) -> None:
    with pytest.raises(InvalidArray, match="cells"):
        engine.parity_cells(cells)


@pytest.mark.parametrize(
    "proofs",
    [
        np.zeros(48, dtype=np.uint8),
        np.zeros((2, 47), dtype=np.uint8),
        np.zeros((2, 48), dtype=np.uint16),
        np.zeros((257, 48), dtype=np.uint8),
        bytes(96),
        None,
    ],
    ids=["1-D", "short", "words", "too many rows", "bytes", "None"],
)
def test_malformed_proofs_of_columns_are_refused(engine, proofs: object) -> None:
    with pytest.raises(InvalidArray, match="proofs"):
        engine.parity_proofs(proofs)


@pytest.mark.parametrize("operation", ["parity_cells", "parity_proofs"])
def test_parity_rows_are_in_range(engine, matrix, operation: str) -> None:
    given = {"parity_cells": matrix.cells[:3, 5:6], "parity_proofs": matrix.proofs[:3, 5]}[operation]
    for row in (-1, 3, 2**40):
        with pytest.raises(InvalidRowIndex) as caught:
            getattr(engine, operation)(given, [2, row])
        assert (caught.value.position, caught.value.index, caught.value.rows) == (1, 3 + row, 3)
    for rows in (1, [0.5], [[1]], ["1"], [True], [2**70]):
        with pytest.raises(InvalidArray, match="parity_rows"):
            getattr(engine, operation)(given, rows)


@pytest.mark.parametrize("parity_rows", [None, [0], []])
def test_elements_of_columns_are_canonical(engine, parity_rows: list[int] | None) -> None:
    cells = data_cells(3, 4)
    cells[1, 2, 32:64] = list(BLS_MODULUS.to_bytes(32, "big"))
    with pytest.raises(InvalidCell) as caught:
        engine.parity_cells(cells, parity_rows)
    assert (caught.value.position, caught.value.element) == (6, 1)


@pytest.mark.parametrize("height", [3, 64])
@pytest.mark.parametrize("point", MALFORMED_POINTS)
def test_malformed_proofs_are_named(engine, matrix, height: int, point: str) -> None:
    proofs = matrix.proofs.reshape(-1, 48)[:height].copy()
    proofs[[1, height - 1]] = np.frombuffer(MALFORMED_POINTS[point], dtype=np.uint8)
    for rows in (None, [0]):
        with pytest.raises(InvalidPoint) as caught:
            engine.parity_proofs(proofs, rows)
        assert (caught.value.name, caught.value.position) == ("proof", 1)


# --- verification with the weights folded in


def column_batch(matrix, height: int, rows: list[int]) -> list[Any]:
    """The arguments for cells of one column, of a matrix that repeats three rows to the height."""
    data = np.arange(height) % 3
    cells = matrix.cells[data, COLUMN]
    proofs = matrix.proofs[data, COLUMN]
    wanted = [row - height for row in rows if row >= height]
    both_cells = np.concatenate([cells, parity.parity_cells(cells[:, None], wanted)[:, 0]])
    both_proofs = np.concatenate([proofs, parity.parity_proofs(proofs, wanted)])
    places, derived = [], height
    for row in rows:
        places.append(row if row < height else derived)
        derived += row >= height
    where = np.full(len(rows), COLUMN)
    return [matrix.commitments[data], np.array(rows), where, both_cells[places], both_proofs[places]]


def rows_of(height: int, which: str) -> list[int]:
    one = height + height // 2
    return {"one": [one], "several": [one, 0, height, one], "all": list(range(2 * height))}[which]


def answer(engine, batch: list[Any]) -> bool:
    """False also where a point or a cell is no longer one."""
    try:
        return bool(engine.verify_matrix_cells(*batch))
    except (InvalidPoint, InvalidCell):
        return False


@pytest.mark.parametrize("which", ["one", "several", "all"])
@pytest.mark.parametrize("height", HEIGHTS)
def test_cells_of_data_and_parity_rows_verify(engine, matrix, height: int, which: str) -> None:
    batch = column_batch(matrix, height, rows_of(height, which))
    assert engine.verify_matrix_cells(*batch) is True
    batch[3][-1, -1] ^= 1
    assert engine.verify_matrix_cells(*batch) is False


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_folded_verification_answers_as_the_separate_one(engine, matrix, data: st.DataObject) -> None:
    """The same cells against the data commitments with folded weights, and against all six commitments."""
    cells = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 127)), min_size=1, max_size=12))
    rows, columns_of = (np.array(side) for side in zip(*cells, strict=True))
    values, proofs = matrix.at(rows, columns_of)
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(rows) - 1))
        which = data.draw(st.sampled_from(["cell", "proof", "column", "row"]))
        if which == "cell":
            values[position, 32 * data.draw(st.integers(0, 63)) + 31] ^= 1 << data.draw(st.integers(0, 7))
        elif which == "proof":
            proofs[position] = matrix.proofs[data.draw(st.integers(0, 5)), data.draw(st.integers(0, 127))]
        elif which == "column":
            columns_of[position] = data.draw(st.integers(0, 127))
        else:
            rows[position] = data.draw(st.integers(0, 5))
    separate = engine.verify_cells(matrix.commitments[rows], columns_of, values, proofs)
    assert engine.verify_matrix_cells(matrix.data_commitments, rows, columns_of, values, proofs) is separate


def test_each_changed_byte_of_one_item_of_a_matrix_is_noticed(engine, matrix) -> None:
    """Every byte of a commitment and of a parity cell's proof, every element of the cell, every index."""
    rows, columns_of = [0, 4, 5, 2, 1], [3, 3, 90, 127, 64]
    batch = [matrix.data_commitments, rows, columns_of, *matrix.at(rows, columns_of)]
    assert engine.verify_matrix_cells(*batch) is True
    position = 1
    changes = (
        changed_points(batch[0], position),
        changed_indices(rows, position, 6),
        changed_indices(columns_of, position, 128),
        changed_cells(batch[3], position),
        changed_points(batch[4], position),
    )
    for which, changed in enumerate(changes):
        for count, array in enumerate(changed, 1):
            assert not answer(engine, [*batch[:which], array, *batch[which + 1 :]]), (which, count)
        assert count == [48, 5, 127, 64, 48][which]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_changed_bit_makes_the_batch_wrong(engine, matrix, data: st.DataObject) -> None:
    height = data.draw(st.sampled_from([1, 2, 3, 5]))
    batch = [array.copy() for array in column_batch(matrix, height, list(range(2 * height)))]
    which = data.draw(st.sampled_from([0, 1, 2, 3, 4]))
    position = data.draw(st.integers(0, len(batch[which]) - 1))
    if which == 1:
        other = (position + data.draw(st.integers(1, 2 * height - 1))) % (2 * height)
        assume(not np.array_equal(batch[3][position], batch[3][other]))  # rows are repeated
        batch[1][position] = other
    elif which == 2:
        batch[2][position] ^= 1 << data.draw(st.integers(0, 6))
    else:
        byte = data.draw(st.integers(0, batch[which].shape[1] - 1))
        batch[which][position, byte] ^= 1 << data.draw(st.integers(0, 7))
    assert not answer(engine, batch)


def test_another_point_in_place_of_a_proof_or_commitment_is_wrong(engine, matrix) -> None:
    batch = column_batch(matrix, 5, list(range(10)))
    for which in (0, 4):
        for position in range(len(batch[which])):
            wrong = [array.copy() for array in batch]
            wrong[which][position] = matrix.proofs[0, 0]
            assert engine.verify_matrix_cells(*wrong) is False


def test_commitments_in_another_order_are_wrong(engine, matrix) -> None:
    batch = column_batch(matrix, 3, [3])
    batch[0] = batch[0][[1, 0, 2]]
    assert engine.verify_matrix_cells(*batch) is False


def test_no_cells_of_a_matrix_verify(engine, matrix) -> None:
    nothing = np.empty((0, 2048), dtype=np.uint8), np.empty((0, 48), dtype=np.uint8)
    for commitments in (matrix.data_commitments, matrix.commitments[:0]):
        assert engine.verify_matrix_cells(commitments, [], [], *nothing) is True


def test_malformed_arguments_of_a_matrix_are_refused(engine, matrix) -> None:
    good = column_batch(matrix, 3, [0, 4])
    too_many = np.repeat(matrix.commitments[:1], 257, axis=0)
    cases: list[tuple[int, Any, type[KzgError], dict[str, Any]]] = [
        (0, too_many, InvalidArray, {"name": "commitments"}),
        (0, good[0][:, :47], InvalidArray, {"name": "commitments"}),
        (0, None, InvalidArray, {"name": "commitments"}),
        (0, good[0][:0], InvalidRowIndex, {"position": 0, "index": 0, "rows": 0}),
        (1, [0, 6], InvalidRowIndex, {"position": 1, "index": 6, "rows": 3}),
        (1, [-1, 0], InvalidRowIndex, {"position": 0, "index": -1, "rows": 3}),
        (1, [0.0, 4.0], InvalidArray, {"name": "row_indices"}),
        (1, [0], LengthMismatch, {"name": "row_indices", "actual": 1, "expected": 2}),
        (2, [0, 128], InvalidCellIndex, {"position": 1, "index": 128}),
        (3, good[3][:1], LengthMismatch, {"name": "cells", "actual": 1, "expected": 2}),
        (3, good[3][:, :2047], InvalidArray, {"name": "cells"}),
        (4, good[4][:1], LengthMismatch, {"name": "proofs", "actual": 1, "expected": 2}),
        (4, good[4].astype(np.int16), InvalidArray, {"name": "proofs"}),
    ]
    for which, value, error, fields in cases:
        with pytest.raises(error) as caught:
            engine.verify_matrix_cells(*good[:which], value, *good[which + 1 :])
        assert {name: getattr(caught.value, name) for name in fields} == fields


@pytest.mark.parametrize("row", [0, 1, 4], ids=["of its row", "of another row", "of a parity row"])
def test_malformed_points_and_cells_of_a_matrix_are_named(engine, matrix, row: int) -> None:
    for which, name in ((0, "commitment"), (4, "proof")):
        for point in (bytes(48), b"\x80" + bytes(47)):
            batch = [array.copy() for array in column_batch(matrix, 3, [row, row, row])]
            batch[which][[0, 2]] = np.frombuffer(point, dtype=np.uint8)
            with pytest.raises(InvalidPoint) as caught:
                engine.verify_matrix_cells(*batch)
            assert (caught.value.name, caught.value.position) == (name, 0)
    batch = [array.copy() for array in column_batch(matrix, 3, [row, row, row])]
    batch[3][1, 64:96] = 0xFF
    with pytest.raises(InvalidCell) as bad:
        engine.verify_matrix_cells(*batch)
    assert (bad.value.position, bad.value.element) == (1, 2)


def test_a_closed_engine_answers_nothing(engine, matrix) -> None:
    with opened_engine(engine.name, workers=1) as closed:
        pass
    column, points = matrix.cells[:3, :1], matrix.proofs[:3, 0]
    batch = column_batch(matrix, 3, [0, 4])
    nothing = [batch[0], *(array[:0] for array in batch[1:])]
    for call in (
        lambda: closed.recover(range(64), matrix.cells[:1, :64]),
        lambda: closed.recover_proofs(range(64), matrix.proofs[:1, :64], [99]),
        lambda: closed.recover_proofs(range(64), matrix.proofs[:0, :64], [99]),
        lambda: closed.parity_cells(column),
        lambda: closed.parity_cells(column, []),
        lambda: closed.parity_proofs(points),
        lambda: closed.parity_proofs(points, []),
        lambda: closed.verify_matrix_cells(*batch),
        lambda: closed.verify_matrix_cells(*nothing),
    ):
        with pytest.raises(EngineClosed):
            call()
