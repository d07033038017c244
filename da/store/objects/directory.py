"""Objects in a directory: a bucket is a directory, an object a file in it.

    staging/      files being written, and buckets being removed; emptied when the objects are opened
    quarantine/   the QUARANTINE bucket
    <bucket>/     any other, such as buckets/20261122T000000Z-86400s

Flow of an upload: a new file in staging/; its bytes; the reserved front; sync; rename to its place; sync of
the directory, and of the parent of a new one.

Invariants: a file is whole and durable in staging/ before it is renamed, so every file elsewhere is whole.
Descriptors, paths, syncs and renames are seen in this module and in da.store.filesystem alone.

Does not: follow the port further than one process: whoever opens the directory has locked it.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from da.store.filesystem import Filesystem, set_aside
from da.store.objects.port import QUARANTINE, Buffer, Key, Listing, ObjectMissing, Objects

# Columns of few rows are small: written together they cost a fraction of the calls.
_WRITE_BYTES = 2**19


class DirectoryObjects(Objects):
    """Objects in files under `root`, which exists. All changes pass through `fs`."""

    def __init__(self, fs: Filesystem, root: Path, buckets: Iterable[str] = ()) -> None:
        """Empties staging; makes `buckets` (of one name each), so that they are there while empty."""
        self._fs = fs
        self._root = root
        self._staging = root / "staging"
        self._serial = count()
        self._lock = threading.Lock()
        self._dropped: list[Path] = []
        for path in (self._staging, *(root / bucket for bucket in buckets), root / QUARANTINE):
            fs.make_directory(path)
        for left in self._staging.iterdir():
            if left.is_dir():
                fs.remove_tree(left)
            else:
                fs.unlink(left)

    def upload(self, front_bytes: int = 0) -> FileUpload:
        """See Objects.upload."""
        return FileUpload(self._fs, self._root, self._staging_path(), front_bytes)

    def open(self, key: Key, *, uncached: bool = False) -> FileReader:
        """See Objects.open."""
        try:
            fd = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissing(key) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ObjectMissing(key)
        if uncached and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return FileReader(fd)

    def exists(self, key: Key) -> bool:
        """See Objects.exists."""
        return self._path(key).is_file()

    def list(self, bucket: str) -> Listing:
        """See Objects.list."""
        objects: list[str] = []
        buckets: list[str] = []
        try:
            with os.scandir(self._root / bucket) as entries:
                for entry in entries:
                    (buckets if entry.is_dir() else objects).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return Listing()
        return Listing(frozenset(objects), frozenset(buckets))

    def move(self, names: Sequence[str], source: str, target: str) -> None:
        """See Objects.move."""
        make_bucket(self._fs, self._root, target)
        for name in names:
            path = self._root / source / name
            if path.is_file():
                self._fs.rename(path, self._root / target / name)
        self._fs.sync_directory(self._root / target)

    def delete(self, key: Key) -> None:
        """See Objects.delete."""
        if self.exists(key):
            self._fs.unlink(self._path(key))

    def drop(self, bucket: str) -> None:
        """See Objects.drop: the directory is renamed into staging."""
        directory = self._root / bucket
        if not directory.is_dir():
            return
        dropped = self._staging_path()
        self._fs.rename(directory, dropped)
        with self._lock:
            self._dropped.append(dropped)
        self._fs.sync_directory(directory.parent)

    def reclaim(self) -> None:
        """See Objects.reclaim. What cannot be removed now is removed when the directory is opened again."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
        for path in dropped:
            self._fs.remove_tree(path)

    def quarantine(self, key: Key) -> None:
        """See Objects.quarantine."""
        if not self.exists(key):
            raise ObjectMissing(key)
        set_aside(self._fs, self._path(key), self._root / QUARANTINE)

    def _path(self, key: Key) -> Path:
        return self._root / key.bucket / key.name

    def _staging_path(self) -> Path:
        return self._staging / f"{os.getpid()}-{next(self._serial)}"


class FileReader:
    """An open file. `read` is the system call itself: it is the hot path of every cell."""

    __slots__ = ("_fd", "read")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.read = partial(os.pread, fd)

    def size(self) -> int:
        """See ObjectReader.size."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """See ObjectReader.close."""
        os.close(self._fd)


class FileUpload:
    """A file in staging."""

    def __init__(self, fs: Filesystem, root: Path, path: Path, front_bytes: int) -> None:
        self._fs = fs
        self._root = root
        self._path = path
        self._front_bytes = front_bytes
        self._offset = front_bytes
        self._pending = bytearray()
        self._fd = fs.create(path)

    def append(self, data: Buffer) -> None:
        """See Upload.append."""
        self._pending += memoryview(data).cast("B")
        if len(self._pending) >= _WRITE_BYTES:
            self._flush()

    def seal(self, front: bytes = b"") -> None:
        """See Upload.seal."""
        assert len(front) == self._front_bytes, "what was reserved is filled"
        self._flush()
        if front:
            self._fs.pwrite(self._fd, front, 0)
        self._fs.sync(self._fd)
        fd, self._fd = self._fd, -1
        self._fs.close(fd)

    def publish(self, key: Key) -> None:
        """See Upload.publish."""
        assert self._fd < 0, "sealed before it is published"
        make_bucket(self._fs, self._root, key.bucket)
        directory = self._root / key.bucket
        self._fs.rename(self._path, directory / key.name)
        self._fs.sync_directory(directory)

    def discard(self) -> None:
        """See Upload.discard."""
        with suppress(OSError):  # what cannot be removed now is removed when the directory is opened again
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                self._fs.close(fd)
            self._fs.unlink(self._path)

    def _flush(self) -> None:
        if self._pending:
            self._fs.pwrite(self._fd, self._pending, self._offset)
            self._offset += len(self._pending)
            self._pending = bytearray()


def make_bucket(fs: Filesystem, root: Path, bucket: str) -> None:
    """Makes the directories of a bucket that are not there, durably."""
    path = root
    for name in bucket.split("/"):
        path /= name
        fs.make_directory(path)
