"""A disperser whose disk loses its uncertified batch makes it again, or stands still: no second header."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from da.node import NodeConfig, Status
from kzg.engine import Engine
from tests.da.support import nested
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, World

LIMITS = {"repair_retry_s": 5.0, "scrub_interval_s": 100.0, "follow_interval_s": 5.0}


def batch_file(world: World, header_hash: bytes) -> Path:
    (path,) = (world.disperser.directory / "store").rglob(header_hash.hex() + ".batch")
    return path


async def stand_still(world: World, payload: bytes) -> tuple[bytes, bytes]:
    """A first batch certified, a second stored and not certified; its payload id and header hash."""
    await world.start()
    await world.certify(b"the first")
    await world.settle()
    for seat in world.members:
        seat.link.down = True
    receipt = await world.node(0).post(NAMESPACE, payload)

    async def stored() -> bool:
        return world.store(0).at_height(world.disperser.id, 2) is not None

    await world.until(stored)
    await asyncio.sleep(10)
    header_hash = world.store(0).at_height(world.disperser.id, 2)
    assert header_hash is not None
    return receipt.payload_id, header_hash


@pytest.mark.parametrize("how", ["gone", "head"])
@pytest.mark.parametrize("running", [True, False])
def test_an_uncertified_batch_is_made_again_from_the_outbox(
    tmp_path: Path, engine: Engine, how: str, running: bool
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            payload = world.rng.randbytes(150_000)
            payload_id, header_hash = await stand_still(world, payload)
            path = batch_file(world, header_hash)
            good = path.read_bytes()
            if not running:
                await world.disperser.stop()
            path.unlink() if how == "gone" else path.write_bytes(b"x" * 100 + good[100:])
            if not running:
                await world.disperser.start()
            await asyncio.sleep(150)
            made = path.read_bytes()
            assert made[64:] == good[64:]  # all but the moment at which it was stored
            for seat in world.members:
                seat.link.down = False
            status = await world.node(0).wait_certified(NAMESPACE, payload_id, 600)
            assert (status.status, status.header_hash) == (Status.CERTIFIED, header_hash)
            assert await world.node(1).payload_bytes(payload_id) == payload
            assert (await world.node(0).ready()).ready
            await world.check_logs()

    run(main())


def test_a_node_whose_disperser_role_is_off_makes_nothing_again(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no prover. With the role on again, the batch is made as if nothing had been."""

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            payload_id, header_hash = await stand_still(world, b"the second")
            path = batch_file(world, header_hash)
            await world.disperser.stop()
            path.unlink()
            for seat in world.members:
                seat.link.down = False
            with monkeypatch.context() as patch:
                patch.setattr(world, "config_of", lambda _: NodeConfig(disperses=False, **nested(**LIMITS)))
                node = await world.disperser.start()
                await asyncio.sleep(150)
                assert node.metrics.loop_failures.labels("repair")._value.get() == 0
                assert not path.exists()
                assert "height 2 is lost and cannot be made again: the disperser role is off" in caplog.text
                await world.disperser.stop()
            node = await world.disperser.start()
            status = await node.wait_certified(NAMESPACE, payload_id, 600)
            assert (status.status, status.header_hash) == (Status.CERTIFIED, header_hash)

    run(main())


def test_what_cannot_be_made_again_is_told_and_nothing_takes_its_height(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            payload_id, header_hash = await stand_still(world, b"the second")
            path = batch_file(world, header_hash)
            good = path.read_bytes()
            await world.disperser.stop()
            path.unlink()
            (payload_file,) = (world.disperser.directory / "outbox" / "payloads").iterdir()
            payload_file.unlink()
            for seat in world.members:
                seat.link.down = False
            node = await world.disperser.start()
            third = await node.post(NAMESPACE, b"the third")
            await asyncio.sleep(300)

            ready = await node.ready()
            assert not ready.ready
            (reason,) = ready.reasons
            assert "height 2" in reason
            assert "docs/reference/storage.md" in reason
            assert node.health()
            assert node.metrics.loop_failures.labels("dispersal")._value.get() == 0
            assert [record.header.height for record in await node.batches(1, 10)] == [1]
            for index in (1, 2, 3):
                assert world.store(index).at_height(world.disperser.id, 2) is None
            assert (await node.payload_status(third.payload_id)).status is Status.ENCODING

            await world.disperser.stop()
            path.write_bytes(good)  # what the documentation says
            node = await world.disperser.start()
            for waiting in (payload_id, third.payload_id):
                assert (await node.wait_certified(NAMESPACE, waiting, 600)).status is Status.CERTIFIED
            assert world.store(0).at_height(world.disperser.id, 2) == header_hash
            assert (await node.ready()).ready
            await world.check_logs()

    run(main())
