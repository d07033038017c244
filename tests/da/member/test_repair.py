"""Columns that are lost or damaged come back from peers, and only right ones."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da.errors import NotCertified, NotReconstructable
from da.node import Status
from da.protocol.custody import columns_of
from da.wire.cells import CORRUPT, Record
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, Seat, World

LIMITS = {"follow_interval_s": 2.0, "repair_retry_s": 2.0, "scrub_interval_s": 100.0}


def held(world: World, seat: Seat) -> set[int]:
    assert seat.store is not None
    record = seat.store.latest(world.disperser.id)
    return set(record.columns) if record is not None else set()


def custody(world: World, seat: Seat) -> set[int]:
    index = world.committee.member_index(seat.id)
    assert index is not None
    return set(columns_of(world.committee, index))


def damage(seat: Seat, record: bytes) -> None:
    """Flip a bit of a stored record on disk."""
    for path in (seat.directory / "store").rglob("*"):
        if path.is_file() and record in (data := path.read_bytes()):
            at = data.index(record) + 100
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            return
    raise AssertionError("the record is in no file")


def test_a_lost_disk_is_filled_again_by_the_holders(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=6, **LIMITS) as world:
            await world.start()
            payload = world.rng.randbytes(200_000)
            payload_id = await world.certify(payload)
            await world.settle()
            seat = world.seats[4]
            await seat.stop()
            seat.lose_disk()
            await world.disperser.stop()
            node = await seat.start()

            async def whole() -> bool:
                return held(world, seat) == custody(world, seat)

            await world.until(whole)
            header_hash = world.store(1).at_height(world.disperser.id, 1)
            assert header_hash is not None
            for column in held(world, seat) & held(world, world.seats[1]):
                ours, theirs = (world.store(i).read_column(header_hash, column) for i in (4, 1))
                assert ours is not None
                assert theirs is not None
                assert np.array_equal(ours, theirs)
            assert await node.payload_bytes(payload_id) == payload

    run(main())


def test_columns_that_nobody_has_are_rebuilt_from_others(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, replication=2, **LIMITS) as world:
            await world.start()
            await world.certify(world.rng.randbytes(150_000))
            await world.settle()
            seats = world.seats[1:]
            # Somebody two of whose peers together leave some of its columns without a holder.
            victim, absent = next(
                (seat, other)
                for seat in seats
                for other in seats
                if seat is not other
                and custody(world, seat) & custody(world, other)
                and len(set().union(*(custody(world, s) for s in seats if s not in (seat, other)))) >= 64
                and custody(world, seat)
                - set().union(*(custody(world, s) for s in seats if s not in (seat, other)))
            )
            await victim.stop()
            victim.lose_disk()
            await world.disperser.stop()
            await absent.stop()
            node = await victim.start()

            async def whole() -> bool:
                return held(world, victim) == custody(world, victim)

            await world.until(whole)
            assert node.metrics.repaired_columns._value.get() == len(custody(world, victim))

    run(main())


def test_a_damaged_record_is_told_and_repaired(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, **LIMITS) as world:
            await world.start()
            payload = world.rng.randbytes(1000)
            payload_id = await world.certify(payload)
            await world.settle()
            seat, node, store = world.seats[2], world.node(2), world.store(2)
            column = min(custody(world, seat))
            header_hash = store.at_height(world.disperser.id, 1)
            assert header_hash is not None
            (good,) = await node.records(header_hash, [(0, column)])
            assert isinstance(good, Record)
            damage(seat, good.content)
            assert await node.records(header_hash, [(0, column), (1, column)]) == [CORRUPT, CORRUPT]

            async def repaired() -> bool:
                return await node.records(header_hash, [(0, column)]) == [good]

            await world.until(repaired)
            assert await node.payload_bytes(payload_id) == payload

    run(main())


def test_scrub_finds_damage_that_nobody_read(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, **LIMITS) as world:
            await world.start()
            await world.certify(world.rng.randbytes(1000))
            await world.settle()
            for index in (0, 3):  # the disperser holds all columns, also those not in its custody
                node, store, seat = world.node(index), world.store(index), world.seats[index]
                header_hash = store.at_height(world.disperser.id, 1)
                assert header_hash is not None
                column = max(held(world, seat))
                (good,) = await node.records(header_hash, [(0, column)])
                assert isinstance(good, Record)
                damage(seat, good.content)

                async def repaired(store: Any = store, header_hash: bytes = header_hash) -> bool:
                    return not list(store.scrub(header_hash))

                await world.until(repaired)

    run(main())


def test_a_holder_that_lies_is_not_believed(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, **LIMITS) as world:
            await world.start()
            await world.certify(world.rng.randbytes(1000))
            await world.settle()

            def lie(method: str, answer: Any) -> Any:
                return (
                    answer[:40] + bytes([answer[40] ^ 1]) + answer[41:] if method == "get_column" else answer
                )

            world.seats[1].link.tamper = lie
            seat = world.seats[4]
            await seat.stop()
            seat.lose_disk()
            node = await seat.start()

            async def whole() -> bool:
                return held(world, seat) == custody(world, seat)

            await world.until(whole)
            assert node.metrics.bad_peer_cells.labels("node-1")._value.get() >= 1
            header_hash = world.store(4).at_height(world.disperser.id, 1)
            assert header_hash is not None
            for column in custody(world, seat):
                ours, theirs = (world.store(i).read_column(header_hash, column) for i in (4, 0))
                assert ours is not None
                assert theirs is not None
                assert np.array_equal(ours, theirs)

    run(main())


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize("how", ["deleted", "cut short"])
def test_a_lost_file_is_learnt_again(tmp_path: Path, engine: Engine, index: int, how: str) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            payload = world.rng.randbytes(1000)
            payload_id = await world.certify(payload)
            await world.certify(b"another")
            await world.settle()
            seat = world.seats[index]
            await seat.stop()
            header_hash = world.store(1).at_height(world.disperser.id, 1)
            assert header_hash is not None
            (path,) = (
                path
                for path in (seat.directory / "store").rglob("*")
                if header_hash.hex() in path.name and path.stat().st_size > 10_000
            )
            path.unlink() if how == "deleted" else path.write_bytes(path.read_bytes()[:100])
            await seat.start()

            async def back() -> bool:
                try:
                    return await world.node(index).payload_bytes(payload_id) == payload
                except NotReconstructable:
                    return False

            await world.until(back)

            async def whole() -> bool:
                record = world.store(index).batch(header_hash)
                return len(record.columns) == 128 and record.certificate is not None

            await world.until(whole)
            await world.certify(b"a third")
            await world.check_logs()

    run(main())


def spoil(seat: Seat, header_hash: bytes, how: str) -> None:
    """Damage a batch of a seat, whose node may run."""
    suffix = ".certificate" if "certificate" in how else ".batch"
    (path,) = (seat.directory / "store").rglob(header_hash.hex() + suffix)
    data = path.read_bytes()
    if "gone" in how:
        path.unlink()
        return
    with path.open("r+b") as file:  # the same file, as a bad disk would change it
        if how == "too long":
            file.seek(len(data))
            file.write(b"more")
        elif how == "too short":
            file.truncate(len(data) - 1000)
        else:
            file.seek(70)
            file.write(bytes([data[70] ^ 1]))


SPOILT = [
    "batch file gone",
    "head of the batch file",
    "too long",
    "too short",
    "certificate gone",
    "certificate",
]


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("index", [0, 2])
def test_scrub_has_lost_batches_learnt_again_while_the_node_runs(
    tmp_path: Path, engine: Engine, index: int, how: str
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, **LIMITS) as world:
            await world.start()
            payload = world.rng.randbytes(1000)
            payload_id = await world.certify(payload)
            await world.certify(b"another")
            await world.settle()
            seat, store = world.seats[index], world.store(index)
            header_hash = store.at_height(world.disperser.id, 1)
            assert header_hash is not None
            before = store.batch(header_hash)  # and is cached
            spoil(seat, header_hash, how)
            assert list(store.scrub(header_hash))
            for other in world.seats:
                other.link.down = True  # nobody can help at first
            await asyncio.sleep(150)
            # A file of a wrong length needs one column put again, which the others give here.
            assert bool(list(store.scrub(header_hash))) != how.startswith("too")
            for other in world.seats:
                other.link.down = False

            async def sound() -> bool:
                return not list(store.scrub(header_hash))

            await world.until(sound, 60)
            after = store.batch(header_hash)
            assert after.columns == before.columns
            assert after.certificate == before.certificate
            assert await world.node(index).payload_bytes(payload_id) == payload
            assert (await world.node(index).ready()).ready
            await world.certify(b"a third")
            await world.check_logs()

    run(main())


@pytest.mark.parametrize(
    "how", ["batch file gone", "head of the batch file", "certificate gone", "certificate"]
)
def test_a_read_that_meets_a_lost_batch_has_it_repaired(tmp_path: Path, engine: Engine, how: str) -> None:
    async def main() -> None:
        limits = LIMITS | {"scrub_interval_s": 1e6, "follow_interval_s": 1e6}
        async with World(tmp_path, engine, members=5, **limits) as world:
            await world.start()
            payload = world.rng.randbytes(1000)
            payload_id = await world.certify(payload)
            await world.settle()
            node, store = world.node(2), world.store(2)
            header_hash = store.at_height(world.disperser.id, 1)
            assert header_hash is not None
            await asyncio.sleep(10)
            spoil(world.seats[2], header_hash, how)
            store._reader.clear()  # as after a while, or a restart
            with pytest.raises(NotReconstructable):
                await node.payload_bytes(payload_id)

            async def sound() -> bool:
                return not list(store.scrub(header_hash))

            await world.until(sound, 60)
            assert await node.payload_bytes(payload_id) == payload

    run(main())


def test_a_peer_that_lies_about_a_lost_batch_is_not_believed(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await world.certify(b"some bytes")
            await world.settle()
            seat, store = world.seats[2], world.store(2)
            header_hash = store.at_height(world.disperser.id, 1)
            assert header_hash is not None
            certificate = store.batch(header_hash).certificate

            def lie(method: str, answer: Any) -> Any:
                if method != "get_batches":
                    return answer
                bad = [replace(b, certificate=b.certificate[:-1] + b"x") for b in answer.batches]
                return replace(answer, batches=tuple(bad))

            for other in world.seats:
                other.link.tamper = lie
            spoil(seat, header_hash, "certificate gone")
            await asyncio.sleep(150)
            assert list(store.scrub(header_hash))
            world.seats[1].link.tamper = None

            async def sound() -> bool:
                return not list(store.scrub(header_hash))

            await world.until(sound, 60)
            assert store.batch(header_hash).certificate == certificate

    run(main())


def test_what_cannot_be_repaired_now_is_tried_again(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            await world.certify(world.rng.randbytes(1000))
            await world.settle()
            seat = world.seats[3]
            await seat.stop()
            seat.lose_disk()
            for other in world.seats[:3]:
                other.link.tamper = lambda method, answer: None if method == "get_column" else answer
            node = await seat.start()

            async def known() -> bool:
                return world.store(3).latest(world.disperser.id) is not None

            await world.until(known)
            assert held(world, seat) == set()
            for other in world.seats[:3]:
                other.link.tamper = None

            async def whole() -> bool:
                return held(world, seat) == custody(world, seat)

            await world.until(whole)
            assert (await node.info())["repairs_waiting"] == 0

    run(main())


@pytest.mark.parametrize("how", ["batch file gone", "head of the batch file", "certificate gone"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_lost_batch_is_known_and_not_made_twice(
    tmp_path: Path, engine: Engine, how: str, restart: bool
) -> None:
    """While nobody can give it back: what is known is answered, the bytes are not to be had now."""

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            payload_id = await world.certify(b"some bytes")
            await world.settle()
            header_hash = world.store(0).at_height(world.disperser.id, 1)
            assert header_hash is not None
            for seat in world.members:
                seat.link.down = True
            spoil(world.disperser, header_hash, how)
            world.store(0)._reader.clear()
            if restart:
                await world.disperser.restart()
            node = world.node(0)
            certified = Status.DISPERSING if (restart and "certificate" in how) else Status.CERTIFIED
            status = await node.payload_status(payload_id)
            assert (status.status, status.batch_height, status.header_hash) == (certified, 1, header_hash)
            again = await node.post(NAMESPACE, b"some bytes")
            assert (again.created, again.status) == (False, certified)
            if not (restart and "certificate" in how):  # else the index knows that there is none
                for call in (node.payload_bytes, node.payload_certificate, node.payload_proof):
                    with pytest.raises(NotReconstructable):
                        await call(payload_id)
                for ref in (1, header_hash):
                    with pytest.raises(NotReconstructable):
                        await node.batch(ref)
            for seat in world.members:
                seat.link.down = False

            async def back() -> bool:
                try:
                    return await node.payload_certificate(payload_id) != b""
                except (NotReconstructable, NotCertified):
                    return False

            await world.until(back)
            assert await node.payload_bytes(payload_id) == b"some bytes"
            await world.certify(b"another")
            assert world.store(0).latest(world.disperser.id).header.height == 2  # type: ignore[union-attr]

    run(main())


def test_a_damaged_index_is_made_anew_while_the_node_runs(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            payload_id = await world.certify(b"some bytes")
            await world.certify(b"more bytes")
            await world.settle()
            node, store, seat = world.node(0), world.store(0), world.seats[0]
            header_hash = store.at_height(world.disperser.id, 1)
            connection = sqlite3.connect(seat.directory / "store" / "index.db")
            connection.execute("UPDATE batches SET bucket = 'no' WHERE header_hash = ?", (header_hash,))
            connection.commit()
            connection.close()
            store._reader.clear()
            rebuild, leave = store.rebuild_index, threading.Event()
            monkeypatch.setattr(store, "rebuild_index", lambda: leave.wait(60) and rebuild())
            with pytest.raises(NotReconstructable):
                await node.payload_status(payload_id)
            assert any("index is damaged" in reason for reason in (await node.ready()).reasons)
            leave.set()

            async def back() -> bool:
                try:
                    return await node.payload_bytes(payload_id) == b"some bytes"
                except NotReconstructable:
                    return False

            await world.until(back, 60)
            assert node.health()
            assert (await node.ready()).ready
            third = await world.certify(b"third")
            assert (await node.payload_status(third)).batch_height == 3
            await world.check_logs()

    run(main())


@pytest.mark.parametrize("fault", ["slow", "lost"])
def test_what_is_missing_is_left_to_the_push_for_as_long_as_it_may_take(
    tmp_path: Path, engine: Engine, fault: str
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, **LIMITS) as world:
            await world.start()
            seat = world.seats[4]
            await world.certify(b"before")
            await world.settle()
            seat.link.delay_s, seat.link.down = 20.0, fault == "lost"
            started = world.loop.time()
            await world.certify(b"some bytes")

            async def whole() -> bool:
                record = world.store(4).latest(world.disperser.id)
                assert record is not None
                return record.header.height == 2 and set(record.columns) == custody(world, seat)

            await world.until(whole, 60)
            taken_s = world.loop.time() - started
            fetched = [
                call for call in world.network.calls if call[0] == "node-4" and call[2] == "get_column"
            ]
            if fault == "slow":
                assert not fetched
            else:
                assert fetched
                assert 30 <= taken_s < 40
            assert (await world.node(4).info())["repairs_waiting"] in (0, 1)
            await asyncio.sleep(60)
            assert (await world.node(4).info())["repairs_waiting"] == 0

    run(main())
