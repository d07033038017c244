"""The outbox's table: one checksummed row an entry, in SQLite.

Invariants: each write is one durable commit; a row that was changed is a CorruptIndex error, not an answer.
Calls may come from any thread, one at a time through one lock.

Does not: know files.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from da.disperser.outbox_entry import FINISHED, Key, OutboxEntry, State
from da.store import sqlite
from kzg.constants import BYTES_PER_COMMITMENT

_FORGOTTEN_AT_ONCE = 100
_TABLES = {
    "entries": """CREATE TABLE entries (
  namespace BLOB NOT NULL, payload_id BLOB NOT NULL, state TEXT NOT NULL, length INTEGER NOT NULL,
  commitments BLOB NOT NULL, header_hash BLOB, reason TEXT, has_payload INTEGER NOT NULL,
  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, serial INTEGER NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY (namespace, payload_id)) WITHOUT ROWID""",
    "entries_payload": "CREATE INDEX entries_payload ON entries (payload_id)",
    "entries_serial": "CREATE UNIQUE INDEX entries_serial ON entries (serial)",
    "entries_stored": "CREATE INDEX entries_stored ON entries (length) WHERE has_payload = 1",
    "entries_state": "CREATE INDEX entries_state ON entries (state, updated_ms)",
}
_SELECT = "SELECT * FROM entries "


class EntryTable:
    """An open table. Raises sqlite3.Error; CorruptIndex when its file cannot be trusted."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite.connect(path)
        try:
            sqlite.make_tables(self._connection, _TABLES)
            sqlite.check_integrity(self._connection)
            for values in self._connection.execute(_SELECT):
                sqlite.checked("entries", values)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._connection.close()

    def get(self, key: Key) -> OutboxEntry | None:
        """The entry of a key."""
        found = self._select("WHERE namespace = ? AND payload_id = ?", key)
        return found[0] if found else None

    def of_payload(self, payload_id: bytes) -> list[OutboxEntry]:
        """The entries of a payload id, the one accepted last first."""
        return self._select("WHERE payload_id = ? ORDER BY serial DESC", (payload_id,))

    def unfinished(self) -> list[OutboxEntry]:
        """The entries that are on their way, the one accepted first first."""
        return self._select("WHERE state NOT IN (?, ?) ORDER BY serial", FINISHED)

    def stored(self) -> list[OutboxEntry]:
        """The entries whose bytes are there."""
        return self._select("WHERE has_payload = 1", ())

    def stored_bytes(self) -> int:
        """The sum of their lengths."""
        query = "SELECT COALESCE(SUM(length), 0) FROM entries WHERE has_payload = 1"
        with self._lock:
            total: int = self._connection.execute(query).fetchone()[0]
        return total

    def write(self, entry: OutboxEntry, *, new: bool = False) -> None:
        """Writes an entry over the one of its key; `new`: it goes to the end of the order."""
        with self._lock, sqlite.transaction(self._connection):
            if new:
                found = self._connection.execute("SELECT COALESCE(MAX(serial), 0) + 1 FROM entries")
            else:
                query = "SELECT serial FROM entries WHERE namespace = ? AND payload_id = ?"
                found = self._connection.execute(query, entry.key)
            values = (*_values(entry), found.fetchone()[0])
            self._delete(entry.key)
            sealed = (*values, sqlite.row_crc("entries", values))
            self._connection.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", sealed)

    def forget_finished(self, before_ms: int) -> None:
        """Removes some of the finished entries that were last changed before a time."""
        where = f"WHERE state IN (?, ?) AND updated_ms < ? LIMIT {_FORGOTTEN_AT_ONCE}"
        old = self._select(where, (*FINISHED, before_ms))
        if old:
            with self._lock, sqlite.transaction(self._connection):
                for entry in old:
                    self._delete(entry.key)

    def _delete(self, key: Key) -> None:
        self._connection.execute("DELETE FROM entries WHERE namespace = ? AND payload_id = ?", key)

    def _select(self, where: str, arguments: tuple[Any, ...]) -> list[OutboxEntry]:
        with self._lock:
            found = self._connection.execute(_SELECT + where, arguments).fetchall()
        return [_entry(sqlite.checked("entries", values)) for values in found]


def _values(entry: OutboxEntry) -> tuple[Any, ...]:
    return (
        entry.namespace,
        entry.payload_id,
        entry.state.value,
        entry.length,
        entry.commitments.tobytes(),
        entry.header_hash,
        entry.reason,
        int(entry.has_payload),
        entry.created_ms,
        entry.updated_ms,
    )


def _entry(values: Any) -> OutboxEntry:
    namespace, payload_id, state, length, commitments, header_hash, reason, has_payload, created, updated = (
        values[:10]
    )
    matrix = np.frombuffer(commitments, np.uint8).reshape(-1, BYTES_PER_COMMITMENT)
    return OutboxEntry(
        namespace,
        payload_id,
        State(state),
        length,
        matrix,
        header_hash,
        reason,
        bool(has_payload),
        created,
        updated,
    )
