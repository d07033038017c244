"""The CPU engine that is always there: c-kzg in worker processes.

Rows (or cells to verify) are split into tasks for the processes of a `WorkerPool`; a task is small enough
that concurrent calls share the workers fairly, and large enough that its fixed cost is small.

Some answers are computed in the calling thread: recovery of cells, by the Reed-Solomon code of `erasure`, and
of proofs from proofs, by `kzg.recovery` (c-kzg would always compute both, a full `prove`); and all that has
to do with parity rows, which c-kzg does not have, by `kzg.parity` and `kzg.folded`.

`precompute` trades memory for speed of `prove`: the fixed-base table holds 2^(precompute-1) multiples of 8192
points, 96 MiB at 8, shared by all workers. A verifier has no such table.

Source: https://github.com/ethereum/c-kzg-4844/tree/b7e40988/bindings/python
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import numpy as np

from erasure.constants import FIELD_ELEMENTS_PER_EXT_BLOB
from erasure.rows import recover_rows
from kzg import folds, parity, recovery, verification
from kzg.arrays import empty_cells, empty_proofs
from kzg.checks import check_blobs, check_cells, check_recovery, check_verification
from kzg.ckzg_worker import COMMIT, EXTEND, PROVE, RECOVER, VERIFY
from kzg.constants import BYTES_PER_COMMITMENT
from kzg.engine import Closing
from kzg.errors import InvalidPoint
from kzg.memory import fails_without_memory
from kzg.points import first_invalid_point
from kzg.types import Bytes, Indices
from kzg.worker_pool import Task, TaskRefused, WorkerPool

DEFAULT_PRECOMPUTE: Final = 8
MAX_PRECOMPUTE: Final = 15
MAX_WORKERS: Final = 256

# Rows or cells to a task at most. About 100 ms each: the longest that another call waits for a worker.
_ROWS_TO_COMMIT: Final = 2
_ROWS_TO_EXTEND: Final = 16
_ROWS_TO_PROVE: Final = 1
_CELLS_TO_VERIFY: Final = 1024
# A batch costs c-kzg 2.3 ms and 0.085 ms for each cell: smaller tasks would waste more than they win.
_CELLS_WORTH_A_TASK: Final = 64

_BYTES_PER_AFFINE_POINT: Final = 96


@fails_without_memory
class CkzgVerifier(Closing):
    """c-kzg on all cores, without its table; see `kzg.engine.Verifier` for what each method does.

    Args:
        workers: processes, 1..256; None means one for each core this process may use.
    """

    name: Final = "ckzg"

    def __init__(self, *, workers: int | None = None) -> None:
        self._start(workers, precompute=0)

    def _start(self, workers: int | None, precompute: int) -> None:
        if workers is None:
            workers = min(usable_cores(), MAX_WORKERS)
        if not 1 <= workers <= MAX_WORKERS:
            raise ValueError(f"workers must be in 1..{MAX_WORKERS}, got {workers}")
        multiples = 2 ** (precompute - 1) if precompute else 0
        self._description: dict[str, object] = {
            "engine": self.name,
            "ckzg": metadata.version("ckzg"),
            "workers": workers,
            "precompute": precompute,
            "table_bytes": multiples * FIELD_ELEMENTS_PER_EXT_BLOB * _BYTES_PER_AFFINE_POINT,
        }
        self._workers = workers
        self._pool = WorkerPool(workers=workers, precompute=precompute)

    def describe(self) -> dict[str, object]:
        return dict(self._description)

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        commitments, indices, cells, proofs = check_verification(commitments, cell_indices, cells, proofs)
        cells = check_cells(cells)
        columns = indices.astype(np.uint8)
        parts = list(self._split(len(columns), _CELLS_WORTH_A_TASK, _CELLS_TO_VERIFY))
        answers = np.zeros(len(parts), dtype=np.uint8)
        tasks = [
            Task(
                VERIFY,
                part.stop - part.start,
                [_view(matrix[part]) for matrix in (commitments, proofs, columns, cells)],
                [_view(answers[i : i + 1])],
            )
            for i, part in enumerate(parts)
        ]
        try:
            self._pool.run(tasks)
        except TaskRefused as refusal:
            # All else was checked, so a point is malformed. c-kzg does not report which.
            start = parts[tasks.index(refusal.task)].start
            for name, points in (("commitment", commitments), ("proof", proofs)):
                position = first_invalid_point(points[start : start + refusal.task.count])
                if position is not None:
                    raise InvalidPoint(name, start + position) from None
            raise
        return bool(answers.all())

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        indices, cells = check_recovery(cell_indices, cells)
        self._check_open()
        return recover_rows(indices, cells)

    def recover_proofs(self, cell_indices: Indices, proofs: Bytes, wanted: Indices) -> Bytes:
        self._check_open()
        return recovery.recover_proofs(cell_indices, proofs, wanted)

    def parity_cells(self, cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
        self._check_open()
        return parity.parity_cells(cells, parity_rows)

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        self._check_open()
        return parity.parity_proofs(proofs, parity_rows)

    def verify_matrix_cells(
        self, commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
    ) -> bool:
        self._check_open()
        return verification.verify_matrix_cells(None, commitments, row_indices, cell_indices, cells, proofs)

    def fold_columns(self, cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
        self._check_open()
        return folds.fold_columns(cells, proofs, scalars)

    def fold_commitments(self, commitments: Bytes, scalars: Bytes) -> Bytes:
        self._check_open()
        return folds.fold_commitments(commitments, scalars)

    def close(self) -> None:
        self._pool.close()

    def _check_open(self) -> None:
        self._pool.run([])

    def _split(self, count: int, least: int, most: int) -> Iterator[slice]:
        """Slices of 0..count that keep all workers busy: `least` to `most` items each, except the last."""
        size = min(max(-(-count // self._workers), least), most)
        return (slice(start, min(start + size, count)) for start in range(0, count, size))


@fails_without_memory
class CkzgEngine(CkzgVerifier):
    """c-kzg on all cores; see `kzg.engine.Engine` for what each method does.

    Args:
        workers: processes, 1..256; None means one for each core this process may use.
        precompute: 0..15, the window of c-kzg's fixed-base table; 0 means no table.
    """

    def __init__(self, *, workers: int | None = None, precompute: int = DEFAULT_PRECOMPUTE) -> None:
        if not 0 <= precompute <= MAX_PRECOMPUTE:
            raise ValueError(f"precompute must be in 0..{MAX_PRECOMPUTE}, got {precompute}")
        self._start(workers, precompute)

    def commit(self, blobs: Bytes) -> Bytes:
        blobs = check_blobs(blobs)
        commitments = np.empty((len(blobs), BYTES_PER_COMMITMENT), dtype=np.uint8)
        self._pool.run(
            [
                Task(COMMIT, part.stop - part.start, [_view(blobs[part])], [_view(commitments[part])])
                for part in self._split(len(blobs), 1, _ROWS_TO_COMMIT)
            ]
        )
        return commitments

    def extend(self, blobs: Bytes) -> Bytes:
        blobs = check_blobs(blobs)
        cells = empty_cells(len(blobs))
        self._pool.run(
            [
                Task(EXTEND, part.stop - part.start, [_view(blobs[part])], [_view(cells[part])])
                for part in self._split(len(blobs), 1, _ROWS_TO_EXTEND)
            ]
        )
        return cells

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        blobs = check_blobs(blobs)
        cells, proofs = empty_cells(len(blobs)), empty_proofs(len(blobs))
        self._pool.run(
            [
                Task(
                    PROVE,
                    part.stop - part.start,
                    [_view(blobs[part])],
                    [_view(cells[part]), _view(proofs[part])],
                )
                for part in self._split(len(blobs), 1, _ROWS_TO_PROVE)
            ]
        )
        return cells, proofs

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        indices, cells = check_recovery(cell_indices, cells)
        columns = indices.astype(np.uint8)
        all_cells, proofs = empty_cells(len(cells)), empty_proofs(len(cells))
        self._pool.run(
            [
                Task(
                    RECOVER,
                    part.stop - part.start,
                    [_view(columns), _view(cells[part])],
                    [_view(all_cells[part]), _view(proofs[part])],
                    known=len(columns),
                )
                for part in self._split(len(cells), 1, _ROWS_TO_PROVE)
            ]
        )
        return all_cells, proofs


def usable_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _view(array: Bytes) -> memoryview:
    """The bytes of a C-contiguous array, not copied."""
    return array.reshape(-1).data
