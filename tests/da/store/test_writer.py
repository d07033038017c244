"""What happens between the steps of a put: to rivals, to readers, to memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from da.store import Equivocation, ExpiredBatch
from da.store.filesystem import Filesystem
from tests.da.store.conftest import Clock
from tests.da.store.support import DISPERSER, Batch, make_batch


class PausingFilesystem(Filesystem):
    """Runs something else, once, when a file is about to be made durable."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] | None = None

    def sync(self, fd: int) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        super().sync(fd)


def _put(store: Any, batch: Batch, columns: Any) -> None:
    store.put_batch(batch.proposal, columns)


def test_a_rival_that_commits_during_the_fsync_wins(open_store: Callable[..., Any]) -> None:
    fs = PausingFilesystem()
    store = open_store(filesystem=fs)
    first, second = make_batch(4), make_batch(4, seed=99)
    fs.meanwhile = lambda: first.put(store)
    with pytest.raises(Equivocation) as caught:
        second.put(store)
    assert caught.value.existing_hash == first.hash
    assert store.health().writable, "a rival is no failure of the disk"
    first.check(store)


def test_a_batch_that_expires_during_the_fsync_stays_expired(
    open_store: Callable[..., Any], clock: Clock
) -> None:
    fs = PausingFilesystem()
    store = open_store(filesystem=fs)
    batch = make_batch(1)
    batch.put(store)

    def expire() -> None:
        clock.forward(2 * 86_400)
        assert store.expire(clock.now_ms, 0) == 1

    fs.meanwhile = expire
    with pytest.raises(ExpiredBatch):
        store.add_columns(batch.hash, batch.columns((9,)))
    store.close()
    assert open_store().findings == ()


def test_columns_are_taken_one_at_a_time(open_store: Callable[..., Any]) -> None:
    store = open_store()
    batch = make_batch(1, rows=256)
    column = np.zeros((256, 2096), np.uint8)  # half a megabyte; the batch has 67
    taken = []

    def columns() -> Iterator[tuple[int, Any]]:
        for number in range(128):
            taken.append(number)
            yield number, column

    tracemalloc.start()
    try:
        _put(store, batch, columns())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(taken) == 128
    assert peak < 6 * 2**20
    tracemalloc.start()
    try:
        store.add_columns(batch.hash, iter([(0, column)]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**20
    assert store.batch(batch.hash).columns == tuple(range(128))


def test_nothing_is_written_when_everything_is_held(open_store: Callable[..., Any]) -> None:
    class Untouchable(Filesystem):
        armed = False

        def create(self, path: Any) -> int:
            assert not self.armed
            return super().create(path)

    fs = Untouchable()
    store = open_store(filesystem=fs)
    batch = make_batch(1)
    batch.put(store)
    fs.armed = True
    batch.put(store)
    batch.put(store, (5,))
    store.add_columns(batch.hash, iter(()))
    assert store.at_height(DISPERSER, 1) == batch.hash
