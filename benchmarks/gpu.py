"""The `cuda` engine on a GPU: `python -m benchmarks.gpu [OUTPUT.json]`, or all checks with it:
benchmarks/gpu.sh.

Correctness first: a batch against c-kzg where it is installed, else against the same kernels compiled for
this machine's processor in plain words. Then rows a second and bytes of blobs a second, from memory of the
device and of the host, in batches of 1, 8, 64 and 256 rows, and of those between for the picture of all
engines (`benchmarks.plot`); the ceilings that a micro-kernel reaches for multiplications, and how much of
them the proofs use, kernel by kernel.

Times are wall clock around work that was waited for; medians of several runs after a warm-up. Figures are
written after each batch size, so that a run cut short keeps what it had.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import ckzg
import cupy
import numpy as np

from benchmarks.plot import BATCHES as PLOTTED
from benchmarks.plot import Plot, rows_per_second
from erasure.constants import BYTES_PER_BLOB
from gpu.cuda.device import Arena, Argument, Device, Queue
from gpu.cuda.engine import CudaEngine
from gpu.cuda.kernel_engine import KernelEngine
from gpu.cuda.pipeline import Commit, Prove, Rows
from gpu.cuda.tables import LEAST_INVERTING_THREADS, POINTS_PER_INVERSION, Comb, Tables, each
from kzg import trusted_setup
from kzg.types import Bytes

BATCHES: Final = (1, 8, 64, 256)
WIDE_MULTIPLIES: Final = 12 * 12 * 2
"""32 x 32 bit products in one product of the base field: 144 of the factors, 144 of the reduction."""

_DOUBLE, _MIXED_ADD, _ADD, _NORMALISE, _INVERSE = 9, 10, 14, 7, 613  # products in each


def products_of_a_proof(shape: Comb, rows: int) -> dict[str, float]:
    """Products of the base field that the proofs of one row take, by kernel, in a batch of `rows`."""

    def normalised(points: int) -> float:
        count = points * rows
        threads = min(count, max(LEAST_INVERTING_THREADS, -(-count // POINTS_PER_INVERSION)))
        return points * _NORMALISE + threads * _INVERSE / rows

    taps = 2 * 32 * (32 * 31 + 16 * 15 + 2 * 8 * 7)
    return {
        "comb_sums": 128 * shape.t * (shape.windows - 1) * _MIXED_ADD,
        "comb_total": 128 * ((shape.t - 1) * (_DOUBLE + _ADD) + _MIXED_ADD),
        "split_parts": 2 * (32 + 16 * 3 + 2 * 8 * 7) * _ADD,
        "expand_points": 128 * 8 * _DOUBLE,
        "comb_entries": 128 * 4 * 38 * _MIXED_ADD,
        "normalise": 2 * normalised(1024) + normalised(16384) + normalised(128),
        "convolve": taps * _MIXED_ADD,
        "sum_digits": 128 * (128 * _DOUBLE + 32 * _ADD + 28),
        "join_parts": 128 * (4 * _ADD + _MIXED_ADD),
    }


def random_blobs(rows: int) -> Bytes:
    blobs = np.random.default_rng(7594).integers(0, 256, (rows, 4096, 32), dtype=np.uint8)
    blobs[:, :, 0] &= 0x3F
    return blobs.reshape(rows, BYTES_PER_BLOB)


def median_s(work: Callable[[], object], runs: int = 5) -> float:
    work()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def oracle() -> tuple[str, Callable[[Bytes], tuple[Bytes, Bytes, Bytes]]]:
    """Its name, and blobs to commitments, cells and proofs."""
    if hasattr(ckzg, "load_trusted_setup"):
        with tempfile.NamedTemporaryFile() as text:
            text.write(trusted_setup.load().to_text())
            text.flush()
            setup = ckzg.load_trusted_setup(text.name, 0)

        def by_ckzg(blobs: Bytes) -> tuple[Bytes, Bytes, Bytes]:
            commitments = b"".join(ckzg.blob_to_kzg_commitment(blob.tobytes(), setup) for blob in blobs)
            proved = [ckzg.compute_cells_and_kzg_proofs(blob.tobytes(), setup) for blob in blobs]
            cells, proofs = (b"".join(b"".join(of_row[i]) for of_row in proved) for i in range(2))
            return (
                np.frombuffer(commitments, np.uint8).reshape(-1, 48),
                np.frombuffer(cells, np.uint8).reshape(-1, 128, 2048),
                np.frombuffer(proofs, np.uint8).reshape(-1, 128, 48),
            )

        return "ckzg", by_ckzg

    from tests.gpu.host_device import HostDevice, compile_kernels

    with tempfile.TemporaryDirectory() as directory:
        library = compile_kernels(Path(directory))
    plain = KernelEngine("plain", [HostDevice(library)], windows=(6, 6))
    return "the kernels in plain words on this processor (ckzg is not installed)", lambda blobs: (
        plain.commit(blobs),
        *plain.prove(blobs),
    )


def structured_blobs() -> Bytes:
    """Zero, constant, all r - 1, one, and random rows."""
    blobs = random_blobs(6).reshape(6, 4096, 32).copy()
    blobs[0] = 0
    blobs[1] = 0
    blobs[1, :, 31] = 5
    largest = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000000
    blobs[2] = np.frombuffer(largest.to_bytes(32, "big"), np.uint8)
    blobs[3, 1:] = 0
    return blobs.reshape(6, BYTES_PER_BLOB)


def check(engine: KernelEngine) -> str:
    """Compares every operation with the oracle, whose name it returns."""
    name, compute = oracle()
    blobs = structured_blobs()
    commitments, cells, proofs = compute(blobs)
    assert (engine.commit(blobs) == commitments).all()
    assert (engine.extend(blobs) == cells).all()
    got_cells, got_proofs = engine.prove(blobs)
    assert (got_cells == cells).all()
    assert (got_proofs == proofs).all()
    known = [*range(1, 128, 2), 126]
    known.sort()
    got_cells, got_proofs = engine.recover_with_proofs(known, cells[:, known])
    assert (got_cells == cells).all()
    assert (got_proofs == proofs).all()
    return name


def can_pair() -> bool:
    """False with the stand-in of gpu.sh."""
    import py_arkworks_bls12381

    return not getattr(py_arkworks_bls12381, "STAND_IN", False)


def ceilings(device: Device, blocks: int = 8192, rounds: int = 4096) -> dict[str, float]:
    """32 x 32 bit multiplies a second, and products of the base field a second, at best."""
    queue = device.queue()
    count = 128 * blocks
    region = device.allocate(count * 48)

    def wide() -> None:
        each(queue, "ceiling_wide", count, region, rounds, count)
        queue.wait()

    queue.clear(region)
    wide_s = median_s(wide)

    def products() -> None:
        each(queue, "ceiling_products", count, region, rounds // 8, count)
        queue.wait()

    values = np.random.default_rng(381).integers(0, 1 << 32, (count, 12), dtype=np.uint32)
    values[:, 11] &= 0x0FFFFFFF  # below the modulus
    queue.upload(region, values)
    products_s = median_s(products)
    device.release(region)
    return {"wide_per_s": 16 * rounds * count / wide_s, "products_per_s": rounds // 8 * count / products_s}


def resident(engine: KernelEngine, rows: int) -> dict[str, float]:
    """Seconds of each operation on rows that are on the device already."""
    worker = engine._workers[0]
    device, tables, queue = worker.device, worker.tables, worker._slots[0].queue
    for slot in worker._slots:
        slot.release()
    arena = Arena()
    _jobs(arena, tables, rows)
    memory = device.allocate(arena.used)
    extension, proof, commitment = _jobs(Arena(memory), tables, rows)
    blobs = random_blobs(rows)
    queue.upload(extension.cells, blobs)
    queue.upload(commitment.blobs, blobs)

    def waited(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            work()
            queue.wait()

        return run

    def prove() -> None:
        extension.extend(queue)
        proof.run(queue, extension.remainders, tables.scales.half_inverse64)

    times = {
        "extend": median_s(waited(lambda: extension.extend(queue))),
        "commit": median_s(waited(lambda: commitment.run(queue))),
        "prove": median_s(waited(prove)),
    }
    device.release(memory)
    return times


def _jobs(arena: Arena, tables: Tables, rows: int) -> tuple[Rows, Prove, Commit]:
    return Rows(arena, tables, rows, 64, 64), Prove(arena, tables, rows), Commit(arena, tables, rows)


class KernelTimes:
    """A queue that waits for each kernel, and sums up how long they took by name."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.seconds: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def launch(self, kernel: str, blocks: int, *arguments: Argument) -> None:
        self._queue.wait()
        start = time.perf_counter()
        self._queue.launch(kernel, blocks, *arguments)
        self._queue.wait()
        self.seconds[kernel] = self.seconds.get(kernel, 0.0) + time.perf_counter() - start


