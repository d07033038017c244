"""The store's directory: where each file lies, and how one gets there.

    lock                        flock of the owner, and its pid
    index.db  -wal  -shm        the index
    reserve                     blocks kept for a full disk
    staging/                    files being written; emptied when the store opens
    buckets/<start>-<length>s/  <header hash>.batch and <header hash>.certificate
    tombstones/                 <bucket>.tombstones, and `pruned`
    quarantine/                 what could not be trusted, for a person to look at; never read again

Invariants: a file is whole and durable in staging/ before it is renamed to its place, so every file elsewhere
is whole; the directory is synced after. Names are parsed strictly: anything else is a stray, reported and
left alone.

Does not: know the index.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.store.batch_file import PREFIX_BYTES, Head, HeadParts, decode_head, decode_prefix, encode_head
from da.store.bucket import Bucket, parse_bucket
from da.store.errors import CorruptBatch
from da.store.filesystem import Filesystem, write_durably
from da.store.sidecar import MAX_SIDECAR_BYTES, decode_sidecar

BATCH_SUFFIX = ".batch"
CERTIFICATE_SUFFIX = ".certificate"
TOMBSTONES_SUFFIX = ".tombstones"
_HASH_DIGITS = 64
# Fits the head of nearly every batch, so that opening one costs one read.
_HEAD_GUESS_BYTES = 2**14
# Columns of few rows are small: written together they cost a fraction of the calls.
_WRITE_BYTES = 2**19


@dataclass(slots=True)
class BucketListing:
    """What lies in a bucket's directory: header hashes with a batch file, with a certificate, other names."""

    batches: set[bytes] = field(default_factory=set)
    certificates: set[bytes] = field(default_factory=set)
    strays: list[str] = field(default_factory=list)


class StoreFiles:
    """Paths and file operations in one store's directory."""

    def __init__(self, fs: Filesystem, directory: Path) -> None:
        self.fs = fs
        self.directory = directory
        self.index = directory / "index.db"
        self._staging = directory / "staging"
        self._buckets = directory / "buckets"
        self._tombstones = directory / "tombstones"
        self._quarantine = directory / "quarantine"
        self.pruned = self._tombstones / "pruned"
        self._serial = count()

    def prepare(self) -> None:
        """Makes the directories and empties staging."""
        for path in (self._staging, self._buckets, self._tombstones, self._quarantine):
            self.fs.make_directory(path)
        for left in self._staging.iterdir():
            if left.is_dir():
                self.fs.remove_tree(left)
            else:
                self.fs.unlink(left)

    # -- places

    def staging_path(self) -> Path:
        """A path in staging that was not used before."""
        return self._staging / f"{os.getpid()}-{next(self._serial)}"

    def batch_path(self, bucket: str, header_hash: bytes) -> Path:
        """Where a batch's file lies."""
        return self._buckets / bucket / (header_hash.hex() + BATCH_SUFFIX)

    def certificate_path(self, bucket: str, header_hash: bytes) -> Path:
        """Where a batch's certificate lies."""
        return self._buckets / bucket / (header_hash.hex() + CERTIFICATE_SUFFIX)

    def tombstones_path(self, bucket: str) -> Path:
        """Where a bucket's tombstones lie."""
        return self._tombstones / (bucket + TOMBSTONES_SUFFIX)

    def relative(self, path: Path) -> str:
        """A path as findings name it."""
        return str(path.relative_to(self.directory))

    # -- listings

    def buckets(self) -> list[Bucket]:
        """The buckets that have a directory, oldest first."""
        parsed = (parse_bucket(path.name) for path in self._buckets.iterdir() if path.is_dir())
        return sorted(bucket for bucket in parsed if bucket is not None)

    def tombstoned(self) -> list[Bucket]:
        """The buckets that have a file of tombstones, oldest first."""
        names = [path.name for path in self._tombstones.iterdir() if path.name.endswith(TOMBSTONES_SUFFIX)]
        parsed = (parse_bucket(name.removesuffix(TOMBSTONES_SUFFIX)) for name in names)
        return sorted(bucket for bucket in parsed if bucket is not None)

    def strays(self) -> Iterator[Path]:
        """Names beside buckets and tombstones that are not the store's."""
        for path in self._buckets.iterdir():
            if not path.is_dir() or parse_bucket(path.name) is None:
                yield path
        for path in self._tombstones.iterdir():
            bucket = parse_bucket(path.name.removesuffix(TOMBSTONES_SUFFIX))
            if path != self.pruned and (bucket is None or path != self.tombstones_path(bucket.name)):
                yield path

    def list_bucket(self, bucket: str) -> BucketListing:
        """What lies in a bucket; empty when it has no directory."""
        listing = BucketListing()
        directory = self._buckets / bucket
        if not directory.is_dir():
            return listing
        for entry in os.scandir(directory):
            stem, dot, suffix = entry.name.partition(".")
            header_hash = _parse_hash(stem)
            if header_hash is not None and dot + suffix == BATCH_SUFFIX:
                listing.batches.add(header_hash)
            elif header_hash is not None and dot + suffix == CERTIFICATE_SUFFIX:
                listing.certificates.add(header_hash)
            else:
                listing.strays.append(entry.name)
        return listing

    def find_batch(self, header_hash: bytes) -> Path | None:
        """The batch's file in whichever bucket it lies: what an index that forgot a row is caught by."""
        paths = (self.batch_path(bucket.name, header_hash) for bucket in self.buckets())
        return next((path for path in paths if path.exists()), None)

    # -- reads

    def read_certificate(self, bucket: str, header_hash: bytes) -> bytes:
        """The certificate. Raises CorruptBatch when the file is gone or does not check."""
        try:
            with self.certificate_path(bucket, header_hash).open("rb") as file:
                data = file.read(MAX_SIDECAR_BYTES + 1)
        except FileNotFoundError:
            raise CorruptBatch("certificate", "its file is gone", header_hash) from None
        return decode_sidecar(data, header_hash)

    # -- writes

    def make_bucket(self, bucket: str) -> None:
        """Makes a bucket's directory, durably."""
        self.fs.make_directory(self._buckets / bucket)

    def write(self, target: Path, data: bytes) -> None:
        """Writes a small file, durably and atomically."""
        write_durably(self.fs, self.staging_path(), target, data)

    def place_batch(self, staged: Path, bucket: str, header_hash: bytes) -> None:
        """Moves a whole batch file to its place, durably."""
        target = self.batch_path(bucket, header_hash)
        self.fs.rename(staged, target)
        self.fs.sync_directory(target.parent)

    def move_batch(self, header_hash: bytes, source: str, target: str) -> None:
        """Moves what is there of a batch, its file and its certificate, to another bucket, durably."""
        for path_in in (self.certificate_path, self.batch_path):
            path = path_in(source, header_hash)
            if path.exists():
                self.fs.rename(path, path_in(target, header_hash))
        self.fs.sync_directory(self._buckets / target)

    def detach_bucket(self, bucket: str) -> Path | None:
        """Moves a bucket's directory out of sight, durably; the caller removes it at leisure."""
        directory = self._buckets / bucket
        if not directory.exists():
            return None
        doomed = self.staging_path()
        self.fs.rename(directory, doomed)
        self.fs.sync_directory(self._buckets)
        return doomed

    def quarantine(self, path: Path) -> None:
        """Moves a file out of the way, under a name that is free."""
        names = (f"{path.name}.{number}" for number in count())
        target = next(self._quarantine / name for name in names if not (self._quarantine / name).exists())
        self.fs.rename(path, target)
        self.fs.sync_directory(self._quarantine)
        self.fs.sync_directory(path.parent)


