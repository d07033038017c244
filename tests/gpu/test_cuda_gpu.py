"""What only a GPU can show, besides the tests of tests/kzg, whose `engine` is `cuda` there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gpu.constants import BASE_MODULUS
from gpu.cuda import engine as cuda_engine
from gpu.cuda.kernel_engine import KernelEngine
from gpu.cuda.tables import each

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cuda() -> Iterator[KernelEngine]:
    reason = cuda_engine.available()
    if reason is not None:
        pytest.skip(f"no GPU: {reason}")
    with cuda_engine.CudaEngine(workers=1) as opened:
        yield opened


def test_products_on_the_device_are_those_of_integers(cuda: KernelEngine) -> None:
    """The carry chains as ptxas made them, not as they are emulated."""
    worker = cuda._workers[0]
    queue = worker.device.queue()
    rng = np.random.default_rng(381)
    edges = [0, 1, 2, BASE_MODULUS - 1, BASE_MODULUS // 2, *((1 << 32 * i) - 1 for i in range(1, 12))]
    values = edges + [int.from_bytes(rng.bytes(48), "little") % BASE_MODULUS for _ in range(1000)]
    joined = b"".join(value.to_bytes(48, "little") for value in values)
    words = np.frombuffer(joined, dtype=np.uint32).copy()
    region = worker.device.allocate(words.nbytes)
    try:
        queue.upload(region, words)
        each(queue, "ceiling_products", len(values), region, 3, len(values))
        queue.download(region, words)
        queue.wait()
    finally:
        worker.device.release(region)
    raw = words.tobytes()
    got = [int.from_bytes(raw[48 * i : 48 * i + 48], "little") for i in range(len(values))]
    inverse_r = pow(1 << 384, -1, BASE_MODULUS)
    assert got == [value**4 * inverse_r**3 % BASE_MODULUS for value in values]


def test_a_large_batch_is_the_rows_of_small_ones(cuda: KernelEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two chunks on two streams, and again in chunks of a few rows, as if memory were short."""
    blobs = np.random.default_rng(64).integers(0, 256, (70, 4096, 32), dtype=np.uint8)
    blobs[:, :, 0] &= 0x3F
    blobs[3] = 0
    blobs = blobs.reshape(70, -1)
    cells, proofs = cuda.prove(blobs)
    commitments = cuda.commit(blobs)
    worker = cuda._workers[0]
    for slot in worker._slots:
        slot.release()
    monkeypatch.setattr(worker.device, "free_bytes", lambda: 100 << 20)
    again = cuda.prove(blobs)
    assert (again[0] == cells).all()
    assert (again[1] == proofs).all()
    assert (cuda.commit(blobs) == commitments).all()
    known = list(range(30, 94))
    recovered = cuda.recover_with_proofs(known, cells[:, known])
    assert (recovered[0] == cells).all()
    assert (recovered[1] == proofs).all()


def test_a_device_that_is_nearly_full_does_few_rows_at_a_time(cuda: KernelEngine) -> None:
    blobs = np.random.default_rng(9).integers(0, 64, (40, 131072), dtype=np.uint8)
    cells, proofs = cuda.prove(blobs)
    worker = cuda._workers[0]
    for slot in worker._slots:
        slot.release()
    taken = worker.device.allocate(worker.device.free_bytes() - (256 << 20))
    try:
        again = cuda.prove(blobs)
        assert sum(slot.size for slot in worker._slots) < 256 << 20
    finally:
        worker.device.release(taken)
    assert (again[0] == cells).all()
    assert (again[1] == proofs).all()


_BREAKDOWN = """
import numpy as np
from gpu.cuda.engine import CudaEngine
from kzg.errors import EngineFailed

engine = CudaEngine(workers=1, windows=(6, 6))
engine._workers[0]._slots[0].queue.launch("compress_points", 1, None, None, 1)
for _ in range(2):
    try:
        engine.prove(np.zeros((2, 131072), np.uint8))
    except EngineFailed as error:
        print(error)
engine.close()
"""


def test_a_device_that_broke_down_fails_every_later_call(cuda: KernelEngine) -> None:
    """A kernel that reads address 0, in a process of its own: CUDA refuses that process all that follows."""
    done = subprocess.run(
        [sys.executable, "-c", _BREAKDOWN], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    failed = f"{cuda._workers[0].device.name} failed: "
    assert [line.startswith(failed) for line in done.stdout.splitlines()] == [True, True], done.stdout
    assert done.stdout.count("cudaErrorIllegalAddress") == 2
