"""The `cuda` engine without a GPU: its kernels compiled for this machine, its engine on top, against c-kzg.

The device is `tests.gpu.host_device`. What only a GPU can show (registers, races, the driver) is in
test_nvrtc.py and in the tests of tests/kzg, whose `engine` is this one where a device is there.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gpu.cuda import operations
from gpu.cuda.device import Arena, DeviceError, DeviceMemoryError
from gpu.cuda.kernel_engine import KernelEngine
from gpu.cuda.kernel_verifier import KernelVerifier
from gpu.cuda.operations import CompleteRows
from gpu.cuda.pipeline import Prove, Rows
from gpu.cuda.source import KERNEL_DIRECTORY, device_source, kernels
from gpu.cuda.verification import VerifyCells
from kzg import parity
from kzg.engine import Engine, Prover, Verifier
from kzg.errors import (
    EngineClosed,
    EngineFailed,
    InvalidBlob,
    InvalidCell,
    InvalidPoint,
    InvalidRowIndex,
    LengthMismatch,
    NotEnoughCells,
)
from kzg.types import Bytes
from tests.gpu.conftest import Batch
from tests.gpu.host_device import HostDevice, Kernels, Order, backward, compile_kernels, shuffled
from tests.kzg.hostile import MALFORMED_POINTS, changed_cells, changed_indices, changed_points

WINDOWS = (6, 6)
MODULUS_BYTES = np.frombuffer(
    bytes.fromhex("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"), dtype=np.uint8
)


@pytest.fixture(scope="module")
def engine(host_kernels: Kernels) -> Iterator[KernelEngine]:
    with KernelEngine("kernels", [HostDevice(host_kernels)], windows=WINDOWS) as opened:
        yield opened


def test_it_is_an_engine_and_describes_itself(engine: KernelEngine) -> None:
    assert isinstance(engine, Engine)
    description = engine.describe()
    assert description["engine"] == "kernels"
    assert description["devices"] == ["host"]


def test_rows_of_every_kind_give_the_bytes_of_ckzg(engine: KernelEngine, batch: Batch) -> None:
    assert (engine.commit(batch.blobs) == batch.commitments).all()
    assert (engine.extend(batch.blobs) == batch.cells).all()
    cells, proofs = engine.prove(batch.blobs)
    assert (cells == batch.cells).all()
    assert (proofs == batch.proofs).all()


def test_rows_that_are_on_the_device_are_extended_and_proved_there(
    engine: KernelEngine, batch: Batch
) -> None:
    """Only the blobs' bytes are uploaded, and only the results are downloaded."""
    worker = engine._workers[0]
    sizes = Arena()
    Rows(sizes, worker.tables, 2, 64, 64)
    Prove(sizes, worker.tables, 2)
    memory, queue = worker.device.allocate(sizes.used), worker.device.queue()
    arena = Arena(memory)
    rows, proof = Rows(arena, worker.tables, 2, 64, 64), Prove(arena, worker.tables, 2)
    queue.upload(rows.cells, batch.blobs[-2:])
    rows.extend(queue)
    proof.run(queue, rows.remainders, worker.tables.scales.half_inverse64)
    cells, proofs = np.empty_like(batch.cells[-2:, 64:]), np.empty_like(batch.proofs[-2:])
    queue.download(rows.out, cells)
    queue.download(proof.out, proofs)
    queue.wait()
    worker.device.release(memory)
    assert (cells == batch.cells[-2:, 64:]).all()
    assert (proofs == batch.proofs[-2:]).all()


@pytest.mark.parametrize("known", [range(64), range(64, 128), range(1, 128, 2), range(128), range(3, 80)])
def test_any_half_of_the_columns_gives_back_the_rows(
    engine: KernelEngine, batch: Batch, known: range
) -> None:
    assert (engine.recover(known, batch.cells[:, list(known)]) == batch.cells).all()


def test_recovery_with_proofs(engine: KernelEngine, batch: Batch) -> None:
    known = sorted(set(range(1, 128, 2)) | {0, 64})
    cells, proofs = engine.recover_with_proofs(known, batch.cells[-2:, known])
    assert (cells == batch.cells[-2:]).all()
    assert (proofs == batch.proofs[-2:]).all()