class StagedBatch:
    """A batch file being written in staging: columns first, the head at last. Ends by finish() or abort()."""

    def __init__(self, files: StoreFiles, parts: HeadParts) -> None:
        self.path = files.staging_path()
        self._fs = files.fs
        self._parts = parts
        self._columns: list[int] = []
        self._pending = bytearray()
        self._offset = len(encode_head(parts, (), 0))
        self._fd = self._fs.create(self.path)

    def write(self, column: int, stored: bytes | memoryview) -> None:
        """Appends a column as stored. Columns ascend; the caller sees to it."""
        self._pending += memoryview(stored).cast("B")
        self._columns.append(column)
        if len(self._pending) >= _WRITE_BYTES:
            self._flush()

    def finish(self, received_ms: int) -> None:
        """Writes the head and makes the file durable."""
        self._flush()
        self._fs.pwrite(self._fd, encode_head(self._parts, self._columns, received_ms), 0)
        self._fs.sync(self._fd)
        fd, self._fd = self._fd, -1
        self._fs.close(fd)

    def _flush(self) -> None:
        if self._pending:
            self._fs.pwrite(self._fd, self._pending, self._offset)
            self._offset += len(self._pending)
            self._pending = bytearray()

    def abort(self) -> None:
        """Removes the file, unless it was moved to its place."""
        with suppress(OSError):  # what cannot be removed now is removed when the store opens again
            if self._fd >= 0:
                fd, self._fd = self._fd, -1
                self._fs.close(fd)
            self._fs.unlink(self.path)


def read_head(fd: int) -> Head:
    """The head of an open batch file. Raises CorruptBatch."""
    data = os.pread(fd, _HEAD_GUESS_BYTES, 0)
    size = decode_prefix(data[:PREFIX_BYTES]).head_bytes
    if size > len(data):
        data = os.pread(fd, size, 0)
    return decode_head(data)


def decode_contents(head: Head, header_hash: bytes) -> tuple[Header, PayloadList]:
    """The header and payload list of a head. Raises CorruptBatch unless they are that batch's."""
    parts = head.parts
    try:
        header = Header.decode(parts.header)
        payload_list = PayloadList.decode(parts.payload_list)
    except ProtocolError as error:
        raise CorruptBatch("head", str(error), parts.header_hash) from error
    if not header.hash == parts.header_hash == header_hash or header.row_count != parts.row_count:
        raise CorruptBatch("head", "it is another batch's", header_hash)
    return header, payload_list


def _parse_hash(text: str) -> bytes | None:
    if len(text) != _HASH_DIGITS or text.strip("0123456789abcdef"):
        return None
    return bytes.fromhex(text)
