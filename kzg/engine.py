"""The Engine port: the five operations on whole matrices, and the checks that every engine makes first.

An engine turns rows into commitments, cells and proofs, verifies cells, and gets lost cells back. The unit of
work is a batch of rows, never one cell, so that an engine can fill all cores or a whole device with one call.

Invariants, for every engine:
- All engines give the same bytes.
- Calls are synchronous and thread-safe, and never touch an event loop: wrap them in `asyncio.to_thread`.
- Malformed input raises a `KzgError` before any work starts; a well-formed wrong proof is `False`.
- An engine that breaks down raises `EngineFailed`; after `close` every call raises `EngineClosed`.
- Zero rows and zero cells are fine: the answer is empty, or True.

What malformed means is written once, in the `check_*` functions here, which engines call first.

Source: https://github.com/ethereum/consensus-specs/blob/v1.5.0/specs/fulu/polynomial-commitments-sampling.md
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np

from erasure.constants import (
    BYTES_PER_BLOB,
    BYTES_PER_CELL,
    BYTES_PER_FIELD_ELEMENT,
    CELLS_PER_BLOB,
    CELLS_PER_EXT_BLOB,
)
from erasure.field import first_invalid
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from kzg.errors import (
    InvalidArray,
    InvalidBlob,
    InvalidCell,
    InvalidCellIndex,
    LengthMismatch,
    NotEnoughCells,
)
from kzg.types import Bytes, IndexArray, Indices


@runtime_checkable
class Engine(Protocol):
    """Computes on batches of rows; see the module for what all engines promise."""

    @property
    def name(self) -> str:
        """The word by which `gpu.open_engine` knows it."""

    def describe(self) -> dict[str, object]:
        """What it is, for logs, metrics and `/v1/node`: engine, versions, workers, table bytes."""

    def commit(self, blobs: Bytes) -> Bytes:
        """KZG commitments. blobs: u8[n, 131072]. Returns u8[n, 48]."""

    def extend(self, blobs: Bytes) -> Bytes:
        """The 128 cells of each row. blobs: u8[n, 131072]. Returns u8[n, 128, 2048]."""

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        """Cells and their proofs. blobs: u8[n, 131072]. Returns u8[n, 128, 2048] and u8[n, 128, 48]."""

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        """Whether all k cells are right, as one batch.

        Args:
            commitments: u8[k, 48], the row commitment of each cell; repeat it for cells of one row.
            cell_indices: k integers in 0..127.
            cells: u8[k, 2048].
            proofs: u8[k, 48].
        """

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        """All cells of rows of which the same m columns are known.

        The cells are taken to be right: verify them first.

        Args:
            cell_indices: m integers in 0..127, strictly ascending, 64 <= m <= 128.
            cells: u8[n, m, 2048].

        Returns:
            u8[n, 128, 2048].
        """

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        """`recover`, and the proofs of all cells: u8[n, 128, 2048] and u8[n, 128, 48]."""

    def close(self) -> None:
        """Ends it; calls that wait or run raise EngineClosed. Closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


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
    array = np.asarray(indices)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InvalidArray(name, "int[n]", f"{array.dtype}{list(array.shape)}")
    if array.dtype == np.uint64 and int(array.max()) >= 2**63:
        raise InvalidArray(name, "int[n]", "an integer beyond 63 bits")
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
    """The arguments of `verify_cells`, checked but for the points (only decompression can tell).

    Raises:
        InvalidArray, InvalidCellIndex, LengthMismatch, InvalidCell.
    """
    commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    indices = check_cell_indices(cell_indices)
    cells = check_cells(cells)
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
    indices = check_cell_indices(cell_indices)
    unordered = np.flatnonzero(np.diff(indices) <= 0)
    if unordered.size:
        position = int(unordered[0]) + 1
        raise InvalidCellIndex(position, int(indices[position]), "does not follow the one before it")
    if len(indices) < CELLS_PER_BLOB:
        raise NotEnoughCells(len(indices), CELLS_PER_BLOB)
    cells = check_bytes("cells", cells, (None, None, BYTES_PER_CELL))
    if cells.shape[1] != len(indices):
        raise LengthMismatch("cells", cells.shape[1], len(indices))
    bad = first_invalid(cells)
    if bad is not None:
        raise InvalidCell(*divmod(bad, BYTES_PER_CELL // BYTES_PER_FIELD_ELEMENT))
    return indices, cells
