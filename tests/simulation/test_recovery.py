"""A payload is read back cell by cell as long as rows and columns in turn can give it back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from da.errors import ColumnNotHeld, NotReconstructable
from da.node import Node
from da.wire.cells import NOT_HELD, CellAnswer, Record
from erasure.errors import UnrecoverableMatrix
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import World

READER, LIAR, SILENT = 5, 6, 7
ROWS = 3


def withhold(node: Node, cut: set[tuple[int, int]]) -> None:
    """The node serves what it holds but for these cells, and the columns they are in."""
    column, records = node.column, node.records

    async def selective_column(header_hash: bytes, index: int) -> bytes:
        if any(index == of for _, of in cut):
            raise ColumnNotHeld(index)
        return await column(header_hash, index)

    async def selective_records(header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[CellAnswer]:
        answers = await records(header_hash, pairs)
        return [NOT_HELD if pair in cut else each for pair, each in zip(pairs, answers, strict=True)]

    node.column, node.records = selective_column, selective_records  # type: ignore[method-assign]


def lie(method: str, answer: Any) -> Any:
    if method == "get_column":
        return bytes(len(answer))
    if method == "get_records":
        return [Record(bytes(len(each.content))) if isinstance(each, Record) else each for each in answer]
    return answer


@pytest.mark.parametrize(
    ("height", "spared"), [pytest.param(1, 0, marks=pytest.mark.slow), (ROWS + 1, 1), (ROWS + 1, 0)]
)
def test_only_a_stopping_set_is_not_read_back(
    tmp_path: Path, engine: Engine, height: int, spared: int
) -> None:
    rng = random.Random(height)

    async def main() -> None:
        async with World(tmp_path, engine, members=16, seed=3) as world:
            await world.start()
            payload = world.rng.randbytes(300_000)
            payload_id = await world.certify(payload)
            await world.settle()
            reader = world.node(READER)
            header_hash = world.store(READER).at_height(world.disperser.id, 1)
            assert header_hash is not None
            record = await reader.batch(header_hash)
            assert record.header.row_count == ROWS
            columns = sorted(rng.sample(sorted(set(range(128)) - set(record.columns)), 65))
            if height == 1:
                cut = {(rng.randrange(ROWS), column) for column in columns}
                rows = []
            else:
                rows = sorted(rng.sample(range(2 * ROWS), height))
                cut = {(row, column) for row in rows for column in columns}
                cut -= set(rng.sample(sorted(cut), spared))
            for position, seat in enumerate(world.seats):
                if position != READER:
                    assert seat.node is not None
                    withhold(seat.node, cut)
            world.seats[LIAR].link.tamper = lie
            world.seats[SILENT].link.down = True
            if rows and not spared:
                with pytest.raises(NotReconstructable) as failed:
                    await reader.payload_bytes(payload_id)
                stuck = str(UnrecoverableMatrix(tuple(rows), tuple(columns)))
                assert failed.value.reason.startswith(f"{stuck}; asked ")
            else:
                assert await reader.payload_bytes(payload_id) == payload

    run(main())
