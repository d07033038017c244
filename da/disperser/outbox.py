"""The outbox: payloads that were accepted and are not yet certified, and what became of them.

Flow of a payload:
- put: its bytes and commitments go to a file of their own (staging, fdatasync, rename, directory sync), then
  a row in a small SQLite database says "queued"; its commit is the point at which the payload is accepted;
- mark: the row follows it through encoding and dispersing to certified or failed;
- remove_payload: the bytes go once a batch holds them durably; the row stays, to answer for the payload's
  status.

Invariants: a payload whose put returned survives any crash until remove_payload; the file has everything that
the queued row has, so a damaged database is made anew from the files; bytes and rows carry checksums; put is
idempotent by (namespace, payload_id). Finished rows are forgotten after `keep_s`. Thread-safe.

Does not: limit its size (the caller asks `total_bytes` first); check commitments or ids against the bytes.

Payload file, big-endian: magic, version u16, namespace bytes[32], payload_id bytes[32], created_ms u64, rows
u16, length u32, commitments 48 x rows, the bytes, crc32 over all before.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from da.store import sqlite
from da.store.errors import CorruptIndex, StoreReadOnly
from da.store.filesystem import Filesystem, write_durably
from da.store.keyed_locks import KeyedLocks
from da.store.lock import DirectoryLock
from da.store.space import SpaceGuard
from kzg.constants import BYTES_PER_COMMITMENT

Key = tuple[bytes, bytes]

DEFAULT_KEEP_S = 15 * 86_400
MAGIC = b"CELLARO\x00"
VERSION = 1

_FRONT = struct.Struct(">8sH32s32sQHI")
_CRC = struct.Struct(">I")
_SUFFIX = ".payload"
_TABLES = {
    "entries": """CREATE TABLE entries (
  namespace BLOB NOT NULL, payload_id BLOB NOT NULL, state TEXT NOT NULL, length INTEGER NOT NULL,
  commitments BLOB NOT NULL, header_hash BLOB, reason TEXT, has_payload INTEGER NOT NULL,
  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, serial INTEGER NOT NULL, crc INTEGER NOT NULL,
  PRIMARY KEY (namespace, payload_id)) WITHOUT ROWID""",
    "entries_payload": "CREATE INDEX entries_payload ON entries (payload_id)",
    "entries_serial": "CREATE UNIQUE INDEX entries_serial ON entries (serial)",
    "entries_state": "CREATE INDEX entries_state ON entries (state, updated_ms)",
}
_SELECT = "SELECT * FROM entries "

_log = logging.getLogger(__name__)


class State(StrEnum):
    """Where a payload is on its way; the last two are the ends."""

    QUEUED = "queued"
    ENCODING = "encoding"
    DISPERSING = "dispersing"
    CERTIFIED = "certified"
    FAILED = "failed"


_FINISHED = (State.CERTIFIED, State.FAILED)


class OutboxError(Exception):
    """Root of the outbox's errors."""


class UnknownPayload(OutboxError):
    """No such (namespace, payload id) is here."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"unknown payload 0x{key[1].hex()}")
        self.key = key


class PayloadGone(OutboxError):
    """The entry is here, its bytes were removed."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"the bytes of payload 0x{key[1].hex()} are gone")
        self.key = key


class CorruptPayload(OutboxError):
    """The stored bytes fail their checksum."""

    def __init__(self, key: Key, reason: str) -> None:
        super().__init__(f"the bytes of payload 0x{key[1].hex()} are damaged: {reason}")
        self.key = key
        self.reason = reason


class OutboxReadOnly(OutboxError, StoreReadOnly):
    """No room, or the disk failed; nothing of the write is stored. The cause is the store's own error."""


@dataclass(frozen=True, slots=True, eq=False)
class OutboxEntry:
    """What is known of a payload: commitments u8[rows,48], length in bytes, times in Unix milliseconds."""

    namespace: bytes
    payload_id: bytes
    state: State
    length: int
    commitments: npt.NDArray[np.uint8]
    header_hash: bytes | None
    reason: str | None
    has_payload: bool
    created_ms: int
    updated_ms: int

    @property
    def key(self) -> Key:
        """(namespace, payload id)."""
        return self.namespace, self.payload_id


def _system_now_ms() -> int:
    return time.time_ns() // 1_000_000


