"""Objects in a directory: the order of what makes them durable, and a failure of each single step."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from da.store.filesystem import Filesystem
from da.store.objects import QUARANTINE, DirectoryObjects, Key, Listing, ObjectMissing, read_all
from tests.da.store.support import Crash, FaultyFilesystem

KEY = Key("buckets/monday", "one")
DATA = bytes(range(256)) * 5000  # more than one write
STEPS: dict[str, tuple[Callable[[DirectoryObjects], None], list[str]]] = {
    "put": (
        lambda objects: objects.put(KEY, [DATA, DATA]),
        [
            *["create", "pwrite", "pwrite", "sync"],
            *["make_directory", "sync_directory"],  # of buckets/, for the new bucket's name
            *["rename", "sync_directory"],  # of the bucket, for the object's name
        ],
    ),
    "move": (
        lambda objects: objects.move(["old"], "buckets/sunday", "buckets/monday"),
        ["make_directory", "sync_directory", "rename", "sync_directory"],
    ),
    "drop": (lambda objects: objects.drop("buckets/sunday"), ["rename", "sync_directory"]),
    "quarantine": (
        lambda objects: objects.quarantine(Key("buckets/sunday", "old")),
        ["rename", "sync_directory", "sync_directory"],
    ),
}


def _open(root: Path, fs: Filesystem | None = None) -> DirectoryObjects:
    root.mkdir(exist_ok=True)
    objects = DirectoryObjects(fs or Filesystem(), root, ("buckets",))
    if not (root / "buckets" / "sunday").exists():
        objects.put(Key("buckets/sunday", "old"), [b"old"])
    return objects


def _places(objects: DirectoryObjects) -> dict[str, bytes]:
    """Every object that is visible."""
    found: dict[str, bytes] = {}
    for bucket in [f"buckets/{name}" for name in objects.list("buckets").buckets] + [QUARANTINE]:
        for name in objects.list(bucket).objects:
            found[f"{bucket}/{name}"] = read_all(objects, Key(bucket, name))
    return found


@pytest.mark.parametrize("step", STEPS)
def test_names_are_synced_after_the_bytes(tmp_path: Path, step: str) -> None:
    fs = FaultyFilesystem()
    objects = _open(tmp_path, fs)
    action, calls = STEPS[step]
    fs.calls.clear()
    action(objects)
    assert fs.calls == calls


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [Crash, errno.ENOSPC])
@pytest.mark.parametrize("step", STEPS)
def test_what_is_cut_off_anywhere_is_done_or_not(tmp_path: Path, step: str, error: Any, late: bool) -> None:
    action, calls = STEPS[step]
    untouched = _places(_open(tmp_path / "untouched"))
    changed = _open(tmp_path / "changed")
    action(changed)
    done = _places(changed)
    for point in range(len(calls)):
        root = tmp_path / f"{point}"
        fs = FaultyFilesystem()
        objects = _open(root, fs)
        fs.arm(point, error, late=late)
        with pytest.raises(Crash if error is Crash else OSError):
            action(objects)
        if error is not Crash:
            fs.disarm()
            assert _places(objects) in (untouched, done)
        objects = DirectoryObjects(Filesystem(), root, ("buckets",))  # as after a restart
        assert _places(objects) in (untouched, done)
        assert list((root / "staging").iterdir()) == []
        shutil.rmtree(root)


def test_a_write_that_the_system_cuts_short_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:100_000], offset))
    objects = _open(tmp_path)
    objects.put(KEY, [DATA])
    assert read_all(objects, KEY) == DATA


def test_what_a_crash_left_in_staging_is_removed(tmp_path: Path) -> None:
    _open(tmp_path)
    (tmp_path / "staging" / "half").write_bytes(b"half an object")
    (tmp_path / "staging" / "bucket").mkdir()
    (tmp_path / "staging" / "bucket" / "file").write_bytes(b"half removed")
    _open(tmp_path)
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_directory_is_no_object_whatever_its_name(tmp_path: Path) -> None:
    objects = _open(tmp_path)
    (tmp_path / "buckets" / "sunday" / "one").mkdir()
    key = Key("buckets/sunday", "one")
    assert objects.list("buckets/sunday") == Listing(frozenset(["old"]), frozenset(["one"]))
    assert not objects.exists(key)
    with pytest.raises(ObjectMissing):
        objects.open(key)


def test_the_descriptors_of_closed_readers_are_closed(tmp_path: Path) -> None:
    objects = _open(tmp_path)
    readers = [objects.open(Key("buckets/sunday", "old")) for _ in range(3)]
    for reader in readers:
        reader.close()
        with pytest.raises(OSError, match="descriptor"):
            reader.size()


def test_a_put_that_fails_leaves_nothing_in_staging(tmp_path: Path) -> None:
    fs = FaultyFilesystem()
    objects = _open(tmp_path, fs)

    def broken() -> Iterator[bytes]:
        yield DATA
        raise ConnectionError

    with pytest.raises(ConnectionError):
        objects.put(KEY, broken())
    assert list((tmp_path / "staging").iterdir()) == []
    for point in range(len(STEPS["put"][1])):
        fs.arm(point, errno.ENOSPC, late=True)
        with suppress(OSError):
            objects.put(KEY, [DATA, DATA])
        assert list((tmp_path / "staging").iterdir()) == []
