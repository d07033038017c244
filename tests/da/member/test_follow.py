"""The log of a disperser is learnt from whoever has it, and only what a certificate stands behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from da.errors import NotFound, NotReconstructable
from da.protocol.certificate import Certificate
from da.wire.batches import Page
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import World

LIMITS = {"follow_interval_s": 2.0, "repair_retry_s": 2.0, "follow_page": 2, "scrub_interval_s": 300.0}


def test_a_log_is_learnt_in_pages_from_peers_when_the_disperser_is_gone(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await world.seats[3].stop()
            ids = [await world.certify(bytes([i + 1]) * 50) for i in range(5)]
            await world.settle()
            await world.disperser.stop()
            node = await world.seats[3].start()
            for payload_id in ids:
                assert (await node.payload_status(payload_id)).status == "certified"
            with pytest.raises(NotReconstructable):
                await node.payload_status(bytes(32))
            with pytest.raises(NotReconstructable):
                await node.batch(6)
            await world.disperser.start()
            with pytest.raises(NotFound):
                await node.payload_status(bytes(32))
            with pytest.raises(NotFound):
                await node.batch(6)

    run(main())


def forged(page: Page, **changes: Any) -> Page:
    """The page with fields of its batches, or of their proposals, changed."""

    def changed(batch: Any) -> Any:
        certificate = {name: value for name, value in changes.items() if name == "certificate"}
        proposal = {name: value for name, value in changes.items() if name != "certificate"}
        return replace(batch, proposal=replace(batch.proposal, **proposal), **certificate)

    return Page(tuple(changed(batch) for batch in page.batches), page.next_height)


@pytest.mark.parametrize("lie", ["certificate", "no certificate", "signature", "commitments", "endless"])
def test_a_peer_that_forges_a_log_is_not_believed(tmp_path: Path, engine: Engine, lie: str) -> None:
    def tamper(method: str, page: Any) -> Any:
        if method != "get_batches" or not page.batches:
            return page
        batch = page.batches[0]
        if lie == "certificate":
            assert batch.certificate is not None
            signature = batch.certificate.signature
            wrong = signature[:-1] + bytes([signature[-1] ^ 1])
            return forged(page, certificate=replace(batch.certificate, signature=wrong))
        if lie == "no certificate":
            return forged(page, certificate=None)
        if lie == "signature":
            return forged(page, disperser_signature=bytes(96))
        if lie == "commitments":
            return forged(page, commitments=batch.proposal.commitments ^ 1)
        return Page((), 1)

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await world.seats[3].stop()
            payload_id = await world.certify(b"true")
            await world.settle()
            world.seats[0].link.down = True
            for seat in world.seats[1:3]:
                seat.link.tamper = tamper
            node = await world.seats[3].start()
            with pytest.raises(NotReconstructable):
                await node.payload_status(payload_id)
            assert world.store(3).latest(world.disperser.id) is None
            world.seats[2].link.tamper = None
            assert (await node.payload_status(payload_id)).status == "certified"

    run(main())


def test_a_member_that_comes_after_the_first_batches_expired_joins_above_the_gap(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        limits = LIMITS | {"retention_interval_s": 5.0}
        async with World(tmp_path, engine, members=4, retention_s=20, bucket_s=1, **limits) as world:
            for seat in reversed(world.seats[:3]):
                await seat.start()
            old_id = await world.certify(b"old")

            async def expired() -> bool:
                found = [await world.node(i).payload_status(old_id) for i in range(3)]
                return all(status.status == "expired" for status in found)

            await world.until(expired)
            node = await world.seats[3].start()
            new_id = await world.certify(b"new")

            async def joined() -> bool:
                record = world.store(3).latest(world.disperser.id)
                return record is not None and record.header.height == 2 and bool(record.columns)

            await world.until(joined, 15)
            assert (await node.payload_status(new_id)).status == "certified"
            third_id = await world.certify(b"third")
            assert (await node.payload_status(third_id)).batch_height == 3

    run(main())


def test_a_disperser_whose_log_never_ends_holds_up_nobody(tmp_path: Path, engine: Engine) -> None:
    heights = count(2)

    def endless(method: str, answer: Any) -> Any:
        return Page((), next(heights)) if method == "get_batches" else answer

    async def main() -> None:
        async with World(tmp_path, engine, members=4, dispersers=2, **LIMITS) as world:
            await world.start()
            world.seats[1].link.tamper = endless
            world.seats[1].link.delay_s = 1.0
            start = world.loop.time()
            with pytest.raises(NotReconstructable):
                await world.node(3).payload_status(bytes(32))
            assert world.loop.time() - start < 100

    run(main())


@pytest.mark.parametrize("lie", ["a far next", "the last alone", "an empty log"])
def test_what_a_disperser_hides_is_learnt_from_others(tmp_path: Path, engine: Engine, lie: str) -> None:
    hidden: set[int] = set()

    def hide(method: str, page: Any) -> Any:
        if method != "get_batches" or not hidden:
            return page
        batches = tuple(batch for batch in page.batches if batch.header.height not in hidden)
        following = 10**9 if lie == "a far next" and not batches else page.next_height
        return Page(batches, following)

    async def main() -> None:
        async with World(tmp_path, engine, members=5, **LIMITS) as world:
            await world.start()
            world.disperser.link.tamper = hide
            for index in (1, 2, 3):
                world.seats[index].link.tamper = lambda method, page: (
                    Page((), None) if method == "get_batches" and hidden else page
                )
            world.seats[4].link.down = True
            ids = [await world.certify(bytes([i + 1]) * 50) for i in range(5)]
            hidden.update(range(2, 5 if lie == "the last alone" else 6))
            await world.seats[4].stop()
            node = await world.seats[4].start()
            await asyncio.sleep(60)
            assert len(world.store(4).batches(world.disperser.id, 1, 10, True)) == 5 - len(hidden)
            # All the others are honest again; the disperser still lies.
            for index in (1, 2, 3):
                world.seats[index].link.tamper = None
            if lie == "the last alone":
                await asyncio.sleep(400)
            else:
                record = world.store(1).batches(world.disperser.id, 5, 1, True)[0]
                assert record.certificate is not None
                with pytest.raises(NotFound):
                    await node.accept_certificate(record.header.hash, record.certificate)

            async def learnt() -> bool:
                return len(world.store(4).batches(world.disperser.id, 1, 10, True)) == 5

            await world.until(learnt, 60)
            for payload_id in ids:
                assert (await node.payload_status(payload_id)).status == "certified"

    run(main())


def test_a_certificate_that_proves_nothing_sends_nobody_asking(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await world.certify(b"bytes")
            await world.settle()
            record = world.store(1).batches(world.disperser.id, 1, 1, True)[0]
            certificate = Certificate.decode(record.certificate or b"")
            forged = replace(
                certificate, header=replace(certificate.header, height=10**6, parent=bytes([1]) * 32)
            )
            with pytest.raises(NotFound):
                await world.node(3).accept_certificate(forged.header.hash, forged.encode())
            with pytest.raises(NotFound):
                await world.node(3).payload_status(bytes(32))
            calls = len(world.network.calls)
            await asyncio.sleep(30)
            asked = {call[1] for call in world.network.calls[calls:] if call[0] == "node-3"}
            assert asked == {"node-0"}

    run(main())


def test_a_peer_that_is_down_is_logged_once(
    tmp_path: Path, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cellar.member.follow")

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await asyncio.sleep(10)
            caplog.clear()
            await world.disperser.stop()
            await asyncio.sleep(100)
            down = [line for line in caplog.messages if "from node-0: connection refused" in line]
            assert len(down) == 3
            assert len(caplog.messages) == 3
            await world.disperser.start()
            await asyncio.sleep(10)
            up = [line for line in caplog.messages if "from node-0: complete again" in line]
            assert len(up) == 3
            assert all(95 < float(line.split()[-2]) < 110 for line in up)
            await asyncio.sleep(100)
            assert len(caplog.messages) == 6

    run(main())
