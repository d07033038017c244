"""Clocks that jump: no header with an implausible time, nothing dropped by it, and all goes on afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from da.node import Status
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, START_MS, World

DAY_S = 86_400
YEAR_MS = 365 * DAY_S * 1000


async def told(world: World, index: int, word: str) -> bool:
    return any(word in reason for reason in (await world.node(index).ready()).reasons)


async def held_back(world: World, payload: bytes) -> bytes:
    """Post something of which no header may be made now."""
    node = world.node(0)
    receipt = await node.post(NAMESPACE, payload)
    status = await node.wait_certified(NAMESPACE, receipt.payload_id, 120)
    assert status.status is Status.QUEUED
    return receipt.payload_id


async def goes_on(world: World, payload_id: bytes, timestamp_ms: int) -> None:
    """What was held back is certified, with a time near that one."""
    node = world.node(0)
    status = await node.wait_certified(NAMESPACE, payload_id, 120)
    assert status.status is Status.CERTIFIED
    assert status.header_hash is not None
    header = (await node.batch(status.header_hash)).header
    assert abs(header.timestamp_ms - timestamp_ms) < 600_000
    await world.until(lambda: ready(world, 0))
    await world.check_logs()


async def ready(world: World, index: int) -> bool:
    return (await world.node(index).ready()).ready


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("members", [4, 7])
def test_a_disperser_makes_no_header_while_its_clock_is_ahead(
    tmp_path: Path, engine: Engine, restart: bool, members: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=members) as world:
            await world.start()
            await world.certify(b"before")
            world.disperser.skew_ms = YEAR_MS
            if restart:
                await world.disperser.restart()
            payload_id = await held_back(world, b"meanwhile")
            assert await told(world, 0, "clock is 365 days ahead")
            assert sum("365 days ahead" in line for line in caplog.messages) == 1
            world.disperser.skew_ms = 0
            await goes_on(world, payload_id, world.disperser.clock())
            await world.until(
                lambda: asyncio.sleep(0, "clock agrees with the committee again" in caplog.text)
            )

    caplog.set_level("INFO")
    run(main())


def test_a_committee_of_one_believes_no_jump_while_it_runs(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=1) as world:
            await world.start()
            await world.certify(b"before")
            world.disperser.skew_ms = YEAR_MS
            payload_id = await held_back(world, b"meanwhile")
            assert await told(world, 0, "clock is 365 days ahead")
            await world.disperser.restart()  # the operator says that it is right
            await goes_on(world, payload_id, world.disperser.clock())

    run(main())


def test_a_machine_that_slept_has_not_jumped(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop's monotonic clock stands still meanwhile."""

    async def main() -> None:
        async with World(tmp_path, engine, members=1) as world:
            await world.start()
            await world.certify(b"before")
            world.disperser.skew_ms = YEAR_MS
            monkeypatch.setattr("da.runtime.committee_time.asleep_ms", lambda: YEAR_MS)
            await world.certify(b"after")
            assert await ready(world, 0)

    run(main())


def test_a_clock_that_is_set_right_is_believed_where_others_agree(tmp_path: Path, engine: Engine) -> None:
    """It was behind at the start; with one member away, this one's own word is needed."""

    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            world.disperser.skew_ms = -YEAR_MS
            for index in (1, 2, 0):
                await world.seats[index].start()
            await asyncio.sleep(60)
            world.disperser.skew_ms = 0
            await world.certify(b"after")
            assert await ready(world, 0)

    run(main())


