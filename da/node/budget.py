"""A budget of bytes: how much of something may be in memory at once, and who is next."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from da.errors import QueueFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ByteBudget:
    """At most `limit` bytes in use at once; who does not fit waits its turn, first come first served.

    A request larger than the whole budget is admitted alone.
    """

    def __init__(self, limit: int, wait_s: float, what: str) -> None:
        self._limit = limit
        self._wait_s = wait_s
        self._what = what
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used = 0

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes of the budget. Raises QueueFull when there is no room within the wait."""
        size = min(size, self._limit)
        await self._acquire(size)
        try:
            yield
        finally:
            self._release(size)

    async def _acquire(self, size: int) -> None:
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((size, ticket))
        self._grant()
        try:
            async with asyncio.timeout(self._wait_s):
                await asyncio.shield(ticket)
        except (TimeoutError, asyncio.CancelledError) as error:
            if ticket.done():  # granted in the same turn of the loop: give it back
                self._release(size)
            else:
                self._queue.remove((size, ticket))
                self._grant()
            if isinstance(error, TimeoutError):
                raise QueueFull(max(1, round(self._wait_s)), f"too many bytes of {self._what}") from None
            raise

    def _release(self, size: int) -> None:
        self.used -= size
        self._grant()

    def _grant(self) -> None:
        while self._queue and self.used + self._queue[0][0] <= self._limit:
            size, ticket = self._queue.popleft()
            self.used += size
            ticket.set_result(None)
