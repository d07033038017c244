"""The catalogue: which batches there are, at which heights, and which payloads they carry. A SQLite database.

The idea: a row's commit (WAL, synchronous=FULL) is the point at which a batch exists. The catalogue repeats
what the objects say and can be made again from them, so it holds nothing about cells: which columns a batch
holds, its object says. Heights are u64, stored as 8 big-endian bytes, which sort like the numbers.

Invariants: every row carries a CRC-32 of all its fields, checked whenever it is read, for SQLite does not
notice a flipped bit; (disperser_id, height) is unique. Writes come from one thread at a time (the store's
lock) through one connection; reads go through another, and never wait for a write's fsync.

Does not: know objects; map disk-full errors (see da.store.space).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from da.protocol.payload_list import PayloadEntry
from da.store import sqlite
from da.store.base import BatchState
from da.store.errors import CorruptIndex, StoreClosed

_TABLES = {
    "batches": """CREATE TABLE batches (
  header_hash BLOB PRIMARY KEY, disperser_id BLOB NOT NULL, height BLOB NOT NULL, bucket TEXT NOT NULL,
  received_ms INTEGER NOT NULL, state TEXT NOT NULL, certified INTEGER NOT NULL, header BLOB NOT NULL,
  certificate BLOB, crc INTEGER NOT NULL) WITHOUT ROWID""",
    "batches_height": "CREATE UNIQUE INDEX batches_height ON batches (disperser_id, height)",
    "batches_bucket": "CREATE INDEX batches_bucket ON batches (bucket)",
    "payloads": """CREATE TABLE payloads (
  payload_id BLOB NOT NULL, header_hash BLOB NOT NULL, position INTEGER NOT NULL, entry BLOB NOT NULL,
  crc INTEGER NOT NULL, PRIMARY KEY (payload_id, header_hash, position)) WITHOUT ROWID""",
    "payloads_batch": "CREATE INDEX payloads_batch ON payloads (header_hash)",
    "pruned": """CREATE TABLE pruned (
  disperser_id BLOB PRIMARY KEY, height BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID""",
}
_BATCH_FIELDS = (
    "header_hash, disperser_id, height, bucket, received_ms, state, certified, header, certificate"
)
_SELECT_BATCHES = f"SELECT {_BATCH_FIELDS}, crc FROM batches WHERE "  # noqa: S608  # all constants
_SELECT_PAYLOADS = "SELECT payload_id, header_hash, position, entry, crc FROM payloads WHERE "
_PAYLOADS_PAGE = (
    "(payload_id, header_hash, position) > (?, ?, ?) ORDER BY payload_id, header_hash, position LIMIT 1000"
)
_HEIGHT_BYTES = 8
_MAX_HEIGHT = 2 ** (8 * _HEIGHT_BYTES) - 1
_MAX_PAGE = 2**20


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """A batch in the index. `certificate` is kept here only once the batch's file is gone."""

    header_hash: bytes
    disperser_id: bytes
    height: int
    bucket: str
    received_ms: int
    state: BatchState
    certified: bool
    header: bytes
    certificate: bytes | None = None


class Catalogue:
    """An open index. Methods may raise sqlite3.Error; reads raise CorruptIndex when the file was changed."""

    def __init__(self, path: Path) -> None:
        """Opens the index, made when it is not there. Raises CorruptIndex when it is not one of ours."""
        self._path = path
        self._read_lock = threading.Lock()
        self._closed = False
        self._connect()

    def close(self) -> None:
        """Closes both connections."""
        with self._read_lock:
            self._closed = True
            self._reader.close()
            self._writer.close()

    def replace(self, swap: Callable[[], None]) -> None:
        """Closes the file, lets `swap` put another in its place, and opens that; readers wait meanwhile."""
        with self._read_lock:
            self._reader.close()
            self._writer.close()
            swap()
            self._connect()

    def verify(self) -> None:
        """Reads every page and row. Raises CorruptIndex (or sqlite3.DatabaseError) when one was changed."""
        with self._read_lock:
            if self._closed:
                raise StoreClosed
            sqlite.check_integrity(self._reader)
        for _ in self.rows():
            pass
        after: Sequence[Any] = (b"", b"", -1)
        while page := self._query(_SELECT_PAYLOADS + _PAYLOADS_PAGE, after):
            after = [sqlite.checked("payloads", values) for values in page][-1][:3]
        for values in self._query("SELECT disperser_id, height, crc FROM pruned"):
            sqlite.checked("pruned", values)

    # -- reads

    def get(self, header_hash: bytes) -> CatalogueRow | None:
        """The row of a batch."""
        return self._one("header_hash = ?", (header_hash,))

    def at_height(self, disperser_id: bytes, height: int) -> CatalogueRow | None:
        """The row at a height; None for a number that is no u64."""
        if not 0 <= height <= _MAX_HEIGHT:
            return None
        return self._one("disperser_id = ? AND height = ?", (disperser_id, _height_bytes(height)))

    def latest(self, disperser_id: bytes, certified: bool) -> CatalogueRow | None:
        """The row of the greatest height, among certified ones when asked."""
        where = "disperser_id = ? AND certified >= ? ORDER BY height DESC LIMIT 1"
        return self._one(where, (disperser_id, int(certified)))

    def page(self, disperser_id: bytes, from_height: int, limit: int, certified: bool) -> list[CatalogueRow]:
        """Rows from a height on, ascending."""
        if from_height > _MAX_HEIGHT or limit <= 0:
            return []
        start = _height_bytes(max(from_height, 0))
        where = "disperser_id = ? AND height >= ? AND certified >= ? ORDER BY height LIMIT ?"
        return self._many(where, (disperser_id, start, int(certified), min(limit, _MAX_PAGE)))

    def in_bucket(self, bucket: str) -> list[CatalogueRow]:
        """All rows of a bucket."""
        return self._many("bucket = ?", (bucket,))

    def dispersers(self) -> list[bytes]:
        """The ids of all dispersers that have a row."""
        return [values[0] for values in self._query("SELECT DISTINCT disperser_id FROM batches")]

    def buckets(self) -> list[str]:
        """The names of all buckets that have a row, ascending."""
        return [values[0] for values in self._query("SELECT DISTINCT bucket FROM batches ORDER BY bucket")]

    def rows(self) -> Iterator[CatalogueRow]:
        """All rows by hash, read in pages so that no reader is kept waiting."""
        after = b""
        while page := self._many("header_hash > ? ORDER BY header_hash LIMIT 1000", (after,)):
            yield from page
            after = page[-1].header_hash

    def missing(self) -> list[tuple[CatalogueRow, list[PayloadEntry]]]:
        """The rows whose files were lost, with their payload lists: what no file tells."""
        return [(row, self.entries(row.header_hash)) for row in self._many("state = ?", ("missing",))]

    def locations(self, payload_id: bytes) -> list[tuple[CatalogueRow, PayloadEntry]]:
        """Batches that carry the payload, the one stored last first."""
        found = self._query(_SELECT_PAYLOADS + "payload_id = ?", (payload_id,))
        entries = [sqlite.checked("payloads", values) for values in found]
        rows = {values[1]: self.get(values[1]) for values in entries}
        placed = [(row, _entry(values)) for values in entries if (row := rows[values[1]]) is not None]
        placed.sort(key=lambda item: (item[0].received_ms, item[0].height, item[0].header_hash), reverse=True)
        return placed

    def entries(self, header_hash: bytes) -> list[PayloadEntry]:
        """The payload list of a batch, in order."""
        found = self._query(_SELECT_PAYLOADS + "header_hash = ? ORDER BY position", (header_hash,))
        return [_entry(sqlite.checked("payloads", values)) for values in found]

    def pruned_height(self, disperser_id: bytes) -> int:
        """The height at and below which rows may be forgotten; 0 when none is."""
        found = self._query(
            "SELECT disperser_id, height, crc FROM pruned WHERE disperser_id = ?", (disperser_id,)
        )
        return int.from_bytes(sqlite.checked("pruned", found[0])[1], "big") if found else 0

    def pruned_heights(self) -> dict[bytes, int]:
        """The pruned height of every disperser that has one."""
        found = self._query("SELECT disperser_id, height, crc FROM pruned")
        return {values[0]: int.from_bytes(sqlite.checked("pruned", values)[1], "big") for values in found}

    # -- writes; all inside `transaction`

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits what the block wrote, all or nothing."""
        with sqlite.transaction(self._writer):
            yield

    def put(self, row: CatalogueRow, entries: Iterable[PayloadEntry] | None = None) -> None:
        """Writes a row over the one of the same hash; with `entries`, the batch's payload list too.

        Raises sqlite3.IntegrityError when another hash has the height; callers look first.
        """
        # Not INSERT OR REPLACE: that would also push out another batch that has the height.
        self._writer.execute("DELETE FROM batches WHERE header_hash = ?", (row.header_hash,))
        self._insert("batches", _batch_values(row))
        if entries is None:
            return
        self._writer.execute("DELETE FROM payloads WHERE header_hash = ?", (row.header_hash,))
        for position, entry in enumerate(entries):
            self._insert("payloads", (entry.payload_id, row.header_hash, position, entry.encode()))

    def certify(self, row: CatalogueRow) -> None:
        """Notes that a row's certificate has come."""
        self.put(replace(row, certified=True))

    def bury(self, row: CatalogueRow, certificate: bytes | None) -> None:
        """Marks a row expired; its tombstone keeps the certificate."""
        certified = certificate is not None
        self.put(replace(row, state="expired", certified=certified, certificate=certificate))

    def forget(self, header_hash: bytes) -> None:
        """Removes a row and its payloads."""
        self._writer.execute("DELETE FROM payloads WHERE header_hash = ?", (header_hash,))
        self._writer.execute("DELETE FROM batches WHERE header_hash = ?", (header_hash,))

    def set_pruned(self, disperser_id: bytes, height: int) -> None:
        """Remembers that rows at and below `height` may be forgotten."""
        self._writer.execute("DELETE FROM pruned WHERE disperser_id = ?", (disperser_id,))
        self._insert("pruned", (disperser_id, _height_bytes(height)))

    # -- internals

    def _connect(self) -> None:
        self._writer = sqlite.connect(self._path)
        try:
            sqlite.make_tables(self._writer, _TABLES)
            self._reader = sqlite.connect(self._path)
        except BaseException:
            self._writer.close()
            raise

    def _insert(self, table: str, values: tuple[Any, ...]) -> None:
        marks = ", ".join("?" * (len(values) + 1))
        sql = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608  # table names are this module's own
        self._writer.execute(sql, (*values, sqlite.row_crc(table, values)))

    def _one(self, where: str, arguments: Sequence[Any]) -> CatalogueRow | None:
        found = self._many(where, arguments)
        return found[0] if found else None

    def _many(self, where: str, arguments: Sequence[Any]) -> list[CatalogueRow]:
        return [
            _row(sqlite.checked("batches", values))
            for values in self._query(_SELECT_BATCHES + where, arguments)
        ]

    def _query(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        with self._read_lock:
            if self._closed:
                raise StoreClosed
            try:
                return self._reader.execute(sql, arguments).fetchall()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if sqlite.is_damage(error):
                    raise CorruptIndex(str(error)) from error
                raise


def _height_bytes(height: int) -> bytes:
    return height.to_bytes(_HEIGHT_BYTES, "big")


def _batch_values(row: CatalogueRow) -> tuple[Any, ...]:
    return (
        row.header_hash,
        row.disperser_id,
        _height_bytes(row.height),
        row.bucket,
        row.received_ms,
        row.state,
        int(row.certified),
        row.header,
        row.certificate,
    )


def _row(values: Sequence[Any]) -> CatalogueRow:
    height = int.from_bytes(values[2], "big")
    return CatalogueRow(
        header_hash=values[0],
        disperser_id=values[1],
        height=height,
        bucket=values[3],
        received_ms=values[4],
        state=values[5],
        certified=bool(values[6]),
        header=values[7],
        certificate=values[8],
    )


def _entry(values: Sequence[Any]) -> PayloadEntry:
    return PayloadEntry.decode(values[3])
