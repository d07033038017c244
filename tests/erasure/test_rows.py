"""Rows: extension and recovery, against c-kzg, the official vectors and the plain-integer reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ckzg
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure import reference
from erasure.constants import BLS_MODULUS, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from erasure.errors import (
    ErasureError,
    InvalidCellIndices,
    InvalidFieldElement,
    InvalidShape,
    NotEnoughCells,
)
from erasure.field import Bytes, elements_from_array
from erasure.rows import extend_rows, recover_rows

PATTERNS = {
    "data cells": range(64),
    "parity cells": range(64, 128),
    "every other": range(0, 128, 2),
    "outer quarters": [*range(32), *range(96, 128)],
    "one missing": [*range(5), *range(6, 128)],
    "first missing": range(1, 128),
    "none missing": range(128),
}


@pytest.fixture(scope="module")
def extended(random_blobs: Callable[[int, int], Bytes]) -> Bytes:
    return extend_rows(random_blobs(2, 11))


def test_extension_is_that_of_ckzg(
    random_blobs: Callable[[int, int], Bytes],
    structured_blobs: Bytes,
    ckzg_extend: Callable[[Bytes], Bytes],
) -> None:
    blobs = np.concatenate([structured_blobs, random_blobs(6, 1)])
    cells = extend_rows(blobs)
    assert cells.shape == (len(blobs), 128, 2048)
    np.testing.assert_array_equal(cells[:, :CELLS_PER_BLOB].reshape(blobs.shape), blobs)
    np.testing.assert_array_equal(cells, ckzg_extend(blobs))


def test_extension_is_that_of_the_reference(random_blobs: Callable[[int, int], Bytes]) -> None:
    blob = random_blobs(1, 2)
    assert elements_from_array(extend_rows(blob)) == reference.extend_row(elements_from_array(blob))


def test_a_batch_is_its_rows(random_blobs: Callable[[int, int], Bytes]) -> None:
    blobs = random_blobs(3, 3)
    single = [extend_rows(blob[None]) for blob in blobs]
    np.testing.assert_array_equal(extend_rows(blobs), np.concatenate(single))
    assert extend_rows(blobs[:0]).shape == (0, 128, 2048)


def test_input_may_be_a_view_and_is_left_alone(random_blobs: Callable[[int, int], Bytes]) -> None:
    blobs = random_blobs(4, 4)
    before = blobs.copy()
    np.testing.assert_array_equal(extend_rows(blobs[::2]), extend_rows(blobs[::2].copy()))
    np.testing.assert_array_equal(blobs, before)


def test_a_blob_that_is_not_canonical(random_blobs: Callable[[int, int], Bytes]) -> None:
    blobs = random_blobs(3, 5)
    blobs[1].reshape(-1, 32)[77] = np.frombuffer(BLS_MODULUS.to_bytes(32, "big"), dtype=np.uint8)
    with pytest.raises(InvalidFieldElement) as caught:
        extend_rows(blobs)
    assert (caught.value.row, caught.value.index) == (1, 77)


@pytest.mark.parametrize(
    "blobs",
    [
        np.zeros(131072, dtype=np.uint8),
        np.zeros((1, 131071), dtype=np.uint8),
        np.zeros((1, 131072), dtype=np.int8),
        np.zeros((1, 131072), dtype=np.float64),
        np.zeros((1, 128, 1024), dtype=np.uint8),
    ],
)
def test_blobs_of_another_shape(blobs: Any) -> None:
    with pytest.raises(InvalidShape):
        extend_rows(blobs)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_recovery_from_named_patterns(pattern: str, extended: Bytes) -> None:
    indices = list(PATTERNS[pattern])
    np.testing.assert_array_equal(recover_rows(indices, extended[:, indices]), extended)


@settings(max_examples=25, deadline=None)
@given(st.integers(64, 128), st.integers(0, 2**32))
def test_recovery_from_any_half(extended: Bytes, count: int, seed: int) -> None:
    indices = np.sort(np.random.default_rng(seed).permutation(CELLS_PER_EXT_BLOB)[:count])
    np.testing.assert_array_equal(recover_rows(indices, extended[:, indices]), extended)


def test_recovery_of_structured_rows(structured_blobs: Bytes) -> None:
    cells = extend_rows(structured_blobs)
    indices = list(range(1, 128, 2))
    np.testing.assert_array_equal(recover_rows(indices, cells[:, indices]), cells)


def test_recovery_is_that_of_ckzg(extended: Bytes, trusted_setup: Any) -> None:
    indices = list(range(20, 84))
    cells, _ = ckzg.recover_cells_and_kzg_proofs(
        indices, [extended[0, index].tobytes() for index in indices], trusted_setup
    )
    assert recover_rows(indices, extended[:1, indices]).tobytes() == b"".join(cells)


def test_recovery_is_that_of_the_reference(extended: Bytes) -> None:
    indices = [*range(10, 40), *range(70, 110)]
    expected = reference.recover_row({index: elements_from_array(extended[0, index]) for index in indices})
    assert elements_from_array(recover_rows(indices, extended[:1, indices])) == expected


def test_with_more_than_64_the_first_decide_and_the_rest_are_kept(extended: Bytes) -> None:
    indices = [*range(64), 100]
    cells = extended[:1, indices].copy()
    cells[0, 64, 31] ^= 1
    recovered = recover_rows(indices, cells)
    np.testing.assert_array_equal(recovered[0, 100], cells[0, 64])
    np.testing.assert_array_equal(np.delete(recovered[0], 100, axis=0), np.delete(extended[0], 100, axis=0))


def test_too_few_cells(extended: Bytes) -> None:
    with pytest.raises(NotEnoughCells) as caught:
        recover_rows(range(63), extended[:, :63])
    assert (caught.value.actual, caught.value.required) == (63, 64)
    with pytest.raises(NotEnoughCells):
        recover_rows([], extended[:, :0])


@pytest.mark.parametrize(
    "indices",
    [
        [*range(63), 128],
        [-1, *range(63)],
        [*range(63), 62],
        [1, 0, *range(2, 64)],
        [*range(63), 2**64 - 1],
        [*range(63), 2**70],
        [float(index) for index in range(64)],
        [True] * 64,
        np.arange(64).reshape(8, 8),
    ],
)
def test_bad_indices(indices: Any, extended: Bytes) -> None:
    with pytest.raises(InvalidCellIndices):
        recover_rows(indices, extended[:, :64])


@pytest.mark.parametrize("shape", [(1, 63, 2048), (1, 65, 2048), (1, 64, 2047), (64, 2048), (0,)])
def test_cells_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidShape):
        recover_rows(range(64), np.zeros(shape, dtype=np.uint8))


def test_a_cell_that_is_not_canonical(extended: Bytes) -> None:
    indices = list(range(30, 100))
    cells = extended[:, indices].copy()
    cells[1, 69, 5 * 32 : 6 * 32] = 255
    with pytest.raises(InvalidFieldElement) as caught:
        recover_rows(indices, cells)
    assert (caught.value.row, caught.value.index) == (1, 99 * 64 + 5)


# The official vectors -----------------------------------------------------------------------------------


def cases(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """All cases of a function; yaml's C loader, for some of them are megabytes."""
    found = []
    for path in sorted((folder / "kzg-mainnet").glob("*/data.yaml")):
        with path.open() as stream:
            found.append((path.parent.name, yaml.load(stream, Loader=yaml.CSafeLoader)))
    return found


