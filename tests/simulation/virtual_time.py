"""An event loop whose time stands still while anything works and jumps when everybody waits.

Threads take the time they take, and no timer fires meanwhile: virtual time moves only when no thread of an
executor is at work, straight to the next timer. So a backoff of 15 s costs nothing, and how fast the machine
is has no influence on which timer fires first.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_STUCK_S = 20.0


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> Any:
        loop = self.loop
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if loop.jobs:
            return super().select(None)  # the end of a job wakes the selector
        if timeout is None:
            # No timer: only a thread that is no job can wake us (the loop waits for its executor's end so).
            ready = super().select(_STUCK_S)
            if not ready:
                raise RuntimeError("everything waits for something that will never come")
            return ready
        ready = super().select(0)
        if not ready:
            loop.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jobs = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self.jobs -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
