"""Who gets how much of something scarce, and when."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from da.runtime.admission import Budget, FairShares, Lease, Room

pytestmark = pytest.mark.anyio


class Refused(Exception):
    """No room."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


def budget_of(capacity: int, *, wait_s: float = 60.0, queue_max: int | None = 10) -> Budget:
    return Budget(capacity, wait_s=wait_s, queue_max=queue_max, refuse=Refused)


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_units_are_given_by_turn_and_nobody_overtakes() -> None:
    budget = budget_of(100)
    order: list[str] = []
    release, entered = asyncio.Event(), asyncio.Event()

    async def holder(name: str, size: int) -> None:
        async with budget.hold(size):
            order.append(name)
            entered.set()
            await release.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(holder("first", 80))
        await entered.wait()
        group.create_task(holder("big", 90))
        group.create_task(holder("small", 10))
        await _turns()
        assert order == ["first"], "the small one would fit, but must not overtake for ever"
        assert budget.used == 80
        release.set()
    assert order == ["first", "big", "small"]
    assert budget.used == 0
    assert budget.idle


async def test_nobody_waits_for_more_than_there_is() -> None:
    budget = budget_of(100)
    async with asyncio.timeout(20), budget.hold(10_000):
        assert budget.used == 100
    assert budget.used == 0


async def test_a_wait_ends_after_its_time_and_a_full_queue_refuses_at_once() -> None:
    budget = budget_of(100, wait_s=0.01, queue_max=1)
    async with asyncio.timeout(20), budget.hold(100):
        with pytest.raises(Refused, match="in time"):
            async with budget.hold(1):
                pytest.fail("there was no room")
        waiting = asyncio.ensure_future(_hold(budget, 1))
        await asyncio.sleep(0)
        assert not budget.idle
        with pytest.raises(Refused, match="waiting"):
            await _hold(budget, 1)
        with pytest.raises(Refused):
            await waiting
    assert budget.used == 0


async def test_a_queue_without_a_limit_takes_all() -> None:
    budget = budget_of(1, queue_max=None)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(_hold(budget, 1))
    assert budget.idle


async def test_a_cancelled_wait_gives_nothing_away() -> None:
    budget = budget_of(100)
    async with asyncio.timeout(20):
        async with budget.hold(100):
            waiting = asyncio.ensure_future(_hold(budget, 100))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
        assert budget.used == 0
        await _hold(budget, 100)


async def _hold(budget: Budget, size: int) -> None:
    async with budget.hold(size):
        pass


async def test_one_address_has_its_share_and_others_theirs() -> None:
    shares = FairShares(lambda: budget_of(2, queue_max=0))
    async with shares.hold("a"), shares.hold("a"):
        with pytest.raises(Refused):
            async with shares.hold("a"):
                pytest.fail("that is more than its share")
        async with shares.hold("b", 2):
            assert len(shares) == 2
        assert len(shares) == 1
    assert len(shares) == 0, "an address that holds nothing is forgotten"


async def test_who_waits_for_its_share_is_not_forgotten() -> None:
    shares = FairShares(lambda: budget_of(1))
    release = asyncio.Event()

    async def holder() -> None:
        async with shares.hold("a"):
            await release.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        tasks = [group.create_task(holder()) for _ in range(3)]
        await _turns()
        tasks[1].cancel()
        await _turns()
        assert len(shares) == 1
        release.set()
    assert len(shares) == 0


# --- rooms ---------------------------------------------------------------------------------------


def room_of(capacity: int, *, wait_s: float = 60.0) -> Room:
    return Room(capacity, wait_s=wait_s, refuse=Refused)


async def _fill(lease: Lease, size: int = 1) -> int:
    """Grow until the room refuses; what the lease holds then."""
    with contextlib.suppress(Refused):
        while True:
            await lease.grow(size)
    return lease.held


async def test_a_room_counts_what_came_and_forgets_it_at_the_end() -> None:
    seen: list[int] = []
    room = Room(100, wait_s=60.0, refuse=Refused, on_change=seen.append)
    async with room.lease("a") as first, room.lease("a") as second:
        assert room.used == 0, "a lease holds nothing before anything came"
        await first.grow(10)
        await second.grow(5)
        assert (room.used, room.held_by("a"), first.held, second.held) == (15, 15, 10, 5)
    assert (room.used, room.held_by("a")) == (0, 0)
    assert seen[-1] == 0


async def test_one_owner_fills_half_and_each_further_one_less() -> None:
    room = room_of(1200, wait_s=0.001)
    async with room.lease(1) as first:
        assert await _fill(first) == 600 == room.share
        async with room.lease(2) as second:
            assert await _fill(second) == 300
            async with room.lease(3) as third:
                await third.grow(100)
                assert room.used == 1000, "a small body of somebody new gets through beside two greedy owners"


async def test_greedy_owners_together_leave_room_for_the_next() -> None:
    """k owners that take what they get, in turn, end at 1/(k+1) each."""
    room = room_of(10_000, wait_s=0.001)
    async with asyncio.timeout(20):
        leases = []
        contexts = [room.lease(owner) for owner in range(4)]
        for context in contexts:
            leases.append(await context.__aenter__())
        growing = set(leases)
        while growing:
            for lease in tuple(growing):
                try:
                    await lease.grow(10)
                except Refused:
                    growing.discard(lease)
        assert [lease.held for lease in leases] == pytest.approx([2000] * 4, abs=20)
        async with room.lease("late") as late:
            await late.grow(900)
        for context in contexts:
            await context.__aexit__(None, None, None)
    assert room.used == 0


async def test_who_waits_is_served_when_room_is_freed_and_holds_up_nobody() -> None:
    room = room_of(100)
    async with asyncio.timeout(20), room.lease("b") as waiting, room.lease("c") as small:
        async with room.lease("a") as first:
            await first.grow(50)
            growing = asyncio.ensure_future(waiting.grow(60))
            await _turns()
            assert not growing.done()
            await small.grow(10)  # it came later and fits
        await growing
        assert (waiting.held, small.held, room.used) == (60, 10, 70)
    assert room.used == 0


async def test_a_wait_that_is_cancelled_holds_nothing() -> None:
    room = room_of(100)
    async with asyncio.timeout(20), room.lease("b") as waiting:
        async with room.lease("a") as first:
            await first.grow(50)
            growing = asyncio.ensure_future(waiting.grow(60))
            await _turns()
            growing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await growing
        assert (waiting.held, room.used) == (0, 0)
