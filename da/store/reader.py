"""Reading batches: from the catalogue to an object, from the object to checked bytes.

The idea: the catalogue says whether a batch is live and in which bucket; its object says everything else.
Readers with their layout, and decoded batches, are cached, so that a cell of a batch in use costs one range
and one CRC.

Invariants: nothing is returned unchecked; a batch that leaves while it is looked up is reported as what it
became.

Does not: change anything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from zlib import crc32

import numpy as np

from da.protocol.columns import VerifiedRecords
from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.protocol.push import RECORD_BYTES
from da.store.base import BatchRecord, Bytes8
from da.store.batch_file import STORED_RECORD_BYTES, open_column, pack_crc
from da.store.batch_object import decode_contents, read_head
from da.store.cache import HandleCache, LruCache, OpenBatch
from da.store.catalogue import Catalogue, CatalogueRow
from da.store.errors import (
    CorruptBatch,
    CorruptIndex,
    CorruptRecord,
    ExpiredBatch,
    OutOfRange,
    StoreClosed,
    UnknownBatch,
)
from da.store.inventory import has_batch, read_certificate
from da.store.keys import batch_key
from da.store.objects.port import ObjectMissing, Objects
from erasure.constants import CELLS_PER_EXT_BLOB
from kzg.constants import BYTES_PER_COMMITMENT

# A descriptor and a record are a few KiB each; reading a batch among these needs neither open(2) nor a query.
OPEN_FILES = 256
CACHED_RECORDS = 256

_log = logging.getLogger("cellar.store")


class BatchReader:
    """Reads what `catalogue` and `objects` hold. `write_lock` is the store's: held while they change."""

    def __init__(
        self, objects: Objects, catalogue: Catalogue, write_lock: AbstractContextManager[object]
    ) -> None:
        self._objects = objects
        self._catalogue = catalogue
        self._write_lock = write_lock
        self._records: LruCache[BatchRecord] = LruCache(CACHED_RECORDS)
        self._handles = HandleCache(OPEN_FILES, self._open)
        self._closed = False

    def close(self) -> None:
        """Closes all files that nobody is reading; the others are closed by their readers."""
        self._closed = True
        self.clear()

    def clear(self) -> None:
        """Empties the caches."""
        self._handles.clear()
        self._records.clear()

    def forget(self, header_hashes: Sequence[bytes]) -> None:
        """Empties the caches of batches whose files changed or went."""
        # Handles first: a record that is loaded from here on must not come from an old file.
        for header_hash in header_hashes:
            self._handles.invalidate(header_hash)
            self._records.invalidate(header_hash)

    # -- batches

    def live_row(self, header_hash: bytes) -> CatalogueRow:
        """The row of a batch whose file is there. Raises UnknownBatch, ExpiredBatch, CorruptIndex."""
        row = self._catalogue.get(header_hash)
        if row is None and has_batch(self._objects, header_hash):
            # A damaged index may have lost the row; its key is the one thing that no checksum covers. But a
            # batch being put has its file a moment before its row.
            with self._write_lock:
                row = self._catalogue.get(header_hash)
                if row is None and has_batch(self._objects, header_hash):
                    raise CorruptIndex(
                        f"it does not know the batch 0x{header_hash.hex()}, whose file is there"
                    )
        if row is None:
            raise UnknownBatch(header_hash)
        if row.state == "expired":
            raise ExpiredBatch(self.buried(row))
        if row.state == "missing":
            raise UnknownBatch(header_hash)
        return row

    def batch(self, header_hash: bytes) -> BatchRecord:
        """See BatchStore.batch."""
        self._check_open()
        return self._records.get(header_hash, self._load)

    def listed(self, row: CatalogueRow) -> BatchRecord:
        """A row's record, whatever state it is in; "missing" when its file cannot be read."""
        if row.state != "live":
            return self.buried(row)
        try:
            return self.batch(row.header_hash)
        except ExpiredBatch as error:
            return error.record
        except (CorruptBatch, UnknownBatch) as error:
            _log.warning("batch listed as missing: %s", error)
            return self.buried(row, missing=True)

    def buried(self, row: CatalogueRow, missing: bool = False) -> BatchRecord:
        """The record of a row without a file, from the index alone."""
        return BatchRecord(
            header=Header.decode(row.header),
            disperser_signature=b"",
            payload_list=PayloadList(tuple(self._catalogue.entries(row.header_hash))),
            commitments=np.empty((0, BYTES_PER_COMMITMENT), np.uint8),
            columns=(),
            certificate=row.certificate,
            received_ms=row.received_ms,
            state="missing" if missing else row.state,
        )

    # -- records

    @contextmanager
    def open(self, header_hash: bytes) -> Iterator[OpenBatch]:
        """The batch, open for the block. Raises UnknownBatch, ExpiredBatch, CorruptBatch."""
        self._check_open()
        batch = self._handles.acquire(header_hash)
        try:
            yield batch
        except ObjectMissing:
            raise self._gone(header_hash) from None
        finally:
            self._handles.release(batch)

    def read_records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """See BatchStore.read_records."""
        self._check_open()
        batch = self._handles.acquire(header_hash)  # not `open`: a generator costs as much as a record
        try:
            return _read_records(batch, pairs)
        except ObjectMissing:
            raise self._gone(header_hash) from None
        finally:
            self._handles.release(batch)

    def read_column(self, header_hash: bytes, column: int) -> VerifiedRecords | None:
        """See BatchStore.read_column."""
        with self.open(header_hash) as batch:
            layout = batch.layout
            if not 0 <= column < CELLS_PER_EXT_BLOB:
                raise OutOfRange(0, column, layout.row_count)
            if layout.positions[column] < 0:
                return None
            # Nothing but verified records is ever put, and the checksums say that these are those.
            return VerifiedRecords(
                open_column(layout.seed, column, layout.row_count, stored_column(batch, column))
            )

    # -- loading

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed

    def _open(self, header_hash: bytes) -> OpenBatch:
        row = self.live_row(header_hash)
        try:
            reader = self._objects.open(batch_key(row.bucket, header_hash))
        except ObjectMissing:
            raise self._gone(header_hash) from None
        try:
            head = read_head(reader)
            decode_contents(head, header_hash)
        except BaseException:
            reader.close()
            raise
        return OpenBatch(reader, head.layout)

    def _gone(self, header_hash: bytes) -> CorruptBatch:
        """The error of a batch whose object is gone; raises ExpiredBatch for one that expired meanwhile."""
        self.forget([header_hash])
        self.live_row(header_hash)
        return CorruptBatch("file", "it is gone", header_hash)

    def _load(self, header_hash: bytes) -> BatchRecord:
        row = self.live_row(header_hash)
        with self.open(header_hash) as batch:
            head = read_head(batch.reader)
        header, payload_list = decode_contents(head, header_hash)
        certificate = read_certificate(self._objects, row.bucket, header_hash) if row.certified else None
        return BatchRecord(
            header=header,
            disperser_signature=head.parts.disperser_signature,
            payload_list=payload_list,
            commitments=np.frombuffer(head.parts.commitments, np.uint8).reshape(-1, BYTES_PER_COMMITMENT),
            columns=head.layout.columns,
            certificate=certificate,
            received_ms=head.received_ms,
        )


