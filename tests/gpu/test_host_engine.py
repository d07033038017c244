"""What is the host engine's own: its tables, blinding and redo, threads, closing and forks.

The bytes it gives, official vectors and malformed input are tested with all engines in tests/kzg.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import ckzg
import numpy as np
import pytest

import gpu.host
from erasure import columns
from erasure.constants import BLS_MODULUS, CELLS_PER_EXT_BLOB
from gpu.constants import LAMBDA
from gpu.host import engine as host_engine
from gpu.host import library as host_library
from gpu.host.engine import HostEngine
from kzg import parity as kzg_parity
from kzg import trusted_setup
from kzg.errors import (
    EngineClosed,
    EngineUnavailable,
    InvalidArray,
    InvalidBlob,
    InvalidCell,
    InvalidPoint,
    InvalidRowIndex,
)

COLUMNS = np.arange(CELLS_PER_EXT_BLOB)


@pytest.fixture(scope="module")
def engine(library: ctypes.CDLL) -> Iterator[HostEngine]:
    with HostEngine(workers=2, table="small") as opened:
        yield opened


@pytest.fixture(scope="module")
def oracle() -> object:
    with tempfile.NamedTemporaryFile() as text:
        text.write(trusted_setup.load().to_text())
        text.flush()
        return ckzg.load_trusted_setup(text.name, 0)


def blob_of(*elements: int) -> np.ndarray:
    """u8[131072]: the elements, repeated as often as they fit."""
    row = b"".join((value % BLS_MODULUS).to_bytes(32, "big") for value in elements)
    return np.frombuffer(row * (4096 // len(elements)), dtype=np.uint8)


def random_blobs(count: int, seed: int) -> np.ndarray:
    blobs = np.random.default_rng(seed).integers(0, 256, (count, 4096, 32), dtype=np.uint8)
    blobs[:, :, 0] &= 0x3F
    return blobs.reshape(count, -1)


def expected(oracle: object, blobs: np.ndarray) -> tuple[bytes, bytes, bytes]:
    rows = [ckzg.compute_cells_and_kzg_proofs(blob.tobytes(), oracle) for blob in blobs]
    commitments = b"".join(ckzg.blob_to_kzg_commitment(blob.tobytes(), oracle) for blob in blobs)
    return commitments, b"".join(b"".join(cells) for cells, _ in rows), b"".join(b"".join(p) for _, p in rows)


def low_degree_blob(degree: int) -> np.ndarray:
    """1 + X^degree as a row: below degree 64 all proofs are infinity, below 128 all are equal."""
    root = pow(7, (BLS_MODULUS - 1) // 4096, BLS_MODULUS)
    order = [int(f"{i:012b}"[::-1], 2) for i in range(4096)]
    points = [pow(root, e, BLS_MODULUS) for e in order]
    return blob_of(*(pow(x, degree, BLS_MODULUS) + 1 for x in points))


@pytest.mark.parametrize("table", host_engine.TABLES)
def test_every_table_gives_the_bytes_of_ckzg(library: ctypes.CDLL, oracle: object, table: str) -> None:
    blobs = np.concatenate([random_blobs(2, 5), [blob_of(0), blob_of(BLS_MODULUS - 1)]])
    with HostEngine(workers=2, table=table) as engine:
        cells, proofs = engine.prove(blobs)
        commitments, described = engine.commit(blobs), engine.describe()
        assert engine.rows_redone == 0
    assert (commitments.tobytes(), cells.tobytes(), proofs.tobytes()) == expected(oracle, blobs)
    assert described["table"] == table


def test_larger_tables_hold_more(library: ctypes.CDLL) -> None:
    sizes = []
    for table in host_engine.TABLES:
        with HostEngine(workers=2, table=table) as engine:
            sizes.append(engine.describe()["table_bytes"])
    assert sizes == sorted(sizes)
    assert [size >> 20 for size in sizes] == [18, 90, 153]


def structured_blobs() -> np.ndarray:
    """u8[17, 131072]: rows whose sums meet 0, each other, and the edges of digits."""
    alone, last, sparse = np.zeros((3, 4096, 32), dtype=np.uint8)
    alone[0, 31] = last[-1, 31] = 1
    sparse[::97] = 7
    full = np.tile(np.frombuffer((BLS_MODULUS - 1).to_bytes(32, "big"), dtype=np.uint8), (4096, 1))
    full[1::2, 27] -= 1  # r - 1 ends in ff 00 00 00 00
    full[1::2, 31] = np.arange(2048) % 256
    rows = [
        blob_of(0),
        blob_of(12345),
        blob_of(BLS_MODULUS - 1),
        blob_of(1),
        alone.reshape(-1),
        last.reshape(-1),
        sparse.reshape(-1),
        blob_of(0, BLS_MODULUS - 1),
        full.reshape(-1),
        blob_of(*(pow(3, i, BLS_MODULUS) for i in range(4096))),
        low_degree_blob(64),
        blob_of(LAMBDA, LAMBDA + 1, LAMBDA - 1, BLS_MODULUS - LAMBDA),
    ]
    rows += list(random_blobs(3, 18))
    return np.stack([*rows, rows[-1], rows[9]])


@pytest.fixture(scope="module")
def alone(engine: HostEngine, oracle: object) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The structured rows, with cells, proofs and commitments that were made one row at a time."""
    blobs = structured_blobs()
    single = [engine.prove(row[None]) for row in blobs]
    cells, proofs = (np.concatenate(parts) for parts in zip(*single, strict=True))
    commitments = np.concatenate([engine.commit(row[None]) for row in blobs])
    assert (commitments.tobytes(), cells.tobytes(), proofs.tobytes()) == expected(oracle, blobs)
    return blobs, cells, proofs, commitments


