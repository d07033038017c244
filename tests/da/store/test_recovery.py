"""Opening a store after damage or a cut-off write: everything is found, told, and set right."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from da.store import (
    CorruptBatch,
    CorruptIndex,
    Equivocation,
    ExpiredBatch,
    PrunedHeight,
    StoreFull,
    UnknownBatch,
)
from da.store.embedded import EmbeddedStore
from tests.da.store.conftest import Clock
from tests.da.store.support import (
    DISPERSER,
    Batch,
    Crash,
    FaultyFilesystem,
    certificate_of,
    dump_index,
    make_batch,
)

DAY_S = 86_400


def _batch_file(directory: Path, batch: Batch) -> Path:
    (path,) = directory.glob(f"buckets/*/{batch.hash.hex()}.batch")
    return path


def _certificate_file(directory: Path, batch: Batch) -> Path:
    return _batch_file(directory, batch).with_suffix(".certificate")


def _kinds(store: Any) -> list[str]:
    return [finding.kind for finding in store.findings]


def _remove_index(directory: Path) -> None:
    for path in directory.glob("index.db*"):
        path.unlink()


@pytest.fixture
def filled(open_store: Callable[..., Any], clock: Clock) -> list[Batch]:
    """A closed store: one expired batch and three live ones over two days, two of them certified."""
    store = open_store()
    batches = [make_batch(height, rows=height) for height in (1, 2, 3, 4)]
    batches[0].put(store)
    store.put_certificate(batches[0].hash, certificate_of(batches[0]))
    clock.forward(DAY_S)
    batches[1].put(store)
    store.put_certificate(batches[1].hash, certificate_of(batches[1]))
    assert store.expire(clock.now_ms, 0) == 1
    clock.forward(DAY_S)
    batches[2].put(store)
    batches[3].put(store)
    store.put_certificate(batches[3].hash, certificate_of(batches[3]))
    store.close()
    return batches


def _check_filled(store: Any, batches: list[Batch]) -> None:
    with pytest.raises(ExpiredBatch) as caught:
        store.batch(batches[0].hash)
    assert caught.value.record.header == batches[0].header
    assert caught.value.record.certificate == certificate_of(batches[0])
    for batch in batches[1:]:
        batch.check(store)
    certificates = [store.batch(batch.hash).certificate for batch in batches[1:]]
    assert certificates == [certificate_of(batches[1]), None, certificate_of(batches[3])]
    assert [record.header.height for record in store.batches(DISPERSER, 0, 9, False)] == [1, 2, 3, 4]


def test_a_store_in_order_opens_without_findings(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    before = dump_index(directory)
    store = open_store()
    assert store.findings == ()
    assert list(store.scrub()) == []
    _check_filled(store, filled)
    store.close()
    assert dump_index(directory) == before


def test_a_lost_index_is_made_anew_and_equal(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    before = dump_index(directory)
    _remove_index(directory)
    store = open_store()
    assert store.findings == ()
    _check_filled(store, filled)
    store.close()
    assert dump_index(directory) == before


def test_a_rebuilt_index_equals_the_original(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    before = dump_index(directory)
    store = open_store()
    store.rebuild_index()
    assert store.findings == ()
    _check_filled(store, filled)
    store.close()
    assert dump_index(directory) == before


def test_a_lost_index_does_not_free_forgotten_heights(
    open_store: Callable[..., Any], directory: Path, clock: Clock
) -> None:
    store = open_store()
    for height in (1, 2):
        make_batch(height).put(store)
        clock.forward(DAY_S)
    store.expire(clock.now_ms + 100 * DAY_S * 1000, 0)
    store.expire(clock.now_ms + 100 * DAY_S * 1000, 0)
    store.close()
    before = dump_index(directory)
    assert len(before["pruned"]) == 1
    _remove_index(directory)
    store = open_store()
    assert store.findings == ()
    with pytest.raises(PrunedHeight):
        make_batch(1, seed=99).put(store)
    store.close()
    assert dump_index(directory) == before


def test_an_older_index_catches_up(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    # What a backup gives back: the index was copied before the files.
    old = directory.parent / "old.db"
    sqlite3.connect(directory / "index.db").execute("VACUUM INTO ?", (str(old),)).connection.close()
    store = open_store()
    new = make_batch(5)
    new.put(store)
    store.put_certificate(new.hash, certificate_of(new))
    store.put_certificate(filled[2].hash, certificate_of(filled[2]))
    store.close()
    after = dump_index(directory)
    _remove_index(directory)
    shutil.move(old, directory / "index.db")
    store = open_store()
    assert sorted(_kinds(store)) == ["unindexed", "unindexed"]
    new.check(store)
    assert store.batch(new.hash).certificate == certificate_of(new)
    assert store.batch(filled[2].hash).certificate == certificate_of(filled[2])
    store.close()
    assert dump_index(directory) == after


def test_an_index_from_before_an_expiry_learns_of_it(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path, clock: Clock
) -> None:
    old = directory.parent / "old.db"
    sqlite3.connect(directory / "index.db").execute("VACUUM INTO ?", (str(old),)).connection.close()
    store = open_store()
    assert store.expire(clock.now_ms, 0) == 1
    store.close()
    after = dump_index(directory)
    _remove_index(directory)
    shutil.move(old, directory / "index.db")
    store = open_store()
    assert store.findings == ()
    with pytest.raises(ExpiredBatch):
        store.batch(filled[1].hash)
    store.close()
    assert dump_index(directory) == after


@pytest.mark.parametrize(
    "flips", [200, pytest.param(4000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
@pytest.mark.parametrize("name", ["index.db", "index.db-wal"])
def test_no_flipped_byte_of_the_index_goes_unnoticed(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path, name: str, flips: int
) -> None:
    before = dump_index(directory)
    if name == "index.db-wal":  # put everything into the WAL: an index that was never checkpointed
        _remove_index(directory)
        store = open_store()
        shutil.copytree(directory, directory.parent / "running")
        store.close()
        shutil.rmtree(directory)
        (directory.parent / "running").rename(directory)
    pristine = directory.parent / "pristine"
    shutil.copytree(directory, pristine)
    size = (directory / name).stat().st_size
    assert size > 0
    noticed = 0
    # Every part of the file, in steps that meet headers, keys, rows and checksums of every page.
    for position in range(0, size, max(1, size // flips)):
        shutil.rmtree(directory)
        shutil.copytree(pristine, directory)
        with (directory / name).open("r+b") as file:
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1 << position % 8]))
        store = open_store()
        noticed += bool(store.findings)
        _check_filled(store, filled)
        store.close()
        # Either it had no effect (free space), or the index is made anew: never a third state.
        assert dump_index(directory) == before, f"byte {position}"
    assert noticed > 0


def test_a_changed_row_is_found_when_it_is_read(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    # The file changes under a running store, as a disk's would.
    store = open_store()
    connection = sqlite3.connect(directory / "index.db")
    connection.execute("UPDATE batches SET bucket = 'elsewhere' WHERE header_hash = ?", (filled[2].hash,))
    connection.execute("UPDATE payloads SET position = 7")
    connection.commit()
    connection.close()
    with pytest.raises(CorruptIndex):
        store.batch(filled[2].hash)
    with pytest.raises(CorruptIndex):
        store.find_payload(filled[2].payload_list.entries[0].payload_id)
    assert [finding.kind for finding in store.scrub()] == ["index"]
    store.rebuild_index()
    _check_filled(store, filled)


def test_a_vanished_row_is_found_when_its_batch_is_asked_for(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    store = open_store()
    connection = sqlite3.connect(directory / "index.db")
    connection.execute("DELETE FROM batches WHERE header_hash = ?", (filled[2].hash,))
    connection.commit()
    connection.close()
    with pytest.raises(CorruptIndex, match="whose file is there"):
        store.batch(filled[2].hash)
    assert "unindexed" in [finding.kind for finding in store.scrub()]
    store.close()
    store = open_store()
    assert _kinds(store) == ["unindexed"]
    _check_filled(store, filled)


def test_other_tables_are_no_index_of_ours(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    connection = sqlite3.connect(directory / "index.db")
    connection.execute("DROP INDEX batches_height")
    connection.commit()
    connection.close()
    store = open_store()
    assert _kinds(store) == ["index"]
    _check_filled(store, filled)
    assert len(list((directory / "quarantine").iterdir())) >= 1


def test_a_lost_file_is_told_and_its_height_stays_taken(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    batch = filled[3]
    _batch_file(directory, batch).unlink()
    store = open_store()
    assert [(f.kind, f.header_hash) for f in store.findings] == [("missing", batch.hash)]
    with pytest.raises(UnknownBatch):
        store.batch(batch.hash)
    assert store.find_payload(batch.payload_list.entries[0].payload_id)[0].state == "missing"
    assert store.latest(DISPERSER).state == "missing"
    with pytest.raises(Equivocation):
        make_batch(4, seed=99).put(store)
    store.close()
    store = open_store()
    assert store.findings == (), "told once"
    batch.put(store)
    _check_filled(store, filled)


def test_a_file_lost_while_running_is_corruption_until_it_is_put_again(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    store = open_store()
    _batch_file(directory, filled[3]).unlink()
    with pytest.raises(CorruptBatch):
        store.batch(filled[3].hash)
    assert [finding.kind for finding in store.scrub(filled[3].hash)] == ["missing"]
    assert [record.state for record in store.batches(DISPERSER, 3, 9, False)] == ["live", "missing"]
    filled[3].put(store)
    _check_filled(store, filled)


def test_a_returned_file_is_served_again(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    path = _batch_file(directory, filled[3])
    kept = path.read_bytes()
    path.unlink()
    open_store().close()
    path.write_bytes(kept)
    store = open_store()
    assert _kinds(store) == ["unindexed"]
    _check_filled(store, filled)


def test_a_lost_certificate_is_told(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    _certificate_file(directory, filled[3]).unlink()
    store = open_store()
    assert _kinds(store) == ["certificate"]
    assert store.batch(filled[3].hash).certificate is None
    store.put_certificate(filled[3].hash, certificate_of(filled[3]))
    _check_filled(store, filled)


def test_a_file_with_a_bad_head_goes_to_quarantine_when_it_must_be_indexed(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    path = _batch_file(directory, filled[2])
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    _remove_index(directory)
    store = open_store()
    assert _kinds(store) == ["head"]
    assert not path.exists()
    assert len(list((directory / "quarantine").iterdir())) == 1
    with pytest.raises(UnknownBatch):
        store.batch(filled[2].hash)
    filled[2].put(store)
    _check_filled(store, filled)


def test_a_file_under_another_name_is_not_believed(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    shutil.copy(
        _batch_file(directory, filled[2]), _batch_file(directory, filled[2]).with_name("ab" * 32 + ".batch")
    )
    store = open_store()
    assert _kinds(store) == ["head"]
    _check_filled(store, filled)


def test_a_file_at_a_taken_height_goes_to_quarantine(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path, tmp_path: Path, clock: Clock
) -> None:
    other = EmbeddedStore(tmp_path / "other", reserve_bytes=0, now_ms=clock)
    rival = make_batch(4, seed=99)
    rival.put(other)
    other.close()
    shutil.copy(_batch_file(tmp_path / "other", rival), _batch_file(directory, filled[3]).parent)
    store = open_store()
    assert [(f.kind, f.header_hash) for f in store.findings] == [("equivocation", rival.hash)]
    _check_filled(store, filled)


def test_strays_are_told_and_left_alone(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    bucket = _batch_file(directory, filled[3]).parent
    names = [
        directory / "buckets" / "notes.txt",
        directory / "tombstones" / "x.tombstones",
        bucket / "copy.batch",
        bucket / (filled[3].hash.hex().upper() + ".batch"),
        bucket / ("ab" * 32 + ".certificate"),
    ]
    for path in names:
        path.write_bytes(b"?")
    store = open_store()
    assert sorted(f.path for f in store.findings) == sorted(str(p.relative_to(directory)) for p in names)
    assert {finding.kind for finding in store.findings} == {"stray"}
    assert {finding.kind for finding in store.scrub()} == {"stray"}
    assert all(path.exists() for path in names)
    _check_filled(store, filled)


def test_staging_is_emptied(open_store: Callable[..., Any], filled: list[Batch], directory: Path) -> None:
    (directory / "staging" / "half").write_bytes(b"half a batch")
    (directory / "staging" / "bucket").mkdir()
    (directory / "staging" / "bucket" / "file").write_bytes(b"half removed")
    store = open_store()
    assert store.findings == ()
    assert list((directory / "staging").iterdir()) == []


def test_a_bad_tombstone_is_told(
    open_store: Callable[..., Any], filled: list[Batch], directory: Path
) -> None:
    (path,) = directory.glob("tombstones/*.tombstones")
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    store = open_store()
    assert _kinds(store) == ["tombstone"]
    assert [finding.kind for finding in store.scrub()] == ["tombstone"]
    _check_filled(store, filled)


# -- a crash at every single change of the disk


def _crash_points(open_store: Callable[..., Any], action: Callable[[Any, FaultyFilesystem], None]) -> int:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    fs.calls.clear()
    action(store, fs)
    store.close()
    return len(fs.calls)


def _crash(open_store: Callable[..., Any], point: int, late: bool, action: Callable[..., None]) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    fs.arm(point, Crash, late=late)
    with pytest.raises(Crash):
        action(store, fs)
    store.close()


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_put_cut_off_anywhere_is_whole_or_absent(
    open_store: Callable[..., Any], late: bool, directory: Path
) -> None:
    def put(batch: Batch) -> Callable[..., None]:
        return lambda store, _fs: batch.put(store)

    points = _crash_points(open_store, put(make_batch(1)))
    assert points >= 7
    batch = make_batch(1)
    for point in range(points):
        shutil.rmtree(directory)
        _crash(open_store, point, late, put(batch))
        store = open_store()
        if store.at_height(DISPERSER, 1) is None:
            with pytest.raises(UnknownBatch):
                store.batch(batch.hash)
        else:
            assert _kinds(store) == ["unindexed"], "its row was not committed"
            batch.check(store)
        batch.put(store)
        batch.check(store)
        assert list((directory / "staging").iterdir()) == []
        store.close()


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_added_columns_cut_off_anywhere_are_whole_or_absent(
    open_store: Callable[..., Any], late: bool, directory: Path
) -> None:
    batch = make_batch(1)
    store = open_store()
    batch.put(store)
    store.close()

    def add(store: Any, _fs: FaultyFilesystem) -> None:
        store.add_columns(batch.hash, batch.columns((1, 5, 64)))

    points = _crash_points(open_store, add)
    for point in range(points):
        shutil.rmtree(directory)  # the same start for each point
        store = open_store()
        batch.put(store)
        store.close()
        _crash(open_store, point, late, add)
        store = open_store()
        held = store.batch(batch.hash).columns
        assert held in ((0, 5, 127), (0, 1, 5, 64, 127))
        batch.check(store, held)
        assert store.findings == ()
        add(store, FaultyFilesystem())
        batch.check(store, (0, 1, 5, 64, 127))
        store.close()


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_an_expiry_cut_off_anywhere_is_finished(
    open_store: Callable[..., Any], late: bool, directory: Path, clock: Clock
) -> None:
    batches = [make_batch(1), make_batch(2)]
    store = open_store()
    for batch in batches:
        batch.put(store)
    store.put_certificate(batches[0].hash, certificate_of(batches[0]))
    store.close()
    pristine = directory.parent / "pristine"
    shutil.copytree(directory, pristine)
    clock.forward(2 * DAY_S)

    def expire(store: Any, _fs: FaultyFilesystem) -> None:
        assert store.expire(clock.now_ms, 0) == 2

    points = _crash_points(open_store, expire)
    assert points >= 5
    for point in range(points):
        shutil.rmtree(directory)
        shutil.copytree(pristine, directory)
        _crash(open_store, point, late, expire)
        store = open_store()
        states = {record.state for record in store.batches(DISPERSER, 0, 9, False)}
        assert states in ({"live"}, {"expired"})
        if states == {"live"}:
            batches[0].check(store)
            expire(store, FaultyFilesystem())
        with pytest.raises(ExpiredBatch) as caught:
            store.batch(batches[0].hash)
        assert caught.value.record.certificate == certificate_of(batches[0])
        assert store.findings == ()
        assert not any((directory / "buckets").iterdir())
        assert not any((directory / "staging").iterdir())
        store.close()


@pytest.mark.parametrize("error", [Crash, errno.ENOSPC])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_batch_that_moves_along_is_never_lost(
    open_store: Callable[..., Any], late: bool, error: Any, directory: Path, clock: Clock
) -> None:
    batch = make_batch(1)
    store = open_store()
    batch.put(store)
    store.close()
    pristine = directory.parent / "pristine"
    shutil.copytree(directory, pristine)
    clock.forward(5 * DAY_S)

    def expire(store: Any, _fs: FaultyFilesystem) -> None:
        store.expire(clock.now_ms, 0, [batch.hash])

    points = _crash_points(open_store, expire)
    assert points >= 4
    for point in range(points):
        shutil.rmtree(directory)
        shutil.copytree(pristine, directory)
        fs = FaultyFilesystem()
        store = open_store(filesystem=fs)
        fs.arm(point, error, late=late)
        with suppress(Crash, StoreFull):
            expire(store, fs)
        if error is not Crash:
            fs.disarm()
            batch.check(store)
        store.close()
        store = open_store()
        batch.check(store)
        expire(store, FaultyFilesystem())
        batch.check(store)
        assert len(list((directory / "buckets").iterdir())) == 1
        assert list(store.scrub()) == []
        store.close()


def test_a_prune_cut_off_anywhere_is_finished(
    open_store: Callable[..., Any], directory: Path, clock: Clock
) -> None:
    store = open_store()
    for height in (1, 2):
        make_batch(height).put(store)
        clock.forward(DAY_S)
    store.expire(clock.now_ms, 0)
    store.close()
    pristine = directory.parent / "pristine"
    shutil.copytree(directory, pristine)
    clock.forward(100 * DAY_S)

    def prune(store: Any, _fs: FaultyFilesystem) -> None:
        store.expire(clock.now_ms, 0)

    for point in range(_crash_points(open_store, prune)):
        shutil.rmtree(directory)
        shutil.copytree(pristine, directory)
        _crash(open_store, point, True, prune)
        store = open_store()
        prune(store, FaultyFilesystem())
        assert store.findings == ()
        assert store.at_height(DISPERSER, 1) is None
        assert store._catalogue.pruned_height(DISPERSER) == 1
        assert store.latest(DISPERSER).header.height == 2
        store.close()


def test_a_commit_comes_after_everything_it_promises(open_store: Callable[..., Any]) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    commit = store._catalogue.transaction
    store._catalogue.transaction = lambda: (fs.calls.append("commit"), commit())[1]
    fs.calls.clear()
    make_batch(1).put(store)
    assert fs.calls == [
        "create",
        *["pwrite"] * 2,
        "sync",
        "make_directory",
        "sync_directory",  # of buckets/, for the new bucket's name
        "rename",
        "sync_directory",  # of the bucket, for the batch's name
        "commit",
    ]
    fs.calls.clear()
    store.put_certificate(make_batch(1).hash, b"certificate")
    assert fs.calls == ["create", "pwrite", "sync", "rename", "sync_directory", "commit"]


def test_a_lost_batch_keeps_its_height_when_the_index_is_made_anew(
    open_store: Callable[..., Any], directory: Path
) -> None:
    store = open_store()
    batches = [make_batch(1), make_batch(2)]
    for batch in batches:
        batch.put(store)
    store.close()
    _batch_file(directory, batches[1]).unlink()
    store = open_store()
    store.rebuild_index()
    assert store.at_height(DISPERSER, 2) == batches[1].hash
    with pytest.raises(Equivocation):
        make_batch(2, seed=99).put(store)
    batches[1].put(store)
    batches[1].check(store)
