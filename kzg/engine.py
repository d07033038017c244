"""The Engine port: the operations on whole matrices, in two halves.

A verifier checks cells, gets lost cells and proofs back, and derives parity; it needs 64 points of the
trusted setup. A prover turns rows into commitments, cells and proofs; it needs tables of tens or hundreds of
MiB. A consumer asks for the half it uses, so that a node that proves nothing has no tables, and the two may
be in different places. An `Engine` is both in one. The unit of work is a batch of rows, never one cell, so
that one call can fill all cores or a whole device.

Invariants, for every engine:
- All engines give the same bytes.
- Calls are synchronous and thread-safe, and never touch an event loop: wrap them in `asyncio.to_thread`.
- Malformed input raises a `KzgError` before any work starts; a well-formed wrong proof is `False`.
- An engine that breaks down, or lacks memory, raises `EngineFailed`; after `close` every operation raises
  `EngineClosed`.
- `name` and `describe` answer from what was known at opening: no I/O, no lock, no call to a worker or a
  device, so that an event loop may call them; also after `close`.
- Zero rows and zero cells are fine: the answer is empty, or True.

What malformed means is written once, in `kzg.checks`.

Source: https://github.com/ethereum/consensus-specs/blob/v1.5.0/specs/fulu/polynomial-commitments-sampling.md
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from kzg.types import Bytes, Indices


class Opened(Protocol):
    """What verifiers and provers have in common."""

    @property
    def name(self) -> str:
        """The word by which `gpu.open_engine` knows it."""

    def describe(self) -> dict[str, object]:
        """What it is, for logs, metrics and `/v1/node`: engine, versions, workers, table bytes."""

    def close(self) -> None:
        """Ends it; calls that wait or run raise EngineClosed. Closing twice is fine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Verifier(Opened, Protocol):
    """Verifies cells, recovers lost ones and derives parity; see the module for what all engines promise."""

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

    def recover_proofs(self, cell_indices: Indices, proofs: Bytes, wanted: Indices) -> Bytes:
        """Proofs of any columns of rows of which the proofs of m columns are known.

        The 128 proofs of a row are the values of one polynomial of degree < 64 over points of the curve, so
        any 64 of them give the others. The proofs are taken to be right: verify them first, with their cells.
        The first 64 columns decide; the others are not looked at.

        Args:
            cell_indices: m integers in 0..127, strictly ascending, 64 <= m <= 128.
            proofs: u8[n, m, 48].
            wanted: k integers in 0..127, in any order.

        Returns:
            u8[n, k, 48].

        Raises:
            InvalidArray, InvalidCellIndex, NotEnoughCells, LengthMismatch, InvalidPoint: its position counts
                the proofs of all rows, row after row.
        """

    def parity_cells(self, cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
        """Cells of parity rows, from the data cells of the same columns.

        Args:
            cells: u8[R, k, 2048], the data cells of k columns; R <= 256.
            parity_rows: m integers in 0..R-1, counted from the first parity row (row R of the matrix), in any
                order; None means all R of them.

        Returns:
            u8[m, k, 2048].

        Raises:
            InvalidArray, InvalidRowIndex, InvalidCell: its position counts the cells of all rows, row after
                row.
        """

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        """Proofs of the parity cells of one column, from those of its data cells.

        Args:
            proofs: u8[R, 48], the column's proofs, row 0 first; R <= 256. (Of commitments of the data rows,
                it makes those of the parity rows.)
            parity_rows: as of `parity_cells`.

        Returns:
            u8[m, 48].

        Raises:
            InvalidArray, InvalidRowIndex, InvalidPoint.
        """

    def verify_matrix_cells(
        self, commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
    ) -> bool:
        """Whether all k cells of the whole matrix are right, against the data rows' commitments alone.

        The weights of parity rows are folded into the one equation: parity commitments never exist.

        Args:
            commitments: u8[R, 48] of the data rows; R <= 256.
            row_indices: k integers in 0..2R-1; R and above are parity rows.
            cell_indices: k integers in 0..127.
            cells: u8[k, 2048].
            proofs: u8[k, 48].

        Raises:
            InvalidArray, InvalidRowIndex, InvalidCellIndex, LengthMismatch, InvalidCell, InvalidPoint: its
                position is a row for a commitment, a cell's position for a proof. Without cells,
                commitments may go unchecked.
        """

    def fold_columns(self, cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
        """Folds of columns: the cells, and the proofs, of each summed with scalars of its own.

        Neither cells nor proofs are verified. A fold of right ones is a right cell of the row whose
        commitment is the fold of the commitments (see `kzg.folds`).

        Args:
            cells: u8[m, R, 2048], the data cells of m columns; R <= 256.
            proofs: u8[m, R, 48].
            scalars: u8[m, R, 16], big-endian.

        Returns:
            u8[m, 2048] and u8[m, 48].

        Raises:
            InvalidArray, LengthMismatch, InvalidCell, InvalidPoint: its position counts the cells, or proofs,
                of all folds, one fold after the other.
        """

    def fold_commitments(self, commitments: Bytes, scalars: Bytes) -> Bytes:
        """Folds of the commitments of a batch.

        Args:
            commitments: u8[R, 48] of the data rows; R <= 256.
            scalars: u8[m, R, 16], big-endian.

        Returns:
            u8[m, 48].

        Raises:
            InvalidArray, InvalidPoint: a commitment is no point of the group; its position is the row.
                Without scalars, commitments may go unchecked.
        """


@runtime_checkable
class Prover(Opened, Protocol):
    """Commits, extends and proves; see the module for what all engines promise."""

    def commit(self, blobs: Bytes) -> Bytes:
        """KZG commitments. blobs: u8[n, 131072]. Returns u8[n, 48]."""

    def extend(self, blobs: Bytes) -> Bytes:
        """The 128 cells of each row. blobs: u8[n, 131072]. Returns u8[n, 128, 2048]."""

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        """Cells and their proofs. blobs: u8[n, 131072]. Returns u8[n, 128, 2048] and u8[n, 128, 48]."""

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        """`Verifier.recover`, and the proofs of all cells: u8[n, 128, 2048] and u8[n, 128, 48]."""


@runtime_checkable
class Engine(Verifier, Prover, Protocol):
    """A verifier and a prover in one."""


class Closing(ABC):
    """The half of the port that is the same in all engines: `with` closes the engine at its end."""

    @abstractmethod
    def close(self) -> None:
        """As `Opened.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