class Outbox:
    """An outbox in a directory of its own."""

    def __init__(
        self,
        directory: Path | str,
        *,
        reserve_bytes: int = 0,
        keep_s: int = DEFAULT_KEEP_S,
        now_ms: Callable[[], int] = _system_now_ms,
        filesystem: Filesystem | None = None,
    ) -> None:
        """Opens the outbox, made when it is not there.

        Args: reserve_bytes: free room below which nothing is put; keep_s: how long finished entries stay.

        Raises: StoreLocked; OutboxReadOnly when the database cannot be opened; OSError.
        """
        self._root = Path(directory)
        self._root.mkdir(parents=True, exist_ok=True)
        self._fs = filesystem or Filesystem()
        self._now_ms = now_ms
        self._keep_ms = keep_s * 1000
        self._staging = self._root / "staging"
        self._payloads = self._root / "payloads"
        self._database = self._root / "outbox.db"
        self._serial = count()
        self._lock = threading.RLock()
        self._key_locks = KeyedLocks()
        self._owner = DirectoryLock(self._root)
        try:
            self._space = SpaceGuard(self._fs, self._root, reserve_bytes)
            with self._writing():
                self._prepare()
                self._connection = self._open_database()
                self._recover()
                self._space.restore_reserve()
        except BaseException:
            self._owner.release()
            raise

    def close(self) -> None:
        """Closes the database and gives the directory free. May be called twice."""
        with self._lock:
            self._connection.close()
            self._owner.release()

    # -- writes

    def put(
        self, namespace: bytes, payload_id: bytes, payload: bytes, commitments: npt.NDArray[np.uint8]
    ) -> bool:
        """Accepts a payload durably; True when it is queued by this call.

        False when it is here and unfinished; one that was certified or failed before is queued anew.
        Raises OutboxReadOnly, with nothing stored.
        """
        key = (namespace, payload_id)
        with self._key_locks.hold(key):
            known = self._find_one(key)
            if known is not None and known.state not in _FINISHED:
                return False
            now_ms = self._now_ms()
            data = _encode_file(key, payload, commitments, now_ms)
            with self._writing():
                self._space.require(len(data))
                write_durably(self._fs, self._staging_path(), self._path(key), data)
                entry = OutboxEntry(
                    namespace,
                    payload_id,
                    State.QUEUED,
                    len(payload),
                    commitments.copy(),
                    None,
                    None,
                    True,
                    now_ms,
                    now_ms,
                )
                try:
                    self._write(entry, new=True)
                except BaseException:
                    self._fs.unlink(self._path(key))
                    raise
        return True

    def mark(
        self, key: Key, state: State, *, header_hash: bytes | None = None, reason: str | None = None
    ) -> None:
        """Moves an entry to a state, durably; `header_hash` stays what it was unless given.

        Raises UnknownPayload, OutboxReadOnly.
        """
        with self._lock:
            entry = self.entry(*key)
            moved = replace(
                entry,
                state=state,
                header_hash=header_hash or entry.header_hash,
                reason=reason,
                updated_ms=self._now_ms(),
            )
            with self._writing():
                self._write(moved)
                if state in _FINISHED:
                    self._forget_finished(moved.updated_ms - self._keep_ms)

    def remove_payload(self, key: Key) -> None:
        """Removes the bytes, which a batch holds now; nothing happens when they are gone already.

        Raises UnknownPayload, OutboxReadOnly.
        """
        with self._lock:
            entry = self.entry(*key)
            if not entry.has_payload:
                return
            with self._writing():
                self._write(replace(entry, has_payload=False))
                self._fs.unlink(self._path(key))

    # -- reads

    def entry(self, namespace: bytes, payload_id: bytes) -> OutboxEntry:
        """What is known of a payload. Raises UnknownPayload."""
        entry = self._find_one((namespace, payload_id))
        if entry is None:
            raise UnknownPayload((namespace, payload_id))
        return entry

    def find(self, payload_id: bytes) -> list[OutboxEntry]:
        """The entries of a payload in all namespaces, the one accepted last first."""
        return self._select("WHERE payload_id = ? ORDER BY serial DESC", (payload_id,))

    def pending(self) -> list[OutboxEntry]:
        """The unfinished entries, the one accepted first first."""
        return self._select("WHERE state NOT IN (?, ?) ORDER BY serial", _FINISHED)

    def payload(self, key: Key) -> bytes:
        """The payload's bytes. Raises UnknownPayload, PayloadGone, CorruptPayload."""
        entry = self.entry(*key)
        if not entry.has_payload:
            raise PayloadGone(key)
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            if not self.entry(*key).has_payload:
                raise PayloadGone(key) from None
            raise CorruptPayload(key, "the file is gone") from None
        return _decode_file(data, key)[1]

    @property
    def total_bytes(self) -> int:
        """Payload bytes that are stored now."""
        with self._lock:
            query = "SELECT COALESCE(SUM(length), 0) FROM entries WHERE has_payload = 1"
            total: int = self._connection.execute(query).fetchone()[0]
        return total

    # -- opening

    def _prepare(self) -> None:
        for path in (self._staging, self._payloads):
            self._fs.make_directory(path)
        for left in self._staging.iterdir():
            self._fs.unlink(left)

    def _open_database(self) -> sqlite3.Connection:
        try:
            return self._verified()
        except (sqlite3.Error, CorruptIndex) as error:
            if not sqlite.is_damage(error):
                raise
            _log.warning("outbox: the database is made anew from the files: %s", error)
        for suffix in sqlite.FILE_SUFFIXES:
            path = self._database.with_name(self._database.name + suffix)
            if path.exists():
                self._fs.rename(path, path.with_name(path.name + ".damaged"))
        self._fs.sync_directory(self._root)
        return self._verified()

    def _verified(self) -> sqlite3.Connection:
        connection = sqlite.connect(self._database)
        try:
            sqlite.make_tables(connection, _TABLES)
            sqlite.check_integrity(connection)
            for values in connection.execute(_SELECT):
                sqlite.checked("entries", values)
        except BaseException:
            connection.close()
            raise
        return connection

    def _recover(self) -> None:
        found = {path.name for path in self._payloads.iterdir() if path.name.endswith(_SUFFIX)}
        rows = {_file_name(entry.key): entry for entry in self._select("WHERE has_payload = 1", ())}
        for name in sorted(found - rows.keys(), key=lambda name: (_created_ms(self._payloads / name), name)):
            self._adopt(self._payloads / name)
        for name in rows.keys() - found:
            entry = rows[name]
            _log.error("outbox: the bytes of payload %s are lost", entry.payload_id.hex())
            lost = replace(entry, has_payload=False)
            if entry.state in (State.QUEUED, State.ENCODING):
                lost = replace(lost, state=State.FAILED, reason="the stored bytes were lost")
            self._write(lost)

    def _adopt(self, path: Path) -> None:
        # A file without a row that counts on it: removed, not yet accepted, or from before the database was
        # lost.
        try:
            key = bytes.fromhex(path.name[:64]), bytes.fromhex(path.name[64:128])
            entry, _ = _decode_file(path.read_bytes(), key)
        except (CorruptPayload, ValueError) as error:
            _log.warning("outbox: %s is set aside: %s", path.name, error)
            self._fs.rename(path, path.with_suffix(".damaged"))
            return
        if self._find_one(key) is not None:
            self._fs.unlink(path)
        else:
            self._write(entry, new=True)

    # -- the database

    def _select(self, where: str, arguments: tuple[Any, ...]) -> list[OutboxEntry]:
        with self._lock:
            found = self._connection.execute(_SELECT + where, arguments).fetchall()
        return [_entry(sqlite.checked("entries", values)) for values in found]

    def _find_one(self, key: Key) -> OutboxEntry | None:
        found = self._select("WHERE namespace = ? AND payload_id = ?", key)
        return found[0] if found else None

    def _write(self, entry: OutboxEntry, new: bool = False) -> None:
        with self._lock, sqlite.transaction(self._connection):
            if new:
                query = "SELECT COALESCE(MAX(serial), 0) + 1 FROM entries"
                serial = self._connection.execute(query).fetchone()[0]
            else:
                query = "SELECT serial FROM entries WHERE namespace = ? AND payload_id = ?"
                serial = self._connection.execute(query, entry.key).fetchone()[0]
            self._connection.execute("DELETE FROM entries WHERE namespace = ? AND payload_id = ?", entry.key)
            values = (*_values(entry), serial)
            sealed = (*values, sqlite.row_crc("entries", values))
            self._connection.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", sealed)

    def _forget_finished(self, before_ms: int) -> None:
        where = "WHERE state IN (?, ?) AND updated_ms < ? LIMIT 100"
        for entry in self._select(where, (*_FINISHED, before_ms)):
            with sqlite.transaction(self._connection):
                self._connection.execute(
                    "DELETE FROM entries WHERE namespace = ? AND payload_id = ?", entry.key
                )
            self._fs.unlink(self._path(entry.key))

    # -- files

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._space.writing():
                yield
        except StoreReadOnly as error:
            raise OutboxReadOnly(error.reason) from error

    def _path(self, key: Key) -> Path:
        return self._payloads / _file_name(key)

    def _staging_path(self) -> Path:
        return self._staging / str(next(self._serial))