@pytest.mark.parametrize("rows", range(1, 18))
def test_a_row_is_the_same_alone_and_in_every_place_of_a_batch(
    engine: HostEngine, alone: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], rows: int
) -> None:
    """Rows in the lanes of groups, and rows beside groups."""
    blobs, cells, proofs, commitments = (np.roll(part, 5 * rows, axis=0)[:rows] for part in alone)
    known = np.sort(np.random.default_rng(rows).permutation(128)[: 64 + rows])
    assert np.array_equal(engine.commit(blobs), commitments)
    got_cells, got_proofs = engine.prove(blobs)
    assert np.array_equal(got_cells, cells)
    assert np.array_equal(got_proofs, proofs)
    got_cells, got_proofs = engine.recover_with_proofs(known, cells[:, known])
    assert np.array_equal(got_cells, cells)
    assert np.array_equal(got_proofs, proofs)
    assert engine.rows_redone == 0


@pytest.mark.parametrize("table", ["small", "medium", "large"])
@pytest.mark.parametrize("workers", [1, 3, 20])
def test_threads_and_tables_change_nothing_in_groups(
    library: ctypes.CDLL,
    alone: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    table: str,
    workers: int,
) -> None:
    blobs, cells, proofs, commitments = alone
    with HostEngine(workers=workers, table=table) as engine:
        assert np.array_equal(engine.commit(blobs), commitments)
        assert np.array_equal(engine.commit(blobs[8:9]), commitments[8:9])
        got_cells, got_proofs = engine.prove(blobs)
    assert np.array_equal(got_cells, cells)
    assert np.array_equal(got_proofs, proofs)


@pytest.mark.parametrize("degree", [1, 63, 64, 127, 128, 4095])
def test_rows_of_few_coefficients(engine: HostEngine, oracle: object, degree: int) -> None:
    """Proofs at infinity, equal proofs, and sums that are zero on the way."""
    blob = low_degree_blob(degree)[None]
    cells, proofs = engine.prove(blob)
    commitments = engine.commit(blob)
    assert (commitments.tobytes(), cells.tobytes(), proofs.tobytes()) == expected(oracle, blob)
    assert engine.verify_cells(np.repeat(commitments, 128, axis=0), COLUMNS, cells[0], proofs[0])
    assert engine.rows_redone == 0


