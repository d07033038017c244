"""What only a GPU can show, besides the tests of tests/kzg, whose `engine` is `cuda` there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gpu import cuda_engine
from gpu.kernel_engine import KernelEngine
from gpu.loader import BASE_MODULUS
from gpu.tables import each

pytestmark = pytest.mark.gpu


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