def test_proofs_of_lost_columns_from_those_of_others(engine: KernelEngine, batch: Batch) -> None:
    known, wanted = list(range(1, 128, 2)), [0, 64, 3]
    assert (engine.recover_proofs(known, batch.proofs[:, known], wanted) == batch.proofs[:, wanted]).all()
    proofs = batch.proofs[:2, known].copy()
    proofs[1, 5] = 0xFF
    with pytest.raises(InvalidPoint) as caught:
        engine.recover_proofs(known, proofs, wanted)
    assert (caught.value.name, caught.value.position) == ("proof", 64 + 5)


def test_a_verifier_needs_no_tables(host_kernels: Kernels, batch: Batch) -> None:
    device = HostDevice(host_kernels)
    with KernelVerifier("kernels", [device]) as verifier:
        assert isinstance(verifier, Verifier)
        assert not isinstance(verifier, Prover)
        assert verifier.describe()["table_bytes"] == 0
        assert verifier._workers[0]._resident.size < 1 << 20
        commitments, columns, cells, proofs = (array.copy() for array in _sample(batch))
        assert verifier.verify_cells(commitments, columns, cells, proofs) is True
        assert verifier.verify_cells(commitments, columns, cells, proofs[::-1]) is False
        known = list(range(30, 94))
        assert (verifier.recover(known, batch.cells[:2, known]) == batch.cells[:2]).all()
        recovered = verifier.recover_proofs(known, batch.proofs[-2:, known], [0, 127])
        assert (recovered == batch.proofs[-2:, [0, 127]]).all()
        assert verifier.parity_cells(batch.cells[:3, :2]).shape == (3, 2, 2048)
        assert verifier.parity_proofs(batch.proofs[:3, 5], [1]).shape == (1, 48)
    assert not any(kernel.startswith("comb_") for kernel in device.launched)


def test_rows_in_which_points_meet_are_proved_again(engine: KernelEngine, batch: Batch) -> None:
    """Unblinded, a row of zeros is infinity everywhere: the incomplete formulas must notice."""
    worker = engine._workers[0]
    blinded = worker.tables
    device = worker.device
    unblinded = dataclasses.replace(blinded.proving, blinding=None, blinding_image=None)
    worker.tables = dataclasses.replace(blinded, prover=unblinded)
    device.launched.clear()
    try:
        rows = [0, 1, 8]  # zero, constant, random
        _, proofs = engine.prove(batch.blobs[rows])
    finally:
        worker.tables = blinded
    assert device.launched["convolve_complete"] == 1
    assert (proofs == batch.proofs[rows]).all()


def test_blinded_rows_are_not_proved_again(engine: KernelEngine, batch: Batch) -> None:
    device = engine._workers[0].device
    device.launched.clear()
    engine.prove(batch.blobs[:2])
    assert "convolve_complete" not in device.launched


def test_complete_formulas_give_the_same_proofs(engine: KernelEngine, batch: Batch) -> None:
    cells, proofs = np.empty_like(batch.cells[:1]), np.empty_like(batch.proofs[:1])
    given = batch.blobs[:1].reshape(-1, 64, 2048)
    engine._run(CompleteRows(None, given, cells, proofs, complete=True), 1, 1)
    assert (proofs == batch.proofs[:1]).all()


def test_little_memory_makes_chunks_not_errors(engine: KernelEngine, batch: Batch) -> None:
    device = engine._workers[0].device
    _release(engine)
    limit = device.limit
    device.limit = limit - device.free_bytes() + 8 * 2**20
    device.launched.clear()
    try:
        assert (engine.extend(batch.blobs) == batch.cells).all()
        assert (engine.commit(batch.blobs) == batch.commitments).all()
        assert device.launched["comb_sums"] > 1
        _release(engine)
        device.limit -= 7 * 2**20
        with pytest.raises(EngineFailed, match="lacks memory for a single item"):
            engine.prove(batch.blobs[:1])
    finally:
        device.limit = limit
    assert (engine.commit(batch.blobs[:1]) == batch.commitments[:1]).all()


def _release(engine: KernelEngine) -> None:
    for slot in engine._workers[0]._slots:
        slot.release()


