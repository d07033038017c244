"""What every engine promises: the bytes of c-kzg, and typed errors for malformed input."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.constants import BLS_MODULUS
from kzg.checks import check_indices
from kzg.engine import Engine
from kzg.errors import (
    EngineFailed,
    InvalidArray,
    InvalidBlob,
    InvalidCell,
    InvalidCellIndex,
    InvalidPoint,
    LengthMismatch,
    NotEnoughCells,
)
from kzg.types import Bytes
from tests.kzg.hostile import MALFORMED_POINTS, changed_cells, changed_indices, changed_points

MODULUS_BYTES = np.frombuffer(BLS_MODULUS.to_bytes(32, "big"), dtype=np.uint8)
LARGEST_BYTES = np.frombuffer((BLS_MODULUS - 1).to_bytes(32, "big"), dtype=np.uint8)


def test_it_is_an_engine_and_describes_itself(engine) -> None:
    assert isinstance(engine, Engine)
    assert engine.describe()["engine"] == engine.name


@pytest.mark.parametrize(
    "name",
    ["zero", "constant", "largest", "one", "last", "sparse", "alternating", "repeated", "random"],
)
def test_rows_give_the_bytes_of_ckzg(engine, structured, prove_row: Callable, name: str) -> None:
    blob = structured[name]
    commitment, cells, proofs = prove_row(blob)
    batch = blob[np.newaxis]
    assert (engine.commit(batch) == commitment).all()
    assert (engine.extend(batch) == cells).all()
    got_cells, got_proofs = engine.prove(batch)
    assert (got_cells == cells).all()
    assert (got_proofs == proofs).all()


def test_a_batch_keeps_the_order_of_rows(engine, matrix) -> None:
    assert (engine.commit(matrix.blobs) == matrix.commitments).all()
    assert (engine.extend(matrix.blobs) == matrix.cells).all()
    cells, proofs = engine.prove(matrix.blobs)
    assert (cells == matrix.cells).all()
    assert (proofs == matrix.proofs).all()


def test_zero_rows(engine) -> None:
    nothing = np.empty((0, 131072), dtype=np.uint8)
    assert engine.commit(nothing).shape == (0, 48)
    assert engine.extend(nothing).shape == (0, 128, 2048)
    cells, proofs = engine.prove(nothing)
    assert (cells.shape, proofs.shape) == ((0, 128, 2048), (0, 128, 48))
    assert engine.recover(range(64), np.empty((0, 64, 2048), dtype=np.uint8)).shape == (0, 128, 2048)
    cells, proofs = engine.recover_with_proofs(range(64), np.empty((0, 64, 2048), dtype=np.uint8))
    assert (cells.shape, proofs.shape) == ((0, 128, 2048), (0, 128, 48))


def test_arrays_need_not_be_contiguous_nor_writable(engine, matrix) -> None:
    wide = np.zeros((2, 3, 131072), dtype=np.uint8)
    wide[:, 0] = matrix.blobs[:2]
    strided = wide[:, 0][::-1]
    strided.flags.writeable = False
    assert (engine.commit(strided) == matrix.commitments[1::-1]).all()


@pytest.mark.parametrize("operation", ["commit", "extend", "prove"])
@pytest.mark.parametrize(
    "blobs",
    [
        np.zeros((1, 131071), dtype=np.uint8),
        np.zeros(131072, dtype=np.uint8),
        np.zeros((1, 1, 131072), dtype=np.uint8),
        np.zeros((1, 131072), dtype=np.int8),
        np.zeros((1, 16384), dtype=np.uint64),
        np.zeros((1, 131072), dtype=object),
        bytes(131072),
        None,
    ],
    ids=["short", "1-D", "3-D", "signed", "words", "objects", "bytes", "None"],
)
def test_malformed_arrays_are_refused(engine, operation: str, blobs: object) -> None:
    with pytest.raises(InvalidArray, match="blobs"):
        getattr(engine, operation)(blobs)


@pytest.mark.parametrize("operation", ["commit", "extend", "prove"])
def test_more_rows_than_memory_is_a_failure(engine, matrix, operation: str) -> None:
    """Rows that are all the same place in memory, and 128 petabytes as an array of their own."""
    blobs = np.broadcast_to(matrix.blobs[:1], (2**40, 131072))
    with pytest.raises(EngineFailed, match="not enough memory"):
        getattr(engine, operation)(blobs)
    assert (engine.commit(blobs[:1]) == matrix.commitments[0]).all()


def test_an_element_of_r_is_refused_at_every_place(engine, matrix) -> None:
    """r - 1 beside it is taken: no place is looked at wrongly, whatever an engine does side by side."""
    blobs, cells = np.zeros((1, 4096, 32), dtype=np.uint8), np.zeros((2, 64, 64, 32), dtype=np.uint8)
    for element in [*range(64), *range(64, 4096, 329), 4095]:
        blobs[:], cells[:] = 0, 0
        blobs[0, element ^ 1] = LARGEST_BYTES
        blobs[0, element] = MODULUS_BYTES
        with pytest.raises(InvalidBlob) as blob:
            engine.extend(blobs.reshape(1, -1))
        assert (blob.value.row, blob.value.element) == (0, element)
        with pytest.raises(InvalidBlob):
            engine.commit(blobs.reshape(1, -1))
        position, place = element % 64, element // 64
        cells[1, position, place] = MODULUS_BYTES
        for refuse, wrong_cells in (
            (lambda known: engine.recover(range(64), known), cells.reshape(2, 64, 2048)),
            (engine.parity_cells, cells[:, position].reshape(2, 1, 2048)),
        ):
            with pytest.raises(InvalidCell) as cell:
                refuse(wrong_cells)
            assert cell.value.element == place
    points = matrix.commitments[[0, 0]]
    for element in range(64):
        wrong, proofs = matrix.at([0, 0], [0, 1])
        wrong[1, 32 * element : 32 * element + 32] = MODULUS_BYTES
        with pytest.raises(InvalidCell) as cell:
            engine.verify_cells(points, [0, 1], wrong, proofs)
        assert (cell.value.position, cell.value.element) == (1, element)


@pytest.mark.parametrize("operation", ["commit", "extend", "prove"])
@pytest.mark.parametrize("value", [BLS_MODULUS, BLS_MODULUS + 1, 2**256 - 1])
def test_elements_of_a_blob_are_canonical(engine, operation: str, value: int) -> None:
    blobs = np.zeros((3, 131072), dtype=np.uint8)
    blobs[1, 32 * 4095 :] = np.frombuffer(value.to_bytes(32, "big"), dtype=np.uint8)
    with pytest.raises(InvalidBlob) as caught:
        getattr(engine, operation)(blobs)
    assert (caught.value.row, caught.value.element) == (1, 4095)


# --- verification


def test_all_cells_of_rows_verify(engine, matrix) -> None:
    commitments = np.repeat(matrix.commitments[:2], 128, axis=0)
    cells, proofs = matrix.cells[:2].reshape(-1, 2048), matrix.proofs[:2].reshape(-1, 48)
    assert engine.verify_cells(commitments, list(range(128)) * 2, cells, proofs) is True


def test_no_cells_verify(engine) -> None:
    nothing = np.empty((0, 48), dtype=np.uint8)
    assert engine.verify_cells(nothing, [], np.empty((0, 2048), dtype=np.uint8), nothing) is True


def _sample(matrix, count: int = 200) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """More cells than one task holds, of all rows, in no order, some twice."""
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(0, 6, count), rng.integers(0, 128, count)
    return matrix.commitments[rows], columns, *matrix.at(rows, columns)


def test_cells_of_many_rows_in_any_order_verify(engine, matrix) -> None:
    assert engine.verify_cells(*_sample(matrix)) is True


@pytest.mark.parametrize("position", [0, 99, 199])
def test_any_changed_byte_makes_the_batch_wrong(engine, matrix, position: int) -> None:
    rng = np.random.default_rng(position)
    for _ in range(4):
        commitments, columns, cells, proofs = _sample(matrix)
        cells[position, 32 * rng.integers(64) + 31] ^= 1 << rng.integers(8)
        assert engine.verify_cells(commitments, columns, cells, proofs) is False

    commitments, columns, cells, proofs = _sample(matrix)
    other = (np.flatnonzero((proofs != proofs[position]).any(axis=1)))[0]
    swapped = proofs.copy()
    swapped[position] = proofs[other]
    assert engine.verify_cells(commitments, columns, cells, swapped) is False

    wrong = commitments.copy()
    wrong[position] = matrix.commitments[(matrix.commitments != commitments[position]).any(axis=1)][0]
    assert engine.verify_cells(wrong, columns, cells, proofs) is False

    shifted = columns.copy()
    shifted[position] = (shifted[position] + 1) % 128
    assert engine.verify_cells(commitments, shifted, cells, proofs) is False


def test_errors_that_cancel_each_other_are_noticed(engine, matrix) -> None:
    """Two proofs of one column exchanged, or two cells: a sum without random factors would be the same."""
    rows, columns = [0, 1, 2], [90, 90, 3]
    cells, proofs = matrix.at(rows, columns)
    commitments = matrix.commitments[rows]
    exchanged = [1, 0, 2]
    assert engine.verify_cells(commitments, columns, cells, proofs) is True
    assert engine.verify_cells(commitments, columns, cells, proofs[exchanged]) is False
    assert engine.verify_cells(commitments, columns, cells[exchanged], proofs) is False
    assert engine.verify_cells(commitments[exchanged], columns, cells, proofs) is False
    assert (
        engine.verify_matrix_cells(matrix.data_commitments, rows, columns, cells, proofs[exchanged]) is False
    )
    assert (
        engine.verify_matrix_cells(matrix.data_commitments, rows, columns, cells[exchanged], proofs) is False
    )


def test_each_changed_byte_of_one_item_is_noticed(engine, matrix) -> None:
    """All others are right: every byte of a commitment and a proof, every element of a cell, every index."""
    rows, columns = [0, 1, 2, 0, 1], [3, 3, 90, 127, 64]
    batch = [matrix.commitments[rows], columns, *matrix.at(rows, columns)]
    assert engine.verify_cells(*batch) is True
    position = 2
    changes = (
        changed_points(batch[0], position),
        changed_indices(columns, position, 128),
        changed_cells(batch[2], position),
        changed_points(batch[3], position),
    )
    for which, changed in enumerate(changes):
        for count, array in enumerate(changed, 1):
            try:
                answer = engine.verify_cells(*batch[:which], array, *batch[which + 1 :])
            except (InvalidPoint, InvalidCell) as error:
                assert error.position == position  # noqa: PT017
            else:
                assert answer is False, (which, count)
        assert count == [48, 127, 64, 48][which]


@pytest.mark.parametrize("point", MALFORMED_POINTS)
@pytest.mark.parametrize("name", ["commitment", "proof"])
def test_malformed_points_are_named(engine, matrix, name: str, point: str) -> None:
    """In a small batch and in a large one: engines may look at few points and at many in different ways."""
    for count, position in ((1, 0), (11, 10), (200, 150)):
        commitments, columns, cells, proofs = (array.copy() for array in _sample(matrix, count))
        points = commitments if name == "commitment" else proofs
        points[position] = np.frombuffer(MALFORMED_POINTS[point], dtype=np.uint8)
        with pytest.raises(InvalidPoint) as caught:
            engine.verify_cells(commitments, columns, cells, proofs)
        assert (caught.value.name, caught.value.position) == (name, position)


@pytest.mark.parametrize("index", [-1, 128, 256, 2**40])
def test_indices_of_cells_are_in_range(engine, matrix, index: int) -> None:
    cells, proofs = matrix.at([0, 0], [0, 1])
    with pytest.raises(InvalidCellIndex) as caught:
        engine.verify_cells(matrix.commitments[[0, 0]], [0, index], cells, proofs)
    assert (caught.value.position, caught.value.index) == (1, index)


@pytest.mark.parametrize(
    "indices",
    [
        [0.0, 1.0],
        [[0, 1]],
        [[0], [1, 2]],
        ["0", "1"],
        [True, False],
        [0, 2**70],
        None,
        np.array([0, 1], "m8[s]"),
    ],
    ids=["floats", "2-D", "ragged", "strings", "booleans", "too long", "None", "times"],
)
def test_indices_are_integers(engine, matrix, indices: object) -> None:
    cells, proofs = matrix.at([0, 0], [0, 1])
    with pytest.raises(InvalidArray, match="cell_indices"):
        engine.verify_cells(matrix.commitments[[0, 0]], indices, cells, proofs)


def test_unsigned_indices_do_not_wrap() -> None:
    with pytest.raises(InvalidArray):
        check_indices("cell_indices", np.array([2**63], dtype=np.uint64))


@pytest.mark.parametrize("short", ["commitments", "cells", "proofs"])
def test_arrays_of_a_verification_are_equally_long(engine, matrix, short: str) -> None:
    cells, proofs = matrix.at([0, 0], [0, 1])
    arrays = {"commitments": matrix.commitments[[0, 0]], "cells": cells, "proofs": proofs}
    arrays[short] = arrays[short][:1]
    with pytest.raises(LengthMismatch) as caught:
        engine.verify_cells(arrays["commitments"], [0, 1], arrays["cells"], arrays["proofs"])
    assert (caught.value.name, caught.value.actual, caught.value.expected) == (short, 1, 2)


def test_elements_of_cells_are_canonical(engine, matrix) -> None:
    cells, proofs = matrix.at([0, 0], [0, 1])
    cells[1, 32:64] = MODULUS_BYTES
    with pytest.raises(InvalidCell) as caught:
        engine.verify_cells(matrix.commitments[[0, 0]], [0, 1], cells, proofs)
    assert (caught.value.position, caught.value.element) == (1, 1)


# --- recovery


@given(columns=st.sets(st.integers(0, 127), min_size=64, max_size=128))
@settings(max_examples=10, deadline=None)
def test_any_half_of_the_columns_gives_back_the_rows(engine, matrix, columns: set[int]) -> None:
    known = sorted(columns)
    assert (engine.recover(known, matrix.cells[:3, known]) == matrix.cells[:3]).all()


@pytest.mark.parametrize("known", [range(64), range(64, 128), range(0, 128, 2), range(1, 128)])
def test_recovery_with_proofs(engine, matrix, known: range) -> None:
    cells, proofs = engine.recover_with_proofs(known, matrix.cells[:2, list(known)])
    assert (cells == matrix.cells[:2]).all()
    assert (proofs == matrix.proofs[:2]).all()


@pytest.mark.parametrize("operation", ["recover", "recover_with_proofs"])
def test_malformed_recoveries_are_refused(engine, matrix, operation: str) -> None:
    recover = getattr(engine, operation)
    with pytest.raises(NotEnoughCells) as few:
        recover(range(63), matrix.cells[:, :63])
    assert (few.value.actual, few.value.required) == (63, 64)
    with pytest.raises(NotEnoughCells):
        recover([], matrix.cells[:, :0])
    with pytest.raises(InvalidCellIndex, match="not greater than the index before it"):
        recover([*range(64), 63], matrix.cells[:, :65])
    with pytest.raises(InvalidCellIndex, match="not greater than the index before it"):
        recover([1, 0, *range(2, 64)], matrix.cells[:, :64])
    with pytest.raises(InvalidCellIndex, match=r"not in 0\.\.127"):
        recover(range(65, 129), matrix.cells[:, 64:])
    with pytest.raises(LengthMismatch):
        recover(range(64), matrix.cells[:, :65])
    with pytest.raises(InvalidArray):
        recover(range(64), matrix.cells[0, :64])
    broken = matrix.cells[:2, :64].copy()
    broken[1, 3, :32] = MODULUS_BYTES
    with pytest.raises(InvalidCell) as caught:
        recover(range(64), broken)
    assert (caught.value.position, caught.value.element) == (64 + 3, 0)


# --- behaviour under load


def test_threads_share_an_engine(engine, matrix) -> None:
    def work(row: int) -> bool:
        blob = matrix.blobs[row : row + 1]
        right = engine.verify_cells(
            matrix.commitments[[row] * 128], range(128), matrix.cells[row], matrix.proofs[row]
        )
        return (
            right
            and bool((engine.commit(blob) == matrix.commitments[row]).all())
            and bool((engine.extend(blob) == matrix.cells[row]).all())
        )

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, list(range(6)) * 2))
