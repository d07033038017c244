"""A full disk: nothing half stored, a clear reason, expiry still works, and writes resume by themselves."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from da.store import ExpiredBatch, StoreFull, StoreReadOnly, UnknownBatch
from da.store.embedded import EmbeddedStore
from da.store.space import SpaceGuard
from tests.da.store.conftest import Clock
from tests.da.store.support import DISPERSER, Batch, FaultyFilesystem, certificate_of, make_batch

MIB = 2**20
DAY_S = 86_400


# -- the guard by itself


def test_the_watermark_stops_writes_and_lets_them_go_on(tmp_path: Path) -> None:
    fs = FaultyFilesystem()
    fs.free = 100 * MIB
    guard = SpaceGuard(fs, tmp_path, reserve_bytes=64 * MIB)
    guard.require(36 * MIB)
    assert guard.free_bytes() == 36 * MIB
    with pytest.raises(StoreFull, match="are to be kept"):
        guard.require(36 * MIB + 1)
    assert guard.health().writable, "there is room for less"
    fs.free = 64 * MIB - 1
    with pytest.raises(StoreFull, match="are to be kept"):
        guard.require()
    assert not guard.health().writable
    assert guard.free_bytes() == 0
    fs.free = 70 * MIB
    assert not guard.health().writable, "not before an eighth more is free"
    fs.free = 72 * MIB
    assert guard.health().writable
    guard.require()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_passes(tmp_path: Path, code: int) -> None:
    guard = SpaceGuard(FaultyFilesystem(), tmp_path, reserve_bytes=0)
    with pytest.raises(StoreFull), guard.writing():
        raise OSError(code, "no room")
    guard.require()
    assert guard.health().writable


def test_another_failure_does_not_pass(tmp_path: Path) -> None:
    guard = SpaceGuard(FaultyFilesystem(), tmp_path, reserve_bytes=0)
    with pytest.raises(StoreReadOnly) as caught, guard.writing():
        raise OSError(errno.EIO, "bad sector")
    assert not isinstance(caught.value, StoreFull)
    with pytest.raises(StoreReadOnly, match="bad sector"):
        guard.require()
    assert not guard.health().writable


def test_errors_that_are_not_the_disks_pass_through(tmp_path: Path) -> None:
    guard = SpaceGuard(FaultyFilesystem(), tmp_path, reserve_bytes=0)
    with pytest.raises(KeyError), guard.writing():
        raise KeyError
    assert guard.health().writable


def test_a_held_index_is_no_failure_of_the_disk(tmp_path: Path) -> None:
    guard = SpaceGuard(FaultyFilesystem(), tmp_path, reserve_bytes=0)
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    with pytest.raises(StoreReadOnly, match="another program"), guard.writing():
        raise error
    assert guard.health().writable


class _NoReserve(FaultyFilesystem):
    room = True

    def allocate(self, path: Path, size: int) -> None:
        if not self.room:
            raise OSError(errno.ENOSPC, "no room")
        super().allocate(path, size)


def test_after_a_full_disk_the_reserve_file_must_fit_again(tmp_path: Path) -> None:
    fs = _NoReserve()
    guard = SpaceGuard(fs, tmp_path, reserve_bytes=1000)
    assert guard.restore_reserve()
    assert (tmp_path / "reserve").stat().st_size == 1000
    guard.release_reserve()
    fs.room = False
    with pytest.raises(StoreFull), guard.writing():
        raise OSError(errno.ENOSPC, "no room")
    assert guard.health().reason == "disk full: no room for the reserve file"
    assert not (tmp_path / "reserve").exists()
    fs.room = True
    assert guard.health().writable
    assert (tmp_path / "reserve").stat().st_size == 1000


# -- no room at every single call


def _calls(fs: FaultyFilesystem, action: Callable[[], None]) -> int:
    fs.arm(-1, errno.ENOSPC, late=False)
    action()
    return len(fs.calls)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_no_room_anywhere_in_a_put_leaves_nothing(
    open_store: Callable[..., Any], directory: Path, late: bool
) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    points = _calls(fs, lambda: make_batch(1000).put(store))
    for point in range(points):
        shutil.rmtree(directory / "buckets")
        (directory / "buckets").mkdir()  # so that each put makes its bucket, as the first did
        batch = make_batch(point + 1)
        fs.arm(point, errno.ENOSPC, late=late)
        with pytest.raises(StoreFull):
            batch.put(store)
        assert store.at_height(DISPERSER, point + 1) is None
        with pytest.raises(UnknownBatch):
            store.batch(batch.hash)
        assert not list((directory / "staging").iterdir())
        assert not list(directory.glob(f"buckets/*/{batch.hash.hex()}*"))
        batch.put(store)
        batch.check(store)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_no_room_anywhere_in_adding_columns_keeps_the_batch(
    open_store: Callable[..., Any], directory: Path, late: bool
) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    batch = make_batch(1)
    batch.put(store)
    points = _calls(fs, lambda: store.add_columns(batch.hash, batch.columns((5,))))
    for point in range(points):
        fs.arm(point, errno.ENOSPC, late=late)
        with pytest.raises(StoreFull):
            store.add_columns(batch.hash, batch.columns((5,)))
        batch.check(store)
        assert not list((directory / "staging").iterdir())


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_no_room_anywhere_in_a_certificate_keeps_the_old_one(
    open_store: Callable[..., Any], directory: Path, late: bool
) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    batch = make_batch(1)
    batch.put(store)
    store.put_certificate(batch.hash, b"old")
    points = _calls(fs, lambda: store.put_certificate(batch.hash, b"old"))
    for point in range(points):
        fs.arm(point, errno.ENOSPC, late=late)
        with pytest.raises(StoreFull):
            store.put_certificate(batch.hash, b"new")
        assert store.batch(batch.hash).certificate in (b"old", b"new")
        assert not list((directory / "staging").iterdir())
        store.put_certificate(batch.hash, b"old")
        assert store.batch(batch.hash).certificate == b"old"


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_no_room_anywhere_in_an_expiry_is_made(
    open_store: Callable[..., Any], directory: Path, clock: Clock, late: bool
) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    height = 0

    def fill_and_expire(point: int) -> None:
        nonlocal height
        height += 1
        batch = make_batch(height)
        batch.put(store)
        store.put_certificate(batch.hash, certificate_of(batch))
        clock.forward(2 * DAY_S)
        fs.arm(point, errno.ENOSPC, late=late)
        try:
            assert store.expire(clock.now_ms, 0) == 1
        except StoreFull:
            assert point >= 5, "no room for tombstones: the files that they stand for make room"
            fs.disarm()
            store.expire(clock.now_ms, 0)
        with pytest.raises(ExpiredBatch) as caught:
            store.batch(batch.hash)
        assert caught.value.record.certificate == certificate_of(batch)
        assert not any((directory / "buckets").iterdir())

    fill_and_expire(-1)
    for point in range(len(fs.calls)):
        fill_and_expire(point)
    assert store.health().writable


def test_an_io_error_makes_the_store_read_only_until_it_is_reopened(open_store: Callable[..., Any]) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs)
    first, second = make_batch(1), make_batch(2)
    first.put(store)
    fs.arm(3, errno.EIO, late=False)  # the fdatasync
    with pytest.raises(StoreReadOnly) as caught:
        second.put(store)
    assert fs.calls[3] == "sync"
    assert not isinstance(caught.value, StoreFull)
    fs.disarm()
    assert not store.health().writable
    for write in (
        lambda: second.put(store),
        lambda: store.put_certificate(first.hash, b"x"),
        lambda: store.add_columns(first.hash, first.columns((1,))),
    ):
        with pytest.raises(StoreReadOnly):
            write()
    first.check(store)
    store.close()
    store = open_store()
    assert store.findings == ()
    second.put(store)
    second.check(store)


# -- no room in SQLite


def test_no_room_in_the_index_leaves_nothing(open_store: Callable[..., Any], directory: Path) -> None:
    store = open_store()
    make_batch(1).put(store)
    writer = store._catalogue._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite meets on a full disk: SQLITE_FULL
    large = make_batch(2, rows=256)
    with pytest.raises(StoreFull, match="full"):
        large.put(store, (0,))
    assert store.at_height(DISPERSER, 2) is None
    assert not list(directory.glob(f"buckets/*/{large.hash.hex()}*"))
    assert store.find_payload(large.payload_list.entries[0].payload_id) == []
    make_batch(1).check(store)
    writer.execute("PRAGMA max_page_count = 1073741823")
    large.put(store, (0,))
    large.check(store, (0,))


# -- below the watermark


def test_below_the_watermark_reads_and_expiry_go_on(open_store: Callable[..., Any], clock: Clock) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs, reserve_bytes=MIB)
    first, second = make_batch(1), make_batch(2)
    first.put(store)
    fs.free = MIB - 1
    assert not store.health().writable
    assert "disk full" in store.health().reason
    for write in (
        lambda: second.put(store),
        lambda: store.put_certificate(first.hash, b"x"),
        lambda: store.add_columns(first.hash, first.columns((1,))),
    ):
        with pytest.raises(StoreFull):
            write()
    first.check(store)
    clock.forward(2 * DAY_S)
    assert store.expire(clock.now_ms, 0) == 1
    fs.free = 2 * MIB
    assert store.health().writable
    second.put(store)
    second.check(store)


def test_a_put_stops_at_the_watermark_while_it_streams(open_store: Callable[..., Any]) -> None:
    fs = FaultyFilesystem()
    store = open_store(filesystem=fs, reserve_bytes=MIB)
    batch = make_batch(1)

    def shrinking() -> Iterator[tuple[int, Any]]:
        yield 0, batch.column(0)
        fs.free = MIB + 10
        yield 1, batch.column(1)

    with pytest.raises(StoreFull):
        store.put_batch(batch.proposal, shrinking())
    assert store.at_height(DISPERSER, 1) is None


# -- a real full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 24 MiB."""
    target = tmp_path / "disk"
    target.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no mount command")
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "none", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    yield target
    subprocess.run(["umount", str(target)], check=True)


