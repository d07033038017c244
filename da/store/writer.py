"""Writing batches: a new file, or a file with more columns in place of the old one.

Flow of a put:
- look whether the height is free and there is room;
- stream the columns into a file in staging, write its head, make it durable;
- under the write lock: look at the height again, rename into the bucket, sync that, commit the index row.

The commit is the point at which the batch exists. Before it, a failure removes the file; a crash leaves a
whole file that the next opening indexes.

Invariants: the write lock is not held while columns are streamed, so a slow sender delays nobody; writes of
one batch follow one another; one column is in memory at a time. Errors of the column stream pass through,
with nothing stored; only the disk's own errors make the store read-only.

Does not: remove anything that another write stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from zlib import crc32

import numpy as np

from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.protocol.push import RECORD_BYTES
from da.store.base import Bytes8, ColumnStream
from da.store.batch_file import SIGNATURE_BYTES, HeadParts, seal_column
from da.store.bucket import bucket_at
from da.store.cache import OpenFile
from da.store.errors import CorruptBatch, Equivocation, ExpiredBatch, InvalidBatch, PrunedHeight, StoreClosed
from da.store.files import StagedBatch, StoreFiles, read_head
from da.store.index import Index, IndexRow
from da.store.keyed_locks import KeyedLocks
from da.store.reader import BatchReader, holds, stored_column
from da.store.space import SpaceGuard
from erasure.constants import CELLS_PER_EXT_BLOB
from kzg.constants import BYTES_PER_COMMITMENT


class BatchWriter:
    """Writes batches into `files` and `index`. `write_lock` is the store's: held while they change."""

    def __init__(
        self,
        files: StoreFiles,
        index: Index,
        space: SpaceGuard,
        reader: BatchReader,
        write_lock: AbstractContextManager[object],
        bucket_s: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._files = files
        self._index = index
        self._space = space
        self._reader = reader
        self._write_lock = write_lock
        self._bucket_s = bucket_s
        self._now_ms = now_ms
        self._hash_locks = KeyedLocks()
        # A batch never goes into a bucket that was dropped already, whatever the clock says.
        self.not_before_ms = 0
        self.closed = False

    def put(
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
            row = self._claim(header, parts.header_hash)
            self._space.require()
            if row is not None and row.state == "live":
                with ExitStack() as stack:
                    try:
                        file = stack.enter_context(self._reader.open(parts.header_hash))
                    except CorruptBatch:
                        file = None  # a file that nobody can read is written anew, from these columns
                    if file is not None:
                        self._merge(row, file, columns, skip_held=True)
                        return
            self._put_new(header, parts, payload_list, columns)

    def add_columns(self, header_hash: bytes, columns: ColumnStream) -> None:
        """See BatchStore.add_columns."""
        with self._hash_locks.hold(header_hash):
            row = self._reader.live_row(header_hash)
            self._space.require()
            with self._reader.open(header_hash) as file:
                self._merge(row, file, columns, skip_held=False)

    # -- a new file

    def _claim(self, header: Header, header_hash: bytes) -> IndexRow | None:
        # The row of this very batch, or None where the height is free.
        if self.closed:
            raise StoreClosed
        row = self._index.at_height(header.disperser_id, header.height)
        if row is None:
            pruned_height = self._index.pruned_height(header.disperser_id)
            if header.height <= pruned_height:
                raise PrunedHeight(header.height, pruned_height)
            return None
        if row.header_hash != header_hash:
            raise Equivocation(row.header_hash)
        if row.state == "expired":
            raise ExpiredBatch(self._reader.buried(row))
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
            known = self._claim(header, parts.header_hash)
            now_ms = max(self._now_ms(), self.not_before_ms)
            received_ms = now_ms if known is None else known.received_ms
            with self._space.writing():
                staged.finish(received_ms)
            with self._write_lock:
                self._commit(header, parts, payload_list, staged, received_ms)
        finally:
            staged.abort()

    def _append(self, staged: StagedBatch, column: int, stored: bytes | memoryview) -> None:
        self._space.require(memoryview(stored).nbytes)
        with self._space.writing():
            staged.write(column, stored)

    def _commit(
        self,
        header: Header,
        parts: HeadParts,
        payload_list: PayloadList,
        staged: StagedBatch,
        received_ms: int,
    ) -> None:
        known = self._claim(header, parts.header_hash)
        # By a clock that is behind, the bucket would be an old one, and due as soon as the clock is right.
        kept_from_ms = max(received_ms, header.timestamp_ms)
        bucket = bucket_at(kept_from_ms, self._bucket_s).name if known is None else known.bucket
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
                if known is None:  # not visible now, and not to the next opening
                    self._files.fs.unlink(self._files.batch_path(bucket, parts.header_hash))
                raise
        self._reader.forget([parts.header_hash])

    def _has_certificate(self, row: IndexRow) -> bool:
        try:
            self._files.read_certificate(row.bucket, row.header_hash)
        except CorruptBatch:
            return False
        return True

    # -- the old file and more columns

    def _merge(self, row: IndexRow, file: OpenFile, columns: ColumnStream, skip_held: bool) -> None:
        # Nothing is written before the first column that is not held as given; then the columns before it are
        # copied, damaged records and all, and the two ascending streams are merged.
        layout = file.layout
        staged: StagedBatch | None = None
        left = list(layout.columns)
        try:
            for column, records in _checked_columns(columns, layout.row_count):
                if staged is None:
                    if skip_held and holds(file, column, records):
                        continue
                    with self._space.writing():
                        staged = StagedBatch(self._files, read_head(file.fd).parts)
                while left and left[0] < column:
                    self._append(staged, left[0], stored_column(file, left.pop(0)))
                if left and left[0] == column:
                    left.pop(0)
                self._append(staged, column, seal_column(layout.seed, column, records).data)
            if staged is not None:
                for column in left:
                    self._append(staged, column, stored_column(file, column))
                self._replace(row, staged)
        finally:
            if staged is not None:
                staged.abort()

    def _replace(self, row: IndexRow, staged: StagedBatch) -> None:
        with self._space.writing():
            staged.finish(row.received_ms)
        with self._write_lock:
            if self.closed:
                raise StoreClosed
            bucket = self._reader.live_row(row.header_hash).bucket  # it may have expired, or moved, meanwhile
            try:
                with self._space.writing():
                    self._files.place_batch(staged.path, bucket, row.header_hash)
            finally:
                self._reader.forget([row.header_hash])


def _head_parts(
    header: Header, disperser_signature: bytes, payload_list: PayloadList, commitments: Bytes8
) -> HeadParts:
    if len(disperser_signature) != SIGNATURE_BYTES:
        raise InvalidBatch(f"a signature of {len(disperser_signature)} bytes, not {SIGNATURE_BYTES}")
    expected = (header.row_count, BYTES_PER_COMMITMENT)
    if commitments.dtype != np.uint8 or commitments.shape != expected:
        shape = f"{commitments.dtype}{list(commitments.shape)}"
        raise InvalidBatch(f"commitments {shape}, not uint8{list(expected)}")
    if payload_list.row_count != header.row_count:
        raise InvalidBatch(f"payloads of {payload_list.row_count} rows in a batch of {header.row_count}")
    return HeadParts(
        header.hash, header.encode(), disperser_signature, payload_list.encode(), commitments.tobytes()
    )


def _checked_columns(columns: ColumnStream, row_count: int) -> Iterator[tuple[int, Bytes8]]:
    last = -1
    for column, records in columns:
        if not last < column < CELLS_PER_EXT_BLOB:
            raise InvalidBatch(f"column {column} after {last}: they ascend in 0..{CELLS_PER_EXT_BLOB - 1}")
        if records.dtype != np.uint8 or records.shape != (row_count, RECORD_BYTES):
            shape = f"{records.dtype}{list(records.shape)}"
            raise InvalidBatch(f"column {column}: {shape}, not uint8[{row_count}, {RECORD_BYTES}]")
        yield column, records
        last = column
