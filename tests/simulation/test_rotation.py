"""Changes of committee: nodes that restart with the next one go on from the state they have."""

from __future__ import annotations

from pathlib import Path

from da.node import Status
from da.protocol.custody import columns_of
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, World

LIMITS = {"follow_interval_s": 5.0, "repair_retry_s": 5.0, "scrub_interval_s": 60.0}


async def rotate(world: World, names: list[str], disperser: str) -> None:
    """Stop every node, change the committee, and start the new members."""
    for seat in world.seats:
        await seat.stop()
    world.rotate(names, disperser)
    for seat in world.seats:
        if seat.name in names:
            await seat.start()


async def post(world: World, name: str, payload: bytes) -> bytes:
    node = next(seat.node for seat in world.seats if seat.name == name)
    assert node is not None
    receipt = await node.post(NAMESPACE, payload)
    status = await node.wait_certified(NAMESPACE, receipt.payload_id, 600.0)
    assert status.status == Status.CERTIFIED
    return receipt.payload_id


def test_three_epochs_one_log_and_every_payload_stays_readable(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, replication=2, **LIMITS) as world:
            await world.start()
            payloads: dict[bytes, bytes] = {}
            changes = [
                None,
                ["node-0", "node-1", "node-2", "node-4"],  # one leaves, one comes
                ["node-0", "node-1", "node-4", "node-5"],
            ]
            for names in changes:
                if names:
                    await rotate(world, names, "node-0")
                content = world.rng.randbytes(500)
                payloads[await post(world, "node-0", content)] = content
            log = world.store(0).batches(world.disperser.id, 1, 9, True)
            assert [record.header.height for record in log] == [1, 2, 3]
            hashes = [record.header.committee_hash for record in log]
            assert hashes == [committee.hash for committee in world.chain.committees]

            async def caught_up() -> bool:
                return len(world.store(5).batches(world.disperser.id, 1, 9, True)) == 3

            await world.until(caught_up)
            for seat in (world.seats[1], world.seats[5]):  # an old member, and one that came last
                assert seat.node is not None
                for payload_id, content in payloads.items():
                    assert await seat.node.payload_bytes(payload_id) == content
            await world.check_logs()

    run(main())


def test_custody_of_old_batches_is_the_old_committees(tmp_path: Path, engine: Engine) -> None:
    """A member that lost its disk after the change rebuilds just the columns it held before it."""

    async def main() -> None:
        async with World(tmp_path, engine, members=4, replication=2, **LIMITS) as world:
            await world.start()
            await world.certify(world.rng.randbytes(500))
            await world.settle()
            old = world.committee
            await rotate(world, ["node-0", "node-1", "node-2", "node-4"], "node-0")
            await world.seats[1].stop()
            world.seats[1].lose_disk()
            await world.seats[1].start()
            index = old.member_index(world.seats[1].id)
            assert index is not None
            expected = columns_of(old, index)

            async def rebuilt() -> bool:
                found = world.store(1).batches(world.disperser.id, 1, 9, True)
                return bool(found) and set(found[0].columns) >= set(expected)

            await world.until(rebuilt)
            assert world.store(1).batches(world.disperser.id, 1, 9)[0].columns == expected

    run(main())


def test_the_log_of_a_disperser_that_left_stays_served(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            content = world.rng.randbytes(500)
            payload_id = await world.certify(content)
            await world.settle()
            first = world.disperser.id
            await rotate(world, ["node-1", "node-2", "node-3", "node-4"], "node-1")
            second = await post(world, "node-1", b"another log")
            newcomer = world.seats[4]

            async def caught_up() -> bool:
                return bool(world.store(4).batches(first, 1, 9, True))

            await world.until(caught_up)
            assert newcomer.node is not None
            assert await newcomer.node.payload_bytes(payload_id) == content
            assert (await newcomer.node.batches(1, 9, first))[0].header.height == 1
            assert (await newcomer.node.payload_status(second)).status == Status.CERTIFIED
            # Nothing is left unsure because the first disperser is away for good.
            assert await newcomer.node._follower.fresh()
            await world.check_logs()

    run(main())
