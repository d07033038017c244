"""The caches: bounded, never stale, and no descriptor is lost or closed under a reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da.store import reader
from da.store.batch_file import Layout
from da.store.cache import HandleCache, LruCache, OpenBatch
from da.store.objects.directory import FileReader
from tests.da.store.conftest import Clock
from tests.da.store.support import make_batch

_LAYOUT = Layout(bytes(32), 1, (), (-1,) * 128, 0, 0)


def _descriptors() -> set[str]:
    """What this process's descriptors point at."""
    links = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            links.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue  # the listing's own
    return links


def _batch_descriptors() -> list[str]:
    return [link for link in _descriptors() if ".batch" in link]


def test_values_are_loaded_once_and_the_oldest_goes() -> None:
    loads: list[bytes] = []

    def load(key: bytes) -> bytes:
        loads.append(key)
        return key * 2

    cache: LruCache[bytes] = LruCache(2)
    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        assert cache.get(key, load) == key * 2
    assert loads == [b"a", b"b", b"c", b"b"]


def test_what_was_loaded_before_an_invalidation_is_not_kept() -> None:
    cache: LruCache[str] = LruCache(2)

    def load(key: bytes) -> str:
        cache.invalidate(key)  # a writer was faster
        return "old"

    assert cache.get(b"a", load) == "old"
    assert cache.get(b"a", lambda _: "new") == "new"
    cache.clear()
    assert cache.get(b"a", lambda _: "newer") == "newer"


class _Opener:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0

    def __call__(self, header_hash: bytes) -> OpenBatch:
        self.opened += 1
        return OpenBatch(FileReader(os.open(self.path, os.O_RDONLY)), _LAYOUT)


@pytest.fixture
def opener(tmp_path: Path) -> _Opener:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    return _Opener(path)


def _is_open(batch: OpenBatch) -> bool:
    try:
        batch.reader.size()
    except OSError:
        return False
    return True


def test_no_more_files_than_the_capacity_stay_open(opener: _Opener) -> None:
    cache = HandleCache(2, opener)
    for key in (b"a", b"b", b"c", b"a"):
        cache.release(cache.acquire(key))
    assert opener.opened == 4
    assert len(cache) == 2
    assert str(opener.path) in _descriptors()
    cache.clear()
    assert len(cache) == 0
    assert str(opener.path) not in _descriptors()


@pytest.mark.parametrize("how", ["invalidate", "clear", "evict"])
def test_a_file_in_use_is_closed_by_its_last_reader(opener: _Opener, how: str) -> None:
    cache = HandleCache(1, opener)
    first, second = cache.acquire(b"a"), cache.acquire(b"a")
    assert first is second
    if how == "invalidate":
        cache.invalidate(b"a")
    elif how == "clear":
        cache.clear()
    else:
        cache.release(cache.acquire(b"b"))
    cache.release(first)
    assert second.reader.read(1, 0) == b"x"
    cache.release(second)
    assert not _is_open(first)
    cache.clear()


def test_a_file_opened_before_an_invalidation_is_not_kept(opener: _Opener) -> None:
    def open_and_lose(header_hash: bytes) -> OpenBatch:
        file = opener(header_hash)
        cache.invalidate(header_hash)
        return file

    cache = HandleCache(2, open_and_lose)
    file = cache.acquire(b"a")
    assert len(cache) == 0
    cache.release(file)
    assert not _is_open(file)


def test_two_openings_at_once_leave_one(opener: _Opener) -> None:
    def open_twice(header_hash: bytes) -> OpenBatch:
        if not nesting:
            nesting.append(True)
            nested.append(cache.acquire(header_hash))
        return opener(header_hash)

    nested: list[OpenBatch] = []
    nesting: list[bool] = []
    cache = HandleCache(2, open_twice)
    outer = cache.acquire(b"a")
    assert outer is not nested[0]
    cache.release(outer)
    assert not _is_open(outer)
    cache.release(nested[0])
    assert _is_open(nested[0])
    cache.clear()


def test_the_store_holds_few_descriptors_and_none_of_a_dropped_bucket(
    open_store: Callable[..., Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "OPEN_FILES", 4)
    store = open_store()
    batches = [make_batch(height) for height in range(1, 9)]
    for batch in batches:
        batch.put(store)
    for batch in batches:
        batch.check(store)
    assert len(_batch_descriptors()) == 4
    clock.forward(2 * 86_400)
    assert store.expire(clock.now_ms, 0) == 8
    assert _batch_descriptors() == []
    assert not any("deleted" in link and ".batch" in link for link in _descriptors())


def test_a_merge_leaves_no_descriptor_of_the_old_file(open_store: Callable[..., Any]) -> None:
    store = open_store()
    batch = make_batch(1)
    batch.put(store)
    batch.check(store)
    for column in (1, 2, 3):
        store.add_columns(batch.hash, batch.columns((column,)))
    batch.check(store, (0, 1, 2, 3, 5, 127))
    assert len(_batch_descriptors()) == 1
    store.close()
    assert _batch_descriptors() == []
