"""Validation of arguments: the checks that every engine makes before any work starts.

Written once, so that all engines refuse the same inputs with the same errors. An array that passes comes back
C-contiguous, indices as int64. That elements are below the modulus may be left to an engine that finds out
as it reads them; the function here then reports which one is not. Whether points are valid is known only
after decompression.
"""

from __future__ import annotations

import numpy as np

from erasure.constants import (
    BYTES_PER_BLOB,
    BYTES_PER_CELL,
    BYTES_PER_FIELD_ELEMENT,
    CELLS_PER_BLOB,
    CELLS_PER_EXT_BLOB,
    MAX_ROWS,
)
from erasure.field import first_invalid
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_G1, BYTES_PER_PROOF, FOLD_SCALAR_BYTES
from kzg.errors import (
    InvalidArray,
    InvalidBlob,
    InvalidCell,
    InvalidCellIndex,
    InvalidRowIndex,
    LengthMismatch,
    NotEnoughCells,
)
from kzg.types import Bytes, IndexArray, Indices


def check_bytes(name: str, array: Bytes, shape: tuple[int | None, ...]) -> Bytes:
    """The array itself, C-contiguous (copied if it was not).

    Args:
        shape: the wanted shape, None where any length will do.

    Raises:
        InvalidArray: another dtype or shape.
    """
    wanted = "u8[" + ", ".join("n" if length is None else str(length) for length in shape) + "]"
    if not isinstance(array, np.ndarray):
        raise InvalidArray(name, wanted, type(array).__name__)
    if array.dtype != np.uint8 or array.ndim != len(shape):
        raise InvalidArray(name, wanted, f"{array.dtype}{list(array.shape)}")
    if any(length is not None and length != got for length, got in zip(shape, array.shape, strict=True)):
        raise InvalidArray(name, wanted, f"u8{list(array.shape)}")
    return np.ascontiguousarray(array)