@pytest.mark.parametrize("others", [1, 6], ids=["alone", "in a group"])
@pytest.mark.parametrize("workers", [1, 12], ids=["one to all rows", "some to a row"])
def test_inputs_that_meet_are_noticed_and_the_row_is_redone(
    library: ctypes.CDLL, oracle: object, monkeypatch: pytest.MonkeyPatch, workers: int, others: int
) -> None:
    """Blinding with equal points: those of the zero row meet at once, and it goes the complete way."""
    monkeypatch.setattr(host_engine, "_blinding_scalars", lambda: [1] * 128)
    blobs = np.stack([blob_of(0), *random_blobs(others, 9), blob_of(0)])
    with HostEngine(workers=workers, table="small") as engine:
        cells, proofs = engine.prove(blobs)
        redone = engine.rows_redone
    assert (cells.tobytes(), proofs.tobytes()) == expected(oracle, blobs)[1:]
    assert redone == 2


def test_outputs_at_infinity_are_noticed_and_the_row_is_redone(
    library: ctypes.CDLL, oracle: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blinding that the proofs' transform maps to zero: proofs at infinity are then met on the way."""
    root = pow(7, (BLS_MODULUS - 1) // 128, BLS_MODULUS)
    monkeypatch.setattr(
        host_engine, "_blinding_scalars", lambda: [pow(root, 100 * k, BLS_MODULUS) for k in range(128)]
    )
    blobs = np.stack([blob_of(0), blob_of(12345), low_degree_blob(40)])
    with HostEngine(workers=1, table="small") as engine:
        cells, proofs = engine.prove(blobs)
        redone = engine.rows_redone
    assert (cells.tobytes(), proofs.tobytes()) == expected(oracle, blobs)[1:]
    assert redone == 3


def test_blinding_differs_from_engine_to_engine() -> None:
    assert host_engine._blinding_scalars() != host_engine._blinding_scalars()


def test_repeated_cells_and_proofs_verify_and_one_wrong_among_them_does_not(engine: HostEngine) -> None:
    """The same points over and over in one batch, proofs at infinity among them."""
    blobs = np.stack([low_degree_blob(100), blob_of(77)])
    cells, proofs = engine.prove(blobs)
    commitments = engine.commit(blobs)
    rows, columns = np.array([0, 1, 0] * 50), np.array([3, 3, 90] * 50)
    batch = [commitments[rows], columns, cells[rows, columns], proofs[rows, columns]]
    assert engine.verify_cells(*batch)
    batch[3] = batch[3].copy()
    batch[3][149] = batch[3][148]
    assert not engine.verify_cells(*batch)


def test_any_changed_byte_is_noticed_in_a_large_batch(engine: HostEngine) -> None:
    blobs = random_blobs(2, 3)
    cells, proofs = engine.prove(blobs)
    good = [
        np.repeat(engine.commit(blobs), 128, axis=0),
        np.tile(COLUMNS, 2),
        cells.reshape(-1, 2048),
        proofs.reshape(-1, 48),
    ]
    assert engine.verify_cells(*good)
    rng = np.random.default_rng(11)
    for _ in range(20):
        batch = [array.copy() for array in good]
        which, position = rng.integers(0, 4), rng.integers(0, 256)
        if which == 1:
            batch[1][position] ^= 1 << rng.integers(0, 7)
        else:
            batch[which][position, rng.integers(1, batch[which].shape[1])] ^= 1 << rng.integers(0, 8)
        try:
            assert not engine.verify_cells(*batch)
        except (InvalidPoint, InvalidCell) as error:
            assert getattr(error, "position", position) == position  # noqa: PT017


@pytest.mark.parametrize("width", [20, 128], ids=["points one by one", "random sums of points"])
def test_the_first_point_outside_of_the_group_is_named(engine: HostEngine, width: int) -> None:
    blobs = random_blobs(2, 4)
    cells, proofs = engine.prove(blobs)
    commitments = np.repeat(engine.commit(blobs), width, axis=0)
    rows, columns = np.repeat([0, 1], width), np.tile(np.arange(width), 2)
    batch = [commitments, columns, cells[rows, columns], proofs[rows, columns].copy()]
    order_three = b"\x80" + bytes(47)  # (0, 2): on the curve, outside of the group
    for positions in [(39,), (17, 30), (8, 9)]:
        broken = batch[3].copy()
        broken[list(positions)] = np.frombuffer(order_three, dtype=np.uint8)
        with pytest.raises(InvalidPoint) as caught:
            engine.verify_cells(*batch[:3], broken)
        assert (caught.value.name, caught.value.position) == ("proof", positions[0])
        commitments_broken = commitments.copy()
        commitments_broken[list(positions)] = np.frombuffer(order_three, dtype=np.uint8)
        with pytest.raises(InvalidPoint) as caught:
            engine.verify_cells(commitments_broken, *batch[1:])
        assert (caught.value.name, caught.value.position) == ("commitment", positions[0])


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(
    library: ctypes.CDLL, engine: HostEngine, workers: int
) -> None:
    blobs = random_blobs(5, 6)
    cells, proofs = engine.prove(blobs)
    known = COLUMNS[1::2]
    with HostEngine(workers=workers, table="small") as other:
        assert [part.tobytes() for part in other.prove(blobs)] == [cells.tobytes(), proofs.tobytes()]
        recovered = other.recover_with_proofs(known, cells[:, known])
        assert [part.tobytes() for part in recovered] == [cells.tobytes(), proofs.tobytes()]
        assert other.verify_cells(
            np.repeat(other.commit(blobs), 128, axis=0),
            np.tile(COLUMNS, 5),
            cells.reshape(-1, 2048),
            proofs.reshape(-1, 48),
        )


@pytest.mark.parametrize("table", ["small", "medium"])
@pytest.mark.parametrize("workers", [2, 3, 4, 9, 40])
def test_threads_share_out_the_work_on_few_rows(
    library: ctypes.CDLL, engine: HostEngine, workers: int, table: str
) -> None:
    blobs = np.concatenate([random_blobs(1, 16), [blob_of(0)]])
    cells, proofs = engine.prove(np.repeat(blobs, 3, axis=0))  # more rows than threads
    with HostEngine(workers=workers, table=table) as other:
        for rows in (1, 2):
            assert np.array_equal(other.prove(blobs[:rows])[1], proofs[::3][:rows])
            recovered = other.recover_with_proofs(COLUMNS[:64], cells[::3][:rows, :64])
            assert np.array_equal(recovered[0], cells[::3][:rows])
            assert np.array_equal(recovered[1], proofs[::3][:rows])
        blobs[0, :32] = 0xFF
        with pytest.raises(InvalidBlob):
            other.prove(blobs)


@pytest.mark.parametrize(("rows", "bad"), [(6, 4), (8, 0), (8, 7), (15, 10), (18, 5), (18, 17)])
def test_an_element_that_is_not_canonical_is_named_in_a_batch(
    engine: HostEngine, rows: int, bad: int
) -> None:
    blobs = random_blobs(rows, 7)
    blobs[bad, 32 * 4000 : 32 * 4001] = 0xFF
    blobs[bad + 1 :, :32] = 0xFF
    for operation in (engine.commit, engine.extend, engine.prove):
        with pytest.raises(InvalidBlob) as caught:
            operation(blobs)
        assert (caught.value.row, caught.value.element) == (bad, 4000)


def test_closing_ends_a_running_call(library: ctypes.CDLL) -> None:
    entered = threading.Event()
    outcome: list[type[BaseException] | None] = []

    class Watched(HostEngine):
        @contextlib.contextmanager
        def _call(self) -> Iterator[int]:
            with super()._call() as handle:
                entered.set()
                yield handle

    engine = Watched(workers=1, table="small")

    def work() -> None:
        try:
            engine.prove(random_blobs(200, 8))
            outcome.append(None)
        except EngineClosed as error:
            outcome.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(timeout=60)
    engine.close()
    thread.join(timeout=60)
    assert outcome == [EngineClosed]
    engine.close()
    for operation in (lambda: engine.rows_redone, lambda: engine.commit(random_blobs(1, 1))):
        with pytest.raises(EngineClosed):
            operation()


def test_threads_share_an_engine(engine: HostEngine) -> None:
    blobs = random_blobs(4, 10)
    want = engine.prove(blobs)
    results: list[bool] = []

    def work(operation: Callable[[], bool]) -> None:
        results.append(operation())

    operations = [
        lambda: all(np.array_equal(a, b) for a, b in zip(engine.prove(blobs), want, strict=True)),
        lambda: np.array_equal(engine.extend(blobs), want[0]),
        lambda: np.array_equal(engine.recover(COLUMNS[:64], want[0][:, :64]), want[0]),
        lambda: engine.verify_cells(
            np.repeat(engine.commit(blobs[:1]), 128, axis=0), COLUMNS, want[0][0], want[1][0]
        ),
    ]
    threads = [threading.Thread(target=work, args=(operation,)) for operation in operations * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_a_fork_may_not_use_it_and_may_close_it(library: ctypes.CDLL) -> None:
    engine = HostEngine(workers=1, table="small")
    pid = os.fork()
    if pid == 0:
        try:
            engine.commit(random_blobs(1, 1))
            code = 1
        except EngineClosed:
            engine.close()
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert engine.commit(random_blobs(1, 1)).shape == (1, 48)
    engine.close()


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 257}, {"table": "huge"}])
def test_options_out_of_range_are_refused(library: ctypes.CDLL, options: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        HostEngine(**options)


def test_without_its_library_it_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu.host, "__path__", [str(tmp_path)])
    assert "was not built" in str(host_library.available())
    assert "apt-get install g++" in str(host_library.available())
    with pytest.raises(EngineUnavailable):
        HostEngine()


