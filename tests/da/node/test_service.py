"""The node's service as its callers see it: posting, reading, proofs, the log, samples, health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da import bls, errors
from da.node import Node, NodeConfig, Status, cells
from da.node.cells import RecordCache
from da.protocol.payload import payload_id as make_payload_id
from da.protocol.payload_list import verify_inclusion, verify_namespace
from da.runtime.signer import LocalSigner
from da.runtime.workers import Workers
from da.wire.cells import NOT_HELD, Record
from erasure.packing import pack
from kzg.engine import Engine
from kzg.openings import verify_opening
from kzg.verification import verify_matrix_cells
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, LocalTransport, World

OTHER = b"rollup-b".ljust(32, b"\0")
Test = Callable[[World], Awaitable[None]]


def with_world(tmp_path: Path, engine: Engine, test: Test, members: int = 4, **arguments: Any) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=members, **arguments) as world:
            await world.start()
            await test(world)

    run(main())


# --- posting ------------------------------------------------------------------------------------


def test_the_same_bytes_again_are_the_same_payload(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        receipts = await asyncio.gather(*(node.post(NAMESPACE, b"bytes") for _ in range(3)))
        assert sorted(receipt.created for receipt in receipts) == [False, False, True]
        assert len({receipt.payload_id for receipt in receipts}) == 1
        await node.wait_certified(NAMESPACE, receipts[0].payload_id, 60)
        again = await node.post(NAMESPACE, b"bytes")
        assert (again.created, again.status) == (False, Status.CERTIFIED)
        await world.disperser.restart()
        again = await world.node(0).post(NAMESPACE, b"bytes")
        assert (again.created, again.status) == (False, Status.CERTIFIED)
        elsewhere = await world.node(0).post(OTHER, b"bytes")
        assert elsewhere.created
        assert elsewhere.payload_id == again.payload_id
        await world.node(0).wait_certified(OTHER, again.payload_id, 60)
        assert [len(r.payload_list.entries) for r in await world.node(0).batches(1, 10)] == [1, 1]

    with_world(tmp_path, engine, test)


def test_the_id_is_of_length_and_commitments(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        receipt = await world.node(0).post(NAMESPACE, b"bytes")
        assert receipt.payload_id == make_payload_id(5, engine.commit(pack(b"bytes")))
        assert (receipt.rows, receipt.length, receipt.namespace) == (1, 5, NAMESPACE)

    with_world(tmp_path, engine, test, members=1)


def test_what_cannot_be_posted(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        with pytest.raises(errors.EmptyPayload):
            await node.post(NAMESPACE, b"")
        with pytest.raises(errors.PayloadTooLarge) as large:
            await node.post(NAMESPACE, bytes(1001))
        assert (large.value.actual, large.value.limit) == (1001, 1000)
        with pytest.raises(errors.InvalidRequest):
            await node.post(b"short", b"bytes")
        with pytest.raises(errors.NotADisperser):
            await world.node(1).post(NAMESPACE, b"bytes")
        for wrong in (b"", b"short", bytes(33)):
            with pytest.raises(errors.InvalidRequest):
                await node.payload_bytes(wrong)

    with_world(tmp_path, engine, test, payload_bytes_max=1000)


def test_limits_say_when_to_come_back(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        results = await asyncio.gather(
            *(node.post(NAMESPACE, bytes([i + 1])) for i in range(4)), return_exceptions=True
        )
        full = [result for result in results if isinstance(result, errors.QueueFull)]
        assert len(full) == 2
        assert full[0].retry_after_s >= 1
        with pytest.raises(errors.QueueFull):
            await node.post(NAMESPACE, bytes(999))

    with_world(
        tmp_path,
        engine,
        test,
        members=1,
        concurrent_posts_max=2,
        outbox_bytes_max=1000,
        batch_interval_ms=60_000,
    )


def test_posts_at_once_share_one_engine_call(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = engine.commit

    def commit(blobs: Any) -> Any:
        calls.append(len(blobs))
        return real(blobs)

    async def test(world: World) -> None:
        monkeypatch.setattr(engine, "commit", commit)
        await asyncio.gather(*(world.node(0).post(NAMESPACE, bytes([i + 1])) for i in range(8)))
        assert sum(calls) == 8
        assert len(calls) < 8

    with_world(tmp_path, engine, test, members=1)


def test_a_key_outside_the_committee_and_a_role_not_given_start_nothing(
    tmp_path: Path, engine: Engine
) -> None:
    world = World(tmp_path, engine, members=2)
    workers = Workers(1, 1)
    ports: tuple[Any, ...] = (engine, None, None, None, LocalTransport(world.network, "x"), workers)
    stranger, member = (
        LocalSigner(secret, workers) for secret in (bytes(31) + b"\x77", world.seats[1].secret)
    )
    with pytest.raises(errors.InvalidRequest):
        Node(NodeConfig(), world.committee, stranger, *ports, clock=lambda: 0)
    with pytest.raises(errors.InvalidRequest):
        Node(NodeConfig(disperses=True), world.committee, member, *ports, clock=lambda: 0)


# --- reading ------------------------------------------------------------------------------------


def test_statuses_on_the_way(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        receipt = await node.post(NAMESPACE, b"bytes")
        status = await node.payload_status(receipt.payload_id)
        assert (status.status, status.batch_height) == (Status.QUEUED, None)
        assert await node.payload_bytes(receipt.payload_id) == b"bytes"
        with pytest.raises(errors.NotCertified):
            await node.payload_certificate(receipt.payload_id)
        with pytest.raises(errors.NotCertified):
            await node.payload_proof(receipt.payload_id)
        with pytest.raises(errors.NotFound):
            await node.payload_status(receipt.payload_id, OTHER)
        waiting = await node.wait_certified(NAMESPACE, receipt.payload_id, 1)
        assert waiting.status is Status.QUEUED
        status = await node.wait_certified(NAMESPACE, receipt.payload_id, 60)
        assert (status.status, status.batch_height, status.rows, status.length) == (Status.CERTIFIED, 1, 1, 5)
        assert status.disperser_id == world.disperser.id

    with_world(tmp_path, engine, test, batch_interval_ms=10_000)


def test_a_payload_of_several_rows_among_others_is_read_from_any_member(
    tmp_path: Path, engine: Engine
) -> None:
    async def test(world: World) -> None:
        payloads = [world.rng.randbytes(size) for size in (1, 150_000, 31)]
        node = world.node(0)
        receipts = await asyncio.gather(*(node.post(NAMESPACE, payload) for payload in payloads))
        for receipt in receipts:
            await node.wait_certified(NAMESPACE, receipt.payload_id, 60)
        await world.settle()
        for payload, receipt in zip(payloads, receipts, strict=True):
            for index in (0, 1, 5):
                assert await world.node(index).payload_bytes(receipt.payload_id) == payload
        sources = {
            source: sum(world.node(i).metrics.payloads_read.labels(source)._value.get() for i in range(8))
            for source in ("held", "peers")
        }
        assert sources["held"] >= 3
        assert sources["held"] + sources["peers"] == 9

    with_world(tmp_path, engine, test, members=8, batch_interval_ms=1000)


def test_rows_come_back_without_any_data_column(tmp_path: Path, engine: Engine) -> None:
    """Every holder keeps the first 64 columns back: the other 64 are enough."""

    async def test(world: World) -> None:
        payload = world.rng.randbytes(140_000)
        payload_id = await world.certify(payload)
        await world.settle()
        await world.seats[4].stop()
        world.seats[4].lose_disk()
        world.limits |= {"follow_interval_s": 1e6}
        for seat in world.seats[:4]:
            real = seat.node
            assert real is not None

            async def column(
                header_hash: bytes, index: int, told: Callable[..., Awaitable[bytes]] = real.column
            ) -> bytes:
                if index < 64:
                    raise errors.ColumnNotHeld(index)
                return await told(header_hash, index)

            real.column = column  # type: ignore[method-assign]
        node = await world.seats[4].start()
        assert await node.payload_bytes(payload_id) == payload

    with_world(tmp_path, engine, test, members=5)


def test_too_few_columns_are_not_reconstructable_now(tmp_path: Path, engine: Engine) -> None:
    def withheld(method: str, answer: Any) -> Any:
        if method == "get_records":
            return [NOT_HELD] * len(answer)
        return None if method == "get_column" else answer

    async def test(world: World) -> None:
        payload_id = await world.certify(b"bytes")
        await world.settle()
        await world.seats[4].stop()
        world.seats[4].lose_disk()
        for seat in world.seats[:4]:
            seat.link.tamper = withheld
        node = await world.seats[4].start()
        with pytest.raises(errors.NotReconstructable):
            await node.payload_bytes(payload_id)

    with_world(tmp_path, engine, test, members=5)


def test_proofs_and_openings_verify(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        payload = world.rng.randbytes(130_000)
        node = world.node(0)
        receipts = [await node.post(NAMESPACE, payload), await node.post(OTHER, b"other")]
        for receipt in receipts:
            await node.wait_certified(receipt.namespace, receipt.payload_id, 60)
        payload_id = receipts[0].payload_id
        proof = await node.payload_proof(payload_id)
        assert proof.proof.entry == proof.entry
        assert verify_inclusion(proof.header.payloads_root, proof.proof)
        assert proof.certificate == await node.payload_certificate(payload_id)
        listing = await node.namespace_proof(proof.header_hash, NAMESPACE)
        assert [entry.payload_id for entry in listing.entries] == [payload_id]
        assert verify_namespace(proof.header.payloads_root, NAMESPACE, listing.proof)
        assert (await node.namespace_proof(proof.header_hash, bytes(32))).entries == ()

        rows = pack(payload)
        for index in (0, 1, 4096, 5000):
            found = await node.opening(payload_id, index=index)
            assert found.row == index // 4096
            assert found.batch_row == proof.entry.first_row + found.row
            assert found.opening.commitment == proof.commitments[found.batch_row].tobytes()
            element = rows[index // 4096, 32 * (index % 4096) :][:32].tobytes()
            assert element in found.opening.calldata()
            assert verify_opening(found.opening)
        at_z = await node.opening(payload_id, z=(12345).to_bytes(32, "big"), row=1)
        assert at_z.row == 1
        assert verify_opening(at_z.opening)
        for wrong in (
            {},
            {"z": bytes(32), "index": 1},
            {"index": 8192},
            {"index": -1},
            {"z": bytes(32), "row": 2},
        ):
            with pytest.raises(errors.InvalidRequest):
                await node.opening(payload_id, **wrong)  # type: ignore[arg-type]

    with_world(tmp_path, engine, test, members=1)


def test_what_expired_is_told_apart_and_may_be_posted_again(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(0)
        payload_id = await world.certify(b"bytes")

        async def expired() -> bool:
            return (await node.payload_status(payload_id)).status is Status.EXPIRED

        await world.until(expired)
        for call in (node.payload_bytes, node.payload_certificate, node.payload_proof):
            with pytest.raises(errors.Expired):
                await call(payload_id)
        with pytest.raises(errors.Expired):
            await node.batch(1)
        with pytest.raises(errors.NotFound):
            await node.batch(2)
        again = await node.post(NAMESPACE, b"bytes")
        assert again.created
        assert (await node.wait_certified(NAMESPACE, payload_id, 60)).batch_height == 2
        assert await node.payload_bytes(payload_id) == b"bytes"

    with_world(tmp_path, engine, test, members=1, retention_s=20, bucket_s=1, retention_interval_s=5.0)


# --- the log ------------------------------------------------------------------------------------


def test_subscribers_get_every_batch_once_in_order(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        async def follow(index: int, first: int, last: int) -> list[int]:
            heights = []
            async for record in world.node(index).subscribe(first):
                assert record.certificate is not None
                heights.append(record.header.height)
                if heights[-1] == last:
                    break
            return heights

        early = [asyncio.create_task(follow(index, 1, 5)) for index in (0, 1)]
        for i in range(3):
            await world.certify(bytes([i + 1]))
        late = [asyncio.create_task(follow(index, first, 5)) for index in (0, 2) for first in (1, 3, 5)]
        for i in range(3, 5):
            await world.certify(bytes([i + 1]))
        assert await asyncio.gather(*early) == [[1, 2, 3, 4, 5]] * 2
        assert await asyncio.gather(*late) == [[1, 2, 3, 4, 5], [3, 4, 5], [5]] * 2

    with_world(tmp_path, engine, test, follow_page=2)


def test_a_subscription_ends_when_the_node_stops(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        await world.certify(b"bytes")
        stream = world.node(0).subscribe(1)
        assert (await anext(stream)).header.height == 1
        following = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(1)
        await world.disperser.stop()
        assert await following is None

    with_world(tmp_path, engine, test, members=1)


def test_batches_by_height_hash_and_disperser(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        for index in (0, 1):
            receipt = await world.node(index).post(NAMESPACE, bytes([index + 1]))
            await world.node(index).wait_certified(NAMESPACE, receipt.payload_id, 60)
        await world.settle()
        node, (one, two) = world.node(2), world.seats[:2]
        first = await node.batch(1, one.id)
        second = await node.batch(1, two.id)
        assert first.header.hash != second.header.hash
        assert (await node.batch(second.header.hash)).header == second.header
        assert [record.header for record in await node.batches(1, 10, two.id)] == [second.header]
        with pytest.raises(errors.InvalidRequest):
            await node.batch(1)
        with pytest.raises(errors.InvalidRequest):
            await node.batches(1, 10, world.seats[2].id)
        with pytest.raises(errors.NotFound):
            await node.batch(bytes(32))

    with_world(tmp_path, engine, test, members=4, dispersers=2)


# --- samples ------------------------------------------------------------------------------------


def test_data_and_parity_cells_verify_against_the_data_commitments(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        await world.certify(world.rng.randbytes(300_000))
        await world.settle()
        node = world.node(2)
        record = await node.batch(1)
        header_hash, column = record.header.hash, record.columns[7]
        pairs = [(row, column) for row in range(6)] + [(4, record.columns[0])]
        told = await node.records(header_hash, pairs)
        contents = [answer.content for answer in told if isinstance(answer, Record)]
        assert len(contents) == len(pairs)
        matrix = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 2096)
        assert verify_matrix_cells(
            engine,
            record.commitments,
            [row for row, _ in pairs],
            [column for _, column in pairs],
            np.ascontiguousarray(matrix[:, :2048]),
            np.ascontiguousarray(matrix[:, 2048:]),
        )
        assert await node.records(header_hash, pairs[::-1]) == told[::-1]
        column_bytes = await node.column(header_hash, column)
        assert column_bytes == b"".join(contents[:3])

    with_world(tmp_path, engine, test, members=6)


def test_cells_that_are_not_here(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        await world.certify(b"bytes")
        await world.settle()
        node = world.node(2)
        record = await node.batch(1)
        absent = next(column for column in range(128) if column not in record.columns)
        assert await node.records(record.header.hash, [(0, absent), (1, absent)]) == [NOT_HELD] * 2
        with pytest.raises(errors.ColumnNotHeld):
            await node.column(record.header.hash, absent)
        for pair in ((2, 0), (0, 128), (-1, 0), (0, -1)):
            with pytest.raises(errors.InvalidRequest):
                await node.records(record.header.hash, [pair])
        with pytest.raises(errors.InvalidRequest):
            await node.records(record.header.hash, [(0, 0)] * 9)
        with pytest.raises(errors.InvalidRequest):
            await node.column(record.header.hash, 128)
        with pytest.raises(errors.NotFound):
            await node.records(bytes(32), [(0, 0)])

    with_world(tmp_path, engine, test, members=6, records_per_read_max=8)


def test_who_asks_for_many_parity_cells_holds_up_nobody(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, derived = cells.derive_parity, list[list[int]]()

    def derive(engine: Engine, records: Any, parity_rows: list[int]) -> Any:
        derived.append(parity_rows)
        return real(engine, records, parity_rows)

    async def test(world: World) -> None:
        await world.certify(bytes(range(256)) * 1600)
        header_hash = (await world.node(0).batch(1)).header.hash
        monkeypatch.setattr(cells, "DERIVED_AT_ONCE", 1)
        monkeypatch.setattr(cells, "derive_parity", derive)
        many = [(row, 0) for row in (4, 5, 6)]
        answers = await asyncio.gather(
            world.node(0).records(header_hash, many), world.node(0).records(header_hash, [(7, 1)])
        )
        assert all(isinstance(answer, Record) for answer in answers[0] + answers[1])
        # Both requests read their column first, in threads, so that the first may have had two turns by then.
        assert derived[-1] != [3], "the second request waits for the whole of the first"

    with_world(tmp_path, engine, test, concurrent_derivations_max=1)


def test_the_parity_cache_is_bounded_by_bytes_and_forgets_the_oldest() -> None:
    cache = RecordCache(3 * 2096 + 5)
    for row in range(4):
        cache.put((b"hash", row, 0), bytes([row]))
        assert cache.get((b"hash", 0, 0)) == b"\0"
    assert cache.get((b"hash", 1, 0)) is None
    assert cache.get((b"hash", 3, 0)) == b"\3"
    assert cache.bytes == 3 * 2096


# --- operators ----------------------------------------------------------------------------------


def test_every_step_of_a_payload_is_timed(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        await world.certify(b"bytes")
        await world.settle()

        def counted(index: int) -> list[str]:
            lines = world.node(index).metrics.exposition().decode().splitlines()
            return [line.removesuffix(" 1.0") for line in lines if line.endswith("_seconds_count 1.0")]

        steps = ("commit", "accept", "gather", "load", "encode", "propose", "certify")
        assert counted(0) == [f"cellar_{step}_seconds_count" for step in steps]
        assert counted(1) == ["cellar_verify_seconds_count", "cellar_keep_seconds_count"]

    with_world(tmp_path, engine, test, members=2)


def test_what_an_operator_sees(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        await world.certify(b"bytes")
        node = world.node(0)
        assert node.health()
        assert (await node.ready()).ready
        info = await node.info()
        assert info["name"] == "node-0"
        assert info["roles"] == ["member", "disperser"]
        assert info["engine"]["engine"] == "ckzg"  # type: ignore[index]
        assert info["bls"] == bls.describe()
        assert info["logs"]["0x" + world.disperser.id.hex()]["certified_height"] == 1  # type: ignore[index]
        await asyncio.sleep(10)
        metrics = node.metrics.exposition().decode()
        for line in ("cellar_posts_total 1.0", "cellar_batches_total 1.0", "cellar_certificates_total 1.0"):
            assert line in metrics
        assert "cellar_event_loop_lag_seconds_count" in metrics
        await node.stop()
        assert not node.health()
        assert not (await node.ready()).ready

    with_world(tmp_path, engine, test, members=1)
