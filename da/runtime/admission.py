"""A budget of something scarce, bytes of memory or turns: how much is in use at once, and who is next.

Two kinds: `Budget` is one queue for all; `FairShares` puts a budget of its own for each address before it, so
that one address can have at most its share of the places and of the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager


class Budget:
    """At most `capacity` units in use at once; requests that do not fit wait, first come first served.

    A request for more than there is takes the whole budget.
    """

    def __init__(
        self, capacity: int, *, wait_s: float, queue_max: int | None, refuse: Callable[[str], Exception]
    ) -> None:
        """`wait_s`: longest wait; `queue_max`: requests that may wait, None for any number; `refuse`: the
        error for a request that cannot have its units, from the reason."""
        self._capacity = capacity
        self._free = capacity
        self._wait_s = wait_s
        self._queue_max = queue_max
        self._refuse = refuse
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Units given out and not yet returned."""
        return self._capacity - self._free

    @property
    def idle(self) -> bool:
        """Whether nothing is held and no request waits."""
        return self._free == self._capacity and not self._waiting

    @asynccontextmanager
    async def hold(self, size: int = 1) -> AsyncIterator[None]:
        """Hold `size` units for the length of the block.

        Raises what `refuse` makes when the queue is full, or when no room was made in time.
        """
        size = min(size, self._capacity)
        if self._waiting or size > self._free:
            await self._wait_for(size)
        else:
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._wake()

    async def _wait_for(self, size: int) -> None:
        if self._queue_max is not None and len(self._waiting) >= self._queue_max:
            raise self._refuse("too many requests are waiting")
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, ticket)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._wait_s):
                await ticket
        except BaseException as error:
            if ticket.done() and not ticket.cancelled():  # given in the same turn of the loop as the timeout
                self._free += size
            elif entry in self._waiting:  # `_wake` may have dropped it since the cancellation
                self._waiting.remove(entry)
            self._wake()
            if isinstance(error, TimeoutError):
                raise self._refuse("none became free in time") from None
            raise

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, ticket = self._waiting.popleft()
            if not ticket.done():
                self._free -= size
                ticket.set_result(None)


class FairShares:
    """A budget for each address, kept only while the address holds something or waits."""

    def __init__(self, make: Callable[[], Budget]) -> None:
        """`make` gives the budget of an address that comes."""
        self._make = make
        self._budgets: dict[Hashable, Budget] = {}

    def __len__(self) -> int:
        """Addresses that hold something or wait."""
        return len(self._budgets)

    @asynccontextmanager
    async def hold(self, address: Hashable, size: int = 1) -> AsyncIterator[None]:
        """Hold `size` units of the address's own budget. Raises as Budget.hold."""
        budget = self._budgets.setdefault(address, self._make())
        try:
            async with budget.hold(size):
                yield
        finally:
            if budget.idle and self._budgets.get(address) is budget:
                del self._budgets[address]
