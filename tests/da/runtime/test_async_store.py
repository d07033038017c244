"""The store on the event loop: which threads a call takes, and what its errors become."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from da.errors import NotFound, NotReconstructable, ReadOnly
from da.runtime.async_store import AsyncStore
from da.runtime.workers import Workers
from da.store.errors import CorruptIndex, StoreReadOnly, UnknownBatch

HASH = bytes(32)
CATALOGUE = {"state", "at_height", "find_payload", "health", "free_bytes"}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "put_batch": (None,),
    "put_certificate": (HASH, b""),
    "add_columns": (HASH, ()),
    "batch": (HASH,),
    "any_batch": (HASH,),
    "state": (HASH,),
    "at_height": (HASH, 1),
    "latest": (HASH,),
    "top_and_at": (HASH, 1),
    "batch_at": (HASH, 1),
    "batches": (HASH, 1, 1),
    "read_records": (HASH, ()),
    "read_column": (HASH, 0),
    "read_columns": (HASH, (0,)),
    "find_payload": (HASH,),
    "health": (),
    "free_bytes": (),
    "expire": (0, 0, ()),
    "scrub": (HASH,),
    "rebuild_index": (),
}


class Store:
    """Does what it is told at every call, in the thread that called it."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._act()


@asynccontextmanager
async def opened(act: Callable[[], Any], threads: int = 1) -> AsyncIterator[tuple[AsyncStore, Workers]]:
    workers = Workers(1, threads)

    def ignore(*_: object) -> None:
        return None

    store = AsyncStore(Store(act), workers, ignore, ignore, ignore)  # type: ignore[arg-type]
    try:
        yield store, workers
    finally:
        await workers.close()


def test_every_call_is_listed_here() -> None:
    calls = {
        name for name, value in inspect.getmembers(AsyncStore, inspect.iscoroutinefunction) if name[0] != "_"
    }
    assert calls == set(ARGUMENTS)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ARGUMENTS)
async def test_the_catalogue_has_threads_of_its_own(name: str) -> None:
    used: set[str] = set()

    def act() -> bytes:
        used.add(threading.current_thread().name.partition("_")[0])
        return b""

    async with opened(act) as (store, _):
        try:
            await getattr(store, name)(*ARGUMENTS[name])
        except AttributeError:
            assert name == "read_columns"  # bytes are no array
    assert used == {"io" if name in CATALOGUE else "objects"}


@pytest.mark.anyio
async def test_reads_that_hang_keep_no_post_waiting() -> None:
    release = threading.Event()
    reading = threading.Semaphore(0)

    def act() -> int:
        if threading.current_thread().name.startswith("objects"):
            reading.release()
            release.wait()
        return 7

    async with opened(act, threads=2) as (store, workers):
        reads = [asyncio.ensure_future(store.batch(HASH)) for _ in range(10)]
        await asyncio.to_thread(lambda: [reading.acquire() for _ in range(2)])
        assert await store.free_bytes() == 7
        assert await workers.io(lambda: "accepted") == "accepted"
        assert not any(read.done() for read in reads)
        release.set()
        await asyncio.gather(*reads)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (UnknownBatch(HASH), NotFound),
        (StoreReadOnly("full"), ReadOnly),
        (CorruptIndex("damaged"), NotReconstructable),
    ],
)
@pytest.mark.parametrize("name", sorted(set(ARGUMENTS) - {"any_batch"}))
async def test_errors_are_the_nodes(name: str, raised: Exception, seen: type[Exception]) -> None:
    def act() -> None:
        raise raised

    async with opened(act) as (store, _):
        with pytest.raises(seen):
            await getattr(store, name)(*ARGUMENTS[name])
