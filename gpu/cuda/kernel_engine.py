"""The Engine port over devices that run the kernels: checks, chunks, and the pairing.

Flow, for each call:
- Shapes are checked here; that elements are below r is checked on the device, and found by position only if
  one is not.
- Rows are divided among the devices. Each does its share in chunks, alternating between two slots, each with
  a queue and memory of its own: while one computes, the other's transfers run.
- A chunk is as large as fits half of the free memory; if that is gone when it is asked for, chunks are
  halved. Not even one row fitting is an EngineFailed, never a crash.
- Rows in which blinded points met (a chance of 2^-240) are proved again with complete formulas.

Invariants: the same bytes as every engine (`kzg.engine`). One call at a time on a device; others wait. What a
device reports as broken fails that call with EngineFailed.

Blinding scalars come from `secrets` when the engine opens. Constant time is no goal: all data here is public.

What it does not do: know what a device is (`gpu.cuda.cupy_device`).
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from py_arkworks_bls12381 import GT, G1Point, G2Point

from erasure.constants import BLS_MODULUS, BYTES_PER_BLOB, BYTES_PER_CELL, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from gpu.cuda.device import Arena, Device, DeviceError, DeviceMemoryError, Queue, Region
from gpu.cuda.operations import CommitRows, CompleteRows, Job, Operation
from gpu.cuda.parity import ParityCells, ParityProofs
from gpu.cuda.tables import Comb, Tables, build, commitment_comb, proof_comb, resident_bytes
from gpu.cuda.verification import VerifyCells
from gpu.factors import distinct
from kzg import trusted_setup
from kzg.checks import (
    check_blobs,
    check_bytes,
    check_cell_indices,
    check_cells,
    check_columns,
    check_matrix_verification,
    check_parity_rows,
    check_points,
    check_recovery,
)
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from kzg.engine import Closing
from kzg.errors import EngineClosed, EngineFailed, InvalidPoint, LengthMismatch
from kzg.memory import fails_without_memory
from kzg.types import Bytes, IndexArray, Indices

MOST_ROWS: Final = 128
"""Rows to a chunk: enough to fill a device, and two chunks hold less than 3 GiB."""

LEAST_ROWS: Final = 32
"""A batch of fewer rows is not divided between the slots: it would not fill a device."""

MOST_CELLS: Final = 1 << 16
"""Cells to a chunk of a verification."""

MEMORY_SHARE: Final = 0.9
"""Of the free memory, how much chunks may take."""

TABLE_SHARE: Final = 0.125
"""Of a device's memory, how much its tables may take."""

WINDOWS: Final = ((16, 14), (13, 12), (10, 10), (8, 8), (6, 6))
"""Windows of the combs of proofs and commitments, largest tables first."""


