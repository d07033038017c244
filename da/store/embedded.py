"""The embedded store: one immutable file a batch on the node's own disk, and a SQLite index beside them.

Flow of a put:
- look whether the height is free and there is room;
- stream the columns into a file in staging, write its head, fdatasync;
- under the write lock: look at the height again, rename into the bucket, sync the directory, commit the index
row. The commit is the point at which the batch exists. Before it, a failure removes the file; a crash leaves
a file that the next opening indexes (whole and verified by its put, so nothing wrong comes of it).

Invariants: those of the port; an add_columns or a re-put writes a new file and renames it over the old one,
so readers see one or the other; one put a header hash at a time, any number of different ones; columns are
held in memory one at a time.

Does not: verify what it stores (see da.member); limit its own size other than by free room.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.store import expiry, recovery, scrub
from da.store.base import (
    RECORD_BYTES,
    BatchRecord,
    Bytes8,
    ColumnStream,
    PayloadLocation,
    ScrubFinding,
    StoreHealth,
)
from da.store.batch_file import (
    CRC_BYTES,
    SIGNATURE_BYTES,
    STORED_RECORD_BYTES,
    HeadParts,
    open_column,
    seal_column,
)
from da.store.bucket import bucket_at
from da.store.cache import HandleCache, LruCache, OpenFile
from da.store.errors import (
    CorruptBatch,
    CorruptIndex,
    CorruptRecord,
    Equivocation,
    ExpiredBatch,
    InvalidBatch,
    OutOfRange,
    PrunedHeight,
    StoreClosed,
    UnknownBatch,
)
from da.store.files import StagedBatch, StoreFiles, read_head
from da.store.filesystem import Filesystem
from da.store.index import Index, IndexRow
from da.store.keyed_locks import KeyedLocks
from da.store.lock import DirectoryLock
from da.store.sidecar import MAX_CERTIFICATE_BYTES, encode_sidecar
from da.store.space import SpaceGuard
from erasure.constants import CELLS_PER_EXT_BLOB
from kzg.constants import BYTES_PER_COMMITMENT

DAY_S = 86_400
DEFAULT_RESERVE_BYTES = 256 * 2**20
DEFAULT_TOMBSTONE_S = 30 * DAY_S
# One descriptor and one record are a few KiB; a cell read of a batch among these costs no open and no query.
OPEN_FILES = 256
CACHED_RECORDS = 256

_log = logging.getLogger(__name__)


def _system_now_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedStore:
    """A BatchStore in a directory. See da.store.base.BatchStore for the methods."""

    def __init__(
        self,
        directory: Path | str,
        *,
        reserve_bytes: int = DEFAULT_RESERVE_BYTES,
        bucket_s: int = DAY_S,
        tombstone_s: int = DEFAULT_TOMBSTONE_S,
        now_ms: Callable[[], int] = _system_now_ms,
        filesystem: Filesystem | None = None,
    ) -> None:
        """Opens the store, made when it is not there; what recovery found is in `findings`.

        Args: reserve_bytes: free room below which the store takes no writes; bucket_s: length of a time
        bucket, the unit of expiry; tombstone_s: how long after its expiry a batch is still known to have
        been.

        Raises: StoreLocked; StoreFull or StoreReadOnly when the index cannot be opened; OSError.
        """
        root = Path(directory)
        root.mkdir(parents=True, exist_ok=True)
        self._bucket_s = bucket_s
        self._tombstone_ms = tombstone_s * 1000
        self._now_ms = now_ms
        self._files = StoreFiles(filesystem or Filesystem(), root)
        self._write_lock = threading.Lock()
        self._hash_locks = KeyedLocks()
        self._records: LruCache[BatchRecord] = LruCache(CACHED_RECORDS)
        self._handles = HandleCache(OPEN_FILES, self._open_file)
        self._closed = False
        self._lock = DirectoryLock(root)
        try:
            self._space = SpaceGuard(self._files.fs, root, reserve_bytes)
            with self._space.writing():
                self._files.prepare()
                self._index, self.findings = self._open_index()
                self._space.restore_reserve()
        except BaseException:
            self._lock.release()
            raise

    # -- writes

    def put_batch(
        self,
        header: Header,
        disperser_signature: bytes,
        payload_list: PayloadList,
        commitments: Bytes8,
        columns: ColumnStream,
    ) -> None:
        """See BatchStore.put_batch."""
        parts = _head_parts(header, disperser_signature, payload_list, commitments)
        with self._hash_locks.hold(parts.header_hash):
            self._check_open()
            row = self._claim(header, parts.header_hash)
            self._space.require()
            if row is not None and row.state == "live" and self._merge(row, columns, replace_equal=False):
                return
            self._put_new(header, parts, payload_list, columns)

    def add_columns(self, header_hash: bytes, columns: ColumnStream) -> None:
        """See BatchStore.add_columns."""
        with self._hash_locks.hold(header_hash):
            row = self._live_row(header_hash)
            self._space.require()
            self._merge(row, columns)

    def put_certificate(self, header_hash: bytes, certificate_bytes: bytes) -> None:
        """See BatchStore.put_certificate."""
        if not 1 <= len(certificate_bytes) <= MAX_CERTIFICATE_BYTES:
            raise InvalidBatch(f"a certificate of {len(certificate_bytes)} bytes")
        data = encode_sidecar(header_hash, certificate_bytes)
        with self._write_lock:
            row = self._live_row(header_hash)
            self._space.require(len(data))
            with self._space.writing():
                self._files.write(self._files.certificate_path(row.bucket, header_hash), data)
                if not row.certified:
                    with self._index.transaction():
                        self._index.certify(row)
            self._records.invalidate(header_hash)

    def expire(self, now_ms: int, retention_ms: int) -> int:
        """See BatchStore.expire."""
        with self._write_lock:
            self._check_open()
            self._space.release_reserve()
            try:
                limit = now_ms - retention_ms
                dropped = sum(
                    expiry.expire_bucket(self._files, self._index, self._space, bucket, self._forget)
                    for bucket in self._files.buckets()
                    if bucket.end_ms <= limit
                )
                expiry.prune(self._files, self._index, self._space, limit - self._tombstone_ms)
                self._floor_ms = self._newest_tombstone_ms()
            finally:
                self._space.restore_reserve()
        return dropped

    def rebuild_index(self) -> None:
        """See BatchStore.rebuild_index. What was wrong is added to `findings`."""
        with self._write_lock:
            self._check_open()
            self._index.close()
            with self._space.writing():
                recovery.remove_index(self._files, keep=False)
                self._index, found = self._open_index()
            self.findings += found
            self._records.clear()
            self._handles.clear()

    def close(self) -> None:
        """See BatchStore.close."""
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            self._handles.clear()
            self._records.clear()
            self._index.close()
            self._lock.release()

    # -- reads

    def batch(self, header_hash: bytes) -> BatchRecord:
        """See BatchStore.batch."""
        self._check_open()
        return self._records.get(header_hash, self._load_record)

    def at_height(self, disperser_id: bytes, height: int) -> bytes | None:
        """See BatchStore.at_height."""
        row = self._index.at_height(disperser_id, height)
        return None if row is None else row.header_hash

    def latest(self, disperser_id: bytes, certified: bool = False) -> BatchRecord | None:
        """See BatchStore.latest."""
        row = self._index.latest(disperser_id, certified)
        return None if row is None else self._listed(row)

    def batches(
        self, disperser_id: bytes, from_height: int, limit: int, certified_only: bool = False
    ) -> list[BatchRecord]:
        """See BatchStore.batches. A batch whose file cannot be read is listed as "missing"."""
        rows = self._index.page(disperser_id, from_height, limit, certified_only)
        return [self._listed(row) for row in rows]

    def read_records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """See BatchStore.read_records."""
        self._check_open()
        file = self._handles.acquire(header_hash)
        try:
            return _read_records(file, pairs)
        finally:
            self._handles.release(file)

    def read_column(self, header_hash: bytes, column: int) -> Bytes8 | None:
        """See BatchStore.read_column."""
        self._check_open()
        file = self._handles.acquire(header_hash)
        try:
            layout = file.layout
            if not 0 <= column < CELLS_PER_EXT_BLOB:
                raise OutOfRange(0, column, layout.row_count)
            if layout.positions[column] < 0:
                return None
            return open_column(layout.seed, column, layout.row_count, _stored_column(file, column))
        finally:
            self._handles.release(file)

    def find_payload(self, payload_id: bytes) -> list[PayloadLocation]:
        """See BatchStore.find_payload. Batches that are "missing" come with that state."""
        found = self._index.locations(payload_id)
        return [PayloadLocation(row.header_hash, entry, row.state) for row, entry in found]

    def scrub(self, header_hash: bytes | None = None) -> Iterator[ScrubFinding]:
        """See BatchStore.scrub. Raises UnknownBatch, ExpiredBatch for one batch."""
        if header_hash is None:
            return scrub.scrub_store(self._files, self._index, self._write_lock)
        return scrub.scrub_batch(self._files, self._index, self._live_row(header_hash))

    def free_bytes(self) -> int:
        """See BatchStore.free_bytes."""
        return self._space.free_bytes()

    def health(self) -> StoreHealth:
        """See BatchStore.health."""
        return self._space.health()

    # -- opening

    def _open_index(self) -> tuple[Index, list[ScrubFinding]]:
        existed = self._files.index.exists()
        index, findings = recovery.open_index(self._files)
        try:
            findings += recovery.reconcile(self._files, index, rebuilding=bool(findings) or not existed)
        except BaseException:
            index.close()
            raise
        for finding in findings:
            _log.warning("store: %s: %s: %s", finding.kind, finding.path, finding.detail)
        self._floor_ms = self._newest_tombstone_ms()
        return index, findings

    def _newest_tombstone_ms(self) -> int:
        return max((bucket.end_ms for bucket in self._files.tombstoned()), default=0)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed

    # -- putting

    def _claim(self, header: Header, header_hash: bytes) -> IndexRow | None:
        # The row of this very batch, or None where the height is free.
        row = self._index.at_height(header.disperser_id, header.height)
        if row is None:
            pruned_height = self._index.pruned_height(header.disperser_id)
            if header.height <= pruned_height:
                raise PrunedHeight(header.height, pruned_height)
            return None
        if row.header_hash != header_hash:
            raise Equivocation(row.header_hash)
        if row.state == "expired":
            raise ExpiredBatch(self._buried_record(row))
        return row

    def _put_new(
        self, header: Header, parts: HeadParts, payload_list: PayloadList, columns: ColumnStream
    ) -> None:
        with self._space.writing():
            staged = StagedBatch(self._files, parts)
        seed = crc32(parts.header_hash)
        try:
            for column, records in _checked_columns(columns, parts.row_count):
                self._append(staged, column, seal_column(seed, column, records).data)
            received_ms = max(self._now_ms(), self._floor_ms)
            known = self._claim(header, parts.header_hash)
            received_ms = received_ms if known is None else known.received_ms
            with self._space.writing():
                staged.finish(received_ms)
            with self._write_lock:
                self._commit_new(header, parts, payload_list, staged, received_ms)
        finally:
            staged.abort()

    def _append(self, staged: StagedBatch, column: int, stored: bytes | memoryview) -> None:
        self._space.require(memoryview(stored).nbytes)
        with self._space.writing():
            staged.write(column, stored)

    def _commit_new(
        self,
        header: Header,
        parts: HeadParts,
        payload_list: PayloadList,
        staged: StagedBatch,
        received_ms: int,
    ) -> None:
        self._check_open()
        known = self._claim(header, parts.header_hash)
        bucket = bucket_at(received_ms, self._bucket_s).name if known is None else known.bucket
        row = IndexRow(
            header_hash=parts.header_hash,
            disperser_id=header.disperser_id,
            height=header.height,
            bucket=bucket,
            received_ms=received_ms,
            state="live",
            certified=known is not None and self._has_certificate(known),
            header=parts.header,
        )
        with self._space.writing():
            self._files.make_bucket(bucket)
            try:
                self._files.place_batch(staged.path, bucket, parts.header_hash)
                with self._index.transaction():
                    self._index.put(row, payload_list.entries)
            except BaseException:
                if known is None:  # never visible: not now, and not to the next opening
                    self._files.fs.unlink(self._files.batch_path(bucket, parts.header_hash))
                raise
        self._forget([parts.header_hash])

    def _has_certificate(self, row: IndexRow) -> bool:
        try:
            self._files.read_certificate(row.bucket, row.header_hash)
        except CorruptBatch:
            return False
        return True

    # -- adding columns: the old file and the new columns, merged into a new file

    def _merge(self, row: IndexRow, columns: ColumnStream, replace_equal: bool = True) -> bool:
        """False, with `columns` untouched, when the old head cannot be read and `replace_equal` is off."""
        try:
            file = self._handles.acquire(row.header_hash)
        except CorruptBatch:
            if replace_equal:
                raise
            return False
        staged: StagedBatch | None = None
        layout = file.layout
        try:
            left = list(layout.columns)  # old columns not yet copied, ascending
            for column, records in _checked_columns(columns, layout.row_count):
                if staged is None:
                    if not replace_equal and _holds(file, column, records):
                        continue
                    with self._space.writing():
                        staged = StagedBatch(self._files, read_head(file.fd).parts)
                while left and left[0] < column:
                    self._append(staged, left[0], _stored_column(file, left.pop(0)))
                if left and left[0] == column:
                    left.pop(0)
                self._append(staged, column, seal_column(layout.seed, column, records).data)
            if staged is not None:
                for column in left:
                    self._append(staged, column, _stored_column(file, column))
                self._commit_merged(row, staged)
        finally:
            if staged is not None:
                staged.abort()
            self._handles.release(file)
        return True

    def _commit_merged(self, row: IndexRow, staged: StagedBatch) -> None:
        with self._space.writing():
            staged.finish(row.received_ms)
        with self._write_lock:
            self._check_open()
            self._live_row(row.header_hash)  # it may have expired meanwhile
            with self._space.writing():
                self._files.place_batch(staged.path, row.bucket, row.header_hash)
            self._forget([row.header_hash])

    def _forget(self, header_hashes: list[bytes]) -> None:
        for header_hash in header_hashes:
            self._records.invalidate(header_hash)
            self._handles.invalidate(header_hash)

    # -- loading

    def _live_row(self, header_hash: bytes) -> IndexRow:
        row = self._index.get(header_hash)
        if row is None:
            if self._files.find_batch(header_hash) is not None and self._index.get(header_hash) is None:
                raise CorruptIndex(f"it does not know the batch 0x{header_hash.hex()}, whose file is there")
            raise UnknownBatch(header_hash)
        if row.state == "expired":
            raise ExpiredBatch(self._buried_record(row))
        if row.state == "missing":
            raise UnknownBatch(header_hash)
        return row

    def _open_file(self, header_hash: bytes) -> OpenFile:
        row = self._live_row(header_hash)
        try:
            fd = os.open(self._files.batch_path(row.bucket, header_hash), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._live_row(header_hash)  # expired a moment ago: says so
            raise CorruptBatch("file", "it is gone", header_hash) from None
        try:
            head = read_head(fd)
            recovery.decode_contents(head, header_hash)
        except BaseException:
            os.close(fd)
            raise
        return OpenFile(fd, head.layout)

    def _load_record(self, header_hash: bytes) -> BatchRecord:
        row = self._live_row(header_hash)
        file = self._handles.acquire(header_hash)
        try:
            head = read_head(file.fd)
        finally:
            self._handles.release(file)
        header, payload_list = recovery.decode_contents(head, header_hash)
        certificate = self._files.read_certificate(row.bucket, header_hash) if row.certified else None
        return BatchRecord(
            header=header,
            disperser_signature=head.parts.disperser_signature,
            payload_list=payload_list,
            commitments=np.frombuffer(head.parts.commitments, np.uint8).reshape(-1, BYTES_PER_COMMITMENT),
            columns=head.layout.columns,
            certificate=certificate,
            received_ms=head.received_ms,
        )

    def _listed(self, row: IndexRow) -> BatchRecord:
        if row.state != "live":
            return self._buried_record(row)
        try:
            return self.batch(row.header_hash)
        except ExpiredBatch as error:
            return error.record
        except (CorruptBatch, UnknownBatch) as error:
            _log.warning("store: listing a batch as missing: %s", error)
            return self._buried_record(row, missing=True)

    def _buried_record(self, row: IndexRow, missing: bool = False) -> BatchRecord:
        return BatchRecord(
            header=Header.decode(row.header),
            disperser_signature=b"",
            payload_list=PayloadList(tuple(self._index.entries(row.header_hash))),
            commitments=np.empty((0, BYTES_PER_COMMITMENT), np.uint8),
            columns=(),
            certificate=row.certificate,
            received_ms=row.received_ms,
            state="missing" if missing else row.state,
        )


def _head_parts(
    header: Header, disperser_signature: bytes, payload_list: PayloadList, commitments: Bytes8
) -> HeadParts:
    if len(disperser_signature) != SIGNATURE_BYTES:
        raise InvalidBatch(f"a signature of {len(disperser_signature)} bytes, not {SIGNATURE_BYTES}")
    expected = (header.row_count, BYTES_PER_COMMITMENT)
    if commitments.dtype != np.uint8 or commitments.shape != expected:
        raise InvalidBatch(
            f"commitments {commitments.dtype}{list(commitments.shape)}, not uint8{list(expected)}"
        )
    if payload_list.row_count != header.row_count:
        raise InvalidBatch(f"payloads of {payload_list.row_count} rows in a batch of {header.row_count}")
    return HeadParts(
        header.hash, header.encode(), disperser_signature, payload_list.encode(), commitments.tobytes()
    )


def _checked_columns(columns: ColumnStream, row_count: int) -> Iterator[tuple[int, Bytes8]]:
    last = -1
    for column, records in columns:
        if not last < column < CELLS_PER_EXT_BLOB:
            raise InvalidBatch(
                f"column {column} after {last}: columns ascend within 0..{CELLS_PER_EXT_BLOB - 1}"
            )
        if records.dtype != np.uint8 or records.shape != (row_count, RECORD_BYTES):
            shape = f"{records.dtype}{list(records.shape)}"
            raise InvalidBatch(f"column {column}: {shape}, not uint8[{row_count}, {RECORD_BYTES}]")
        yield column, records
        last = column


def _stored_column(file: OpenFile, column: int) -> bytes:
    return os.pread(file.fd, file.layout.column_bytes, file.layout.column_offset(column))


def _holds(file: OpenFile, column: int, records: Bytes8) -> bool:
    layout = file.layout
    if layout.positions[column] < 0:
        return False
    try:
        held = open_column(layout.seed, column, layout.row_count, _stored_column(file, column))
    except CorruptRecord:
        return False
    return bool(np.array_equal(held, records))


def _read_records(file: OpenFile, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
    # The hot path: names are bound once and the offset is computed in place.
    layout, fd, pread = file.layout, file.fd, os.pread
    positions, row_count, start, seed = layout.positions, layout.row_count, layout.data_offset, layout.seed
    out: list[bytes | None] = []
    for row, column in pairs:
        if not (0 <= row < row_count and 0 <= column < CELLS_PER_EXT_BLOB):
            raise OutOfRange(row, column, row_count)
        position = positions[column]
        if position < 0:
            out.append(None)
            continue
        stored = pread(fd, STORED_RECORD_BYTES, start + (position * row_count + row) * STORED_RECORD_BYTES)
        record = stored[:RECORD_BYTES]
        if stored[RECORD_BYTES:] != crc32(record, seed ^ column << 16 ^ row).to_bytes(CRC_BYTES, "big"):
            raise CorruptRecord(row, column)
        out.append(record)
    return out
