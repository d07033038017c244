"""Pushes that are taken, and every kind that is not; what is refused leaves nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da import errors
from da.member import ingest
from da.protocol.columns import VerifiedRecords
from da.protocol.committee import Committee
from da.protocol.errors import InvalidProposal
from da.protocol.header import Header
from da.protocol.push import ColumnPush
from da.protocol.push_signature import sign_push
from da.runtime.verification import check_certificate
from da.store.errors import UnknownBatch
from erasure.packing import pack
from kzg.engine import Engine
from tests.da.member.support import Made, make_batch
from tests.simulation.virtual_time import run
from tests.simulation.world import START_MS, World


def with_member(tmp_path: Path, engine: Engine, test: Callable[[World], Any], **arguments: Any) -> None:
    """Run `test` in a world where only the member at seat 1 is up."""

    async def main() -> None:
        async with World(tmp_path, engine, follow_interval_s=1e6, **arguments) as world:
            await world.seats[1].start()
            await test(world)

    run(main())


def test_a_good_push_is_stored_then_signed(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        batch = make_batch(world)
        push = batch.push_to(world, 1)
        attestation = await world.node(1).accept_push(push)
        index = attestation.verify(world.committee, batch.header)
        assert world.committee.members[index].id == world.seats[1].id
        record = world.store(1).batch(batch.header.hash)
        assert record.columns == push.columns
        for column in push.columns:
            assert np.array_equal(
                world.store(1).read_column(batch.header.hash, column), batch.records[column]
            )
        assert await world.node(1).accept_push(push) == attestation
        assert await world.node(1).attest_again(batch.header) == attestation
        assert await world.node(1).attest_again(make_batch(world, b"other").header) is None
        await world.seats[1].restart()
        assert await world.node(1).accept_push(push) == attestation

    with_member(tmp_path, engine, test)


def test_the_next_height_extends_the_log_and_others_do_not(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node = world.node(1)
        first = make_batch(world)
        second = make_batch(world, b"two", first)
        third = make_batch(world, b"three", second)
        with pytest.raises(errors.HeightGap) as gap:
            await node.accept_push(second.push_to(world, 1))
        assert gap.value.expected == 1
        await node.accept_push(first.push_to(world, 1))
        with pytest.raises(errors.HeightGap) as gap:
            await node.accept_push(third.push_to(world, 1))
        assert gap.value.expected == 2
        await node.accept_push(second.push_to(world, 1))
        other = make_batch(world, b"other", first)
        with pytest.raises(errors.HeaderConflict) as conflict:
            await node.accept_push(other.push_to(world, 1))
        assert conflict.value.existing_hash == second.header.hash
        fork = make_batch(world, b"fork", second, fields={"parent": bytes([7]) * 32})
        with pytest.raises(errors.HeaderConflict):
            await node.accept_push(fork.push_to(world, 1))
        back = make_batch(world, b"back", second, fields={"timestamp_ms": START_MS - 1})
        with pytest.raises(errors.InvalidTimestamp):
            await node.accept_push(back.push_to(world, 1))
        await node.accept_push(third.push_to(world, 1))

    with_member(tmp_path, engine, test)


def test_two_headers_at_one_height_at_once_get_one_attestation(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        pushes = [make_batch(world, text).push_to(world, 1) for text in (b"one", b"two")]
        answers = await asyncio.gather(
            *(world.node(1).accept_push(push) for push in pushes), return_exceptions=True
        )
        assert sorted(isinstance(answer, errors.HeaderConflict) for answer in answers) == [False, True]

    with_member(tmp_path, engine, test)


BAD_HEADERS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"chain_id": 8}, errors.WrongChain),
    ({"committee_hash": bytes(32)}, errors.StaleCommittee),
    ({"disperser_id": bytes(32)}, errors.UnknownDisperser),
    ({"timestamp_ms": START_MS + 61_000}, errors.InvalidTimestamp),
    ({"payloads_root": bytes(32)}, InvalidProposal),
    ({"commitments_root": bytes(32)}, InvalidProposal),
    ({"row_count": 2}, InvalidProposal),
]


@pytest.mark.parametrize(("fields", "error"), BAD_HEADERS)
def test_bad_headers(tmp_path: Path, engine: Engine, fields: dict[str, Any], error: type[Exception]) -> None:
    async def test(world: World) -> None:
        batch = make_batch(world, fields=fields)
        with pytest.raises(error):
            await world.node(1).accept_push(batch.push_to(world, 1))
        assert world.store(1).latest(batch.header.disperser_id) is None

    with_member(tmp_path, engine, test)


def test_a_signature_is_verified_once_and_no_other_passes_for_it(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes] = []
    real = ingest.check_signature

    def check_signature(committee: Committee, header: Header, signature: bytes) -> None:
        verified.append(signature)
        real(committee, header, signature)

    async def test(world: World) -> None:
        monkeypatch.setattr(ingest, "check_signature", check_signature)
        node, batch = world.node(1), make_batch(world)
        push = batch.push_to(world, 1)
        await node.check_push(batch.header, batch.signature, push.push_signature)
        forged = make_batch(world, secret=world.seats[2].secret).signature
        with pytest.raises(errors.InvalidDisperserSignature):
            await node.accept_push(forged_by(push, forged))
        await node.accept_push(push)
        other = make_batch(world, b"other")
        with pytest.raises(errors.InvalidDisperserSignature):
            await node.accept_push(forged_by(other.push_to(world, 1), batch.signature))
        assert verified == [batch.signature, forged, batch.signature]

    with_member(tmp_path, engine, test)


def test_a_member_without_the_role_and_a_stranger_cannot_propose(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        member = world.seats[2]
        batch = make_batch(world, secret=member.secret, fields={"disperser_id": member.id})
        with pytest.raises(errors.UnknownDisperser):
            await world.node(1).accept_push(batch.push_to(world, 1))
        batch = make_batch(world, secret=member.secret)
        push = batch.push_to(world, 1)
        with pytest.raises(errors.InvalidDisperserSignature):
            await world.node(1).accept_push(push)
        with pytest.raises(errors.InvalidDisperserSignature):
            await world.node(1).check_push(batch.header, bytes(96), push.push_signature)

    with_member(tmp_path, engine, test)


def test_what_a_stranger_can_know_opens_no_push(tmp_path: Path, engine: Engine) -> None:
    """Header and signature are in the public log, a push signature with one member alone."""

    async def test(world: World) -> None:
        node, batch = world.node(1), make_batch(world)
        for stolen in (
            batch.signature,
            bytes(96),
            batch.push_to(world, 2).push_signature,  # by a member that passes on its own
            sign_push(world.seats[2].secret, batch.header, node.member_id),
        ):
            with pytest.raises(errors.InvalidPushSignature):
                await node.check_push(batch.header, batch.signature, stolen)
            with pytest.raises(errors.InvalidPushSignature):
                await node.accept_push(replace(batch.push_to(world, 1), push_signature=stolen))
        await node.accept_push(batch.push_to(world, 1))
        with pytest.raises(errors.InvalidPushSignature):
            await node.check_push(batch.header, batch.signature, bytes(96))

    with_member(tmp_path, engine, test)


def forged_by(push: ColumnPush, signature: bytes) -> ColumnPush:
    return replace(push, proposal=replace(push.proposal, disperser_signature=signature))


def bend_cell(push: ColumnPush, batch: Made) -> None:
    push.records[3, 0, 31] ^= 1


def bend_proof(push: ColumnPush, batch: Made) -> None:
    push.records[3, 0, 2048:] = batch.records[push.columns[4], 0, 2048:]


def swap_cells(push: ColumnPush, batch: Made) -> None:
    push.records[[3, 4]] = push.records[[4, 3]]


def no_field_element(push: ColumnPush, batch: Made) -> None:
    push.records[3, 0, :32] = 255


def no_point(push: ColumnPush, batch: Made) -> None:
    push.records[3, 0, 2048:] = 1


@pytest.mark.parametrize("bend", [bend_cell, bend_proof, swap_cells, no_field_element, no_point])
def test_a_bad_cell_is_named_and_nothing_is_stored(
    tmp_path: Path, engine: Engine, bend: Callable[[ColumnPush, Made], None]
) -> None:
    async def test(world: World) -> None:
        batch = make_batch(world, bytes(200_000))
        push = batch.push_to(world, 1)
        bend(push, batch)
        with pytest.raises(errors.RejectedColumn) as rejected:
            await world.node(1).accept_push(push)
        assert (rejected.value.column, rejected.value.row) == (push.columns[3], 0)
        assert world.store(1).latest(batch.header.disperser_id) is None
        await world.node(1).accept_push(batch.push_to(world, 1))

    with_member(tmp_path, engine, test, members=5)


def test_a_push_is_exactly_the_custody(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        batch = make_batch(world)
        push = batch.push_to(world, 1)
        fewer = replace(push, columns=push.columns[1:], records=push.records[1:])
        none = replace(push, columns=(), records=push.records[:0])
        others = batch.push_to(world, 2)
        for wrong in (fewer, none, others):
            with pytest.raises(errors.WrongCustody):
                await world.node(1).accept_push(replace(wrong, push_signature=push.push_signature))
        assert world.store(1).latest(batch.header.disperser_id) is None

    with_member(tmp_path, engine, test, members=5)


def test_a_replayed_header_with_bad_columns_does_not_stop_the_good_push(
    tmp_path: Path, engine: Engine
) -> None:
    async def test(world: World) -> None:
        batch = make_batch(world)
        good, bad = batch.push_to(world, 1), batch.push_to(world, 1)
        bad.records[0, 0, 31] ^= 1
        node = world.node(1)
        first = asyncio.create_task(node.accept_push(bad))
        # Headers are checked in threads, in any order: the good push comes while the bad one is verified.
        while batch.header.hash not in node._ingest._running:  # noqa: ASYNC110
            await asyncio.sleep(0)
        answers = await asyncio.gather(first, node.accept_push(good), return_exceptions=True)
        assert isinstance(answers[0], errors.RejectedColumn)
        assert not isinstance(answers[1], BaseException)

    with_member(tmp_path, engine, test)


def test_certificates(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        node, batch = world.node(1), make_batch(world)
        certificate = batch.certificate(world)
        with pytest.raises(errors.NotFound):
            await node.accept_certificate(batch.header.hash, certificate)
        await node.accept_push(batch.push_to(world, 1))
        with pytest.raises(errors.RejectedCertificate):
            await node.accept_certificate(batch.header.hash, certificate[:-1] + bytes([certificate[-1] ^ 1]))
        with pytest.raises(errors.RejectedCertificate):
            await node.accept_certificate(batch.header.hash, certificate[:-1])
        with pytest.raises(errors.RejectedCertificate):
            await node.accept_certificate(bytes(32), certificate)
        assert world.store(1).batch(batch.header.hash).certificate is None
        await node.accept_certificate(batch.header.hash, certificate)
        assert world.store(1).batch(batch.header.hash).certificate == certificate
        assert (await node.payload_certificate(batch.payload_list.entries[0].payload_id)) == certificate

    with_member(tmp_path, engine, test)


def test_only_a_certificate_that_is_wanted_is_verified_and_one_at_a_time(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    active, most, calls = 0, 0, 0
    lock, all_came = threading.Lock(), threading.Event()

    def counting(*arguments: Any) -> None:
        nonlocal active, most, calls
        with lock:
            active, calls = active + 1, calls + 1
            most = max(most, active)
        try:
            assert all_came.wait(timeout=60)
            check_certificate(*arguments)
        finally:
            with lock:
                active -= 1

    async def test(world: World) -> None:
        nonlocal calls
        monkeypatch.setattr(ingest, "check_certificate", counting)
        node, batch = world.node(1), make_batch(world)
        header_hash, certificate = batch.header.hash, batch.certificate(world)
        with pytest.raises(errors.NotFound):
            await node.accept_certificate(header_hash, certificate)
        assert calls == 0, "an unknown batch needs no certificate yet"
        await node.accept_push(batch.push_to(world, 1))
        bent = [
            certificate[:-1] + bytes([certificate[-1] ^ (number + 1)])
            for number in range(ingest.CERTIFICATES_WAITING_MAX + 5)
        ]
        waiting = {asyncio.create_task(node.accept_certificate(header_hash, wrong)) for wrong in bent}
        refused: set[asyncio.Task[None]] = set()
        while len(refused) < 4:  # the first is held back until the last has come
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        assert {type(task.exception()) for task in refused} == {errors.QueueFull}
        all_came.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {errors.RejectedCertificate}
        assert most == 1
        calls = 0
        await asyncio.gather(*(node.accept_certificate(header_hash, certificate) for _ in range(5)))
        assert calls == 1, "those that waited found it there"
        await node.accept_certificate(header_hash, certificate)
        await node.accept_certificate(
            header_hash, bent[0]
        )  # there is one: whatever else comes is not looked at
        assert calls == 1
        assert world.store(1).batch(header_hash).certificate == certificate

    with_member(tmp_path, engine, test)


def test_a_member_that_lost_its_store_signs_no_second_header(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, follow_interval_s=1e6) as world:
            for seat in world.seats[1:]:
                await seat.start()
            first = make_batch(world)
            for index in (1, 2, 3):
                await world.node(index).accept_push(first.push_to(world, index))
                await world.node(index).accept_certificate(first.header.hash, first.certificate(world))
            await world.seats[1].stop()
            world.seats[1].lose_disk()
            for seat in world.seats[2:]:
                seat.link.delay_s = 1.0
            node = await world.seats[1].start()
            other = make_batch(world, b"another first batch")
            with pytest.raises(errors.HeaderConflict) as conflict:
                await node.accept_push(other.push_to(world, 1))
            assert conflict.value.existing_hash == first.header.hash
            await node.accept_push(make_batch(world, b"second", first).push_to(world, 1))

    run(main())


@pytest.mark.parametrize(("members", "longest_s"), [(6, 0.5), (4, 10.5)])
def test_a_hanging_peer_delays_the_first_push_only_while_it_is_needed(
    tmp_path: Path, engine: Engine, members: int, longest_s: float
) -> None:
    """Of 6 members the other three peers hold over a third of the stake; of 4 the other one does not."""

    async def main() -> None:
        limits = {"follow_interval_s": 1e6, "peer_timeout_s": 10.0}
        async with World(tmp_path, engine, members=members, **limits) as world:
            for seat in world.seats[1:]:
                await seat.start()
            world.seats[2].link.delay_s = 1e6
            started = world.loop.time()
            await world.node(1).accept_push(make_batch(world).push_to(world, 1))
            assert world.loop.time() - started < longest_s

    run(main())


def test_a_push_that_comes_as_an_equal_one_is_refused_is_looked_at_itself(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the very turn of the event loop in which the first one ends."""
    gate = asyncio.Event()

    async def test(world: World) -> None:
        push = make_batch(world).push_to(world, 1)
        ingest = world.node(1)._ingest
        real_ingest, real_check = ingest._ingest, ingest.check_head

        async def refuse(*_: Any) -> Any:
            await gate.wait()
            raise errors.RejectedColumn(0, 0, "bad")

        async def check_head(*arguments: Any) -> None:
            await real_check(*arguments)
            await gate.wait()

        monkeypatch.setattr(ingest, "_ingest", refuse)
        first = asyncio.create_task(ingest.accept_push(push))
        await asyncio.sleep(1)
        assert ingest._running
        monkeypatch.setattr(ingest, "_ingest", real_ingest)
        monkeypatch.setattr(ingest, "check_head", check_head)
        second = asyncio.create_task(ingest.accept_push(push))
        await asyncio.sleep(1)
        gate.set()
        with pytest.raises(errors.RejectedColumn):
            await first
        (await second).verify(world.committee, push.header)
        assert not ingest._running

    with_member(tmp_path, engine, test)


def test_a_holder_of_column_0_does_not_sign_what_cannot_be_read(tmp_path: Path, engine: Engine) -> None:
    """Not when it is pushed, nor after the column came from peers because the batch is certified anyway."""

    async def test(world: World) -> None:
        node = world.node(1)
        blobs = pack(b"some bytes")
        blobs[0, 1] = 9
        batch = make_batch(world, blobs=blobs)
        push = batch.push_to(world, 1)
        assert 0 in push.columns, "a member of this stake holds every column"
        with pytest.raises(errors.RejectedPayload) as refused:
            await node.accept_push(push)
        assert refused.value.payload_id == batch.payload_list.entries[0].payload_id
        with pytest.raises(UnknownBatch):
            world.store(1).batch(batch.header.hash)
        metrics = world.node(1).metrics
        assert metrics.rejected_pushes.labels("RejectedPayload")._value.get() == 1

        columns = [(column, VerifiedRecords(batch.records[column])) for column in push.columns]
        world.store(1).put_batch(push.proposal.verify_contents(), columns)
        with pytest.raises(errors.RejectedPayload):
            await node.attest_again(batch.header)
        with pytest.raises(errors.RejectedPayload):
            await node.accept_push(push)

    with_member(tmp_path, engine, test)
