"""A change of the committee: the log goes on, and what waits for its certificate is never given up unseen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from da import bls
from da.bootstrap import Identity, StartupError, check_log
from da.node import Status
from da.store.embedded import EmbeddedStore
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, World


async def stop_all(world: World) -> None:
    for seat in world.seats:
        await seat.stop()


def check(world: World) -> None:
    """What `da node` checks at the disperser before it starts."""
    seat = world.disperser
    store = EmbeddedStore(seat.directory / "store")
    try:
        check_log(store, Identity(seat.secret, world.committee, world.chain, seat.member))
    finally:
        store.close()


async def leave_uncertified(world: World) -> bytes:
    """One certified batch, and one for which there is no quorum; all nodes are stopped then."""
    await world.start()
    await world.certify(b"certified")
    await world.settle()
    for seat in world.seats[2:]:
        seat.link.down = True
    receipt = await world.node(0).post(NAMESPACE, b"waits")
    await asyncio.sleep(20)
    assert (await world.node(0).payload_status(receipt.payload_id)).status is Status.DISPERSING
    await stop_all(world)
    for seat in world.seats:
        seat.link.down = False
    return receipt.payload_id


def test_a_log_goes_on_under_a_new_committee(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            first = await world.certify(b"one")
            await world.settle()
            await stop_all(world)
            world.committee = replace(world.committee, epoch=2)
            check(world)
            await world.start()
            second = await world.certify(b"two")
            status = await world.node(0).payload_status(second)
            assert status.batch_height == 2
            for index in range(4):
                assert await world.node(index).payload_bytes(first) == b"one"
                assert await world.node(index).payload_bytes(second) == b"two"

    run(main())


def test_a_disperser_does_not_start_anew_over_a_batch_that_waits(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            payload_id = await leave_uncertified(world)
            old = world.committee
            check(world)
            world.committee = replace(old, epoch=2)
            with pytest.raises(StartupError, match=r"height 2 .* no certificate") as refused:
                check(world)
            assert old.hash.hex() in str(refused.value)
            # The way on: the committee of before, until the batch is certified.
            world.committee = old
            await world.start()
            status = await world.node(0).wait_certified(NAMESPACE, payload_id, 60)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 2)
            await world.settle()
            await stop_all(world)
            world.committee = replace(old, epoch=2)
            check(world)
            await world.start()
            third = await world.certify(b"three")
            assert (await world.node(0).payload_status(third)).batch_height == 3

    run(main())


def test_a_new_key_takes_what_waits_along(tmp_path: Path, engine: Engine) -> None:
    """When the old committee can certify nothing any more: the same data directory under a new identity."""

    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            payload_id = await leave_uncertified(world)
            seat, secret = world.disperser, (4711).to_bytes(32, "big")
            members = list(world.committee.members)
            index = world.committee.member_index(seat.id)
            assert index is not None
            members[index] = replace(
                members[index],
                public_key=bls.public_key(secret),
                proof_of_possession=bls.prove_possession(secret),
            )
            world.committee = replace(world.committee, epoch=2, members=tuple(members))
            seat.secret, world.ids["node-0"] = secret, members[index].id
            check(world)
            await world.start()
            status = await world.node(0).wait_certified(NAMESPACE, payload_id, 60)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 1)
            assert status.disperser_id == seat.id
            await world.settle()
            for position in range(4):
                assert await world.node(position).payload_bytes(payload_id) == b"waits"
            await world.check_logs()

    run(main())