def test_memory_that_was_taken_meanwhile_halves_the_chunks(
    engine: KernelEngine, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = engine._workers[0].device
    _release(engine)
    allocate = device.allocate
    asked: list[int] = []

    def refuse_twice(size: int) -> object:
        asked.append(size)
        if len(asked) <= 2:
            raise DeviceMemoryError("gone")
        return allocate(size)

    monkeypatch.setattr(device, "allocate", refuse_twice)
    assert (engine.extend(batch.blobs) == batch.cells).all()
    assert asked[0] > asked[1] > asked[2]


def test_a_device_that_breaks_down_fails_the_call_and_no_other(
    engine: KernelEngine, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = engine._workers[0]._slots[0].queue

    def break_down() -> None:
        raise DeviceError("the device fell off the bus")

    with monkeypatch.context() as patch:
        patch.setattr(queue, "wait", break_down)
        with pytest.raises(EngineFailed, match="fell off the bus"):
            engine.extend(batch.blobs[:1])
    assert (engine.extend(batch.blobs[:1]) == batch.cells[:1]).all()


@pytest.mark.parametrize("operation", ["commit", "extend", "prove"])
def test_elements_of_a_blob_are_canonical(engine: KernelEngine, operation: str) -> None:
    blobs = np.zeros((2, 131072), dtype=np.uint8)
    blobs[1, 32 * 4095 :] = MODULUS_BYTES
    with pytest.raises(InvalidBlob) as caught:
        getattr(engine, operation)(blobs)
    assert (caught.value.row, caught.value.element) == (1, 4095)


def test_zero_rows(engine: KernelEngine) -> None:
    nothing = np.empty((0, 131072), dtype=np.uint8)
    assert engine.commit(nothing).shape == (0, 48)
    assert engine.extend(nothing).shape == (0, 128, 2048)
    assert engine.recover(range(64), np.empty((0, 64, 2048), dtype=np.uint8)).shape == (0, 128, 2048)
    no_points = np.empty((0, 48), dtype=np.uint8)
    assert engine.verify_cells(no_points, [], np.empty((0, 2048), dtype=np.uint8), no_points) is True


# --- verification


def _sample(batch: Batch, count: int = 40) -> list[Bytes]:
    rng = np.random.default_rng(5)
    rows, columns = rng.integers(0, 9, count), rng.integers(0, 128, count)
    columns[:20] = columns[0]  # more cells of one column than a thread adds up
    return [batch.commitments[rows], columns, batch.cells[rows, columns], batch.proofs[rows, columns]]


def test_cells_of_many_rows_in_any_order_verify(engine: KernelEngine, batch: Batch) -> None:
    assert engine.verify_cells(*_sample(batch)) is True


@pytest.mark.parametrize("changed", ["commitment", "column", "cell", "proof"])
def test_one_wrong_item_makes_the_batch_wrong(engine: KernelEngine, batch: Batch, changed: str) -> None:
    commitments, columns, cells, proofs = (array.copy() for array in _sample(batch))
    if changed == "commitment":
        commitments[7] = batch.commitments[8] if (commitments[7] != batch.commitments[8]).any() else 0xC0
    elif changed == "column":
        columns[39] = (columns[39] + 1) % 128
        cells[39, 31] ^= 1
    elif changed == "cell":
        cells[0, 2047] ^= 1
    else:
        proofs[39] = batch.proofs[8, (columns[39] + 1) % 128]
    assert engine.verify_cells(commitments, columns, cells, proofs) is False


@pytest.mark.parametrize("name", ["commitment", "proof"])
def test_malformed_points_are_named(engine: KernelEngine, batch: Batch, name: str) -> None:
    """Each kind of them alone among good ones, all in one batch."""
    malformed = [np.frombuffer(point, dtype=np.uint8) for point in MALFORMED_POINTS.values()]
    sample = commitments, columns, cells, proofs = [array.copy() for array in _sample(batch)]
    positions = range(2, 2 + 2 * len(malformed), 2)
    (commitments if name == "commitment" else proofs)[positions] = malformed
    with pytest.raises(InvalidPoint) as caught:
        engine.verify_cells(*sample)
    assert (caught.value.name, caught.value.position) == (name, 2)
    operation = VerifyCells(commitments, np.arange(len(columns)), columns, cells, proofs)
    engine._run(operation, len(columns), len(columns))
    found = {"commitment": operation.bad_commitments, "proof": operation.bad_proofs}
    assert sorted(found.pop(name)) == list(positions)
    assert found.popitem()[1] == []


def test_changed_bytes_of_one_item_are_noticed(engine: KernelEngine, batch: Batch) -> None:
    """A sample of what tests/kzg changes byte by byte on the engines that are faster than this device."""
    rows, columns = [8, 5, 7], [3, 3, 90]
    good = [
        batch.commitments[rows],
        np.array(columns),
        batch.cells[rows, columns],
        batch.proofs[rows, columns],
    ]
    assert engine.verify_cells(*good) is True
    changes = (
        changed_points(good[0], 1),
        changed_indices(columns, 1, 128),
        changed_cells(good[2], 1),
        changed_points(good[3], 1),
    )
    for which, changed in enumerate(changes):
        for array in itertools.islice(changed, which, None, 13):
            try:
                assert engine.verify_cells(*good[:which], array, *good[which + 1 :]) is False
            except (InvalidPoint, InvalidCell) as error:
                assert error.position == 1  # noqa: PT017


def test_malformed_cells_are_refused(engine: KernelEngine, batch: Batch) -> None:
    commitments, columns, cells, proofs = (array.copy() for array in _sample(batch, 20))
    with pytest.raises(LengthMismatch):
        engine.verify_cells(commitments[:-1], columns, cells, proofs)
    cells[1, 32:64] = MODULUS_BYTES
    with pytest.raises(InvalidCell) as caught:
        engine.verify_cells(commitments, columns, cells, proofs)
    assert (caught.value.position, caught.value.element) == (1, 1)
    with pytest.raises(NotEnoughCells):
        engine.recover(range(63), batch.cells[:, :63])


def test_cells_are_verified_in_chunks(
    engine: KernelEngine, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "MOST_CELLS", 16)
    commitments, columns, cells, proofs = (array.copy() for array in _sample(batch))
    assert engine.verify_cells(commitments, columns, cells, proofs) is True
    cells[17, 31] ^= 1
    assert engine.verify_cells(commitments, columns, cells, proofs) is False
    proofs[35] = 0
    with pytest.raises(InvalidPoint) as caught:
        engine.verify_cells(commitments, columns, cells, proofs)
    assert (caught.value.name, caught.value.position) == ("proof", 35)


# --- parity


@pytest.mark.parametrize("height", [1, 3, 9])
def test_parity_cells_and_proofs_are_those_of_the_weights(
    engine: KernelEngine, batch: Batch, height: int
) -> None:
    columns = [0, 64, 127]
    cells = batch.cells[-height:, columns]
    derived = engine.parity_cells(cells)
    assert (derived == parity.parity_cells(cells)).all()
    proofs = batch.proofs[-height:, 64]
    rows = [height - 1, 0]
    assert (engine.parity_proofs(proofs) == parity.parity_proofs(proofs)).all()
    assert (engine.parity_proofs(proofs, rows) == parity.parity_proofs(proofs, rows)).all()
    assert (engine.parity_cells(cells, rows) == derived[rows]).all()
    assert engine.parity_proofs(proofs, []).shape == (0, 48)
    assert engine.parity_cells(cells, []).shape == (0, 3, 2048)


def test_malformed_columns_are_refused(engine: KernelEngine, batch: Batch) -> None:
    cells = batch.cells[:2, :3].copy()
    cells[1, 0, 64:96] = MODULUS_BYTES
    with pytest.raises(InvalidCell) as cell:
        engine.parity_cells(cells, [0])
    assert (cell.value.position, cell.value.element) == (3, 2)
    proofs = batch.proofs[-3:, 0].copy()
    proofs[1] = np.frombuffer(b"\x80" + bytes(46) + b"\x04", dtype=np.uint8)
    with pytest.raises(InvalidPoint) as point:
        engine.parity_proofs(proofs)
    assert (point.value.name, point.value.position) == ("proof", 1)
    with pytest.raises(InvalidRowIndex):
        engine.parity_cells(batch.cells[:2, :1], [2])


def test_the_whole_matrix_verifies_by_data_commitments(engine: KernelEngine, batch: Batch) -> None:
    height, columns = 3, [5, 77]
    data = slice(6, 9)
    cells = np.concatenate(
        [batch.cells[data][:, columns], parity.parity_cells(batch.cells[data][:, columns])]
    )
    proofs = np.stack(
        [
            np.concatenate(
                [batch.proofs[data][:, column], parity.parity_proofs(batch.proofs[data][:, column])]
            )
            for column in columns
        ],
        axis=1,
    )
    rows = np.repeat(np.arange(2 * height), 2)
    where = columns * (2 * height)
    flat_cells, flat_proofs = cells.reshape(-1, 2048), proofs.reshape(-1, 48)
    commitments = batch.commitments[data]
    assert engine.verify_matrix_cells(commitments, rows, where, flat_cells, flat_proofs) is True
    assert engine.verify_matrix_cells(commitments, rows[-1:], where[-1:], flat_cells[-1:], flat_proofs[-1:])
    swapped = rows.copy()
    swapped[[0, -2]] = swapped[[-2, 0]]
    assert engine.verify_matrix_cells(commitments, swapped, where, flat_cells, flat_proofs) is False
    wrong = commitments.copy()
    wrong[2] = 0xFF
    with pytest.raises(InvalidPoint) as caught:
        engine.verify_matrix_cells(wrong, rows[:2], where[:2], flat_cells[:2], flat_proofs[:2])
    assert (caught.value.name, caught.value.position) == ("commitment", 2)


# --- threads, several devices, closing


def test_threads_share_an_engine(engine: KernelEngine, batch: Batch) -> None:
    def work(row: int) -> bool:
        one = slice(row, row + 1)
        return bool(
            (engine.extend(batch.blobs[one]) == batch.cells[one]).all()
            and (engine.commit(batch.blobs[one]) == batch.commitments[one]).all()
        )

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(8)))


