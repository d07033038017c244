"""Folds as the node makes them: right ones of what it holds, in turns, and the truth about what it lacks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da import errors
from da.node import Node, folds
from da.store.base import BatchRecord
from da.wire.cells import CORRUPT, NOT_HELD, CellAnswer, Record
from erasure.constants import BYTES_PER_CELL
from kzg.engine import Engine
from kzg.folds import fold_scalars
from tests.da.member.test_repair import custody, damage
from tests.simulation.virtual_time import run
from tests.simulation.world import World

SEED = bytes(range(32))
ALL = tuple(range(128))


def folded_columns(
    engine: Engine, batch: BatchRecord, seed: bytes, columns: Sequence[int], answers: Sequence[CellAnswer]
) -> set[int]:
    """The columns that were folded, if all folds verify together (the engine's c-kzg does); else none."""
    scalars = fold_scalars(seed, batch.header.hash, batch.header.row_count)
    commitments = engine.fold_commitments(batch.commitments, scalars[np.newaxis])
    pairs = [(c, a.content) for c, a in zip(columns, answers, strict=True) if isinstance(a, Record)]
    records = np.frombuffer(b"".join(content for _, content in pairs), dtype=np.uint8).reshape(len(pairs), -1)
    cells, proofs = records[:, :BYTES_PER_CELL], records[:, BYTES_PER_CELL:]
    folded = [column for column, _ in pairs]
    right = engine.verify_cells(np.tile(commitments, (len(pairs), 1)), folded, cells, proofs)
    return set(folded) if right else set()


def made(node: Node, outcome: str) -> float:
    return node.metrics.folds.labels(outcome)._value.get()


def test_members_fold_what_they_hold_and_the_disperser_folds_all(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, replication=2) as world:
            await world.start()
            await world.certify(world.rng.randbytes(150_000))
            await world.settle()
            batch = await world.node(3).batch(1)
            assert batch.header.row_count == 2
            asked = world.rng.sample(ALL, 24)
            held = set(asked) & custody(world, world.seats[3])
            assert 0 < len(held) < len(asked)
            answers = await world.node(3).folds(batch.header.hash, SEED, asked)
            assert folded_columns(engine, batch, SEED, asked, answers) == held
            assert {c for c, answer in zip(asked, answers, strict=True) if answer == NOT_HELD} == set(
                asked
            ) - held
            assert made(world.node(3), "made") == len(held)
            assert made(world.node(3), "missing") == len(asked) - len(held)
            of_all = await world.node(0).folds(batch.header.hash, SEED[::-1], asked)
            assert folded_columns(engine, batch, SEED[::-1], asked, of_all) == set(asked)
            assert not folded_columns(engine, batch, SEED, asked, of_all), "another seed, another fold"

    run(main())


def test_a_damaged_column_is_told_and_repaired(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, follow_interval_s=2.0, repair_retry_s=2.0) as world:
            await world.start()
            await world.certify(world.rng.randbytes(200_000))
            await world.settle()
            node, batch = world.node(2), await world.node(2).batch(1)
            first, column, last = sorted(custody(world, world.seats[2]))[:3]
            good = await node.folds(batch.header.hash, SEED, [column])
            (record,) = await node.records(batch.header.hash, [(1, column)])
            assert isinstance(record, Record)
            damage(world.seats[2], record.content)
            answers = await node.folds(batch.header.hash, SEED, [first, column, last])
            assert answers[1] == CORRUPT
            assert folded_columns(engine, batch, SEED, (first, column, last), answers) == {first, last}
            assert made(node, "damaged") == 1

            async def repaired() -> bool:
                return await node.folds(batch.header.hash, SEED, [column]) == good

            await world.until(repaired)

    run(main())


def test_a_batch_that_is_not_here_is_never_not_held(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(
            tmp_path, engine, members=5, retention_s=50, bucket_s=1, retention_interval_s=5.0
        ) as world:
            await world.start()
            with pytest.raises(errors.NotFound):
                await world.node(0).folds(bytes(32), SEED, [0])
            await world.certify(b"bytes")
            await world.settle()
            header_hash = (await world.node(0).batch(1)).header.hash
            seat = world.seats[2]
            await seat.stop()
            for path in (seat.directory / "store").rglob("*.batch"):
                path.unlink()
            for other in world.seats:
                other.link.down = other is not seat
            node = await seat.start()
            with pytest.raises(errors.NotReconstructable):
                await node.folds(header_hash, SEED, [0])
            with pytest.raises(errors.NotReconstructable):
                await node.folds(bytes(32), SEED, [0])  # nobody is there to make it certain

            async def expired() -> bool:
                try:
                    await world.node(0).folds(header_hash, SEED, [0])
                except errors.Expired:
                    return True
                return False

            await world.until(expired)

    run(main())


def test_a_batch_lost_while_it_is_folded_is_not_unknown(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=1) as world:
            await world.start()
            await world.certify(b"bytes")
            reader = world.node(0)._folds
            header_hash = (await world.node(0).batch(1)).header.hash

            async def damaged(ref: bytes) -> BatchRecord:
                raise errors.NotReconstructable(f"{ref.hex()} is damaged here")

            async def lost(header_hash: bytes, column: int) -> None:
                monkeypatch.setattr(reader._log, "batch", damaged)
                raise errors.NotFound("batch", header_hash.hex())

            monkeypatch.setattr(reader._context.store, "read_column", lost)
            with pytest.raises(errors.NotReconstructable):
                await reader.folds(header_hash, SEED, [0])

    run(main())


def test_arguments_are_checked(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=1, folds_per_read_max=8) as world:
            await world.start()
            await world.certify(b"bytes")
            node = world.node(0)
            header_hash = (await node.batch(1)).header.hash
            for seed, columns in ((SEED[:-1], [0]), (SEED, [128]), (SEED, [-1]), (SEED, range(9))):
                with pytest.raises(errors.InvalidRequest):
                    await node.folds(header_hash, seed, columns)
            with pytest.raises(errors.InvalidRequest):
                await node.folds(header_hash[1:], SEED, [0])

    run(main())


class Gate:
    """In place of `fold_records`: remembers whose seed came, and holds the thread back until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = threading.Event()
        self.scalars: list[bytes] = []
        self.active = self.most = 0
        self._lock = threading.Lock()
        self.open = self._open.set

    def __call__(self, verifier: Engine, records: Any, scalars: Any) -> bytes:
        with self._lock:
            self.scalars.append(scalars.tobytes())
            self.active += 1
            self.most = max(self.most, self.active)
        self.entered.set()
        self._open.wait()
        with self._lock:
            self.active -= 1
        return REAL(verifier, records, scalars)


REAL = folds.fold_records


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    held = Gate()
    monkeypatch.setattr(folds, "fold_records", held)
    return held


def test_a_long_request_lets_a_short_one_pass_after_each_column(
    tmp_path: Path, engine: Engine, gate: Gate
) -> None:
    """In real time, as a thread at work makes virtual time stand still."""

    async def main() -> None:
        async with (
            asyncio.timeout(60),
            World(
                tmp_path,
                engine,
                members=2,
                replication=2,
                concurrent_folds_max=1,
                fold_requests_max=2,
                fold_wait_s=1e6,
            ) as world,
        ):
            await world.start()
            await world.certify(b"some bytes")
            node, other = world.node(0), SEED[::-1]
            header_hash = (await node.batch(1)).header.hash
            long = asyncio.create_task(node.folds(header_hash, SEED, ALL[:20]))
            try:
                await asyncio.to_thread(gate.entered.wait)
                short = asyncio.create_task(node.folds(header_hash, other, [5]))

                async def queued() -> bool:
                    return bool(node._folds._turns._waiting)

                await world.until(queued)
                with pytest.raises(errors.QueueFull, match="folds") as caught:  # a third request
                    await node.folds(header_hash, other, [6])
                assert caught.value.retry_after_s >= 1
                # Cells are read, and payloads posted, pushed, verified and certified meanwhile.
                assert isinstance((await node.records(header_hash, [(0, 5), (1, 5)]))[1], Record)
                await world.certify(b"posted while folds stand still")
            finally:
                gate.open()
            await short
            await long
            theirs = fold_scalars(other, header_hash, 1).tobytes()
            assert [number for number, scalars in enumerate(gate.scalars) if scalars == theirs] == [1]
            assert (gate.most, len(gate.scalars)) == (1, 21)
            assert node._folds._requests.idle
            assert node._folds._turns.idle

    asyncio.run(main())