def test_on_another_processor_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_library.platform, "machine", lambda: "aarch64")
    assert "aarch64" in str(host_library.available())


def test_on_a_processor_without_its_instructions_it_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library answers there; asking it runs no vector instruction (CMakeLists.txt)."""
    old = types.SimpleNamespace(
        cellar_missing_feature=lambda: b"AVX-512IFMA", cellar_sources=host_library.load().cellar_sources
    )
    monkeypatch.setattr(host_library, "load", lambda: old)
    monkeypatch.setattr(host_library, "library_path", lambda: Path("cellar_host.so"))
    assert host_library.available() == "the processor or the system lacks AVX-512IFMA"
    with pytest.raises(EngineUnavailable, match="lacks AVX-512IFMA"):
        HostEngine()


def test_a_library_that_is_older_than_its_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a working copy; a wheel has no sources to compare with."""
    assert host_library.available() is None
    monkeypatch.setattr(host_library, "digest_of_sources", lambda: "0" * 64)
    with pytest.raises(EngineUnavailable, match="built from other sources; rebuild it with: pip install -e"):
        HostEngine()
    monkeypatch.setattr(host_library, "digest_of_sources", lambda: None)
    assert host_library.available() is None


def test_a_damaged_library_is_reported_not_a_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cellar_host.so").write_bytes(b"\x7fELF no more")
    monkeypatch.setattr(gpu.host, "__path__", [str(tmp_path)])
    host_library.load.cache_clear()
    try:
        assert "cannot be loaded" in str(host_library.available())
    finally:
        host_library.load.cache_clear()


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 13])
def test_parity_of_columns(engine: HostEngine, rows: int) -> None:
    """They equal those of the plain code, and what the parity rows give when they are proved."""
    blobs = random_blobs(rows, rows)
    cells, proofs = engine.prove(blobs)
    commitments = engine.commit(blobs)
    parity = engine.parity_cells(cells)
    assert np.array_equal(parity, columns.parity_cells(cells))
    parity_blobs = np.ascontiguousarray(parity[:, :64]).reshape(rows, -1)
    _, want_proofs = engine.prove(parity_blobs)
    assert np.array_equal(engine.parity_proofs(commitments), engine.commit(parity_blobs))
    assert np.array_equal(engine.parity_proofs(proofs[:, 77]), want_proofs[:, 77])
    assert np.array_equal(engine.parity_proofs(proofs[:, 5], [rows - 1, 0]), want_proofs[[rows - 1, 0], 5])
    assert engine.parity_proofs(proofs[:, 5], []).shape == (0, 48)


