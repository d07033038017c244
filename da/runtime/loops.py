"""Background tasks of a node, which start again when they fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from da.runtime.metrics import NodeMetrics

log = logging.getLogger("cellar.runtime.loops")


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
                log.exception("loop %s failed, restarting in %s s", name, self._restart_s)
                self._metrics.loop_failures.labels(name).inc()
            await asyncio.sleep(self._restart_s)

    async def stop(self) -> None:
        """Cancel all and wait for their end."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
