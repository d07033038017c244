"""The verifying half of the port over devices that run the kernels: checks, shares, and the pairing.

Shapes are checked here; that elements are below r is checked on the device, and found by position only if one
is not. Rows or cells are divided among the devices (`workers`).

Invariants: the same bytes as every engine (`kzg.engine`). Constant time is no goal: all data here is public.

What it does not do: know what a device is (`cupy_device`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from py_arkworks_bls12381 import GT, G1Point, G2Point

from erasure.columns import parity_weight_row
from erasure.constants import BYTES_PER_CELL, CELLS_PER_BLOB, FIELD_ELEMENTS_PER_CELL
from gpu.cuda import operations
from gpu.cuda.combinations import ParityCells, WeightedSums
from gpu.cuda.device import Device
from gpu.cuda.operations import CompleteRows, Operation
from gpu.cuda.verification import VerifyCells
from gpu.cuda.workers import Worker, split
from gpu.factors import distinct
from kzg import trusted_setup
from kzg.arrays import empty_cells, empty_proofs
from kzg.checks import (
    check_cells,
    check_columns,
    check_fold_columns,
    check_fold_commitments,
    check_matrix_verification,
    check_parity_rows,
    check_points,
    check_proof_recovery,
    check_recovery,
    check_verification,
)
from kzg.constants import BYTES_PER_PROOF
from kzg.engine import Closing
from kzg.errors import EngineClosed, EngineFailed, InvalidPoint
from kzg.folds import fold_cells, scalar_integers
from kzg.memory import fails_without_memory
from kzg.recovery import column_weights
from kzg.types import Bytes, IndexArray, Indices


@fails_without_memory
class KernelVerifier(Closing):
    """See `kzg.engine.Verifier` for what each method does.

    Args:
        name: the word for this engine.
        devices: opened devices, which are closed with the engine.

    Raises:
        DeviceError: a device has not the memory, or broke down.
    """

    def __init__(self, name: str, devices: Sequence[Device]) -> None:
        self._name = name
        self._process = os.getpid()
        self._closed = threading.Event()
        self._workers = [self._worker(device) for device in devices]
        self._tau64 = G2Point.from_compressed_bytes(
            trusted_setup.load().g2_monomial[FIELD_ELEMENTS_PER_CELL].tobytes()
        )
        self._description: dict[str, object] = {
            "engine": name,
            "devices": [worker.device.name for worker in self._workers],
            "workers": len(self._workers),
            "table_bytes": sum(worker.tables.bytes for worker in self._workers),
        }

    def _worker(self, device: Device) -> Worker:
        return Worker(device, self._closed, None, [])

    @property
    def name(self) -> str:
        return self._name

    def describe(self) -> dict[str, object]:
        return dict(self._description)

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells = empty_cells(len(cells))
        check_result(self._complete(CompleteRows(indices, cells, all_cells, None)), impossible=False)
        return all_cells

    def _complete(self, operation: CompleteRows) -> bool:
        """Runs it, and again for rows in which points met. True if an element was >= r."""
        self._run(operation, len(operation.given), operations.MOST_ROWS)
        if operation.invalid:
            return True
        check_result(invalid=False, impossible=operation.impossible)
        if operation.failed:
            rows = sorted(set(operation.failed))
            known = None if operation.known is None else operation.known.astype(np.int64)
            cells, proofs = empty_cells(len(rows)), empty_proofs(len(rows))
            again = CompleteRows(known, operation.given[rows], cells, proofs, complete=True)
            self._run(again, len(rows), operations.MOST_ROWS)
            check_result(again.invalid, again.impossible or bool(again.failed))
            assert operation.proofs is not None
            operation.proofs[rows] = proofs
        return False

    def recover_proofs(self, cell_indices: Indices, proofs: Bytes, wanted: Indices) -> Bytes:
        indices, proofs, columns = check_proof_recovery(cell_indices, proofs, wanted)
        weights = column_weights(tuple(indices[:CELLS_PER_BLOB].tolist()), tuple(columns.tolist()))
        recovered = np.empty((len(proofs), len(columns), BYTES_PER_PROOF), dtype=np.uint8)
        self._check_open()
        for row, of_row in enumerate(proofs):
            bad = self._combine(np.ascontiguousarray(of_row[:CELLS_PER_BLOB]), weights, recovered[row])
            if bad is not None:
                raise InvalidPoint("proof", row * len(indices) + bad)
        return recovered

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        commitments, columns, cells, proofs = check_verification(commitments, cell_indices, cells, proofs)
        first, rows = distinct(commitments)
        operation = VerifyCells(commitments[first], rows, columns, cells, proofs)
        return self._verify(operation, first)

    def verify_matrix_cells(
        self, commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
    ) -> bool:
        commitments, rows, columns, cells, proofs = check_matrix_verification(
            commitments, row_indices, cell_indices, cells, proofs
        )
        operation = VerifyCells(commitments, rows, columns, cells, proofs, folded=True)
        return self._verify(operation, np.arange(len(commitments)))

    def _verify(self, operation: VerifyCells, first: IndexArray) -> bool:
        """first: the position to name for each malformed commitment."""
        cells = operation.cells
        self._run(operation, len(cells), operations.MOST_CELLS)
        if operation.invalid:
            check_cells(cells)
            check_result(invalid=True, impossible=False)
        bad_commitments = [int(first[i]) for i in operation.bad_commitments]
        for kind, positions in (("commitment", bad_commitments), ("proof", operation.bad_proofs)):
            if positions:
                raise InvalidPoint(kind, min(positions))
        return all(self._holds(*sides) for sides in operation.sides)

    def _holds(self, left: bytes, right: bytes) -> bool:
        """e(left, [s^64]) = e(right, [1])."""
        points = [G1Point.from_compressed_bytes_unchecked(side) for side in (left, right)]
        return bool(GT.pairing_check([points[0], -points[1]], [self._tau64, G2Point()]))

    def parity_cells(self, cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
        cells = check_columns(cells)
        rows = check_parity_rows(parity_rows, len(cells))
        derived = np.empty((len(rows), *cells.shape[1:]), dtype=np.uint8)
        if not len(rows):
            check_cells(cells.reshape(-1, BYTES_PER_CELL))
            return derived
        operation = ParityCells(cells, rows, derived)
        self._run(operation, cells.shape[1], operations.MOST_ROWS)
        if operation.invalid:
            check_cells(cells.reshape(-1, BYTES_PER_CELL))
            check_result(invalid=True, impossible=False)
        return derived

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        proofs = check_points("proofs", proofs)
        rows = check_parity_rows(parity_rows, len(proofs))
        derived = np.empty((len(rows), BYTES_PER_PROOF), dtype=np.uint8)
        bad = self._combine(proofs, [parity_weight_row(len(proofs), row) for row in rows.tolist()], derived)
        if bad is not None:
            raise InvalidPoint("proof", bad)
        return derived

    def fold_columns(self, cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
        cells, proofs, scalars = check_fold_columns(cells, proofs, scalars)
        self._check_open()
        folded = fold_cells(cells, scalars)
        sums = np.empty((len(proofs), BYTES_PER_PROOF), dtype=np.uint8)
        for fold, weights in enumerate(scalar_integers(scalars)):
            bad = self._combine(proofs[fold], [weights], sums[fold : fold + 1])
            if bad is not None:
                raise InvalidPoint("proof", fold * proofs.shape[1] + bad)
        return folded, sums

    def fold_commitments(self, commitments: Bytes, scalars: Bytes) -> Bytes:
        commitments, scalars = check_fold_commitments(commitments, scalars)
        sums = np.empty((len(scalars), BYTES_PER_PROOF), dtype=np.uint8)
        bad = self._combine(commitments, scalar_integers(scalars), sums)
        if bad is not None:
            raise InvalidPoint("commitment", bad)
        return sums

    def _combine(self, points: Bytes, weights: Sequence[Sequence[int]], sums: Bytes) -> int | None:
        """Fills u8[m, 48] with weighted sums of u8[k, 48]; returns the first malformed point's position."""
        operation = WeightedSums(points, weights, sums)
        self._run(operation, len(sums), operations.MOST_ROWS)
        return min(operation.bad, default=None)

    def close(self) -> None:
        if self._process != os.getpid():
            return  # a fork's copy: the devices are not its own
        if self._closed.is_set():
            return
        self._closed.set()
        for worker in self._workers:
            worker.close()

    def _run(self, operation: Operation, count: int, most: int) -> None:
        """Divides `count` rows or cells among the devices.

        Raises:
            EngineClosed, EngineFailed.
        """
        self._check_open()
        shares = list(split(slice(0, count), -(-count // len(self._workers))))
        if len(shares) <= 1:
            for share in shares:
                min(self._workers, key=lambda worker: worker.waiting).run(operation, share, most)
            return
        with ThreadPoolExecutor(len(shares)) as threads:
            done = [
                threads.submit(worker.run, operation, share, most)
                for worker, share in zip(self._workers, shares, strict=False)
            ]
        for future in done:
            future.result()

    def _check_open(self) -> None:
        if self._process != os.getpid():
            raise EngineClosed("the engine belongs to another process")
        if self._closed.is_set():
            raise EngineClosed("the engine is closed")


def check_result(invalid: bool, impossible: bool) -> None:
    """Raises EngineFailed for marks of a device that no input explains."""
    if impossible:
        raise EngineFailed(
            "independent points coincided (a chance of 2^-240): the device may miscompute; test it"
        )
    if invalid:
        raise EngineFailed("the input changed during this call")