def by_kernel(engine: KernelEngine, rows: int) -> dict[str, float]:
    """Seconds of a proof's kernels, one at a time, so that a few microseconds of each are its launch."""
    worker = engine._workers[0]
    arena = Arena()
    _jobs(arena, worker.tables, rows)
    memory = worker.device.allocate(arena.used)
    extension, proof, _ = _jobs(Arena(memory), worker.tables, rows)
    queue = worker.device.queue()
    queue.upload(extension.cells, random_blobs(rows))
    runs = []
    for _ in range(4):
        times = KernelTimes(queue)
        extension.extend(times)
        proof.run(times, extension.remainders, worker.tables.scales.half_inverse64)
        runs.append(times.seconds)
    worker.device.release(memory)
    return {kernel: statistics.median(run[kernel] for run in runs[1:]) for kernel in runs[0]}


def from_host(engine: KernelEngine, rows: int) -> dict[str, float]:
    """Seconds of each operation on arrays of this machine."""
    blobs = random_blobs(rows)
    commitments, (cells, proofs) = engine.commit(blobs), engine.prove(blobs)
    known = list(range(0, 128, 2))
    half = np.ascontiguousarray(cells[:, known])
    column = [5] * rows
    times = {
        "extend": median_s(lambda: engine.extend(blobs)),
        "commit": median_s(lambda: engine.commit(blobs)),
        "prove": median_s(lambda: engine.prove(blobs)),
        "recover": median_s(lambda: engine.recover(known, half)),
        "recover_with_proofs": median_s(lambda: engine.recover_with_proofs(known, half)),
    }
    if can_pair():
        cell_column, proof_column = np.ascontiguousarray(cells[:, 5]), np.ascontiguousarray(proofs[:, 5])
        times["verify_column"] = median_s(
            lambda: engine.verify_cells(commitments, column, cell_column, proof_column)
        )
    return times


