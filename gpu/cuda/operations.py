"""The operations of the Engine port, cut into chunks of rows or cells that a device does one after another.

An operation knows its whole input and output in this machine's memory. `job(arena, tables, count)` plans a
chunk in a device's memory; `start` queues its transfers and kernels, `finish` is called when they are done.
`workers` decides how large chunks are; chunks of one operation may run on several devices at once.

What an operation finds out is left in its attributes: `invalid` (an element is >= r), `impossible`, rows to
prove again in `failed`, malformed points in `bad`.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from gpu.constants import CELLS, SCALAR_MODULUS
from gpu.cuda.device import Arena, Array, Queue, as_words
from gpu.cuda.pipeline import CELL_BYTES, Commit, Prove, Rows
from gpu.cuda.tables import FR_BYTES, Tables
from kzg.recovery import column_weights
from kzg.types import Bytes, IndexArray

MOST_ROWS: Final = 128
"""Rows to a chunk: enough to fill a device, and two chunks hold less than 3 GiB."""

MOST_CELLS: Final = 1 << 16
"""Cells to a chunk of a verification."""

_DATA_CELLS: Final = CELLS // 2


class Job(Protocol):
    """A chunk of an operation in a device's memory."""

    def start(self, queue: Queue, part: slice) -> None: ...

    def finish(self, part: slice) -> None: ...


class Operation(Protocol):
    """What a device can do in chunks.

    overlaps: whether a small batch is worth cutting in two, so that one half's transfers run while the other
        is computed.
    """

    overlaps: bool

    def job(self, arena: Arena, tables: Tables, count: int) -> Job: ...


class Marks:
    """What went wrong, in any chunk of rows."""

    overlaps = True

    def __init__(self) -> None:
        self.invalid = False
        self.impossible = False
        self.failed: list[int] = []


class CommitRows(Marks):
    """Commitments of blobs u8[n, 131072] into u8[n, 48]."""

    def __init__(self, blobs: Bytes, commitments: Bytes) -> None:
        super().__init__()
        self.blobs, self.commitments = blobs, commitments

    def job(self, arena: Arena, tables: Tables, count: int) -> _CommitJob:
        return _CommitJob(self, Commit(arena, tables, count), count)


class _CommitJob:
    def __init__(self, operation: CommitRows, commit: Commit, count: int) -> None:
        self._operation, self._commit = operation, commit
        self._invalid, self._impossible = np.zeros(1, np.int32), np.zeros(count, np.int32)

    def start(self, queue: Queue, part: slice) -> None:
        queue.upload(self._commit.blobs, self._operation.blobs[part])
        self._commit.run(queue)
        queue.download(self._commit.out, self._operation.commitments[part])
        queue.download(self._commit.invalid, self._invalid)
        queue.download(self._commit.impossible, self._impossible)

    def finish(self, part: slice) -> None:
        self._operation.invalid |= bool(self._invalid.any())
        self._operation.impossible |= bool(self._impossible.any())


class CompleteRows(Marks):
    """All cells of rows from the cells `known` of each, and their proofs if asked for.

    Args:
        known: ascending cell indices, at least 64; None is the extension of blobs: cells 0..63.
        given: u8[n, len(known), 2048].
        cells: u8[n, 128, 2048], filled.
        proofs: u8[n, 128, 48], filled, or None.
        complete: prove with complete formulas.
    """

    def __init__(
        self,
        known: IndexArray | None,
        given: Bytes,
        cells: Bytes,
        proofs: Bytes | None,
        *,
        complete: bool = False,
    ) -> None:
        super().__init__()
        self.given, self.cells, self.proofs, self.complete = given, cells, proofs, complete
        self.known = None if known is None else known.astype(np.int32)
        if self.known is None:
            self.lost = np.arange(_DATA_CELLS, CELLS, dtype=np.int32)
            self.matrix: Array | None = None
        else:
            indices = tuple(self.known.tolist())
            lost = tuple(sorted(set(range(CELLS)) - set(indices)))
            weights = [weight for row in column_weights(indices[:_DATA_CELLS], lost) for weight in row]
            self.lost = np.array(lost, dtype=np.int32)
            self.matrix = as_words([(weight << 256) % SCALAR_MODULUS for weight in weights]) if lost else None

    def job(self, arena: Arena, tables: Tables, count: int) -> _CompleteJob:
        return _CompleteJob(self, arena, tables, count)


class _CompleteJob:
    def __init__(self, operation: CompleteRows, arena: Arena, tables: Tables, count: int) -> None:
        self._operation, self._tables = operation, tables
        self._rows = Rows(arena, tables, count, operation.given.shape[1], len(operation.lost))
        self._prove = None if operation.proofs is None else Prove(arena, tables, count)
        self._places = [arena.take(CELLS * 4) for _ in range(2)]
        self._matrix = arena.take(_DATA_CELLS * _DATA_CELLS * FR_BYTES)
        self._invalid = np.zeros(1, np.int32)
        self._impossible, self._failed = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self._found = np.empty((count, len(operation.lost), CELL_BYTES), np.uint8)

    def start(self, queue: Queue, part: slice) -> None:
        operation, rows = self._operation, self._rows
        queue.upload(rows.cells, operation.given[part])
        if operation.known is None:
            rows.extend(queue)
        else:
            known_region, lost_region = self._places
            queue.upload(known_region, operation.known)
            queue.upload(lost_region, operation.lost)
            if operation.matrix is not None:
                queue.upload(self._matrix, operation.matrix)
            rows.recover(queue, known_region, lost_region, self._matrix)
        queue.download(rows.invalid, self._invalid)
        if operation.known is None:
            queue.download(rows.out, operation.cells[part, _DATA_CELLS:])
        elif self._found.size:
            queue.download(rows.out, self._found)
        self._start_proofs(queue, part)
        # The device is busy now; what is known already is copied meanwhile.
        known = slice(0, _DATA_CELLS) if operation.known is None else operation.known
        operation.cells[part, known] = operation.given[part]

    def _start_proofs(self, queue: Queue, part: slice) -> None:
        operation, rows, scales = self._operation, self._rows, self._tables.scales
        if self._prove is None or operation.proofs is None:
            return
        upper = scales.half_inverse64 if operation.known is None else scales.half
        self._prove.run(queue, rows.remainders, upper, complete=operation.complete)
        queue.download(self._prove.out, operation.proofs[part])
        queue.download(self._prove.impossible, self._impossible)
        queue.download(self._prove.failed, self._failed)

    def finish(self, part: slice) -> None:
        operation = self._operation
        if operation.known is not None:
            operation.cells[part, operation.lost] = self._found
        operation.invalid |= bool(self._invalid.any())
        operation.impossible |= bool(self._impossible.any())
        operation.failed.extend(int(i) + part.start for i in np.flatnonzero(self._failed))