def matrix(parts: list[str], width: int) -> Bytes:
    """Hex strings as u8[1, n, width]; a part of another length makes another shape, as it should."""
    raw = [bytes.fromhex(part.removeprefix("0x")) for part in parts]
    if any(len(part) != width for part in raw):
        return np.zeros((1, len(raw), width + 1), dtype=np.uint8)
    return np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(1, len(raw), width)


def test_official_compute_cells(official_vectors: Path) -> None:
    valid = invalid = 0
    for name, case in cases(official_vectors / "compute_cells"):
        blob = np.frombuffer(bytes.fromhex(case["input"]["blob"].removeprefix("0x")), dtype=np.uint8)
        if case["output"] is None:
            invalid += 1
            with pytest.raises(ErasureError):
                extend_rows(blob[None])
        else:
            valid += 1
            np.testing.assert_array_equal(extend_rows(blob[None]), matrix(case["output"], 2048), err_msg=name)
    assert (valid, invalid) == (7, 4)


def test_official_recover_cells(official_vectors: Path) -> None:
    valid = invalid = 0
    for name, case in cases(official_vectors / "recover_cells_and_kzg_proofs"):
        indices, cells = case["input"]["cell_indices"], matrix(case["input"]["cells"], 2048)
        if case["output"] is None:
            invalid += 1
            with pytest.raises(ErasureError):
                recover_rows(indices, cells)
        else:
            valid += 1
            np.testing.assert_array_equal(
                recover_rows(indices, cells), matrix(case["output"][0], 2048), err_msg=name
            )
    assert (valid, invalid) == (4, 14)