def test_parity_of_many_points_names_one_outside_of_the_group(engine: HostEngine) -> None:
    blobs = random_blobs(1, 12)
    _, proofs = engine.prove(blobs)
    points = proofs[0].copy()
    want = kzg_parity.parity_proofs(points, [3, 127])
    assert np.array_equal(engine.parity_proofs(points, [3, 127]), want)
    points[100] = np.frombuffer(b"\x80" + bytes(47), dtype=np.uint8)
    with pytest.raises(InvalidPoint) as caught:
        engine.parity_proofs(points, [3])
    assert (caught.value.name, caught.value.position) == ("proof", 100)


def test_malformed_parity_is_refused(engine: HostEngine) -> None:
    cells = np.zeros((2, 3, 2048), dtype=np.uint8)
    cells[1, 2, :32] = 0xFF
    with pytest.raises(InvalidCell) as caught:
        engine.parity_cells(cells)
    assert (caught.value.position, caught.value.element) == (5, 0)
    for malformed in (cells[0], cells.astype(np.uint16), np.zeros((257, 1, 2048), dtype=np.uint8)):
        with pytest.raises(InvalidArray):
            engine.parity_cells(malformed)
    for row in (-1, 2):
        with pytest.raises(InvalidRowIndex):
            engine.parity_proofs(np.zeros((2, 48), dtype=np.uint8), [row])


