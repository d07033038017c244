"""The outbox: payloads that were accepted and are not yet certified, and what became of them.

Flow of a payload:
- put: its bytes and commitments go to a file of their own (staging, fdatasync, rename, directory sync), then
  a row in a small SQLite database says "queued"; its commit is the point at which the payload is accepted;
- mark: the row follows it through encoding and dispersing to certified or failed;
- the bytes go once it is certified or failed; the row stays, to answer for the payload's status.

Invariants: a payload whose put returned survives any crash until its end; the file has everything that
the queued row has, so a damaged database is rebuilt from the files; bytes and rows carry checksums; put is
idempotent by (namespace, payload_id). Finished rows are forgotten after `keep_s`. Thread-safe.

Does not: limit its size (the caller asks `total_bytes` first); check commitments or ids against the bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da.disperser.outbox_entry import (
    FINISHED,
    CorruptPayload,
    Key,
    OutboxEntry,
    OutboxError,
    OutboxReadOnly,
    PayloadGone,
    State,
    UnknownPayload,
    created_ms,
    decode_payload_file,
    encode_payload_file,
    queued_entry,
)
from da.disperser.outbox_table import EntryTable
from da.store import sqlite
from da.store.base import StoreHealth
from da.store.errors import StoreReadOnly
from da.store.filesystem import Filesystem, write_durably
from da.store.keyed_locks import KeyedLocks
from da.store.lock import DirectoryLock
from da.store.space import SpaceGuard

__all__ = [
    "CorruptPayload",
    "Key",
    "Outbox",
    "OutboxEntry",
    "OutboxError",
    "OutboxReadOnly",
    "PayloadGone",
    "State",
    "UnknownPayload",
]

DEFAULT_KEEP_S = 15 * 86_400
_SUFFIX = ".payload"

_log = logging.getLogger("cellar.disperser.outbox")


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
        self._key_locks = KeyedLocks()
        self._owner = DirectoryLock(self._root)
        try:
            self._space = SpaceGuard(self._fs, self._root, reserve_bytes)
            with self._writing():
                self._prepare()
                self._table = self._open_table()
                self._recover()
                self._space.restore_reserve()
        except BaseException:
            self._owner.release()
            raise

    def close(self) -> None:
        """Closes the database and gives the directory free. May be called twice."""
        self._table.close()
        self._owner.release()

    # -- writes

    def put(
        self,
        namespace: bytes,
        payload_id: bytes,
        payload: bytes | bytearray,
        commitments: npt.NDArray[np.uint8],
    ) -> bool:
        """Accepts a payload durably; True when it is queued by this call.

        False when it is here and unfinished; one that was certified or failed before is queued again.
        Raises OutboxReadOnly, with nothing stored.
        """
        key = (namespace, payload_id)
        with self._key_locks.hold(key):
            known = self._table.get(key)
            if known is not None and known.state not in FINISHED:
                return False
            now_ms = self._now_ms()
            data = encode_payload_file(key, payload, commitments, now_ms)
            with self._writing():
                self._space.require(len(data))
                write_durably(self._fs, self._staging_path(), self._path(key), data)
                entry = queued_entry(key, len(payload), commitments.copy(), now_ms)
                try:
                    self._table.write(entry, new=True)
                except BaseException:
                    self._fs.unlink(self._path(key))
                    raise
        return True

    def mark(
        self, key: Key, state: State, *, header_hash: bytes | None = None, reason: str | None = None
    ) -> None:
        """Moves an entry to a state, durably; `header_hash` stays what it was unless given.

        The bytes of a payload that is certified or failed are removed.

        Raises UnknownPayload, OutboxReadOnly.
        """
        with self._key_locks.hold(key):
            entry = self.entry(*key)
            finished = state in FINISHED
            moved = replace(
                entry,
                state=state,
                header_hash=header_hash or entry.header_hash,
                reason=reason,
                has_payload=entry.has_payload and not finished,
                updated_ms=self._now_ms(),
            )
            with self._writing():
                self._table.write(moved)
                if finished:
                    self._fs.unlink(self._path(key))
                    self._table.forget_finished(moved.updated_ms - self._keep_ms)

    # -- reads

    def entry(self, namespace: bytes, payload_id: bytes) -> OutboxEntry:
        """What is known of a payload. Raises UnknownPayload."""
        entry = self._table.get((namespace, payload_id))
        if entry is None:
            raise UnknownPayload((namespace, payload_id))
        return entry

    def find(self, payload_id: bytes) -> list[OutboxEntry]:
        """The entries of a payload in all namespaces, the one accepted last first."""
        return self._table.of_payload(payload_id)

    def pending(self) -> list[OutboxEntry]:
        """The unfinished entries, the one accepted first first."""
        return self._table.unfinished()

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
        return decode_payload_file(data, key)[1]

    def health(self) -> StoreHealth:
        """Whether payloads are taken, looked at now."""
        return self._space.health()

    @property
    def total_bytes(self) -> int:
        """Payload bytes that are stored now."""
        return self._table.stored_bytes()

    # -- opening

    def _prepare(self) -> None:
        for path in (self._staging, self._payloads):
            self._fs.make_directory(path)
        for left in self._staging.iterdir():
            self._fs.unlink(left)

    def _open_table(self) -> EntryTable:
        try:
            return EntryTable(self._database)
        except sqlite.FAILURES as error:
            if not sqlite.is_damage(error):
                raise
            _log.warning("outbox: database damaged, rebuilding it from the files: %s", error)
        for suffix in sqlite.FILE_SUFFIXES:
            path = self._database.with_name(self._database.name + suffix)
            if path.exists():
                self._fs.rename(path, path.with_name(path.name + ".damaged"))
        self._fs.sync_directory(self._root)
        return EntryTable(self._database)

    def _recover(self) -> None:
        found = {path.name for path in self._payloads.iterdir() if path.name.endswith(_SUFFIX)}
        rows = {_file_name(entry.key): entry for entry in self._table.stored()}
        for name in sorted(found - rows.keys(), key=lambda name: (created_ms(self._payloads / name), name)):
            self._adopt(self._payloads / name)
        for name in rows.keys() - found:
            entry = rows[name]
            _log.error("outbox: bytes of payload %s lost", entry.payload_id.hex())
            lost = replace(entry, has_payload=False)
            if entry.state in (State.QUEUED, State.ENCODING):
                lost = replace(lost, state=State.FAILED, reason="the stored bytes were lost")
            self._table.write(lost)

    def _adopt(self, path: Path) -> None:
        # No row counts on the file: it was to be removed, or was not accepted yet, or the database was lost.
        try:
            key = bytes.fromhex(path.name[:64]), bytes.fromhex(path.name[64:128])
            entry, _ = decode_payload_file(path.read_bytes(), key)
        except (CorruptPayload, ValueError) as error:
            _log.warning("outbox: %s renamed to .damaged: %s", path.name, error)
            self._fs.rename(path, path.with_suffix(".damaged"))
            return
        if self._table.get(key) is not None:
            self._fs.unlink(path)
        else:
            self._table.write(entry, new=True)

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
