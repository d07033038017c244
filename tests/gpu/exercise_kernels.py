"""Every kernel, on small tables and few rows: a program to be run under a checker of memory and races.

    python -m tests.gpu.exercise_kernels            on a CUDA device, for scripts/compute_sanitizer.sh
    python -m tests.gpu.exercise_kernels LIBRARY    as compiled for this machine, for test_sanitizers.py

Each array gets an allocation of its own, so that reaching beyond one is reaching beyond what was allocated.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, ClassVar

import numpy as np

from gpu.cuda import tables, workers
from gpu.cuda.device import Arena, Device, Queue, Region
from gpu.cuda.kernel_engine import KernelEngine
from gpu.cuda.operations import CompleteRows
from gpu.cuda.source import kernels
from gpu.cuda.tables import each

WINDOWS = (6, 6)


class ScatteredArena(Arena):
    """Hands out pieces of `device` instead of its region's."""

    device: ClassVar[Device]

    def take(self, size: int) -> Region:
        return super().take(size) if self._region is None else self.device.allocate(size)


def exercise(engine: KernelEngine, *, pairings: bool = True) -> None:
    """Every operation. pairings: False leaves out verification, which needs a library for them."""
    blobs = np.random.default_rng(7594).integers(0, 256, (3, 4096, 32), dtype=np.uint8)
    blobs[:, :, 0] &= 0x3F
    blobs[1] = 0
    blobs = blobs.reshape(3, -1)
    commitments = engine.commit(blobs)
    cells, proofs = engine.prove(blobs)
    again, given = np.empty_like(proofs[:1]), blobs[1:2].reshape(-1, 64, 2048)
    engine._run(CompleteRows(None, given, np.empty_like(cells[:1]), again, complete=True), 1, 1)
    assert (again == proofs[1:2]).all()
    for known in (range(64, 128), [0, *range(5, 70)]):
        assert (engine.recover(known, cells[:, list(known)]) == cells).all()
    if pairings:
        rows, columns = np.divmod(np.arange(0, 384, 19), 128)
        batch = commitments[rows], columns, cells[rows, columns], proofs[rows, columns]
        assert engine.verify_cells(*batch)
    assert (engine.recover_proofs(range(64), proofs[:, :64], [64, 127]) == proofs[:, [64, 127]]).all()
    engine.parity_cells(cells[:, :5])
    engine.parity_proofs(proofs[:, 5])
    _ceilings(engine)


def _ceilings(engine: KernelEngine) -> None:
    """The kernels that only benchmarks use."""
    device = engine._workers[0].device
    queue, region = device.queue(), device.allocate(100 * tables.AFFINE_BYTES)
    queue.clear(region)
    each(queue, "ceiling_wide", 100, region, 1, 100)
    queue.clear(region)
    each(queue, "ceiling_products", 100, region, 1, 100)
    queue.wait()
    device.release(region)


def note_launches(queue: type[Queue]) -> set[str]:
    """The names of the kernels that queues of this class will have launched."""
    launched: set[str] = set()
    launch = queue.launch

    def noted(self: Queue, kernel: str, blocks: int, *arguments: Any) -> None:
        launched.add(kernel)
        launch(self, kernel, blocks, *arguments)

    queue.launch = noted  # type: ignore[method-assign]
    return launched


def main() -> None:
    import py_arkworks_bls12381

    if sys.argv[1:]:
        from tests.gpu.host_device import HostDevice, HostQueue, Kernels

        device: Device = HostDevice(Kernels(ctypes.CDLL(sys.argv[1])))
        launched = note_launches(HostQueue)
    else:
        from gpu.cuda.cupy_device import CudaDevice, CudaQueue

        device = CudaDevice(0)
        launched = note_launches(CudaQueue)
    ScatteredArena.device = device
    workers.Arena = tables.Arena = ScatteredArena  # type: ignore[misc]
    with KernelEngine("exercised", [device], windows=WINDOWS) as engine:
        exercise(engine, pairings=not getattr(py_arkworks_bls12381, "STAND_IN", False))
    print(
        f"{len(launched)} of {len(kernels())} kernels; missing: {sorted(set(kernels()) - launched) or 'none'}"
    )


if __name__ == "__main__":
    main()
