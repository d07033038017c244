"""One log, header after header; finality before publication; a store without room; attestations that lie."""

from __future__ import annotations

import asyncio
import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from da.disperser.dispersal import Dispersal
from da.errors import HeightGap, NotFound, NotReconstructable, PeerUnreachable, ReadOnly
from da.node import Status
from da.protocol.attestation import Attestation
from da.protocol.certificate import Certificate
from da.protocol.push import RECORD_BYTES
from da.store.errors import StoreFull
from erasure.packing import capacity
from kzg.engine import Engine
from tests.da.member.support import make_batch
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, START_MS, World


def test_headers_chain_and_time_never_runs_backwards(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            await world.certify(b"one")
            world.disperser.skew_ms = -30_000  # an operator sets the clock back
            await world.certify(b"two")
            world.disperser.skew_ms = 0
            await world.disperser.restart()
            await world.certify(b"three")
            records = await world.node(0).batches(1, 10)
            headers = [record.header for record in records]
            assert [header.height for header in headers] == [1, 2, 3]
            assert [header.parent for header in headers[1:]] == [header.hash for header in headers[:-1]]
            times = [header.timestamp_ms for header in headers]
            assert times == sorted(times)
            assert times[0] >= START_MS
            await world.check_logs()

    run(main())


def test_no_certificate_before_finality(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=6) as world:
            for seat in world.seats[:4]:
                await seat.start()  # 4 of 6 have two thirds of the stake, but not the slots
            node = world.node(0)
            receipt = await node.post(NAMESPACE, b"some bytes")
            status = await node.wait_certified(NAMESPACE, receipt.payload_id, 120)
            assert status.status is Status.DISPERSING
            another = await node.post(NAMESPACE, b"more bytes")
            await asyncio.sleep(60)
            assert (await node.payload_status(another.payload_id)).status is Status.ENCODING
            assert len(world.store(0).batches(world.disperser.id, 1, 10)) == 1  # no second header meanwhile
            await world.seats[4].start()
            status = await node.wait_certified(NAMESPACE, receipt.payload_id, 120)
            assert status.status is Status.CERTIFIED
            certificate = Certificate.decode(await node.payload_certificate(receipt.payload_id))
            assert certificate.verify(world.committee).final
            assert len(certificate.signers) == 5
            assert (await node.wait_certified(NAMESPACE, another.payload_id, 120)).status is Status.CERTIFIED

    run(main())


def test_small_columns_are_read_together_up_to_a_bound(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=3) as world:
            await world.start()
            store = world.node(0)._context.store
            real, reads = store.read_columns, []

            async def read_columns(header_hash: bytes, columns: Any) -> bytes:
                reads.append(tuple(columns))
                return await real(header_hash, columns)

            monkeypatch.setattr(store, "read_columns", read_columns)
            await world.certify(b"one row")
            await world.settle()
            assert reads == [tuple(range(128))] * 2  # to each of the others, all columns at once
            reads.clear()
            await world.certify(bytes([1]) * capacity(3))
            await world.settle()
            at_once = 2**19 // (3 * RECORD_BYTES)
            assert sorted(reads) == [tuple(range(at_once))] * 2 + [tuple(range(at_once, 128))] * 2
            await world.check_logs()

    run(main())


@pytest.mark.parametrize("lie", ["another's", "garbage", "another header's", "replayed signature"])
def test_only_right_attestations_count(tmp_path: Path, engine: Engine, lie: str) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            replayed: list[bytes] = []

            def tamper(method: str, answer: Any) -> Any:
                if method != "push":
                    return answer
                told = Attestation.decode(answer)
                if lie == "garbage":
                    return answer[:80]
                if lie == "another header's":
                    return Attestation(told.member_id, bytes(32), told.signature).encode()
                if lie == "another's":
                    header = world.store(0).batch(told.header_hash).header
                    return Attestation.sign(world.seats[2].secret, header).encode()
                return Attestation(told.member_id, told.header_hash, replayed[0]).encode()

            await world.certify(b"first")
            await world.settle()
            first = world.store(1).batches(world.disperser.id, 1, 1)[0].header
            replayed.append(Attestation.sign(world.seats[1].secret, first).signature)
            world.seats[1].link.tamper = tamper
            payload_id = await world.certify(b"second")
            certificate = Certificate.decode(await world.node(0).payload_certificate(payload_id))
            assert world.committee.member_index(world.seats[1].id) not in certificate.signers
            assert certificate.verify(world.committee).final

            async def named() -> bool:
                return world.node(0).metrics.bad_attestations.labels("node-1")._value.get() >= 1

            await world.until(named)

    run(main())


def test_a_full_disk_stops_posts_and_batches_and_lets_them_go_on(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, batch_interval_ms=1000) as world:
            await world.start()
            node, store = world.node(0), world.store(0)
            waiting = await node.post(NAMESPACE, b"posted before")
            real_put, real_health = store.put_batch, store.health

            def full(*_: Any, **__: Any) -> None:
                raise StoreFull("no room")

            monkeypatch.setattr(store, "put_batch", full)
            monkeypatch.setattr(store, "health", lambda: type(real_health())(False, "no room"))
            await asyncio.sleep(30)
            ready = await node.ready()
            assert not ready.ready
            assert "no room" in ready.reasons[0]
            with pytest.raises(ReadOnly):
                await node.post(NAMESPACE, b"posted after")
            assert store.latest(world.disperser.id) is None
            monkeypatch.setattr(store, "put_batch", real_put)
            monkeypatch.setattr(store, "health", real_health)
            status = await node.wait_certified(NAMESPACE, waiting.payload_id, 60)
            assert status.status is Status.CERTIFIED
            assert (await node.ready()).ready

    run(main())


def test_a_disperser_that_lost_its_disk_takes_up_its_log_from_the_peers(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            ids = [await world.certify(bytes([i + 1]) * 10) for i in range(2)]
            await world.settle()
            await world.disperser.stop()
            world.disperser.lose_disk()
            await world.disperser.start()
            payload_id = await world.certify(b"after")
            assert (await world.node(0).payload_status(payload_id)).batch_height == 3
            for old in ids:
                assert (await world.node(0).payload_status(old)).status is Status.CERTIFIED
            await world.check_logs()

    run(main())


def test_a_disperser_that_lost_its_disk_makes_no_header_before_the_peers_told_its_log(
    tmp_path: Path, engine: Engine
) -> None:
    def hush(method: str, answer: Any) -> Any:
        if method == "get_batches":
            raise PeerUnreachable("node", "not now")
        return answer

    async def main() -> None:
        async with World(tmp_path, engine, members=5, follow_interval_s=1e6) as world:
            await world.start()
            world.seats[4].link.down = True
            old = await world.certify(b"old")

            async def delivered() -> bool:
                return all(world.store(index).latest(world.disperser.id, True) for index in (1, 2, 3))

            await world.until(delivered)
            await world.disperser.stop()
            world.disperser.lose_disk()
            for seat in world.members:
                seat.link.tamper, seat.link.down = hush, False
            await world.disperser.start()
            new = (await world.node(0).post(NAMESPACE, b"new")).payload_id
            await asyncio.sleep(60)
            assert world.store(0).latest(world.disperser.id) is None
            assert any("own log" in reason for reason in (await world.node(0).ready()).reasons)
            # Nobody takes its empty log for the truth.
            for index in (0, 4):
                with pytest.raises(NotReconstructable):
                    await world.node(index).payload_status(bytes(32))
            for seat in world.members:
                seat.link.tamper = None
            status = await world.node(0).wait_certified(NAMESPACE, new, 60)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 2)
            assert (await world.node(0).payload_status(old)).batch_height == 1
            assert (await world.node(0).ready()).ready
            await world.check_logs()

    run(main())


def test_a_payload_whose_batch_was_lost_without_a_trace_is_still_known(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            await world.certify(b"before")
            await world.settle()
            for seat in world.members:
                seat.link.down = True
            payload_id = (await world.node(0).post(NAMESPACE, b"bytes")).payload_id

            async def dispersing() -> bool:
                return (await world.node(0).payload_status(payload_id)).status is Status.DISPERSING

            await world.until(dispersing)
            await world.disperser.stop()
            shutil.rmtree(world.disperser.directory / "store")
            node = await world.disperser.start()
            assert (await node.payload_status(payload_id)).status is Status.QUEUED
            assert await node.payload_bytes(payload_id) == b"bytes"
            assert not (await node.post(NAMESPACE, b"bytes")).created
            for seat in world.members:
                seat.link.down = False
            status = await node.wait_certified(NAMESPACE, payload_id, 60)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 2)
            await world.check_logs()

    run(main())


def test_a_member_that_knows_another_header_makes_the_disperser_unready(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=6) as world:
            await world.seats[1].start()
            forked = make_batch(world, b"signed in another life")
            await world.node(1).accept_push(forked.push_to(world, 1))
            for seat in world.seats:
                if seat.node is None:
                    await seat.start()
            await world.certify(b"now")

            async def told() -> bool:
                return any("node-1" in reason for reason in (await world.node(0).ready()).reasons)

            await world.until(told)

    run(main())


def test_attestations_that_come_before_the_gathering_count(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart the members may have answered before the disperser has looked through its outbox."""
    real = Dispersal._reconcile

    async def slowly(self: Dispersal) -> None:
        await asyncio.sleep(20)
        await real(self)

    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            await world.start()
            world.disperser.cut = ("before", "put_certificate")
            receipt = await world.node(0).post(NAMESPACE, b"some bytes")
            await world.disperser.dead.wait()
            monkeypatch.setattr(Dispersal, "_reconcile", slowly)
            node = await world.disperser.restart()
            status = await node.wait_certified(NAMESPACE, receipt.payload_id, 60)
            assert status.status is Status.CERTIFIED

    run(main())


@pytest.mark.parametrize("lie", ["to and fro", "never got it"])
def test_a_member_that_sends_the_disperser_to_and_fro_is_served_slowly(
    tmp_path: Path, engine: Engine, lie: str
) -> None:
    expected = cycle((1, 2))

    def tamper(method: str, answer: Any) -> Any:
        if method == "push" and lie == "to and fro":
            raise HeightGap(next(expected))
        if method == "put_certificate" and lie == "never got it":
            raise NotFound("batch", "1")
        return answer

    async def main() -> None:
        async with World(tmp_path, engine, members=4, follow_interval_s=1e6) as world:
            await world.start()
            await world.certify(b"one")
            await world.certify(b"two")
            await world.settle()
            world.seats[3].link.tamper = tamper
            world.seats[3].link.delay_s = 0.001
            calls = len(world.network.calls)
            await world.certify(b"three")
            await asyncio.sleep(20)
            liar = world.seats[3].name
            tried = [call for call in world.network.calls[calls:] if call[1] == liar]
            assert 5 < len(tried) < 500

    run(main())


@pytest.mark.parametrize("restart", [False, True])
def test_a_batch_that_waits_for_its_certificate_does_not_expire(
    tmp_path: Path, engine: Engine, restart: bool
) -> None:
    limits: dict[str, Any] = {"retention_s": 20, "bucket_s": 1, "retention_interval_s": 5.0}

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **limits) as world:
            await world.start()
            old_id = await world.certify(b"old")
            for seat in world.seats[2:]:
                seat.link.down = True
            payload = b"waits for longer than the retention"
            receipt = await world.node(0).post(NAMESPACE, payload)
            await asyncio.sleep(100)
            if restart:
                await world.disperser.restart()
                await world.seats[1].restart()
            for index in (0, 1):
                node = world.node(index)
                assert (await node.payload_status(old_id)).status is Status.EXPIRED
                assert (await node.payload_status(receipt.payload_id)).status is Status.DISPERSING
                assert await node.payload_bytes(receipt.payload_id) == payload
            assert len(list((world.disperser.directory / "store" / "buckets").iterdir())) < 10
            for seat in world.seats[2:]:
                seat.link.down = False
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 60)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 2)
            await world.certify(b"next")
            await asyncio.sleep(10)
            for index in range(4):  # the time for which it is served has only begun
                assert await world.node(index).payload_bytes(receipt.payload_id) == payload
            await world.check_logs()

            async def expired() -> bool:
                return (await world.node(0).payload_status(receipt.payload_id)).status is Status.EXPIRED

            await world.until(expired)

    run(main())