def _file_name(key: Key) -> str:
    return key[0].hex() + key[1].hex() + _SUFFIX


def _encode_file(key: Key, payload: bytes, commitments: npt.NDArray[np.uint8], created_ms: int) -> bytes:
    front = _FRONT.pack(MAGIC, VERSION, *key, created_ms, len(commitments), len(payload))
    body = b"".join((front, commitments.tobytes(), payload))
    return body + _CRC.pack(crc32(body))


def _decode_file(data: bytes, key: Key) -> tuple[OutboxEntry, bytes]:
    """The queued entry and the bytes of a payload file. Raises CorruptPayload for any other bytes."""
    body = memoryview(data)[: -_CRC.size]
    if len(body) < _FRONT.size or _CRC.unpack(data[-_CRC.size :])[0] != crc32(body):
        raise CorruptPayload(key, "wrong checksum")
    magic, version, namespace, payload_id, created_ms, rows, length = _FRONT.unpack_from(body)
    start = _FRONT.size + rows * BYTES_PER_COMMITMENT
    if (magic, version) != (MAGIC, VERSION) or (namespace, payload_id) != key or start + length != len(body):
        raise CorruptPayload(key, "no file of this payload and version")
    commitments = np.frombuffer(body[_FRONT.size : start], np.uint8).reshape(rows, BYTES_PER_COMMITMENT)
    entry = OutboxEntry(
        namespace,
        payload_id,
        State.QUEUED,
        length,
        commitments.copy(),
        None,
        None,
        True,
        created_ms,
        created_ms,
    )
    return entry, bytes(body[start:])


def _created_ms(path: Path) -> int:
    with path.open("rb") as file:
        front = file.read(_FRONT.size)
    return _FRONT.unpack(front)[4] if len(front) == _FRONT.size else 0


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
