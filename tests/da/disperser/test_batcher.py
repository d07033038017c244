"""When batches close, what is in them, and what happens to payloads that cannot be encoded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from da.errors import PayloadFailed
from da.node import Status
from erasure.packing import capacity, pack
from kzg.engine import Engine
from kzg.errors import EngineFailed
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, World

OTHER = b"rollup-b".ljust(32, b"\0")


def alone(tmp_path: Path, engine: Engine, test: Any, **limits: Any) -> None:
    """A committee of one: every batch is certified by its disperser."""

    async def main() -> None:
        async with World(tmp_path, engine, members=1, **limits) as world:
            await world.start()
            await test(world)
            await world.check_logs()

    run(main())


def test_after_the_start_a_batch_closes_when_the_interval_is_over(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node, start = world.node(0), world.loop.time()
        first = await node.post(NAMESPACE, b"one")
        await asyncio.sleep(8)
        second = await node.post(NAMESPACE, b"two")
        status = await node.wait_certified(NAMESPACE, first.payload_id, 60)
        assert world.loop.time() - start == pytest.approx(10, abs=0.1)
        assert (await node.payload_status(second.payload_id)).header_hash == status.header_hash
        third = await node.post(NAMESPACE, b"three")
        await asyncio.sleep(9)
        assert (await node.payload_status(third.payload_id)).status is Status.QUEUED

    alone(tmp_path, engine, test, batch_interval_ms=10_000)


def test_after_a_quiet_time_a_batch_closes_at_once_and_the_next_an_interval_later(
    tmp_path: Path, engine: Engine
) -> None:
    async def test(world: World) -> None:
        node, loop = world.node(0), world.loop
        await asyncio.sleep(25)
        start = loop.time()
        alone = await node.post(NAMESPACE, b"one")
        assert (await node.wait_certified(NAMESPACE, alone.payload_id, 60)).batch_height == 1
        assert loop.time() - start < 1
        first = await node.post(NAMESPACE, b"two")
        await asyncio.sleep(8)
        second = await node.post(NAMESPACE, b"three")
        for receipt in (first, second):
            assert (await node.wait_certified(NAMESPACE, receipt.payload_id, 60)).batch_height == 2
        assert loop.time() - start == pytest.approx(10, abs=0.1)

    alone(tmp_path, engine, test, batch_interval_ms=10_000)


def test_a_batch_closes_when_the_next_payload_would_not_fit(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node, start = world.node(0), world.loop.time()
        payloads = [bytes([i + 1]) * (capacity(1) - i) for i in range(3)]
        receipts = [await node.post(NAMESPACE, payload) for payload in payloads]
        for receipt in receipts[:2]:
            assert (await node.wait_certified(NAMESPACE, receipt.payload_id, 60)).batch_height == 1
        assert world.loop.time() - start < 1
        assert (await node.wait_certified(NAMESPACE, receipts[2].payload_id, 60)).batch_height == 2

    alone(tmp_path, engine, test, batch_interval_ms=10_000, rows_max=2)


def test_rows_follow_namespace_and_id_and_one_payload_may_be_in_two_namespaces(
    tmp_path: Path, engine: Engine
) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        posts = [(OTHER, b"x" * 200_000), (NAMESPACE, b"y"), (NAMESPACE, b"z"), (NAMESPACE, b"x" * 200_000)]
        receipts = await asyncio.gather(*(node.post(*post) for post in posts))
        assert receipts[0].payload_id == receipts[3].payload_id
        for receipt in receipts:
            await node.wait_certified(receipt.namespace, receipt.payload_id, 60)
        record = await node.batch(1)
        keys = [entry.key for entry in record.payload_list.entries]
        assert keys == sorted((receipt.namespace, receipt.payload_id) for receipt in receipts)
        for (_, payload), receipt in zip(posts, receipts, strict=True):
            assert await node.payload_bytes(receipt.payload_id) == payload

    alone(tmp_path, engine, test)


def test_a_payload_whose_bytes_rotted_fails_alone(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        good = await node.post(NAMESPACE, b"good")
        bad = await node.post(NAMESPACE, b"bad bytes")
        (path,) = (world.seats[0].directory / "outbox" / "payloads").glob(f"*{bad.payload_id.hex()}*")
        path.write_bytes(path.read_bytes()[:-5] + b"rot!!")
        status = await node.wait_certified(NAMESPACE, bad.payload_id, 60)
        assert status.status is Status.FAILED
        assert status.reason
        assert (await node.wait_certified(NAMESPACE, good.payload_id, 60)).status is Status.CERTIFIED
        with pytest.raises(PayloadFailed):
            await node.payload_bytes(bad.payload_id)
        again = await node.post(NAMESPACE, b"bad bytes")
        assert again.created
        assert (await node.wait_certified(NAMESPACE, bad.payload_id, 60)).status is Status.CERTIFIED

    alone(tmp_path, engine, test, batch_interval_ms=1000)


def test_bytes_that_are_not_their_commitments_never_become_a_batch(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node, outbox = world.node(0), world.seats[0].outbox
        assert outbox is not None
        good = await node.post(NAMESPACE, b"good")
        other = engine.commit(pack(b"other bytes"))
        outbox.put(NAMESPACE, bytes(32), b"these bytes", other)
        node._batcher.add(NAMESPACE, bytes(32), 1, 11)
        assert (await node.wait_certified(NAMESPACE, bytes(32), 60)).status is Status.FAILED
        assert (await node.wait_certified(NAMESPACE, good.payload_id, 60)).status is Status.CERTIFIED

    alone(tmp_path, engine, test, batch_interval_ms=1000)


def test_an_engine_that_breaks_down_is_tried_again(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = engine.prove, [EngineFailed("a worker died"), EngineFailed("again")]

    def prove(blobs: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(blobs)

    async def test(world: World) -> None:
        monkeypatch.setattr(engine, "prove", prove)
        await world.certify(b"some bytes")
        assert not failures
        assert world.node(0).metrics.loop_failures.labels("batcher")._value.get() == 2

    alone(tmp_path, engine, test)


def test_a_payload_that_is_brought_twice_is_batched_once(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        receipt = await node.post(NAMESPACE, b"once")
        node._batcher.add(NAMESPACE, receipt.payload_id, receipt.rows, receipt.length)
        assert node._batcher.waiting == 1
        assert (await node.wait_certified(NAMESPACE, receipt.payload_id, 60)).status is Status.CERTIFIED
        assert node.metrics.loop_failures.labels("batcher")._value.get() == 0

    alone(tmp_path, engine, test, batch_interval_ms=1000)


def test_a_payload_whose_poster_hung_up_is_batched(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node, outbox = world.node(0), world.seats[0].outbox
        assert outbox is not None
        posting = asyncio.create_task(node.post(NAMESPACE, b"hung up"))
        put, task = outbox.put, posting

        def put_then_hang_up(*arguments: Any) -> bool:
            world.loop.call_soon_threadsafe(task.cancel)
            return put(*arguments)

        outbox.put = put_then_hang_up  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await posting
        outbox.put = put  # type: ignore[method-assign]
        again = await node.post(NAMESPACE, b"hung up")
        assert not again.created
        assert (await node.wait_certified(NAMESPACE, again.payload_id, 60)).status is Status.CERTIFIED

    alone(tmp_path, engine, test, batch_interval_ms=1000)