def _fill(store: Any) -> Iterator[Batch]:
    """The batches that fit."""
    for height in range(1, 100):
        batch = make_batch(height, rows=32)
        try:
            batch.put(store, range(16))
        except StoreFull:
            return
        yield batch
    raise AssertionError("the disk never became full")


@pytest.mark.parametrize("reserve_bytes", [0, 4 * MIB])
def test_a_disk_filled_by_batches(small_disk: Path, clock: Clock, reserve_bytes: int) -> None:
    store = EmbeddedStore(small_disk / "store", reserve_bytes=reserve_bytes, now_ms=clock)
    try:
        stored = list(_fill(store))
        assert len(stored) >= 8
        assert store.at_height(DISPERSER, len(stored) + 1) is None
        for batch in (stored[0], stored[-1]):
            batch.check(store, range(16))
        assert [path.name for path in (small_disk / "store" / "staging").iterdir()] == []
        if reserve_bytes:
            assert not store.health().writable
        clock.forward(2 * DAY_S)
        assert store.expire(clock.now_ms, 0) == len(stored)
        assert store.health().writable
        make_batch(500, rows=32).put(store, range(16))
    finally:
        store.close()


def test_a_disk_filled_by_others_to_the_last_byte(small_disk: Path, clock: Clock) -> None:
    # SQLite cannot commit then, so the reserve file and the doomed batches give it the room.
    store = EmbeddedStore(small_disk / "store", reserve_bytes=MIB, now_ms=clock)
    batches = [make_batch(height, rows=64) for height in range(1, 5)]
    for batch in batches:
        batch.put(store, range(8))
    filler = small_disk / "others"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        assert store.free_bytes() == 0
        assert not store.health().writable
        batches[0].check(store, range(8))
        store.close()
        store = EmbeddedStore(small_disk / "store", reserve_bytes=MIB, now_ms=clock)  # opens on a full disk
        batches[0].check(store, range(8))
        clock.forward(2 * DAY_S)
        assert store.expire(clock.now_ms, 0) == 4
        with pytest.raises(ExpiredBatch):
            store.batch(batches[0].hash)
        filler.unlink()
        assert store.health().writable
        assert (small_disk / "store" / "reserve").stat().st_size == MIB
        make_batch(500).put(store)
    finally:
        store.close()