def stored_column(batch: OpenBatch, column: int) -> bytes:
    """A held column as stored, checksums and all."""
    return batch.reader.read(batch.layout.column_bytes, batch.layout.column_offset(column))


def holds(batch: OpenBatch, column: int, records: Bytes8) -> bool:
    """Whether the batch holds exactly these records, undamaged."""
    layout = batch.layout
    if layout.positions[column] < 0:
        return False
    try:
        held = open_column(layout.seed, column, layout.row_count, stored_column(batch, column))
    except CorruptRecord:
        return False
    return bool(np.array_equal(held, records))


def _read_records(batch: OpenBatch, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
    # The hot path: Layout.column_offset and batch_file.open_record, in place.
    layout, read = batch.layout, batch.reader.read
    positions, row_count, start, seed = layout.positions, layout.row_count, layout.data_offset, layout.seed
    out: list[bytes | None] = []
    for row, column in pairs:
        if not (0 <= row < row_count and 0 <= column < CELLS_PER_EXT_BLOB):
            raise OutOfRange(row, column, row_count)
        position = positions[column]
        if position < 0:
            out.append(None)
            continue
        stored = read(STORED_RECORD_BYTES, start + (position * row_count + row) * STORED_RECORD_BYTES)
        record = stored[:RECORD_BYTES]
        if stored[RECORD_BYTES:] != pack_crc(crc32(record, seed ^ column << 16 ^ row)):
            raise CorruptRecord(row, column)
        out.append(record)
    return out
