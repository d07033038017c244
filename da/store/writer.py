"""Writing batches: a new object, or an object with more columns in place of the old one.

Flow of a put:
- check that the height is free and that there is room;
- stream the columns into an upload, seal it with the head: it is durable now, and not visible;
- under the write lock: check the height again, publish the object in its bucket, commit the catalogue row.

The commit is the point at which the batch exists. Before it, a failure removes the object; a crash leaves a
whole object that the next opening indexes.

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

from da.protocol.columns import VerifiedColumns
from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.protocol.proposal import VerifiedProposal
from da.protocol.push import RECORD_BYTES
from da.store.base import Bytes8
from da.store.batch_file import SIGNATURE_BYTES, HeadParts, seal_column
from da.store.batch_object import BatchUpload, read_head
from da.store.bucket import bucket_at
from da.store.cache import OpenBatch
from da.store.catalogue import Catalogue, CatalogueRow
from da.store.errors import CorruptBatch, Equivocation, ExpiredBatch, InvalidBatch, PrunedHeight, StoreClosed
from da.store.inventory import read_certificate
from da.store.keyed_locks import KeyedLocks
from da.store.keys import batch_key
from da.store.objects.port import Objects
from da.store.reader import BatchReader, holds, stored_column
from da.store.space import SpaceGuard
from erasure.constants import CELLS_PER_EXT_BLOB
from kzg.constants import BYTES_PER_COMMITMENT


class BatchWriter:
    """Writes batches into `objects` and `catalogue`. `write_lock` is the store's: held while they change."""

    def __init__(
        self,
        objects: Objects,
        catalogue: Catalogue,
        space: SpaceGuard,
        reader: BatchReader,
        write_lock: AbstractContextManager[object],
        bucket_s: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._objects = objects
        self._catalogue = catalogue
        self._space = space
        self._reader = reader
        self._write_lock = write_lock
        self._bucket_s = bucket_s
        self._now_ms = now_ms
        self._hash_locks = KeyedLocks()
        # A batch never goes into a bucket that was dropped already, whatever the clock says.
        self.not_before_ms = 0
        self.closed = False

    def put(self, proposal: VerifiedProposal, columns: VerifiedColumns) -> None:
        """See BatchStore.put_batch."""
        header, payload_list = proposal.header, proposal.payload_list
        parts = _head_parts(proposal)
        with self._hash_locks.hold(parts.header_hash):
            row = self._claim(header, parts.header_hash)
            self._space.require()
            if row is not None and row.state == "live":
                with ExitStack() as stack:
                    try:
                        batch = stack.enter_context(self._reader.open(parts.header_hash))
                    except CorruptBatch:
                        batch = None  # an object that cannot be read is written again, from these columns
                    if batch is not None:
                        self._merge(row, batch, columns, skip_held=True)
                        return
            self._put_new(header, parts, payload_list, columns)

    def add_columns(self, header_hash: bytes, columns: VerifiedColumns) -> None:
        """See BatchStore.add_columns."""
        with self._hash_locks.hold(header_hash):
            row = self._reader.live_row(header_hash)
            self._space.require()
            with self._reader.open(header_hash) as batch:
                self._merge(row, batch, columns, skip_held=False)

    # -- a new file

    def _claim(self, header: Header, header_hash: bytes) -> CatalogueRow | None:
        # The row of this very batch, or None where the height is free.
        if self.closed:
            raise StoreClosed
        row = self._catalogue.at_height(header.disperser_id, header.height)
        if row is None:
            pruned_height = self._catalogue.pruned_height(header.disperser_id)
            if header.height <= pruned_height:
                raise PrunedHeight(header.height, pruned_height)
            return None
        if row.header_hash != header_hash:
            raise Equivocation(row.header_hash)
        if row.state == "expired":
            raise ExpiredBatch(self._reader.buried(row))
        return row

    def _put_new(
        self, header: Header, parts: HeadParts, payload_list: PayloadList, columns: VerifiedColumns
    ) -> None:
        with self._space.writing():
            upload = BatchUpload(self._objects, parts)
        seed = crc32(parts.header_hash)
        try:
            for column, records in _checked_columns(columns, parts.row_count):
                self._append(upload, column, seal_column(seed, column, records).data)
            known = self._claim(header, parts.header_hash)
            now_ms = max(self._now_ms(), self.not_before_ms)
            received_ms = now_ms if known is None else known.received_ms
            with self._space.writing():
                upload.seal(received_ms)
            with self._write_lock:
                self._commit(header, parts, payload_list, upload, received_ms)
        finally:
            upload.discard()

    def _append(self, upload: BatchUpload, column: int, stored: bytes | memoryview) -> None:
        self._space.require(memoryview(stored).nbytes)
        with self._space.writing():
            upload.append(column, stored)

    def _commit(
        self,
        header: Header,
        parts: HeadParts,
        payload_list: PayloadList,
        upload: BatchUpload,
        received_ms: int,
    ) -> None:
        known = self._claim(header, parts.header_hash)
        # By a clock that is behind, the bucket would be an old one, and due as soon as the clock is right.
        kept_from_ms = max(received_ms, header.timestamp_ms)
        bucket = bucket_at(kept_from_ms, self._bucket_s).name if known is None else known.bucket
        row = CatalogueRow(
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
            try:
                upload.publish(bucket)
                with self._catalogue.transaction():
                    self._catalogue.put(row, payload_list.entries)
            except BaseException:
                if known is None:  # not visible now, and not to the next opening
                    self._objects.delete(batch_key(bucket, parts.header_hash))
                raise
        self._reader.forget([parts.header_hash])

    def _has_certificate(self, row: CatalogueRow) -> bool:
        try:
            read_certificate(self._objects, row.bucket, row.header_hash)
        except CorruptBatch:
            return False
        return True

    # -- the old file and more columns

    def _merge(self, row: CatalogueRow, batch: OpenBatch, columns: VerifiedColumns, skip_held: bool) -> None:
        # Nothing is written before the first column that is not held as given; then the columns before it are
        # copied, damaged records and all, and the two ascending streams are merged.
        layout = batch.layout
        upload: BatchUpload | None = None
        left = list(layout.columns)
        try:
            for column, records in _checked_columns(columns, layout.row_count):
                if upload is None:
                    if skip_held and holds(batch, column, records):
                        continue
                    with self._space.writing():
                        upload = BatchUpload(self._objects, read_head(batch.reader).parts)
                while left and left[0] < column:
                    self._append(upload, left[0], stored_column(batch, left.pop(0)))
                if left and left[0] == column:
                    left.pop(0)
                self._append(upload, column, seal_column(layout.seed, column, records).data)
            if upload is not None:
                for column in left:
                    self._append(upload, column, stored_column(batch, column))
                self._replace(row, upload)
        finally:
            if upload is not None:
                upload.discard()

    def _replace(self, row: CatalogueRow, upload: BatchUpload) -> None:
        with self._space.writing():
            upload.seal(row.received_ms)
        with self._write_lock:
            if self.closed:
                raise StoreClosed
            bucket = self._reader.live_row(row.header_hash).bucket  # it may have expired, or moved, meanwhile
            try:
                with self._space.writing():
                    upload.publish(bucket)
            finally:
                self._reader.forget([row.header_hash])


def _head_parts(proposal: VerifiedProposal) -> HeadParts:
    header, payload_list = proposal.header, proposal.payload_list
    disperser_signature, commitments = proposal.disperser_signature, proposal.commitments
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


def _checked_columns(columns: VerifiedColumns, row_count: int) -> Iterator[tuple[int, Bytes8]]:
    last = -1
    for column, records in columns:
        if not last < column < CELLS_PER_EXT_BLOB:
            raise InvalidBatch(f"column {column} after {last}: they ascend in 0..{CELLS_PER_EXT_BLOB - 1}")
        if records.dtype != np.uint8 or records.shape != (row_count, RECORD_BYTES):
            shape = f"{records.dtype}{list(records.shape)}"
            raise InvalidBatch(f"column {column}: {shape}, not uint8[{row_count}, {RECORD_BYTES}]")
        yield column, records
        last = column
