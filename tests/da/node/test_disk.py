"""A full disk at any step of a payload's way: nothing is lost, everything goes on when there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from da.errors import ReadOnly
from da.node import Node, Status
from da.store.errors import CorruptBatch
from da.store.filesystem import Filesystem
from kzg.engine import Engine
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, Seat, World

STEPS = [
    ("before", "put"),
    ("after", "put"),
    ("before", "put_batch"),
    ("before", "mark"),
    ("before", "put_certificate"),
    ("after", "put_certificate"),
]


class SmallDisk(Filesystem):
    """Is full when it is told so."""

    full = False

    def _need_room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, path: Path) -> int:
        self._need_room()
        return super().create(path)

    def pwrite(self, fd: int, data: Any, offset: int) -> None:
        self._need_room()
        super().pwrite(fd, data, offset)

    def make_directory(self, path: Path) -> None:
        self._need_room()
        super().make_directory(path)

    def allocate(self, path: Path, size: int) -> None:
        self._need_room()
        super().allocate(path, size)

    def free_bytes(self, path: Path) -> int:
        return 0 if self.full else super().free_bytes(path)


def no_room(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "database or disk is full")


def loop_failures(node: Node) -> float:
    samples = node.metrics.loop_failures._metric.collect()[0].samples
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


async def is_ready(world: World) -> bool:
    return (await world.node(0).ready()).ready


async def go_through(world: World, fill: Callable[[], None], free: Callable[[], None], step: Any) -> None:
    """Fill the disperser's disk at one step of a payload's way, and free it again."""
    await world.start()
    node, seat = world.node(0), world.disperser
    first, second = world.rng.randbytes(1000), world.rng.randbytes(2000)
    first_id = await world.certify(first)
    await world.settle()
    full = asyncio.Event()

    def watch(when: str, method: str) -> None:
        if (when, method) == step and not full.is_set():
            fill()
            full.set()
            world.loop.call_soon_threadsafe(lambda: None)

    seat.watch = watch
    (receipt,) = await asyncio.gather(node.post(NAMESPACE, second), return_exceptions=True)
    await world.until(lambda: asyncio.sleep(0, full.is_set()))
    await asyncio.sleep(40)

    ready = await node.ready()
    assert not ready.ready
    assert any("read-only: disk full" in reason for reason in ready.reasons), ready
    assert await node.payload_bytes(first_id) == first
    assert (await node.payload_status(first_id)).status is Status.CERTIFIED
    with pytest.raises(ReadOnly):
        await node.post(NAMESPACE, b"while it is full")
    assert node.health()
    assert loop_failures(node) == 0

    free()
    await world.until(lambda: is_ready(world))
    if isinstance(receipt, BaseException):
        assert isinstance(receipt, ReadOnly)
        receipt = await node.post(NAMESPACE, second)
    status = await node.wait_certified(NAMESPACE, receipt.payload_id, 600)
    assert status.status is Status.CERTIFIED
    third = await world.certify(b"when there is room again")
    for index in (0, 1):
        assert await world.node(index).payload_bytes(receipt.payload_id) == second
        assert await world.node(index).payload_bytes(third) == b"when there is room again"
    assert seat.outbox is not None
    await world.until(lambda: asyncio.sleep(0, seat.outbox.pending() == []))  # type: ignore[union-attr]
    assert len(world.store(0).batches(world.disperser.id, 1, 10, True)) == 3
    assert loop_failures(node) == 0
    await world.check_logs()


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_stops_no_loop_and_loses_nothing(
    tmp_path: Path, engine: Engine, step: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, retention_interval_s=5.0) as world:
            disk = SmallDisk()
            world.disperser.filesystem, world.disperser.reserve_bytes = disk, 65_536

            def fill() -> None:
                disk.full = True
                outbox = world.disperser.outbox
                assert outbox is not None
                monkeypatch.setattr(outbox._table, "write", no_room)  # SQLite has its own way to the disk

            def free() -> None:
                disk.full = False
                monkeypatch.undo()

            await go_through(world, fill, free, step)

    run(main())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    path = tmp_path / "node-0"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("step", STEPS)
def test_a_file_system_that_is_really_full(
    tmp_path: Path, small_disk: Path, engine: Engine, step: tuple[str, str]
) -> None:
    others = small_disk / "what others wrote"

    def fill() -> None:
        """Take every block that is left."""
        with others.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    async def main() -> None:
        async with World(tmp_path, engine, members=4, retention_interval_s=5.0) as world:
            world.disperser.reserve_bytes = 2**20
            await go_through(world, fill, others.unlink, step)

    run(main())


def test_a_member_without_room_misses_nothing_for_good(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=5, repair_retry_s=5.0) as world:
            disk = SmallDisk()
            seat: Seat = world.seats[3]
            seat.filesystem, seat.reserve_bytes = disk, 65_536
            await world.start()
            disk.full = True
            payload_id = await world.certify(b"some bytes")
            await asyncio.sleep(60)
            node, store = world.node(3), world.store(3)
            assert store.latest(world.disperser.id) is None
            assert "disk full" in (await node.ready()).reasons[0]
            assert loop_failures(node) == 0
            disk.full = False

            async def whole() -> bool:
                record = store.latest(world.disperser.id)
                return record is not None and record.certificate is not None and record.columns != ()

            await world.until(whole)
            assert (await node.ready()).ready
            assert await node.payload_bytes(payload_id) == b"some bytes"
            assert loop_failures(node) == 0

    run(main())


def test_a_payload_that_fails_while_the_disk_is_full(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4, batch_interval_ms=5_000) as world:
            await world.start()
            node, outbox = world.node(0), world.disperser.outbox
            assert outbox is not None
            receipt = await node.post(NAMESPACE, b"bytes that rot")
            (path,) = (world.disperser.directory / "outbox" / "payloads").iterdir()
            path.write_bytes(path.read_bytes()[:-1])

            monkeypatch.setattr(outbox._table, "write", no_room)
            await asyncio.sleep(60)
            assert (await node.payload_status(receipt.payload_id)).status is not Status.FAILED
            monkeypatch.undo()
            status = await node.wait_certified(NAMESPACE, receipt.payload_id, 60)
            assert status.status is Status.FAILED
            await world.certify(b"sound bytes")
            assert loop_failures(node) == 0

    run(main())


def test_a_delivery_that_finds_its_batch_damaged_tells_the_scrub(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=1) as world:
            await world.start()
            await world.certify(b"some bytes")
            store, told = world.node(0)._context.store, []
            record = await store.batch_at(world.disperser.id, 1)
            assert record is not None
            assert await store.batch_at(world.disperser.id, 2) is None
            (path,) = (world.disperser.directory / "store").glob("buckets/*/*.batch")
            path.write_bytes(b"x" + path.read_bytes()[1:])
            world.store(0)._reader.clear()
            store._on_lost = told.append
            with pytest.raises(CorruptBatch):
                await store.batch_at(world.disperser.id, 1)
            assert told == [record.header.hash]

    run(main())