@fails_without_memory
class KernelEngine(Closing):
    """See `kzg.engine.Engine` for what each method does.

    Args:
        name: the word for this engine.
        devices: opened devices, which are closed with the engine.
        windows: of the combs, see WINDOWS; None takes the largest whose tables fit in TABLE_SHARE of free
        memory.

    Raises:
        DeviceError: a device has not the memory, or broke down.
    """

    def __init__(
        self, name: str, devices: Sequence[Device], *, windows: tuple[int, int] | None = None
    ) -> None:
        self._name = name
        self._process = os.getpid()
        self._closed = threading.Event()
        blinding = [secrets.randbelow(BLS_MODULUS) for _ in range(CELLS_PER_EXT_BLOB)]
        self._workers = [_Worker(device, windows, blinding, self._closed) for device in devices]
        self._tau64 = G2Point.from_compressed_bytes(trusted_setup.load().g2_monomial[64].tobytes())

    @property
    def name(self) -> str:
        return self._name

    def describe(self) -> dict[str, object]:
        tables = self._workers[0].tables
        return {
            "engine": self._name,
            "devices": [worker.device.name for worker in self._workers],
            "workers": len(self._workers),
            "windows": f"{tables.proof.b}/{tables.commitment.b}",
            "table_bytes": tables.bytes * len(self._workers),
        }

    def commit(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        commitments = np.empty((len(blobs), BYTES_PER_COMMITMENT), dtype=np.uint8)
        operation = CommitRows(blobs, commitments)
        self._run(operation, len(blobs), MOST_ROWS)
        if operation.invalid:
            check_blobs(blobs)
        _check(operation.invalid, operation.impossible)
        return commitments

    def extend(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells = _empty_cells(len(blobs))
        self._extend(blobs, cells, None)
        return cells

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells, proofs = _empty_cells(len(blobs)), _empty_proofs(len(blobs))
        self._extend(blobs, cells, proofs)
        return cells, proofs

    def _extend(self, blobs: Bytes, cells: Bytes, proofs: Bytes | None) -> None:
        given = blobs.reshape(-1, CELLS_PER_BLOB, BYTES_PER_CELL)
        if self._complete(CompleteRows(None, given, cells, proofs)):
            check_blobs(blobs)
            _check(invalid=True, impossible=False)

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells = _empty_cells(len(cells))
        _check(self._complete(CompleteRows(indices, cells, all_cells, None)), impossible=False)
        return all_cells

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells, proofs = _empty_cells(len(cells)), _empty_proofs(len(cells))
        _check(self._complete(CompleteRows(indices, cells, all_cells, proofs)), impossible=False)
        return all_cells, proofs

    def _complete(self, operation: CompleteRows) -> bool:
        """Runs it, and again for rows in which points met. True if an element was >= r."""
        self._run(operation, len(operation.given), MOST_ROWS)
        if operation.invalid:
            return True
        _check(invalid=False, impossible=operation.impossible)
        if operation.failed:
            rows = sorted(set(operation.failed))
            known = None if operation.known is None else operation.known.astype(np.int64)
            cells, proofs = _empty_cells(len(rows)), _empty_proofs(len(rows))
            again = CompleteRows(known, operation.given[rows], cells, proofs, complete=True)
            self._run(again, len(rows), MOST_ROWS)
            _check(again.invalid, again.impossible or bool(again.failed))
            assert operation.proofs is not None
            operation.proofs[rows] = proofs
        return False

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
        columns = check_cell_indices(cell_indices)
        cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
        proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
        for name, actual in (("commitments", commitments), ("cells", cells), ("proofs", proofs)):
            if len(actual) != len(columns):
                raise LengthMismatch(name, len(actual), len(columns))
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
        self._run(operation, len(cells), MOST_CELLS)
        if operation.invalid:
            check_cells(cells)
            _check(invalid=True, impossible=False)
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
        self._run(operation, cells.shape[1], MOST_ROWS)
        if operation.invalid:
            check_cells(cells.reshape(-1, BYTES_PER_CELL))
            _check(invalid=True, impossible=False)
        return derived

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        proofs = check_points("proofs", proofs)
        rows = check_parity_rows(parity_rows, len(proofs))
        derived = np.empty((len(rows), BYTES_PER_PROOF), dtype=np.uint8)
        operation = ParityProofs(proofs, rows, derived)
        self._run(operation, len(rows), MOST_ROWS)
        if operation.bad:
            raise InvalidPoint("proof", min(operation.bad))
        return derived

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
        shares = list(_split(slice(0, count), -(-count // len(self._workers))))
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


class _Slot:
    """A queue, and memory that grows to what a chunk needs."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.queue: Queue = device.queue()
        self.memory: Region | None = None

    @property
    def size(self) -> int:
        return 0 if self.memory is None else self.memory.size

    def reserve(self, size: int) -> Arena:
        if self.size < size:
            self.release()
            self.memory = self._device.allocate(size)
        return Arena(self.memory)

    def release(self) -> None:
        if self.memory is not None:
            self._device.release(self.memory)
        self.memory = None


class _Worker:
    """One device with its tables and slots."""

    def __init__(
        self, device: Device, windows: tuple[int, int] | None, blinding: list[int], closed: threading.Event
    ) -> None:
        self.device = device
        self.waiting = 0
        self._closed = closed
        self._lock = threading.Lock()
        proof, commitment = _combs(device, windows)
        self._resident = device.allocate(resident_bytes(proof, commitment))
        self._slots = [_Slot(device) for _ in range(2)]
        self.tables: Tables = build(device, self._slots[0].queue, self._resident, proof, commitment, blinding)

    def run(self, operation: Operation, share: slice, most: int) -> None:
        """Does a share of an operation, in chunks of at most `most`."""
        self.waiting += 1
        try:
            with self._lock:
                self._run(operation, share, most)
        except DeviceMemoryError as error:
            raise EngineFailed(f"{self.device.name} has no memory for a single item: {error}") from error
        except DeviceError as error:
            raise EngineFailed(f"{self.device.name} failed: {error}") from error
        finally:
            self.waiting -= 1

    def _run(self, operation: Operation, share: slice, most: int) -> None:
        size, slots = self._admitted(operation, share.stop - share.start, most), self._slots
        while True:
            try:
                return self._in_chunks(operation, share, size, slots)
            except DeviceMemoryError:
                for slot in self._slots:
                    slot.queue.wait()
                    slot.release()
                if size > 1:
                    size = -(-size // 2)
                elif len(slots) > 1:
                    slots = slots[:1]  # one item after the other
                else:
                    raise

    def _in_chunks(self, operation: Operation, share: slice, size: int, slots: list[_Slot]) -> None:
        running: list[tuple[_Slot, Job, slice] | None] = [None for _ in slots]
        needed = _bytes_of(operation, self.tables, min(size, share.stop - share.start))
        for index, part in enumerate(_split(share, size)):
            if self._closed.is_set():
                raise EngineClosed("the engine was closed during this call")
            turn = index % len(slots)
            slot = slots[turn]
            _finish(running[turn])
            job = operation.job(slot.reserve(needed), self.tables, part.stop - part.start)
            job.start(slot.queue, part)
            running[turn] = slot, job, part
        for one in running:
            _finish(one)

    def _admitted(self, operation: Operation, count: int, most: int) -> int:
        """How many items a chunk may have, so that two chunks fit."""
        size = min(count, most)
        if operation.overlaps and LEAST_ROWS < count <= 2 * most:
            size = min(size, max(LEAST_ROWS, -(-count // 2)))
        free = self.device.free_bytes() + sum(slot.size for slot in self._slots)
        while size > 1 and 2 * _bytes_of(operation, self.tables, size) > free * MEMORY_SHARE:
            size = -(-size // 2)
        return size

    def close(self) -> None:
        """Waits for the call that runs, and gives back the device."""
        with self._lock:
            self.device.close()


def _finish(running: tuple[_Slot, Job, slice] | None) -> None:
    if running is not None:
        slot, job, part = running
        slot.queue.wait()
        job.finish(part)


def _bytes_of(operation: Operation, tables: Tables, count: int) -> int:
    arena = Arena()
    operation.job(arena, tables, count)
    return arena.used


def _combs(device: Device, windows: tuple[int, int] | None) -> tuple[Comb, Comb]:
    free = device.free_bytes()
    for proof_b, commitment_b in (windows,) if windows else WINDOWS:
        proof, commitment = proof_comb(proof_b), commitment_comb(commitment_b)
        if windows or resident_bytes(proof, commitment) <= free * TABLE_SHARE:
            return proof, commitment
    raise DeviceMemoryError(f"{device.name} has only {free >> 20} MiB of free memory")


def _split(whole: slice, size: int) -> Iterator[slice]:
    """Slices of at most `size`, and as equal as can be."""
    count = whole.stop - whole.start
    parts = -(-count // size) if count else 0
    return (
        slice(whole.start + count * i // parts, whole.start + count * (i + 1) // parts) for i in range(parts)
    )


def _check(invalid: bool, impossible: bool) -> None:
    if impossible:
        raise EngineFailed("independent points met: a chance of 2^-240, or the device miscomputes")
    if invalid:
        raise EngineFailed("the input changed during this call")


def _empty_cells(rows: int) -> Bytes:
    return np.empty((rows, CELLS_PER_EXT_BLOB, BYTES_PER_CELL), dtype=np.uint8)


def _empty_proofs(rows: int) -> Bytes:
    return np.empty((rows, CELLS_PER_EXT_BLOB, BYTES_PER_PROOF), dtype=np.uint8)
