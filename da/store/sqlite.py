"""SQLite as the store and the outbox use it: durable commits, checksummed rows, a replaceable file.

The idea: WAL with synchronous=FULL makes a commit durable with one fsync. SQLite does not notice a flipped
bit in a row, so each row carries a CRC-32 of its fields. What a database says, files say too; one that cannot
be trusted goes to quarantine and is made anew.

Invariant: the machine's failures (no room, no access, a lock) are never taken for damage of the file.

Does not: know any table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from da.store.errors import CorruptIndex

# What a damaged file can raise: sqlite3 decodes even the text of an error message that quotes it.
FAILURES = (sqlite3.Error, CorruptIndex, UnicodeDecodeError)
FILE_SUFFIXES = ("", "-wal", "-shm")

_ENVIRONMENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
}


def connect(path: Path) -> sqlite3.Connection:
    """A connection without implicit transactions, for use from any thread under the caller's lock."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA busy_timeout = 5000")  # a backup tool may hold it for a moment
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # only macOS knows the difference
        connection.execute("PRAGMA cell_size_check = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def make_tables(connection: sqlite3.Connection, tables: Mapping[str, str]) -> None:
    """Makes the tables (name to SQL) in an empty database. Raises CorruptIndex when it has other ones."""
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    if not found:
        with transaction(connection):
            for sql in tables.values():
                connection.execute(sql)
    elif found != dict(tables):
        raise CorruptIndex("its tables are not the ones of this version")


def check_integrity(connection: sqlite3.Connection) -> None:
    """Reads every page. Raises CorruptIndex, or sqlite3.DatabaseError, when the structure is damaged."""
    answer = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        raise CorruptIndex(str(answer))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits what the block wrote, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after some errors SQLite has rolled back by itself
            connection.execute("ROLLBACK")
        raise


def row_crc(table: str, values: Sequence[Any]) -> int:
    """The checksum of a row. repr keeps types and fields apart: rows that differ anywhere differ here."""
    return crc32(repr((table, *values)).encode())


def checked(table: str, values: Sequence[Any]) -> Sequence[Any]:
    """A row whose last value is its checksum. Raises CorruptIndex when it fails."""
    if row_crc(table, values[:-1]) != values[-1]:
        raise CorruptIndex(f"a row of {table} fails its checksum")
    return values


def is_damage(error: sqlite3.Error | CorruptIndex | UnicodeDecodeError) -> bool:
    """Whether the file is at fault, rather than the machine."""
    if isinstance(error, (CorruptIndex, UnicodeDecodeError)):
        return True
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _ENVIRONMENT