def points(engine: KernelEngine, device: str) -> Plot:
    """Rows a second of proofs, from and to host memory, for the picture of all engines."""
    speeds = []
    for rows in PLOTTED:
        blobs = random_blobs(rows)
        speeds.append((rows, rows / median_s(partial(engine.prove, blobs))))
    return rows_per_second({"cuda": tuple(speeds)}, f"cuda: {device}; {time.strftime('%Y-%m-%d')}")


def _figures(rows: int, seconds: float | None) -> str:
    if seconds is None:
        return f"{'-':>10} {'-':>9} {'-':>7}"
    rate = rows * BYTES_PER_BLOB / seconds / 1e9
    return f"{seconds * 1e3:>10.2f} {rows / seconds:>9.0f} {rate:>7.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path)
    output = parser.parse_args().output
    result: dict[str, Any] = {}

    def note(**figures: Any) -> None:
        result.update(figures)
        if output:
            output.write_text(json.dumps(result, indent=1, default=str) + "\n")

    free = cupy.cuda.runtime.memGetInfo()[0]
    start = time.perf_counter()
    with CudaEngine(workers=1) as engine:
        opened_s = time.perf_counter() - start
        note(engine=engine.describe(), open_s=opened_s, oracle=check(engine))
        print(f"{result['engine']}; opened in {opened_s:.1f} s; all bytes equal those of {result['oracle']}")
        note(ceilings=ceilings(engine._workers[0].device))
        wide, products = result["ceilings"].values()
        print(f"ceilings: {wide / 1e12:.2f} T wide multiplies/s, {products / 1e9:.2f} G products of Fp/s")
        measure(engine, result["ceilings"], note)
        note(plot=points(engine, engine._workers[0].device.name).as_json())
        note(device_bytes=free - cupy.cuda.runtime.memGetInfo()[0])
        print(f"device memory: {result['device_bytes'] / 2**30:.1f} GiB")


def measure(engine: KernelEngine, ceiling: dict[str, float], note: Callable[..., None]) -> None:
    """The table, and where the time of proofs goes."""
    columns = f"{'ms':>10} {'rows/s':>9} {'GB/s':>7}"
    print(f"{'rows':>5} {'operation':>20} on the device: {columns}; from host memory: {columns}")
    batches: dict[int, dict[str, dict[str, float]]] = {}
    for rows in BATCHES:
        on_device, on_host = resident(engine, rows), from_host(engine, rows)
        batches[rows] = {"device_s": on_device, "host_s": on_host, "kernels_s": by_kernel(engine, rows)}
        note(batches=batches)
        for name, host_s in on_host.items():
            figures = " ".join(_figures(rows, seconds) for seconds in (on_device.get(name), host_s))
            print(f"{rows:>5} {name:>20} {figures}")
    most = BATCHES[-1]
    of_row = products_of_a_proof(engine._workers[0].tables.proving.proof, most)
    rate = most / batches[most]["device_s"]["prove"] * sum(of_row.values())
    fractions = rate * WIDE_MULTIPLIES / ceiling["wide_per_s"], rate / ceiling["products_per_s"]
    note(products_per_row=of_row, fraction_of_wide=fractions[0], fraction_of_products=fractions[1])
    print(f"proofs: {sum(of_row.values()) / 1e6:.2f} M products of Fp a row; at {most} rows")
    print(f"  {fractions[0]:.0%} of the ceiling of wide multiplies")
    print(f"  {fractions[1]:.0%} of the ceiling of products of Fp")
    for kernel, seconds in sorted(batches[most]["kernels_s"].items(), key=lambda item: -item[1]):
        share = most * of_row.get(kernel, 0.0) / seconds / ceiling["products_per_s"]
        alone = batches[1]["kernels_s"][kernel]
        print(f"  {kernel:>20} {seconds * 1e3:>9.2f} ms, {share:>4.0%}; of one row {alone * 1e3:>7.2f} ms")


if __name__ == "__main__":
    main()