def check_blobs(blobs: Bytes) -> Bytes:
    """u8[n, 131072] of canonical elements.

    Raises:
        InvalidArray, InvalidBlob.
    """
    blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
    bad = first_invalid(blobs)
    if bad is not None:
        raise InvalidBlob(*divmod(bad, BYTES_PER_BLOB // BYTES_PER_FIELD_ELEMENT))
    return blobs


def check_cells(cells: Bytes) -> Bytes:
    """u8[k, 2048] of canonical elements.

    Raises:
        InvalidArray, InvalidCell.
    """
    cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
    bad = first_invalid(cells)
    if bad is not None:
        raise InvalidCell(*divmod(bad, BYTES_PER_CELL // BYTES_PER_FIELD_ELEMENT))
    return cells


def check_indices(name: str, indices: Indices) -> IndexArray:
    """A vector of integers as int64; booleans, floats and integers beyond 64 bits are refused.

    Raises:
        InvalidArray.
    """
    try:
        array = np.asarray(indices)
    except ValueError as error:  # lists of several lengths
        raise InvalidArray(name, "int[n]", str(error)) from error
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidArray(name, "int[n]", f"{array.dtype}{list(array.shape)}")
    if array.dtype == np.uint64 and int(array.max()) >= 2**63:
        raise InvalidArray(name, "int[n]", "an integer above 2^63 - 1")
    return array.astype(np.int64)


def check_cell_indices(cell_indices: Indices) -> IndexArray:
    """int64[k] in 0..127.

    Raises:
        InvalidArray, InvalidCellIndex.
    """
    indices = check_indices("cell_indices", cell_indices)
    outside = np.flatnonzero((indices < 0) | (indices >= CELLS_PER_EXT_BLOB))
    if outside.size:
        position = int(outside[0])
        raise InvalidCellIndex(position, int(indices[position]), f"is not in 0..{CELLS_PER_EXT_BLOB - 1}")
    return indices


def check_verification(
    commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes
) -> tuple[Bytes, IndexArray, Bytes, Bytes]:
    """The arguments of `verify_cells`, except for elements and points.

    Raises:
        InvalidArray, InvalidCellIndex, LengthMismatch.
    """
    commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    indices = check_cell_indices(cell_indices)
    cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
    proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
    for name, actual in (("commitments", commitments), ("cells", cells), ("proofs", proofs)):
        if len(actual) != len(indices):
            raise LengthMismatch(name, len(actual), len(indices))
    return commitments, indices, cells, proofs


def check_recovery(cell_indices: Indices, cells: Bytes) -> tuple[IndexArray, Bytes]:
    """The arguments of `recover`.

    Raises:
        InvalidArray, InvalidCellIndex, NotEnoughCells, LengthMismatch, InvalidCell: its position counts the
            cells of all rows, row after row.
    """
    indices = _check_known(cell_indices)
    cells = check_bytes("cells", cells, (None, None, BYTES_PER_CELL))
    if cells.shape[1] != len(indices):
        raise LengthMismatch("cells", cells.shape[1], len(indices))
    bad = first_invalid(cells)
    if bad is not None:
        raise InvalidCell(*divmod(bad, BYTES_PER_CELL // BYTES_PER_FIELD_ELEMENT))
    return indices, cells


def check_proof_recovery(
    cell_indices: Indices, proofs: Bytes, wanted: Indices
) -> tuple[IndexArray, Bytes, IndexArray]:
    """The arguments of `recover_proofs`; that the proofs are points is not checked.

    Raises:
        InvalidArray, InvalidCellIndex, NotEnoughCells, LengthMismatch.
    """
    indices = _check_known(cell_indices)
    proofs = check_bytes("proofs", proofs, (None, None, BYTES_PER_PROOF))
    if proofs.shape[1] != len(indices):
        raise LengthMismatch("proofs", proofs.shape[1], len(indices))
    return indices, proofs, check_cell_indices(wanted)


def _check_known(cell_indices: Indices) -> IndexArray:
    """int64[m], the columns that a recovery starts from: strictly ascending, 64 of them at least."""
    indices = check_cell_indices(cell_indices)
    unordered = np.flatnonzero(np.diff(indices) <= 0)
    if unordered.size:
        position = int(unordered[0]) + 1
        raise InvalidCellIndex(position, int(indices[position]), "is not greater than the index before it")
    if len(indices) < CELLS_PER_BLOB:
        raise NotEnoughCells(len(indices), CELLS_PER_BLOB)
    return indices


def check_points(name: str, points: Bytes) -> Bytes:
    """u8[R, 48], one point for each data row of a batch, R <= 256; that they are points is not checked.

    Raises:
        InvalidArray.
    """
    points = check_bytes(name, points, (None, BYTES_PER_G1))
    _check_height(name, points)
    return points


def check_columns(cells: Bytes) -> Bytes:
    """u8[R, k, 2048], the data cells of k columns, R <= 256; that elements are canonical is not checked.

    Raises:
        InvalidArray.
    """
    cells = check_bytes("cells", cells, (None, None, BYTES_PER_CELL))
    _check_height("cells", cells)
    return cells


def check_parity_rows(parity_rows: Indices | None, count: int) -> IndexArray:
    """int64[m] in 0..count-1; None means all of them. An error counts from the matrix's first row.

    Raises:
        InvalidArray, InvalidRowIndex.
    """
    if parity_rows is None:
        return np.arange(count, dtype=np.int64)
    rows = check_indices("parity_rows", parity_rows)
    outside = np.flatnonzero((rows < 0) | (rows >= count))
    if outside.size:
        position = int(outside[0])
        raise InvalidRowIndex(position, count + int(rows[position]), count)
    return rows


def check_matrix_verification(
    commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
) -> tuple[Bytes, IndexArray, IndexArray, Bytes, Bytes]:
    """The arguments of `verify_matrix_cells`, except for elements and points.

    Raises:
        InvalidArray, InvalidRowIndex, InvalidCellIndex, LengthMismatch.
    """
    commitments = check_points("commitments", commitments)
    rows = check_indices("row_indices", row_indices)
    outside = np.flatnonzero((rows < 0) | (rows >= 2 * len(commitments)))
    if outside.size:
        position = int(outside[0])
        raise InvalidRowIndex(position, int(rows[position]), len(commitments))
    columns = check_cell_indices(cell_indices)
    cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
    proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
    for name, length in (("row_indices", len(rows)), ("cells", len(cells)), ("proofs", len(proofs))):
        if length != len(columns):
            raise LengthMismatch(name, length, len(columns))
    return commitments, rows, columns, cells, proofs


def check_fold_columns(cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes, Bytes]:
    """The arguments of `fold_columns`, except for elements and points.

    Raises:
        InvalidArray, LengthMismatch.
    """
    cells = check_bytes("cells", cells, (None, None, BYTES_PER_CELL))
    rows = cells.shape[1]
    if rows > MAX_ROWS:
        raise InvalidArray("cells", f"u8[n, R <= {MAX_ROWS}, {BYTES_PER_CELL}]", f"u8{list(cells.shape)}")
    proofs = check_bytes("proofs", proofs, (None, rows, BYTES_PER_PROOF))
    scalars = check_bytes("scalars", scalars, (None, rows, FOLD_SCALAR_BYTES))
    for name, array in (("proofs", proofs), ("scalars", scalars)):
        if len(array) != len(cells):
            raise LengthMismatch(name, len(array), len(cells))
    return cells, proofs, scalars


def check_fold_commitments(commitments: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
    """The arguments of `fold_commitments`; that the commitments are points is not checked.

    Raises:
        InvalidArray.
    """
    commitments = check_points("commitments", commitments)
    return commitments, check_bytes("scalars", scalars, (None, len(commitments), FOLD_SCALAR_BYTES))


def _check_height(name: str, array: Bytes) -> None:
    if len(array) > MAX_ROWS:
        expected = ", ".join(["R <= " + str(MAX_ROWS), *map(str, array.shape[1:])])
        raise InvalidArray(name, f"u8[{expected}]", f"u8{list(array.shape)}")
