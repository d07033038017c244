"""The equations of columns that others contributed: one checksummed row each, in SQLite.

Invariants: what `add` returned for is durable; a place (batch, column, tag) has one row; a row that was
changed is removed when it is read, never answered. A file that cannot be trusted is set aside at opening and
an empty one begun: contributions are copies, and come again. Thread-safe.

Does not: verify equations, or limit them (da.member.rescue does).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from da.protocol.codec import u16
from da.protocol.push import RECORD_BYTES
from da.store import sqlite
from da.store.errors import CorruptIndex

log = logging.getLogger("cellar.member.rescue")

_FOLD, _CELL = b"\1", b"\2"
_TABLES = {
    "equations": """CREATE TABLE equations (
  header_hash BLOB NOT NULL, column_index INTEGER NOT NULL, tag BLOB NOT NULL, record BLOB NOT NULL,
  owner TEXT NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (header_hash, column_index, tag)) WITHOUT ROWID""",
    "equations_owner": "CREATE INDEX equations_owner ON equations (owner)",
}


@dataclass(frozen=True, slots=True)
class Equation:
    """What a weighted sum of a column's cells, and of their proofs, is.

    tag: 01 and the seed of a fold, or 02 and the row of a cell (u16); record bytes[2096], cell || proof.
    """

    column: int
    tag: bytes
    record: bytes

    @property
    def seed(self) -> bytes | None:
        """The seed of a fold; None for a cell."""
        return self.tag[1:] if self.tag[:1] == _FOLD else None

    @property
    def row(self) -> int:
        """The row of a cell."""
        return int.from_bytes(self.tag[1:], "big")


def fold_tag(seed: bytes) -> bytes:
    """The tag of a fold under this seed."""
    return _FOLD + seed


def cell_tag(row: int) -> bytes:
    """The tag of a cell of this row."""
    return _CELL + u16(row)


class EquationTable:
    """An open table.

    Raises sqlite3.Error when the machine does not let it be opened.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = _open(path)
        except sqlite.FAILURES as error:
            if not sqlite.is_damage(error):
                raise
            log.warning("%s is damaged and is set aside; contributions start again: %s", path, error)
            for suffix in sqlite.FILE_SUFFIXES:
                with suppress(FileNotFoundError):
                    Path(f"{path}{suffix}").rename(f"{path}.damaged{suffix}")
            self._connection = _open(path)

    def close(self) -> None:
        """Closes the connection. May be called twice."""
        with self._lock:
            self._connection.close()

    def add(self, header_hash: bytes, owner: str, equations: Sequence[Equation]) -> None:
        """Stores equations durably, all or none; those whose place is taken are left as they are."""
        rows = [
            (*values, sqlite.row_crc("equations", values))
            for equation in equations
            for values in [(header_hash, equation.column, equation.tag, equation.record, owner)]
        ]
        with self._lock, sqlite.transaction(self._connection):
            self._connection.executemany("INSERT OR IGNORE INTO equations VALUES (?,?,?,?,?,?)", rows)

    def column(self, header_hash: bytes, column: int) -> list[Equation]:
        """The equations of a column; damaged ones are removed."""
        query = "SELECT * FROM equations WHERE header_hash = ? AND column_index = ? ORDER BY tag"
        with self._lock:
            found = self._connection.execute(query, (header_hash, column)).fetchall()
        good, damaged = [], []
        for values in found:
            try:
                sqlite.checked("equations", values)
                good.append(Equation(values[1], values[2], values[3]))
            except CorruptIndex:
                damaged.append(values[2])
        if damaged:
            log.warning("%d damaged equations of column %d are dropped", len(damaged), column)
            with self._lock, sqlite.transaction(self._connection):
                self._connection.executemany(
                    "DELETE FROM equations WHERE header_hash = ? AND column_index = ? AND tag = ?",
                    [(header_hash, column, tag) for tag in damaged],
                )
        return good

    def tags(self, header_hash: bytes) -> dict[int, set[bytes]]:
        """By column, what there is of a batch."""
        query = "SELECT column_index, tag FROM equations WHERE header_hash = ?"
        with self._lock:
            found = self._connection.execute(query, (header_hash,)).fetchall()
        tags: dict[int, set[bytes]] = {}
        for column, tag in found:
            tags.setdefault(column, set()).add(tag)
        return tags

    def counts(self) -> dict[bytes, int]:
        """By batch, how many equations there are."""
        with self._lock:
            query = "SELECT header_hash, COUNT(*) FROM equations GROUP BY header_hash"
            return dict(self._connection.execute(query).fetchall())

    def bytes_of(self, owner: str) -> int:
        """Bytes of the records that one owner contributed."""
        with self._lock:
            query = "SELECT COUNT(*) FROM equations WHERE owner = ?"
            count: int = self._connection.execute(query, (owner,)).fetchone()[0]
        return count * RECORD_BYTES

    def drop(self, header_hash: bytes) -> None:
        """Removes all of a batch."""
        with self._lock, sqlite.transaction(self._connection):
            self._connection.execute("DELETE FROM equations WHERE header_hash = ?", (header_hash,))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite.connect(path)
    try:
        sqlite.make_tables(connection, _TABLES)
        sqlite.check_integrity(connection)
    except BaseException:
        connection.close()
        raise
    return connection
