"""Batches with fixed bytes, and a file system that fails on demand."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from da.protocol.header import ZERO_HASH, Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.proposal import VerifiedProposal
from da.protocol.push import RECORD_BYTES
from da.store.base import BatchRecord, Bytes8
from da.store.filesystem import Filesystem

DISPERSER = b"\xd1" * 32
NAMESPACE = b"rollup".ljust(32, b"\x00")


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch as a node would put it, made from a number: the same number gives the same bytes."""

    header: Header
    signature: bytes
    payload_list: PayloadList
    commitments: Bytes8
    seed: int

    @property
    def proposal(self) -> VerifiedProposal:
        return VerifiedProposal(self.header, self.signature, self.payload_list, self.commitments)

    @property
    def hash(self) -> bytes:
        return self.header.hash

    def column(self, column: int) -> Bytes8:
        rng = np.random.default_rng([self.seed, column])
        return rng.integers(0, 256, (self.header.row_count, RECORD_BYTES), dtype=np.uint8)

    def columns(self, columns: Sequence[int]) -> Iterator[tuple[int, Bytes8]]:
        for column in columns:
            yield column, self.column(column)

    def put(self, store: Any, columns: Sequence[int] = (0, 5, 127)) -> None:
        store.put_batch(self.proposal, self.columns(columns))

    def check(self, store: Any, columns: Sequence[int] = (0, 5, 127)) -> None:
        """Everything reads back as it was put."""
        record = store.batch(self.hash)
        assert_same_record(record, self)
        assert record.state == "live"
        assert record.columns == tuple(columns)
        for column in columns:
            assert np.array_equal(store.read_column(self.hash, column), self.column(column))
            row = self.seed % self.header.row_count
            expected = self.column(column)[row].tobytes()
            assert store.read_records(self.hash, [(row, column)]) == [expected]


def assert_same_record(record: BatchRecord, batch: Batch) -> None:
    assert record.header == batch.header
    assert record.disperser_signature == batch.signature
    assert record.payload_list == batch.payload_list
    assert np.array_equal(record.commitments, batch.commitments)


def make_batch(
    height: int, rows: int = 2, *, seed: int | None = None, disperser_id: bytes = DISPERSER
) -> Batch:
    """The batch of a height; another `seed` gives another one at the same height."""
    seed = height if seed is None else seed
    rng = np.random.default_rng([seed, 1000])
    ids = sorted(rng.bytes(32) for _ in range(rows))
    entries = [PayloadEntry(NAMESPACE, ids[row], row, 1, 100 + row) for row in range(rows)]
    payload_list = PayloadList(tuple(entries))
    header = Header(
        chain_id=7,
        disperser_id=disperser_id,
        height=height,
        timestamp_ms=1_000,
        parent=ZERO_HASH if height == 1 else b"\x01" * 32,
        committee_hash=b"\x02" * 32,
        row_count=rows,
        payloads_root=payload_list.root,
        commitments_root=rng.bytes(32),
    )
    commitments = rng.integers(0, 256, (rows, 48), dtype=np.uint8)
    return Batch(header, rng.bytes(96), payload_list, commitments, seed)


def certificate_of(batch: Batch) -> bytes:
    return b"certificate of " + batch.hash


def dump_index(directory: Path) -> dict[str, list[Any]]:
    """All rows of an index, for comparison."""
    connection = sqlite3.connect(directory / "index.db")
    try:
        return {
            table: sorted(connection.execute("SELECT * FROM " + table), key=repr)  # noqa: S608
            for table in ("batches", "payloads", "pruned")
        }
    finally:
        connection.close()


class Crash(BaseException):
    """The process died here."""


class FaultyFilesystem(Filesystem):
    """Counts the calls that change the disk, and fails at one of them.

    `fail_at`: number of the call, from 0. `error`: an errno to raise, or Crash, after which every further
    call raises Crash too, so that no clean-up runs. `late`: the call is done before the error is raised.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail_at = -1
        self.error: int | type[Crash] = errno.ENOSPC
        self.late = False
        self.dead = False
        self.free: int | None = None

    def arm(self, fail_at: int, error: int | type[Crash], *, late: bool) -> None:
        self.calls.clear()
        self.fail_at, self.error, self.late = fail_at, error, late

    def disarm(self) -> None:
        self.arm(-1, errno.ENOSPC, late=False)

    def _step(self, name: str, action: Any, *arguments: Any) -> Any:
        if self.dead:
            raise Crash
        due = len(self.calls) == self.fail_at
        self.calls.append(name)
        if due and (not self.late or name == "create"):  # a file is made or it is not
            self._fail()
        result = action(*arguments)
        if due and self.late:
            self._fail()
        return result

    def _fail(self) -> None:
        if self.error is Crash:
            self.dead = True
            raise Crash
        assert isinstance(self.error, int)
        raise OSError(self.error, "injected")

    def create(self, path: Path) -> int:
        return self._step("create", super().create, path)

    def pwrite(self, fd: int, data: Any, offset: int) -> None:
        self._step("pwrite", super().pwrite, fd, data, offset)

    def sync(self, fd: int) -> None:
        self._step("sync", super().sync, fd)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", super().rename, source, target)

    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory", super().sync_directory, path)

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self._step("make_directory", path.mkdir)
            self.sync_directory(path.parent)

    def unlink(self, path: Path) -> None:
        if self.dead:
            raise Crash
        super().unlink(path)

    def remove_tree(self, path: Path) -> None:
        if self.dead:
            raise Crash
        super().remove_tree(path)

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free
