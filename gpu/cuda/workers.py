"""One device at work: its tables, and the chunks in which it does its share of an operation.

Flow, for each share:
- Chunks alternate between two slots, each with a queue and memory of its own: while one computes, the other's
  transfers run.
- A chunk is as large as fits half of the free memory; if that has been taken by the time it is allocated,
  chunks are halved. If not even one item fits, the call raises EngineFailed; it never crashes.

Invariants: one call at a time on a device; others wait. What a device reports as broken fails that call with
EngineFailed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from gpu.cuda.device import Arena, Device, DeviceError, DeviceMemoryError, Queue, Region
from gpu.cuda.operations import Job, Operation
from gpu.cuda.tables import Combs, Tables, build, commitment_comb, proof_comb, resident_bytes
from kzg.errors import EngineClosed, EngineFailed

LEAST_ROWS: Final = 32
"""A batch of fewer rows is not divided between the slots: it would not fill a device."""

MEMORY_SHARE: Final = 0.9
"""Of the free memory, how much chunks may take."""

TABLE_SHARE: Final = 0.125
"""Of a device's memory, how much its tables may take."""

WINDOWS: Final = ((16, 14), (13, 12), (10, 10), (8, 8), (6, 6))
"""Windows of the combs of proofs and commitments, largest tables first."""


class Slot:
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


class Worker:
    """One device with its tables and slots."""

    def __init__(
        self, device: Device, closed: threading.Event, combs: Combs | None, blinding: list[int]
    ) -> None:
        self.device = device
        self.waiting = 0
        self._closed = closed
        self._lock = threading.Lock()
        self._resident = device.allocate(resident_bytes(combs))
        self._slots = [Slot(device) for _ in range(2)]
        self.tables: Tables = build(device, self._slots[0].queue, self._resident, combs, blinding)

    def run(self, operation: Operation, share: slice, most: int) -> None:
        """Does a share of an operation, in chunks of at most `most`."""
        self.waiting += 1
        try:
            with self._lock:
                self._run(operation, share, most)
        except DeviceMemoryError as error:
            raise EngineFailed(f"{self.device.name} lacks memory for a single item: {error}") from error
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

    def _in_chunks(self, operation: Operation, share: slice, size: int, slots: list[Slot]) -> None:
        running: list[tuple[Slot, Job, slice] | None] = [None for _ in slots]
        needed = _bytes_of(operation, self.tables, min(size, share.stop - share.start))
        for index, part in enumerate(split(share, size)):
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
        """Waits for the running call, and releases the device."""
        with self._lock:
            self.device.close()


def _finish(running: tuple[Slot, Job, slice] | None) -> None:
    if running is not None:
        slot, job, part = running
        slot.queue.wait()
        job.finish(part)


def _bytes_of(operation: Operation, tables: Tables, count: int) -> int:
    arena = Arena()
    operation.job(arena, tables, count)
    return arena.used


def split(whole: slice, size: int) -> Iterator[slice]:
    """Slices of at most `size`, and as equal as can be."""
    count = whole.stop - whole.start
    parts = -(-count // size) if count else 0
    return (
        slice(whole.start + count * i // parts, whole.start + count * (i + 1) // parts) for i in range(parts)
    )


def combs_for(device: Device, windows: tuple[int, int] | None) -> Combs:
    """The combs of a prover: of these windows, or the largest whose tables fit in TABLE_SHARE of free memory.

    Raises:
        DeviceMemoryError: none fit.
    """
    free = device.free_bytes()
    for proof_b, commitment_b in (windows,) if windows else WINDOWS:
        combs = Combs(proof_comb(proof_b), commitment_comb(commitment_b))
        if windows or resident_bytes(combs) <= free * TABLE_SHARE:
            return combs
    raise DeviceMemoryError(f"{device.name} has only {free >> 20} MiB of free memory")
