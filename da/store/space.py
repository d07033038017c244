"""Room on the disk: when the store stops taking writes, and when it takes them again.

The idea: writes stop while `reserve_bytes` are still free, so that the index, logs and expiry go on working.
Should others use up the rest, a reserve file of real blocks is given up to let expiry commit, and made again
after.

Invariants: no room (ENOSPC, EDQUOT, SQLITE_FULL, or under the watermark) is StoreFull and passes by itself:
it is looked at anew on each check, and after a real ENOSPC the reserve file must be whole again. Writes
resume only at 9/8 of the watermark, so that the state does not flap. Any other failure of a write is
StoreReadOnly until the store is opened again: after a failed fsync nothing is known about what the disk
holds.

Does not: free room (see EmbeddedStore.expire).
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from da.store.base import StoreHealth
from da.store.errors import StoreFull, StoreReadOnly
from da.store.filesystem import Filesystem

RESERVE_NAME = "reserve"
MAX_RESERVE_FILE_BYTES = 16 * 2**20

_STARVED_BYTES = 2**20
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class SpaceGuard:
    """Watches the file system of `directory`; `reserve_bytes` is the watermark."""

    def __init__(self, fs: Filesystem, directory: Path, reserve_bytes: int) -> None:
        self._fs = fs
        self._directory = directory
        self._reserve_bytes = reserve_bytes
        self._reserve_file_bytes = min(reserve_bytes, MAX_RESERVE_FILE_BYTES)
        self._lock = threading.Lock()
        self._full: str | None = None
        self._no_room_seen = False
        self._failure: str | None = None
        if fs.free_bytes(directory) < _STARVED_BYTES:
            self.release_reserve()  # opening the index takes a little room

    def free_bytes(self) -> int:
        """Bytes that may still be stored."""
        return max(0, self._fs.free_bytes(self._directory) - self._reserve_bytes)

    def health(self) -> StoreHealth:
        """Whether writes are taken, looked at now."""
        reason = self._failure or self._refresh()
        return StoreHealth(reason is None, reason)

    def require(self, size: int = 0) -> None:
        """Raises StoreFull unless `size` more bytes may be stored; StoreReadOnly after a failure."""
        if self._failure is not None:
            raise StoreReadOnly(self._failure)
        reason = self._refresh(size)
        if reason is not None:
            raise StoreFull(reason)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns the block's disk errors into StoreFull or StoreReadOnly, and remembers them."""
        try:
            yield
        except OSError as error:
            raise self._judge(error, error.errno in _NO_ROOM) from error
        except sqlite3.Error as error:
            raise self._judge_sqlite(error) from error

    def release_reserve(self) -> None:
        """Gives the reserve file's blocks free, for a write that must succeed."""
        self._fs.unlink(self._directory / RESERVE_NAME)

    def restore_reserve(self) -> bool:
        """Makes the reserve file whole again; False when there is no room for it."""
        path = self._directory / RESERVE_NAME
        if self._reserve_file_bytes == 0 or _size(path) == self._reserve_file_bytes:
            return True
        try:
            self._fs.allocate(path, self._reserve_file_bytes)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._fs.unlink(path)
            return False
        return True

    def _refresh(self, size: int = 0) -> str | None:
        with self._lock:
            watermark = self._reserve_bytes + size
            if self._full is not None:
                watermark += self._reserve_bytes // 8
            free = self._fs.free_bytes(self._directory)
            if free < watermark:
                self._full = f"disk full: {free} bytes are free, {watermark} are to be kept"
            elif self._no_room_seen and not self.restore_reserve():
                self._full = "disk full: no room for the reserve file"
            else:
                self._full = None
                self._no_room_seen = False
            return self._full

    def _judge_sqlite(self, error: sqlite3.Error) -> StoreReadOnly:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreReadOnly(f"the index is held by another program: {error}")
        # SQLite reports a full disk as an I/O error where it extends its shared-memory file.
        starved = code == sqlite3.SQLITE_IOERR and self._fs.free_bytes(self._directory) < _STARVED_BYTES
        return self._judge(error, starved or code == sqlite3.SQLITE_FULL)

    def _judge(self, error: OSError | sqlite3.Error, no_room: bool) -> StoreReadOnly:
        with self._lock:
            if no_room:
                self._no_room_seen = True
                self._full = f"disk full: {error}"
                return StoreFull(self._full)
            self._failure = f"a write failed, reopen the store when the disk is sound: {error}"
            return StoreReadOnly(self._failure)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
