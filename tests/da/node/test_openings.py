"""Openings take turns of their own: a flood of them holds up nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da import errors
from da.node import openings
from kzg.engine import Engine
from kzg.openings import Opening, open_point, verify_opening
from tests.simulation.virtual_time import run
from tests.simulation.world import World


class Gate:
    """In place of `open_point`: counts, and holds the thread back until it is opened."""

    def __init__(self, *, is_open: bool) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.active = self.most = self.calls = 0
        if is_open:
            self._open.set()

    def open(self) -> None:
        self._open.set()

    def __call__(self, *args: Any, **kwargs: Any) -> Opening:
        with self._lock:
            self.calls += 1
            self.active += 1
            self.most = max(self.most, self.active)
        try:
            self._open.wait()
            return open_point(*args, **kwargs)
        finally:
            with self._lock:
                self.active -= 1


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gate]:
    def make(*, is_open: bool) -> Gate:
        made = Gate(is_open=is_open)
        monkeypatch.setattr(openings, "open_point", made)
        return made

    return make


def z(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_posts_and_pushes_go_on_while_openings_stand_still(
    tmp_path: Path, engine: Engine, gate: Callable[..., Gate]
) -> None:
    """In real time: with a thread at work virtual time stands still, and no batch would ever close."""

    async def main() -> None:
        async with (
            asyncio.timeout(60),
            World(tmp_path, engine, openings_waiting_max=5, opening_wait_s=1e6) as world,
        ):
            await world.start()
            payload_id = await world.certify(b"some bytes")
            held = gate(is_open=False)
            node = world.node(0)
            flood = [asyncio.create_task(node.opening(payload_id, z=z(number))) for number in range(40)]
            try:
                for number in range(3):  # posted, pushed to all members, verified there and certified
                    await world.certify(f"posted during the flood {number}".encode())
            finally:
                held.open()
            answers = await asyncio.gather(*flood, return_exceptions=True)
            made = [answer for answer in answers if not isinstance(answer, BaseException)]
            refused = [answer for answer in answers if isinstance(answer, errors.QueueFull)]
            assert (len(made), len(refused)) == (1 + 5, 34)
            assert all(verify_opening(answer.opening) for answer in made)
            assert "openings" in str(refused[0])
            assert refused[0].retry_after_s >= 1
            assert (held.most, held.calls) == (1, 6), "one at a time"

    asyncio.run(main())


def test_an_opening_is_made_once(tmp_path: Path, engine: Engine, gate: Callable[..., Gate]) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=1) as world:
            await world.start()
            payload_id = await world.certify(bytes(200_000))
            node = world.node(0)
            counting = gate(is_open=True)
            answers = await asyncio.gather(*(node.opening(payload_id, z=z(5)) for _ in range(8)))
            answers.append(await node.opening(payload_id, z=z(5)))
            assert counting.calls == 1
            assert len({answer.opening.calldata() for answer in answers}) == 1
            other_row = await node.opening(payload_id, z=z(5), row=1)
            assert counting.calls == 2, "a point of another row is another opening"
            assert other_row.opening.commitment != answers[0].opening.commitment
            by_index = await node.opening(payload_id, index=5)
            assert by_index.opening.z != z(5), "element 5 is not the point 5"

    run(main())


def test_openings_kept_are_bounded(
    tmp_path: Path, engine: Engine, gate: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "CACHED_MAX", 2)

    async def main() -> None:
        async with World(tmp_path, engine, members=1) as world:
            await world.start()
            payload_id = await world.certify(b"bytes")
            counting = gate(is_open=True)
            for number in (1, 2, 1, 3, 1, 2):  # 3 takes the place of 2, which was used longest ago
                await world.node(0).opening(payload_id, z=z(number))
            assert counting.calls == 4

    run(main())
