"""Faults: slow, dead, lying and crashing nodes, a lossy network; the design's promises hold throughout."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from da.errors import NotCertified, NotFound, NotReconstructable, PeerUnreachable
from da.node import Status
from da.protocol.certificate import Certificate
from da.wire.cells import Record
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, LocalTransport, PowerCut, World

LIMITS = {"follow_interval_s": 5.0, "repair_retry_s": 5.0}


@pytest.mark.parametrize("fault", ["dead", "slow"])
def test_one_bad_member_stalls_nobody(tmp_path: Path, engine: Engine, fault: str) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=6, **LIMITS) as world:
            await world.start()
            link = world.seats[1].link
            link.down, link.delay_s = fault == "dead", 40.0  # a push may take 30 s
            started = world.loop.time()
            ids = [await world.certify(world.rng.randbytes(300)) for _ in range(2)]
            assert world.loop.time() - started < 5
            for payload_id in ids:
                certificate = Certificate.decode(await world.node(0).payload_certificate(payload_id))
                assert world.committee.member_index(world.seats[1].id) not in certificate.signers
            link.down, link.delay_s = False, 0.0

            async def caught_up() -> bool:
                return len(world.store(1).batches(world.disperser.id, 1, 9, True)) == 2

            await world.until(caught_up)
            await world.check_logs()

    run(main())


def test_a_member_that_was_away_catches_up_in_height_order(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await world.seats[3].stop()
            ids = [await world.certify(world.rng.randbytes(100)) for _ in range(3)]
            node = await world.seats[3].start()

            async def caught_up() -> bool:
                return len(world.store(3).batches(world.disperser.id, 1, 9, True)) == 3

            await world.until(caught_up)
            for payload_id in ids:
                assert (await node.payload_status(payload_id)).status == "certified"
            await world.check_logs()

    run(main())


def test_a_member_that_missed_a_batch_never_denies_it(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        limits = {"follow_interval_s": 1e6, "backoff_initial_s": 1e5, "backoff_max_s": 1e6}
        async with World(tmp_path, engine, members=4, **limits) as world:
            await world.start()
            world.seats[3].link.down = True
            payload = world.rng.randbytes(100)
            payload_id = await world.certify(payload)
            assert await world.node(3).payload_bytes(payload_id) == payload
            with pytest.raises(NotFound):
                await world.node(3).payload_bytes(bytes(32))
            for seat in world.seats[:3]:
                seat.link.down = True
            with pytest.raises(NotReconstructable):
                await world.node(3).payload_bytes(bytes(32))

    run(main())


def test_lying_members_are_named_and_passed_over(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=6, **LIMITS) as world:
            await world.start()

            def bent(record: Record) -> Record:
                content = record.content
                return Record(content[:5] + bytes([content[5] ^ 1]) + content[6:])

            def lie(method: str, answer: Any) -> Any:
                if method == "push":
                    return answer[:-1] + bytes([answer[-1] ^ 1])
                if method == "get_column" and answer:
                    return answer[:5] + bytes([answer[5] ^ 1]) + answer[6:]
                if method == "get_records":
                    return [bent(each) if isinstance(each, Record) else each for each in answer]
                return answer

            world.seats[1].link.tamper = lie
            payload = world.rng.randbytes(300)
            await world.certify(payload)

            async def named() -> bool:
                return world.node(0).metrics.bad_attestations.labels("node-1")._value.get() >= 1

            await world.until(named)
            await world.settle()
            # A reader who holds nothing must get the columns from others, of whom one lies.
            node, store = world.node(5), world.store(5)
            header_hash = store.at_height(world.disperser.id, 1)
            assert header_hash is not None
            record = store.batch(header_hash)
            for seat in (world.seats[0], world.seats[2]):
                seat.link.down = True
            found = await node._payloads.assemble(replace(record, columns=()), record.payload_list.entries[0])
            assert found == payload
            assert node.metrics.bad_peer_cells.labels("node-1")._value.get() >= 1

    run(main())


CUTS = [
    ("before", "put_batch"),
    ("after", "put_batch"),
    ("before", "put_certificate"),
    ("after", "put_certificate"),
    ("before", "mark"),
    ("after", "mark"),
    ("after", "put"),
]


@pytest.mark.parametrize(("when", "method"), CUTS)
def test_a_disperser_that_loses_power_loses_nothing(
    tmp_path: Path, engine: Engine, when: str, method: str
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            first = world.rng.randbytes(100)
            first_id = await world.certify(first)
            seat = world.disperser
            seat.cut = (when, method)
            second = world.rng.randbytes(200)
            answered = None
            post = asyncio.ensure_future(world.node(0).post(NAMESPACE, second))
            await seat.dead.wait()
            (receipt,) = await asyncio.gather(post, return_exceptions=True)
            if isinstance(receipt, BaseException):
                assert isinstance(receipt, PowerCut)
            else:
                answered = receipt.payload_id
            await seat.restart()
            await world.check_logs()
            if answered is None:
                answered = (await world.node(0).post(NAMESPACE, second)).payload_id
            status = await world.node(0).wait_certified(NAMESPACE, answered, 600)
            assert status.status == "certified"
            for payload_id, payload in ((first_id, first), (answered, second)):
                for index in range(4):
                    assert await world.node(index).payload_bytes(payload_id) == payload
            # Once more the same bytes: known, not made again.
            assert not (await world.node(0).post(NAMESPACE, second)).created
            await world.check_logs()

    run(main())


@pytest.mark.parametrize(("when", "method"), [("before", "put_batch"), ("after", "put_batch")])
def test_a_member_that_loses_power_signs_only_what_it_has(
    tmp_path: Path, engine: Engine, when: str, method: str
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            seat = world.seats[2]
            seat.cut = (when, method)
            payload_id = await world.certify(world.rng.randbytes(100))
            await seat.dead.wait()
            certificate = Certificate.decode(await world.node(0).payload_certificate(payload_id))
            assert world.committee.member_index(seat.id) not in certificate.signers
            await seat.restart()

            async def whole() -> bool:
                record = seat.store.latest(world.disperser.id)
                return record is not None and record.certificate is not None and len(record.columns) > 0

            await world.until(whole)

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_a_random_run_keeps_every_promise(tmp_path: Path, engine: Engine, seed: int) -> None:
    """Loss, crashes and restarts at random; then everybody is up, and all that was answered is there."""

    async def main() -> None:
        rng = random.Random(seed)
        async with World(tmp_path, engine, members=5, seed=seed, **LIMITS) as world:
            await world.start()
            for seat in world.seats:
                seat.link.loss = 0.15
            promised: dict[bytes, bytes] = {}
            for _ in range(6):
                victim = rng.choice(world.seats)
                if rng.random() < 0.7:
                    victim.cut = rng.choice(CUTS)
                payload = rng.randbytes(rng.randint(1, 2000))
                (receipt,) = await asyncio.gather(
                    world.node(0).post(NAMESPACE, payload), return_exceptions=True
                )
                if isinstance(receipt, BaseException):
                    assert isinstance(receipt, PowerCut)
                else:
                    promised[receipt.payload_id] = payload
                await asyncio.sleep(rng.random() * 2)
                for seat in world.seats:
                    seat.cut = None
                    if seat.dead.is_set():
                        await seat.restart()
                await world.check_logs()
            for seat in world.seats:
                seat.link.loss = 0.0
                seat.cut = None
                if seat.dead.is_set():
                    await seat.restart()
            for payload_id, payload in promised.items():
                status = await world.node(0).wait_certified(NAMESPACE, payload_id, 600)
                assert status.status == "certified", status
                index = rng.randrange(5)
                assert await world.node(index).payload_bytes(payload_id) == payload
            await world.check_logs()

    run(main())


def test_what_a_dead_disperser_certified_is_never_denied(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers its poster and dies before any member has the certificate."""

    async def lost(*_: Any) -> None:
        raise PeerUnreachable("node", "lost")

    async def main() -> None:
        async with World(tmp_path, engine, members=5, follow_interval_s=1e6) as world:
            await world.start()
            world.seats[4].link.down = True
            monkeypatch.setattr(LocalTransport, "put_certificate", lost)
            payload_id = await world.certify(b"some bytes")
            header_hash = (await world.node(0).batch(1)).header.hash
            certificate = await world.node(0).payload_certificate(payload_id)
            await world.disperser.stop()
            world.seats[4].link.down = False

            for index in (1, 2, 3):  # they hold it and have signed it
                node = world.node(index)
                status = await node.payload_status(payload_id)
                assert (status.status, status.header_hash) == (Status.DISPERSING, header_hash)
                assert await node.payload_bytes(payload_id) == b"some bytes"
                assert (await node.batch(1)).certificate is None
                with pytest.raises(NotCertified):
                    await node.payload_certificate(payload_id)
            for call in (world.node(4).payload_status, world.node(4).payload_bytes):
                with pytest.raises(NotReconstructable):
                    await call(payload_id)
            with pytest.raises(NotReconstructable):
                await world.node(4).batch(1)

            # The poster has the certificate, and may bring it.
            await world.node(1).accept_certificate(header_hash, certificate)
            assert (await world.node(1).payload_status(payload_id)).status is Status.CERTIFIED
            assert (await world.node(4).payload_status(payload_id)).status is Status.CERTIFIED

    run(main())