def test_closing_ends_a_call_between_chunks(
    engine: KernelEngine, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "MOST_ROWS", 2)
    worker = engine._workers[0]
    closed = threading.Event()
    monkeypatch.setattr(worker, "_closed", closed)
    monkeypatch.setattr(worker._slots[0].queue, "wait", closed.set)
    with pytest.raises(EngineClosed, match="during this call"):
        engine.extend(batch.blobs)


def test_rows_are_divided_among_devices(engine: KernelEngine, host_kernels: Kernels, batch: Batch) -> None:
    worker = engine._workers[0]
    engine._workers = [worker, _twin(worker)]
    try:
        assert (engine.commit(batch.blobs) == batch.commitments).all()
        assert engine.verify_cells(*_sample(batch)) is True
        assert worker.device.launched["comb_sums"] >= 1
    finally:
        engine._workers = [worker]


def _twin(worker: object) -> object:
    """A worker on the same device with slots of its own: what a second device would be."""
    twin = object.__new__(type(worker))
    slot = type(worker._slots[0])
    twin.__dict__.update(worker.__dict__, _slots=[slot(worker.device) for _ in range(2)])
    twin._lock, twin.waiting = threading.Lock(), 0
    return twin


def test_a_closed_engine_raises(host_kernels: Kernels, engine: KernelEngine, batch: Batch) -> None:
    closed = object.__new__(KernelEngine)
    closed.__dict__.update(engine.__dict__, _closed=threading.Event(), _workers=[])
    closed.close()
    closed.close()
    with pytest.raises(EngineClosed):
        closed.commit(batch.blobs)


