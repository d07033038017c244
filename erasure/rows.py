"""Rows: extension and recovery, exactly as EIP-7594 defines them.

The idea: a row's 128 cells are values of one polynomial with 4096 coefficients, and any 64 cells determine
it. In the lanes of `ntt.py` that is 64 codes of length 128 with the same known and missing positions, so
one matrix, made once from the pattern, fills in the missing cells of all lanes of all rows. Extension is the
pattern "cells 0..63 are known": they are the blob itself.

Invariants: outputs are canonical; cells that were given come back as they were given.

What it does not do: check that given cells agree with each other or with a commitment. With more than 64
cells the first 64 decide and the others are copied, so verify cells first (`kzg`).

Source: EIP-7594; consensus-specs fulu `compute_cells`, `recover_polynomialcoeff`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from erasure.constants import (
    BYTES_PER_BLOB,
    BYTES_PER_CELL,
    CELLS_PER_BLOB,
    CELLS_PER_EXT_BLOB,
    FIELD_ELEMENTS_PER_CELL,
)
from erasure.errors import InvalidCellIndices, InvalidFieldElement, InvalidShape, NotEnoughCells
from erasure.field import Bytes, first_invalid
from erasure.interpolation import interpolation_matrix
from erasure.ntt import cells_from_lanes, lanes_from_cells
from erasure.residues import Constants, constants, decode, encode, fold, product

Indices: TypeAlias = Sequence[int] | NDArray[np.integer]

_LOG2_CELLS: Final = CELLS_PER_EXT_BLOB.bit_length() - 1


def extend_rows(blobs: Bytes) -> Bytes:
    """Extend blobs to all cells of their rows (`compute_cells` of EIP-7594).

    Args:
        blobs: u8[n, 131072], elements big-endian.

    Returns:
        u8[n, 128, 2048]; cells 0..63 are the blob.

    Raises:
        InvalidShape: not such an array.
        InvalidFieldElement: an element is not smaller than the modulus.
    """
    if blobs.dtype != np.uint8 or blobs.ndim != 2 or blobs.shape[1] != BYTES_PER_BLOB:
        raise InvalidShape(f"blobs must be u8[n, {BYTES_PER_BLOB}], got {blobs.dtype}{list(blobs.shape)}")
    cells = np.ascontiguousarray(blobs).reshape(-1, CELLS_PER_BLOB, BYTES_PER_CELL)
    return _complete(np.arange(CELLS_PER_BLOB), cells)


def recover_rows(cell_indices: Indices, cells: Bytes) -> Bytes:
    """Rebuild all cells of rows of which the same 64..128 cells are known.

    Args:
        cell_indices: int[m], 64 <= m <= 128, strictly ascending, 0..127.
        cells: u8[n, m, 2048], the cells at these indices of n rows.

    Returns:
        u8[n, 128, 2048].

    Raises:
        InvalidCellIndices: not strictly ascending in 0..127.
        NotEnoughCells: fewer than 64.
        InvalidShape: cells are not such an array.
        InvalidFieldElement: an element is not smaller than the modulus.
    """
    indices = checked_indices(cell_indices, CELLS_PER_EXT_BLOB, CELLS_PER_BLOB)
    if cells.dtype != np.uint8 or cells.ndim != 3 or cells.shape[1:] != (indices.size, BYTES_PER_CELL):
        raise InvalidShape(
            f"cells must be u8[n, {indices.size}, {BYTES_PER_CELL}], got {cells.dtype}{list(cells.shape)}"
        )
    return _complete(indices, np.ascontiguousarray(cells))


def checked_indices(indices: Indices, count: int, required: int) -> NDArray[np.int64]:
    """Indices as int64[m]: strictly ascending, in 0..count-1, at least `required` of them.

    Raises:
        InvalidCellIndices: out of range, repeated or out of order, or not whole numbers.
        NotEnoughCells: too few.
    """
    given = np.asarray(indices)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise InvalidCellIndices("not a list of integers")
    if given.size and not (given.min() >= 0 and given.max() < count):
        raise InvalidCellIndices(f"not in 0..{count - 1}")
    checked = given.astype(np.int64)
    if (np.diff(checked) <= 0).any():
        raise InvalidCellIndices("not strictly ascending")
    if checked.size < required:
        raise NotEnoughCells(checked.size, required)
    return checked


def _complete(indices: NDArray[np.int64], cells: Bytes) -> Bytes:
    """All cells of rows from the known ones; indices are checked, cells are contiguous u8[n, m, 2048]."""
    position = first_invalid(cells)
    if position is not None:
        row, rest = divmod(position, indices.size * FIELD_ELEMENTS_PER_CELL)
        column, element = divmod(rest, FIELD_ELEMENTS_PER_CELL)
        raise InvalidFieldElement(row, int(indices[column]) * FIELD_ELEMENTS_PER_CELL + element)

    extended = np.empty((cells.shape[0], CELLS_PER_EXT_BLOB, BYTES_PER_CELL), dtype=np.uint8)
    extended[:, indices] = cells
    missing = np.setdiff1d(np.arange(CELLS_PER_EXT_BLOB), indices)
    if missing.size == 0:
        return extended
    known = indices[:CELLS_PER_BLOB]
    weights = _lane_weights(known, missing)
    # A row at a time: its residues, 800 kB, just fit into the cache of a core, and fill the matrix products.
    for row in range(cells.shape[0]):
        lanes = lanes_from_cells(decode(cells[row, :CELLS_PER_BLOB]), known)
        rebuilt = fold(product(weights, lanes))
        extended[row, missing] = encode(cells_from_lanes(rebuilt, missing))
    return extended


def _lane_weights(known: NDArray[np.int64], missing: NDArray[np.int64]) -> Constants:
    """[missing, known]: the matrix of one pattern; that of the extension is kept for good."""
    if known[-1] == CELLS_PER_BLOB - 1 and missing.size == CELLS_PER_BLOB:
        return _extension_weights()
    return _pattern_weights(tuple(known.tolist()), tuple(missing.tolist()))


@cache
def _extension_weights() -> Constants:
    return _make_weights(range(CELLS_PER_BLOB), range(CELLS_PER_BLOB, CELLS_PER_EXT_BLOB))


@lru_cache(maxsize=8)
def _pattern_weights(known: tuple[int, ...], missing: tuple[int, ...]) -> Constants:
    return _make_weights(known, missing)


def _make_weights(known: Sequence[int], missing: Sequence[int]) -> Constants:
    matrix = interpolation_matrix(_LOG2_CELLS, known, missing)
    return constants([weight for row in matrix for weight in row], len(missing), len(known))