def test_a_long_silence_is_no_jump(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            await world.certify(b"before")
            for seat in world.seats:
                await seat.stop()
                seat.skew_ms = YEAR_MS
            await world.start()
            await world.certify(b"after")
            assert await ready(world, 0)

    run(main())


def test_a_disperser_that_nobody_tells_the_time_waits_and_says_so(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.disperser.start()
            payload_id = await held_back(world, b"early")
            assert await told(world, 0, "too few members")
            assert world.store(0).latest(world.disperser.id) is None
            for seat in world.members:
                await seat.start()
            await goes_on(world, payload_id, world.disperser.clock())

    run(main())


@pytest.mark.parametrize("lie", [0, START_MS + YEAR_MS, 2**70, "soon", None])
def test_a_member_that_lies_about_the_time_changes_nothing(tmp_path: Path, engine: Engine, lie: Any) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=7) as world:
            world.seats[3].link.tamper = lambda method, answer: lie if method == "get_time" else answer
            await world.start()
            await world.certify(b"before")
            world.disperser.skew_ms = YEAR_MS
            await world.disperser.restart()
            payload_id = await held_back(world, b"meanwhile")
            world.disperser.skew_ms = 0
            await goes_on(world, payload_id, world.disperser.clock())

    run(main())


def test_a_disperser_whose_clock_is_behind_goes_on_and_says_so(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            await world.certify(b"before")
            world.disperser.skew_ms = -YEAR_MS
            await world.certify(b"meanwhile")
            await world.until(lambda: told(world, 0, "clock is 365 days behind"))
            times = [record.header.timestamp_ms for record in await world.node(0).batches(1, 10)]
            assert times == sorted(times)
            world.disperser.skew_ms = 0
            await world.until(lambda: ready(world, 0))

    run(main())


EXPIRY: dict[str, Any] = {"retention_s": 2 * DAY_S, "retention_interval_s": 60.0}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("jump_ms", [YEAR_MS, -YEAR_MS])
def test_a_clock_that_jumps_drops_nothing(
    tmp_path: Path, engine: Engine, restart: bool, alone: bool, jump_ms: int
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **EXPIRY) as world:
            await world.start()
            payload_id = await world.certify(b"bytes")
            await world.settle()
            for seat in world.seats[:3]:
                seat.link.down = alone
            seat = world.seats[3]
            seat.skew_ms = jump_ms
            if restart:
                await seat.restart()
            await asyncio.sleep(600)
            assert world.node(3).metrics.expired_batches._value.get() == 0
            assert (await world.node(3).payload_status(payload_id)).status is Status.CERTIFIED
            if not alone:
                assert await told(world, 3, "ahead" if jump_ms > 0 else "behind")
            gauge = world.node(3).metrics.clock_ahead_seconds._value.get()
            assert abs(gauge - jump_ms / 1000) < 600
            seat.skew_ms = 0
            for other in world.seats:
                other.link.down = False
            await world.until(lambda: ready(world, 3))

    run(main())


def test_expiry_goes_by_the_time_that_the_committee_tells(tmp_path: Path, engine: Engine) -> None:
    """After a stop of days, and whatever this node's own clock says meanwhile, what is due goes."""

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **EXPIRY) as world:
            await world.start()
            payload_id = await world.certify(b"bytes")
            await world.settle()
            for seat in world.seats:
                await seat.stop()
                seat.skew_ms = 4 * DAY_S * 1000
            world.seats[3].skew_ms += YEAR_MS
            await world.start()

            async def expired() -> bool:
                return (await world.node(3).payload_status(payload_id)).status is Status.EXPIRED

            await world.until(expired)

    run(main())


def test_what_is_learnt_while_the_clock_is_behind_is_kept_from_its_own_time_on(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **EXPIRY) as world:
            for seat in reversed(world.seats[:3]):
                await seat.start()
            payload_id = await world.certify(b"bytes")
            seat = world.seats[3]
            seat.skew_ms = -YEAR_MS
            node = await seat.start()

            async def learnt() -> bool:
                return world.store(3).latest(world.disperser.id, True) is not None

            await world.until(learnt)
            seat.skew_ms = 0
            await asyncio.sleep(600)
            assert node.metrics.expired_batches._value.get() == 0
            assert (await node.payload_status(payload_id)).status is Status.CERTIFIED

    run(main())