def test_an_engine_of_another_process_raises(engine: KernelEngine, batch: Batch) -> None:
    foreign = object.__new__(KernelEngine)
    foreign.__dict__.update(engine.__dict__, _process=0)
    with pytest.raises(EngineClosed, match="another process"):
        foreign.commit(batch.blobs)


# --- what a GPU does in no order


@pytest.mark.slow
@pytest.mark.parametrize("order", [backward, shuffled])
def test_no_thread_depends_on_another_but_through_a_barrier(
    host_kernels: Kernels, batch: Batch, monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    """Blocks, and the threads of each between two barriers, may run in any order, in every kernel."""
    monkeypatch.setattr(host_kernels, "order", order)
    rows, known = [0, 3, 8], sorted({*range(1, 128, 2), 126})
    device = HostDevice(host_kernels)
    with KernelEngine("kernels", [device], windows=WINDOWS) as engine:
        assert (engine.commit(batch.blobs[rows]) == batch.commitments[rows]).all()
        cells, proofs = engine.prove(batch.blobs[rows])
        assert (cells == batch.cells[rows]).all()
        assert (proofs == batch.proofs[rows]).all()
        operation = CompleteRows(
            None, batch.blobs[8:].reshape(-1, 64, 2048), cells[:1], proofs[:1], complete=True
        )
        engine._run(operation, 1, 1)
        assert (proofs[0] == batch.proofs[8]).all()
        assert (engine.recover(known, batch.cells[rows][:, known]) == batch.cells[rows]).all()
        assert engine.verify_cells(*_sample(batch)) is True
        columns, column = batch.cells[:3, :2], batch.proofs[:3, 1]
        assert (engine.parity_cells(columns) == parity.parity_cells(columns)).all()
        assert (engine.parity_proofs(column) == parity.parity_proofs(column)).all()
    assert set(kernels()) - set(device.launched) == {"ceiling_products", "ceiling_wide"}


def test_only_the_transforms_share_memory() -> None:
    """What a block's threads pass to each other, they pass in `phase`, which ends with a barrier."""
    sharing = {
        path.stem
        for path in KERNEL_DIRECTORY.glob("*.cu")
        if re.search(r"CELLAR_SHARED|phase\(|__syncthreads|atomic|__shfl", path.read_text())
    }
    assert sharing == {"evaluate_cells", "extend_remainders", "interpolate_cells"}


# --- the arithmetic of a CUDA thread


@pytest.mark.slow
def test_carry_chains_give_the_same_proofs(
    engine: KernelEngine, batch: Batch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A row by the same kernels with the emulated carry flag, on the tables that plain words made."""
    worker = engine._workers[0]
    device = worker.device
    plain = device.library
    device.library = compile_kernels(tmp_path_factory.mktemp("emulated"), "-DPTX_EMU")
    try:
        rows = [0, 8]
        assert (engine.commit(batch.blobs[rows]) == batch.commitments[rows]).all()
        cells, proofs = engine.prove(batch.blobs[rows])
        verified = engine.verify_cells(*_sample(batch, 24))
    finally:
        device.library = plain
    assert (cells == batch.cells[rows]).all()
    assert (proofs == batch.proofs[rows]).all()
    assert verified is True


# --- the figures of benchmarks/gpu.py


_COUNTER = """
extern "C" unsigned long long cellar_products() {
  const auto counted = cellar::products;
  cellar::products = 0;
  return counted;
}
"""


@pytest.mark.slow
def test_the_benchmark_counts_products_as_they_are_computed(tmp_path: Path, batch: Batch) -> None:
    """The fraction of the device's bound is computed from these counts."""
    benchmark = pytest.importorskip("benchmarks.gpu", reason="CuPy is not installed", exc_type=ImportError)
    struct, product = (
        "template <class P>\nstruct Words {",
        "static Words mul(const Words& x, const Words& y) {",
    )
    text = device_source().replace(struct, f"inline thread_local u64 products = 0;\n{struct}")
    assert text.count(product) == 1
    text = text.replace(product, f"{product} products += WORDS == 6;") + _COUNTER
    kernels_here = compile_kernels(tmp_path, text=text)
    counter = kernels_here.library.cellar_products
    made: Counter[str] = Counter()
    run = kernels_here.run

    def counting(kernel: str, blocks: int, values: Sequence[object]) -> None:
        counter()
        run(kernel, blocks, values)
        made[kernel] += counter()

    kernels_here.run = counting  # type: ignore[method-assign]
    with KernelEngine("kernels", [HostDevice(kernels_here)], windows=WINDOWS) as engine:
        for rows in (1, 3):
            made.clear()
            engine.prove(batch.blobs[-rows:])
            expected = benchmark.products_of_a_proof(engine._workers[0].tables.proving.proof, rows)
            del made["compress_points"]  # two a point: not worth a line
            assert {kernel: count / rows for kernel, count in made.items() if count} == expected
