"""Admission: how much of something scarce is in use at once, whose it is, and who is next.

Three kinds. `Budget` is one queue for all. `FairShares` puts a budget of its own for each owner before it, so
that one owner can have at most its share of the places and of the queue. `Room` counts the bytes of bodies
while they come in: an owner is charged for what it has sent, never for what it has announced, and the fuller
the room, the less one owner may hold.

Progress of a Room: an owner may grow while what it holds stays at most what is free (the dynamic threshold of
Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998), so k greedy owners leave 1/(k+1) of the room to whoever comes
next, and one alone can have half. Bodies that wait for one another's bytes do not wait for long: who cannot
grow within `wait_s` is refused, which frees what it holds. A sender that stops sending is cut by its body's
pace (da.api), which frees it too.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
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


class Lease:
    """What one body holds of a Room; made by `Room.lease`."""

    def __init__(self, room: Room, owner: Hashable) -> None:
        self._room = room
        self.owner = owner
        self.held = 0

    async def grow(self, size: int) -> None:
        """Hold `size` more bytes, perhaps after a wait. Raises what the room's `refuse` makes."""
        await self._room._grow(self, size)


class Room:
    """Bytes of memory that several owners fill as their bodies come in. See the module docstring."""

    def __init__(
        self,
        capacity: int,
        *,
        wait_s: float,
        refuse: Callable[[str], Exception],
        on_change: Callable[[int], None] = lambda used: None,
    ) -> None:
        """`wait_s`: longest wait for one growth; `refuse`: the error of one that ended without room, from the
        reason; `on_change` is called with the bytes in use."""
        self._capacity = capacity
        self._wait_s = wait_s
        self._refuse = refuse
        self._on_change = on_change
        self._held: Counter[Hashable] = Counter()
        self._used = 0
        self._waiting: deque[tuple[Lease, int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes held by all owners."""
        return self._used

    def held_by(self, owner: Hashable) -> int:
        """Bytes held by one owner."""
        return self._held[owner]

    @property
    def share(self) -> int:
        """What an owner that is alone may hold."""
        return self._capacity // 2

    @asynccontextmanager
    async def lease(self, owner: Hashable) -> AsyncIterator[Lease]:
        """A body of `owner`: it holds nothing at first, and lets go at the end of the block."""
        lease = Lease(self, owner)
        try:
            yield lease
        finally:
            self._change(lease, -lease.held)
            self._wake()

    def _fits(self, lease: Lease, size: int) -> bool:
        return self._held[lease.owner] + size <= self._capacity - self._used

    def _change(self, lease: Lease, size: int) -> None:
        lease.held += size
        self._used += size
        self._held[lease.owner] += size
        if not self._held[lease.owner]:
            del self._held[lease.owner]
        self._on_change(self._used)

    async def _grow(self, lease: Lease, size: int) -> None:
        if self._fits(lease, size):
            self._change(lease, size)
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (lease, size, ticket)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._wait_s):
                await ticket
        except BaseException as error:
            # Given in the same turn of the loop: `held` has it, and the lease gives it back.
            if entry in self._waiting:
                self._waiting.remove(entry)
            if isinstance(error, TimeoutError):
                raise self._refuse("no room in time") from None
            raise

    def _wake(self) -> None:
        for entry in tuple(self._waiting):
            lease, size, ticket = entry
            if ticket.done():
                self._waiting.remove(entry)
            elif self._fits(lease, size):
                self._waiting.remove(entry)
                self._change(lease, size)
                ticket.set_result(None)