def test_cells_of_the_whole_matrix_verify_against_the_data_commitments(engine: HostEngine) -> None:
    rows = 3
    blobs = random_blobs(rows, 13)
    data_cells, data_proofs = engine.prove(blobs)
    commitments = engine.commit(blobs)
    parity = engine.parity_cells(data_cells)
    parity_cells, parity_proofs = engine.prove(np.ascontiguousarray(parity[:, :64]).reshape(rows, -1))
    cells, proofs = np.concatenate([data_cells, parity_cells]), np.concatenate([data_proofs, parity_proofs])
    rng = np.random.default_rng(14)
    row, column = rng.integers(0, 2 * rows, 60), rng.integers(0, 128, 60)
    batch = [commitments, row, column, cells[row, column], proofs[row, column]]
    assert engine.verify_matrix_cells(*batch)
    assert engine.verify_matrix_cells(
        commitments, [], [], np.empty((0, 2048), np.uint8), np.empty((0, 48), np.uint8)
    )
    for which in range(5):
        wrong = [array.copy() for array in batch]
        if which == 0:
            wrong[0][[0, 1]] = wrong[0][[1, 0]]
        elif which in (1, 2):
            wrong[which][17] ^= 1
        elif which == 3:
            wrong[3][17, 40] ^= 1
        else:
            wrong[4][17] = wrong[4][16]
        assert not engine.verify_matrix_cells(*wrong)
    row[30] = 2 * rows
    with pytest.raises(InvalidRowIndex):
        engine.verify_matrix_cells(*batch)


