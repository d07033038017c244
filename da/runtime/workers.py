"""Where blocking work runs, so that the event loop never does any.

Two bounded thread pools: `compute` for numpy, BLS and engine calls (the engine's own processes do the
work; the thread waits), `io` for the store and the outbox (SQLite and files). They are apart so that a
matrix being proved for seconds never delays a cell read. A cancelled caller does not interrupt a
thread: the call ends, its result is dropped.
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
    """The node's threads."""

    def __init__(self, compute_threads: int, io_threads: int) -> None:
        self._compute = ThreadPoolExecutor(compute_threads, thread_name_prefix="compute")
        self._io = ThreadPoolExecutor(io_threads, thread_name_prefix="io")

    async def compute(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run arithmetic, signatures or an engine call."""
        return await asyncio.get_running_loop().run_in_executor(
            self._compute, partial(function, *args, **kwargs)
        )

    async def io(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a store or outbox call."""
        return await asyncio.get_running_loop().run_in_executor(self._io, partial(function, *args, **kwargs))

    async def close(self) -> None:
        """Wait for store calls that run; later calls raise RuntimeError.

        A matrix being proved is not waited for: its result is not needed, and closing the engine ends it.
        """
        self._compute.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._io.shutdown, wait=True, cancel_futures=True)
