"""Where blocking work runs, so that the event loop never does any.

Three bounded thread pools, apart so that none delays another:
- `compute` for numpy, BLS and engine calls (the engine's own processes do the work; the thread waits);
- `objects` for the store's objects: batches that are read and written, from a disk or a network;
- `io` for the store's catalogue and the outbox (SQLite and small files), which a post waits for: slow reads
  of objects never stall a post.

A cancelled caller does not interrupt a thread: the call ends, its result is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """The node's threads: `io_threads` in each of `io` and `objects`."""

    def __init__(self, compute_threads: int, io_threads: int) -> None:
        self._compute = ThreadPoolExecutor(compute_threads, thread_name_prefix="compute")
        self._objects = ThreadPoolExecutor(io_threads, thread_name_prefix="objects")
        self._io = ThreadPoolExecutor(io_threads, thread_name_prefix="io")

    async def compute(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run arithmetic, signatures or an engine call."""
        return await _run(self._compute, partial(function, *args, **kwargs))

    async def objects(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a store call that reads or writes objects."""
        return await _run(self._objects, partial(function, *args, **kwargs))

    async def io(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an outbox call, or a store call that asks the catalogue alone."""
        return await _run(self._io, partial(function, *args, **kwargs))

    async def close(self) -> None:
        """Wait for store and outbox calls that run; later calls raise RuntimeError.

        A matrix being proved is not waited for: its result is not needed, and closing the engine ends it.
        """
        self._compute.shutdown(wait=False, cancel_futures=True)
        for pool in (self._objects, self._io):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, call)
