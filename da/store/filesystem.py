"""The system calls that change the disk, as one object.

The idea: everything durable goes through these few methods, so that a test can make any single one of them
fail (no space, I/O error) or stop the process there. Reads do not pass here, except for the free space.

Invariants: a write writes all bytes or raises; a directory is synced after its entries change, and a new
directory's parent too, for a name is durable only then.

Does not: retry, or decide what an error means (see da.store.space).
"""

from __future__ import annotations

import os
import shutil
import sys
from itertools import count
from pathlib import Path

if sys.platform == "darwin":
    import fcntl


class Filesystem:
    """The real one."""

    def create(self, path: Path) -> int:
        """A descriptor of a new file, for reading and writing. Raises OSError when it exists."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Writes all of `data` at `offset`."""
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written

    def sync(self, fd: int) -> None:
        """Makes the file's bytes and length durable."""
        if sys.platform == "darwin":  # fsync there stops at the drive's cache
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def close(self, fd: int) -> None:
        """Closes a descriptor."""
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Atomically names `source` `target`, replacing a file there. Durable after sync_directory."""
        source.replace(target)

    def sync_directory(self, path: Path) -> None:
        """Makes the names in a directory durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_directory(self, path: Path) -> None:
        """Makes a directory, durably, unless it is there."""
        if path.is_dir():
            return
        path.mkdir(exist_ok=True)
        self.sync_directory(path.parent)

    def unlink(self, path: Path) -> None:
        """Removes a file unless it is gone already."""
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Removes a directory with all that is in it."""
        shutil.rmtree(path)

    def allocate(self, path: Path, size: int) -> None:
        """Makes a file of `size` bytes whose blocks are taken."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, size)
            else:  # macOS
                self.pwrite(fd, bytes(size), 0)
            self.sync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        """Bytes that an unprivileged process may still allocate on the file system of `path`."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize


def write_durably(fs: Filesystem, staging: Path, target: Path, data: bytes) -> None:
    """Makes `target` hold exactly `data`, durably and atomically, by way of the new file `staging`.

    Raises OSError; then `target` is what it was, or (only when the last directory sync failed) what it shall
    be.
    """
    fd = fs.create(staging)
    try:
        try:
            fs.pwrite(fd, data, 0)
            fs.sync(fd)
        finally:
            fs.close(fd)
        fs.rename(staging, target)
    except BaseException:
        fs.unlink(staging)
        raise
    fs.sync_directory(target.parent)


def set_aside(fs: Filesystem, path: Path, directory: Path) -> None:
    """Moves a file into a directory, durably, under the first free name: its own and a number."""
    names = (f"{path.name}.{number}" for number in count())
    target = next(directory / name for name in names if not (directory / name).exists())
    fs.rename(path, target)
    fs.sync_directory(directory)
    fs.sync_directory(path.parent)
