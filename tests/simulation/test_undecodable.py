"""A disperser that has rows certified which are no payload: one id, one content, whoever reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from da.disperser import batcher
from da.errors import UndecodablePayload
from da.member import ingest
from da.node import posting
from da.protocol.custody import columns_of
from da.protocol.payload import payload_id as make_payload_id
from erasure import packing
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import World

LIMITS = {"follow_interval_s": 5.0, "repair_retry_s": 5.0}
FAULTS = ("version", "short", "long", "padding", "wide")


def faulty(payload: bytes) -> NDArray[np.uint8]:
    """The packing of a payload with the fault that its first bytes name."""
    rows = packing.pack(payload)
    elements = rows.reshape(-1, 32)
    name = payload.split(b" ")[0].decode()
    if name == "version":
        elements[0, 1] = 9
    elif name == "short":
        rows = packing.pack(payload[:-1])
    elif name == "long":
        rows = packing.pack(payload + b"!")
    elif name == "padding":
        elements[-1, 31] = 1
    elif name == "wide":
        elements[1, 0] = 1  # an element of 32 bytes, below the modulus
    return rows


def test_every_reader_comes_to_the_same_end(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "pack", faulty)
    monkeypatch.setattr(batcher, "pack", faulty)
    # Enough holders of column 0 sign with the disperser, or the certificate is older than their check.
    monkeypatch.setattr(ingest, "check_elements", lambda *_: None)

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            good = await world.certify(b"good payload")
            for name in FAULTS:
                payload = f"{name} payload".encode()
                payload_id = await world.certify(payload)
                await world.settle()
                right = faulty(payload)
                assert payload_id == make_payload_id(len(payload), engine.commit(right))
                reasons = set()
                for index in range(1, 4):
                    with pytest.raises(UndecodablePayload) as error:
                        await world.node(index).payload_bytes(payload_id)
                    reasons.add(error.value.reason)
                    assert np.array_equal(await world.node(index).payload_rows(payload_id), right)
                assert len(reasons) == 1, name
            await world.certify(b"good and later")
            await world.settle()
            await _a_lost_store_is_filled_again(world)
            assert [await world.node(index).payload_bytes(good) for index in range(1, 4)] == [
                b"good payload"
            ] * 3

    run(main())


def custody(world: World, index: int) -> set[int]:
    """The columns that the member at a seat holds."""
    position = world.committee.member_index(world.seats[index].id)
    assert position is not None
    return set(columns_of(world.committee, position))


async def _a_lost_store_is_filled_again(world: World) -> None:
    """Repair takes what is certified as it is, once."""
    await world.seats[3].stop()
    world.seats[3].lose_disk()
    await world.seats[3].start()

    async def whole() -> bool:
        records = world.store(3).batches(world.disperser.id, 1, 99, True)
        return len(records) == len(FAULTS) + 2 and all(
            set(world.store(3).batch(record.header.hash).columns) >= custody(world, 3) for record in records
        )

    await world.until(whole)


def test_holders_of_column_0_refuse_it(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "pack", faulty)
    monkeypatch.setattr(batcher, "pack", faulty)

    async def main() -> None:
        async with World(tmp_path, engine, members=4, **LIMITS) as world:
            await world.start()
            receipt = await world.node(0).post(b"rollup-a".ljust(32, b"\0"), b"version payload")

            async def refused() -> bool:
                return all(
                    world.node(index).metrics.rejected_pushes.labels("RejectedPayload")._value.get()
                    for index in range(1, 4)
                    if 0 in custody(world, index)
                )

            await world.until(refused)
            status = await world.node(0).payload_status(receipt.payload_id)
            assert status.status == "dispersing"

    run(main())
