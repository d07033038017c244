"""What the node's loops are made of: a broadcast to wait on, writes that wait for room, and tasks that start
again when they fail."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from da.errors import ReadOnly
from da.store.errors import StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from da.metrics import NodeMetrics

T = TypeVar("T")

log = logging.getLogger("da.node")


class Broadcast:
    """Wakes everybody who waits. Take `ticket()` before looking at the state, then wait on it:
    a change between the look and the wait is never missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """The event that the next `announce()` sets."""
        return self._event

    def announce(self) -> None:
        """Wake all holders of tickets."""
        self._event.set()
        self._event = asyncio.Event()


async def until_room(what: str, pause_s: float, write: Callable[[], Awaitable[T]]) -> T:
    """The result of a write to the disk, tried again for as long as the disk takes none."""
    attempt = 0
    while True:
        try:
            return await write()
        except (ReadOnly, StoreReadOnly) as error:
            attempt += 1
            rare = attempt & (attempt - 1) == 0  # a disk that is full for days is told of ever more rarely
            log.log(logging.WARNING if rare else logging.DEBUG, "%s waits: %s", what, error)
        await asyncio.sleep(pause_s)


class Loops:
    """Background tasks of a node. One that fails is logged, counted and started again."""

    def __init__(self, metrics: NodeMetrics, restart_s: float = 1.0) -> None:
        self._metrics = metrics
        self._restart_s = restart_s
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def healthy(self) -> bool:
        """Whether all loops run."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks.values())

    def spawn(self, name: str, body: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `body` for as long as the node runs."""
        assert name not in self._tasks, name
        self._tasks[name] = asyncio.create_task(self._guard(name, body), name=name)

    async def _guard(self, name: str, body: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            try:
                await body()
            except Exception:
                log.exception("loop %s failed, it starts again in %s s", name, self._restart_s)
                self._metrics.loop_failures.labels(name).inc()
            await asyncio.sleep(self._restart_s)

    async def stop(self) -> None:
        """Cancel all and wait for their end."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
