"""A batch that its holders withhold comes back from what light clients sampled."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from da.errors import (
    ColumnNotHeld,
    InvalidContribution,
    InvalidRequest,
    NotCertified,
    NotFound,
    NotReconstructable,
    QueueFull,
)
from da.member.equations import Equation, EquationTable, cell_tag, fold_tag
from da.protocol.push import RECORD_BYTES
from da.store.base import BatchRecord
from da.wire.contributions import Cells, Folds
from kzg.engine import Engine
from kzg.folds import fold_columns, fold_scalars
from sampling.rescue import rescuers_needed
from tests.simulation.virtual_time import run
from tests.simulation.world import World

MEMBERS, HONEST, POOR = 9, 5, 7
SAMPLES = 13


@dataclass
class Batch:
    """A certified batch of a world, with all its columns."""

    record: BatchRecord
    columns: list[np.ndarray]  # u8[R,2096] each
    payload_id: bytes
    payload: bytes

    @property
    def hash(self) -> bytes:
        return self.record.header.hash

    def folds(self, seed: bytes, columns: list[int]) -> Folds:
        """What an honest holder answers a client."""
        rows = self.record.header.row_count
        records = np.stack([self.columns[column] for column in columns])
        scalars = np.tile(fold_scalars(seed, self.hash, rows), (len(columns), 1, 1))
        cells, proofs = fold_columns(records[:, :, :2048], records[:, :, 2048:], scalars)
        return Folds(seed, tuple(columns), np.concatenate([cells, proofs], axis=1))


async def certified(world: World, size: int) -> Batch:
    payload = world.rng.randbytes(size)
    payload_id = await world.certify(payload)
    await world.settle()
    record = world.store(0).latest(world.disperser.id)
    assert record is not None
    columns = [world.store(0).read_column(record.header.hash, column) for column in range(128)]
    return Batch(record, [c for c in columns if c is not None], payload_id, payload)


def withhold(world: World, others: set[int]) -> None:
    """These seats serve no cell and no column any more."""

    async def no_column(header_hash: bytes, column: int) -> bytes:
        raise ColumnNotHeld(column)

    async def no_records(header_hash: bytes, pairs: Any) -> list[Any]:
        raise NotReconstructable("withheld")

    for index in others:
        node = world.node(index)
        node.column, node.records = no_column, no_records  # type: ignore[method-assign]


def in_world(tmp_path: Path, engine: Engine, test: Callable[[World], Awaitable[None]], **limits: Any) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=MEMBERS, seed=3, **limits) as world:
            await world.start()
            await test(world)

    run(main())


@pytest.mark.parametrize("rows", [1, 3])
def test_what_clients_sampled_brings_a_withheld_payload_back(
    tmp_path: Path, engine: Engine, rows: int
) -> None:
    async def test(world: World) -> None:
        batch = await certified(world, rows * 120_000)
        assert batch.record.header.row_count == rows
        rng = random.Random(rows)
        clients = [(rng.randbytes(32), rng.sample(range(128), SAMPLES)) for _ in range(200)]
        withhold(world, set(range(MEMBERS)) - {HONEST})
        node = world.node(HONEST)
        with pytest.raises(NotReconstructable):
            await node.payload_bytes(batch.payload_id)

        used = 0
        for seed, columns in clients:
            used += 1
            answer = await node.contribute(batch.hash, batch.folds(seed, columns), f"client {used}")
            if not answer.wanted:
                break

        async def whole() -> bool:
            record = world.store(HONEST).latest(world.disperser.id)
            return record is not None and len(record.columns) >= 64

        await world.until(whole)
        assert await node.payload_bytes(batch.payload_id) == batch.payload
        assert used <= rescuers_needed(rows, SAMPLES, 0.9999), "no more than for a node that holds nothing"
        for column in world.store(HONEST).batch(batch.hash).columns:
            assert np.array_equal(world.store(HONEST).read_column(batch.hash, column), batch.columns[column])

    in_world(tmp_path, engine, test)


def test_a_rescued_batch_is_handed_to_the_members_that_lack_it(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        batch = await certified(world, 1000)
        await world.seats[POOR].stop()
        world.seats[POOR].lose_disk()
        withhold(world, set(range(MEMBERS)) - {HONEST, POOR})
        await world.seats[POOR].start()
        await world.settle()
        with pytest.raises(NotReconstructable):
            await world.node(POOR).payload_bytes(batch.payload_id)
        seed, wanted = bytes(32), list(range(128))
        await world.node(HONEST).contribute(batch.hash, batch.folds(seed, wanted), "client")

        async def whole() -> bool:
            record = world.store(POOR).latest(world.disperser.id)
            return record is not None and len(record.columns) >= 64

        await world.until(whole)
        assert await world.node(POOR).payload_bytes(batch.payload_id) == batch.payload

    in_world(tmp_path, engine, test, repair_retry_s=5.0)


def test_contributions_are_verified_counted_once_and_durable(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        batch = await certified(world, 300_000)
        node = world.node(HONEST)
        record = world.store(HONEST).batch(batch.hash)
        held = set(record.columns)
        columns = [column for column in range(128) if column not in held][:5]
        honest = batch.folds(bytes(32), columns)
        for position in (0, 2048 + 5):
            lie = batch.folds(bytes(32), columns)
            lie.records[1, position] ^= 1
            with pytest.raises(InvalidContribution):
                await node.contribute(batch.hash, lie, "liar")
        with pytest.raises(InvalidContribution):
            await node.contribute(batch.hash, Folds(b"\1" * 32, honest.columns, honest.records), "liar")
        with pytest.raises(InvalidRequest, match=r"rows 0\.\.5"):
            await node.contribute(batch.hash, Cells(((6, columns[0]),), honest.records[:1]), "liar")
        with pytest.raises(NotFound):
            await node.contribute(bytes(32), honest, "liar")

        first = await node.contribute(batch.hash, honest, "client")
        assert first.taken == 5, "nothing of the refused ones was stored"
        assert set(first.wanted) == set(range(128)) - held
        node = await world.seats[HONEST].restart()
        assert (await node.contribute(batch.hash, honest, "client")).taken == 0
        lie_and_cell = np.stack([bytes_of(b"\0" * RECORD_BYTES), batch.columns[columns[0]][0]])
        with pytest.raises(InvalidContribution):
            await node.contribute(batch.hash, Cells(((5, columns[0]), (0, columns[0])), lie_and_cell), "x")
        good = Cells(((0, columns[0]), (1, columns[0])), batch.columns[columns[0]][:2])
        assert (await node.contribute(batch.hash, good, "client")).taken == 2
        full = await node.contribute(batch.hash, batch.folds(b"\1" * 32, columns[:1]), "client")
        assert full.taken == 0, "three equations of three rows are enough"
        assert columns[0] not in full.wanted
        mine = batch.folds(b"\1" * 32, sorted(held)[:1])
        assert (await node.contribute(batch.hash, mine, "client")).taken == 0, "it is held"

        async def uncertified(header_hash: bytes) -> BatchRecord:
            return replace(record, certificate=None)

        node._context.store.batch = uncertified  # type: ignore[method-assign]
        with pytest.raises(NotCertified):
            await node.contribute(batch.hash, honest, "client")

    in_world(tmp_path, engine, test)


def bytes_of(content: bytes) -> np.ndarray:
    return np.frombuffer(content, dtype=np.uint8)


def test_room_is_shared_by_address_and_by_batch(tmp_path: Path, engine: Engine) -> None:
    async def test(world: World) -> None:
        batch = await certified(world, 300_000)
        other = await certified(world, 300_000)
        node = world.node(HONEST)
        held = set(world.store(HONEST).batch(batch.hash).columns)
        free = [column for column in range(128) if column not in held]
        await node.contribute(batch.hash, batch.folds(bytes(32), free[:6]), "a")
        with pytest.raises(QueueFull, match="your address"):
            await node.contribute(batch.hash, batch.folds(b"\1" * 32, free[:5]), "a")
        await node.contribute(batch.hash, batch.folds(b"\1" * 32, free[:5]), "b")
        with pytest.raises(QueueFull, match="room for contributions is full"):
            await node.contribute(batch.hash, batch.folds(b"\2" * 32, free[6:10]), "c")
        taken = await node.contribute(other.hash, other.folds(b"\2" * 32, free[:4]), "c")
        assert taken.taken == 4, "the batch with the most made room"
        again = await node.contribute(batch.hash, batch.folds(bytes(32), free[:1]), "d")
        assert again.taken == 1, "what was dropped can come again"

    room = {"bytes_max": 12 * RECORD_BYTES, "bytes_per_address_max": 10 * RECORD_BYTES}
    in_world(tmp_path, engine, test, rescue=room)


# --- the table --------------------------------------------------------------------------------


def equation(column: int, seed: int = 0) -> Equation:
    return Equation(column, fold_tag(bytes([seed]) * 32), bytes([column]) * RECORD_BYTES)


def test_the_table_gives_back_what_it_took(tmp_path: Path) -> None:
    path = tmp_path / "contributions.db"
    with closing(EquationTable(path)) as table:
        table.add(b"a" * 32, "x", [equation(3), equation(3, 1), equation(4)])
        table.add(b"a" * 32, "y", [equation(3), Equation(3, cell_tag(300), bytes(RECORD_BYTES))])
        table.add(b"b" * 32, "y", [equation(5)])
    with closing(EquationTable(path)) as table:
        assert [each.tag for each in table.column(b"a" * 32, 3)] == [
            fold_tag(bytes(32)), fold_tag(b"\1" * 32), cell_tag(300)
        ]  # fmt: skip
        first, *_, cell = table.column(b"a" * 32, 3)
        assert (first.seed, first.record) == (bytes(32), equation(3).record)
        assert (cell.seed, cell.row) == (None, 300)
        assert table.counts() == {b"a" * 32: 4, b"b" * 32: 1}
        assert (table.bytes_of("x"), table.bytes_of("y")) == (3 * RECORD_BYTES, 2 * RECORD_BYTES)
        assert table.tags(b"a" * 32)[4] == {fold_tag(bytes(32))}
        table.drop(b"a" * 32)
        assert table.counts() == {b"b" * 32: 1}


def test_a_changed_row_is_not_answered(tmp_path: Path) -> None:
    path = tmp_path / "contributions.db"
    with closing(EquationTable(path)) as table:
        table.add(b"a" * 32, "x", [equation(3), equation(3, 1)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE equations SET record = zeroblob(2096) WHERE tag = ?", (fold_tag(bytes(32)),)
        )
    with closing(EquationTable(path)) as table:
        assert [each.tag for each in table.column(b"a" * 32, 3)] == [fold_tag(b"\1" * 32)]
        assert table.counts() == {b"a" * 32: 1}


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "contributions.db"
    with closing(EquationTable(path)) as table:
        table.add(b"a" * 32, "x", [equation(3)])
    path.write_bytes(b"\xff" * 8192)
    with closing(EquationTable(path)) as table:
        assert table.counts() == {}
        table.add(b"a" * 32, "x", [equation(3)])
    assert (tmp_path / "contributions.db.damaged").exists()
