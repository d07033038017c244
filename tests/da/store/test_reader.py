"""What a reader sees of a batch while it is being put."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from da.store import CorruptBatch, ExpiredBatch
from da.store.cache import OpenBatch
from da.store.filesystem import Filesystem
from da.store.objects import Key, MemoryObjects, ObjectMissing, ObjectReader, Objects
from da.store.reader import BatchReader
from tests.da.store.conftest import Clock
from tests.da.store.support import assert_same_record, make_batch


def test_a_batch_being_put_is_no_damage(
    open_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has its name a moment before the index has its row; who asks then is told what comes of it."""
    store, batch = open_store(), make_batch(1)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(store.batch(batch.hash))
        except Exception as error:
            answers.append(error)

    asker = threading.Thread(target=ask)
    real = Filesystem.sync_directory

    def sync(fs: Filesystem, path: Path) -> None:
        real(fs, path)
        if any(path.glob(f"{batch.hash.hex()}*")) and not asker.ident:
            asker.start()
            asker.join(0.3)

    monkeypatch.setattr(Filesystem, "sync_directory", sync)
    batch.put(store)
    asker.join()
    (answer,) = answers
    assert_same_record(answer, batch)


class _VanishingObjects(MemoryObjects):
    """Stops serving an object that was dropped to the readers that have it open, as a network store may."""

    def open(self, key: Key, *, uncached: bool = False) -> Any:
        reader = super().open(key, uncached=uncached)
        return _VanishingReader(self, key, reader)


class _VanishingReader:
    def __init__(self, objects: Objects, key: Key, reader: ObjectReader) -> None:
        self._objects = objects
        self._key = key
        self._reader = reader
        self.size, self.close = reader.size, reader.close

    def read(self, size: int, offset: int, /) -> bytes:
        if not self._objects.exists(self._key):
            raise ObjectMissing(self._key)
        return self._reader.read(size, offset)


def test_an_open_batch_that_vanishes_is_expired_or_damaged(
    open_store: Callable[..., Any], clock: Clock
) -> None:
    objects = _VanishingObjects()
    store, expired, lost = open_store(objects=objects), make_batch(1), make_batch(2)
    expired.put(store)
    expired.check(store)
    reader = store._reader
    opened = reader._handles.acquire(expired.hash)
    clock.forward(2 * 86_400)
    assert store.expire(clock.now_ms, 0) == 1
    with pytest.raises(ExpiredBatch), _opened(reader, opened):
        store.read_records(expired.hash, [(0, 0)])

    lost.put(store)
    lost.check(store)
    (bucket,) = objects.list("buckets").buckets
    objects.delete(Key(f"buckets/{bucket}", f"{lost.hash.hex()}.batch"))
    for read in (
        lambda: store.read_records(lost.hash, [(0, 0)]),
        lambda: store.read_column(lost.hash, 0),
        lambda: store.add_columns(lost.hash, lost.columns((1,))),
    ):
        with pytest.raises(CorruptBatch, match="gone"):
            read()
    lost.put(store)
    lost.check(store)


@contextmanager
def _opened(reader: BatchReader, batch: OpenBatch) -> Iterator[None]:
    """Has the reader use a batch that was opened before."""
    handles = reader._handles
    handles._batches[batch.layout.header_hash] = batch
    try:
        yield
    finally:
        handles.invalidate(batch.layout.header_hash)
