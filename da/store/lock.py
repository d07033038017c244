"""One owner for a directory: an flock on a file in it that names the owner's process.

The idea: the lock dies with its process, however that dies, so there is nothing to clean up after a crash.

Invariant: a forked child does not keep the lock alive (it closes its copy of the descriptor), so that a node
that was killed can start again while a worker of it still ends.

Does not: work across machines on a network file system.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from da.store.errors import StoreLocked

LOCK_NAME = "lock"


class DirectoryLock:
    """Held from construction to release(). Raises StoreLocked when another holds it."""

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_NAME
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(fd)
            os.close(fd)
            raise StoreLocked(path, pid) from None
        os.ftruncate(fd, 0)
        try:
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # a full disk: the pid is a courtesy, the lock holds without it
            os.ftruncate(fd, 0)
        self._fd = fd
        _HELD.add(self)

    def release(self) -> None:
        """Gives the directory free. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else None


def _close_in_child() -> None:
    # Closing is not unlocking: the parent's descriptor still holds the lock.
    for lock in _HELD:
        lock.release()


_HELD: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_close_in_child)