STARVED = """
import resource, sys
import numpy as np
from gpu.host.engine import HostEngine
from kzg.errors import EngineFailed, EngineUnavailable

def address_space():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def starved(megabytes, call):
    limit = resource.RLIMIT_AS
    resource.setrlimit(limit, (address_space() + (megabytes << 20), resource.RLIM_INFINITY))
    try:
        call()
        return "done"
    except (EngineFailed, EngineUnavailable) as error:
        assert "not enough memory" in str(error), error
        return "refused"
    finally:
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

blobs = np.zeros((4, 131072), dtype=np.uint8)
points = np.full((300, 48), 0, dtype=np.uint8)
points[:, 0] = 0xC0
outcomes = set()
HostEngine(workers=1, table="small").close()
for megabytes in (0, 8, 20, 32, 160):
    outcomes.add(starved(megabytes, lambda: HostEngine(workers=4, table="small").close()))
with HostEngine(workers=4, table="small") as engine:
    for megabytes in (0, 4):
        for call in (
            lambda: engine.prove(blobs),
            lambda: engine.verify_cells(points, [3] * 300, np.zeros((300, 2048), dtype=np.uint8), points),
            lambda: engine.parity_proofs(points[:200], [0, 1]),
        ):
            outcomes.add(starved(megabytes, call))
    assert engine.verify_cells(points, [3] * 300, np.zeros((300, 2048), dtype=np.uint8), points)
    assert (engine.prove(blobs)[1][..., 0] == 0xC0).all()
print(*sorted(outcomes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux counts it")
def test_a_lack_of_memory_is_an_error_not_a_crash(library: ctypes.CDLL) -> None:
    """In its tables, in its threads and in the calls, from nothing at all to nearly enough."""
    done = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done refused\n"), done.stderr[-2000:]


def test_a_child_forked_while_the_engine_is_busy_may_close_it(library: ctypes.CDLL) -> None:
    """Whatever lock another thread held at the fork, which the child then never gets."""
    engine = HostEngine(workers=1, table="small")
    with engine._idle:
        pid = os.fork()
        if pid == 0:
            engine.close()
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    engine.close()


BUSY = """
import sys, threading
import numpy as np
from gpu.host.engine import HostEngine

engine = HostEngine(workers=2, table="small")
blobs = np.zeros((16, 131072), dtype=np.uint8)
begun = threading.Event()

def work():
    while True:
        begun.set()
        engine.prove(blobs)

threading.Thread(target=work, daemon=True).start()
begun.wait()
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_a_program_may_end_while_the_engine_works(library: ctypes.CDLL, ending: str) -> None:
    done = subprocess.run([sys.executable, "-c", BUSY + ending], capture_output=True, text=True, check=False)
    assert done.returncode == {"": 0, "sys.exit(3)": 3}.get(ending, -signal.SIGINT)
    assert "Fatal" not in done.stderr


INTERRUPTED = """
import os, signal, threading
import numpy as np
from gpu.host.engine import HostEngine

signal.signal(signal.SIGINT, signal.default_int_handler)
blobs = np.zeros((64, 131072), dtype=np.uint8)
with HostEngine(workers=2, table="small") as engine:
    started = threading.Event()
    threading.Thread(target=lambda: (started.wait(), os.kill(os.getpid(), signal.SIGINT))).start()
    try:
        started.set()
        while True:
            engine.prove(blobs)
    except KeyboardInterrupt:
        print("interrupted")
    print(engine.commit(blobs[:1]).shape)
print("closed")
"""


def test_ctrl_c_leaves_a_whole_engine(library: ctypes.CDLL) -> None:
    """It is felt when the call is done; the engine then works, and closes without waiting forever."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n(1, 48)\nclosed\n"), done.stderr


def test_the_interpreter_runs_while_the_engine_works(library: ctypes.CDLL) -> None:
    """Threads do not take turns here but when one waits or lets go of the interpreter's lock."""
    entered, over = threading.Event(), threading.Event()

    class Watched(HostEngine):
        @contextlib.contextmanager
        def _call(self) -> Iterator[int]:
            with super()._call() as handle:
                entered.set()
                yield handle
                over.set()

    def work(engine: HostEngine) -> None:
        with contextlib.suppress(EngineClosed):
            engine.prove(blobs)

    blobs = random_blobs(400, 17)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        with Watched(workers=1, table="small") as engine:
            entered.clear()
            thread = threading.Thread(target=work, args=(engine,))
            thread.start()
            assert entered.wait(60)
            assert not over.is_set()
    finally:
        sys.setswitchinterval(interval)
    thread.join()
