"""Payloads read back: bytes, certificate and proof; rows from what is held here, else from the peers.

Flow of the rows:
- the 64 data columns held here give the rows at once;
- else any 64 held columns give them by recovery;
- else the missing ones are fetched from peers, data columns first, each cell verified;
- else single cells are, and rows and columns rebuilt in turn (`da.member.matrix`).

Checked against the payload id: cells held here were verified before they were stored and are checksummed;
cells from peers are verified on arrival; both against commitments that hash to the id. So the bytes are the
payload's or there are none. Rows that are no payload are a definite error; `rows_of` gives them as they are.

Invariants: at most `concurrent_reconstructions_max` payloads are being put together at once (one matrix of
the payload's rows each); the same payload asked for by many is read once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from da.errors import NotCertified, UndecodablePayload
from da.member.fetch import ColumnFetcher, Columns, RowRange
from da.member.matrix import MatrixRecovery
from da.node.lookup import PayloadLookup
from da.node.types import PayloadProof, Status
from da.protocol.columns import VerifiedRecords
from da.protocol.errors import UndecodableRows
from da.protocol.payload import decode_rows
from da.protocol.payload import payload_id as make_payload_id
from da.protocol.payload_list import PayloadEntry
from da.protocol.push import RECORD_BYTES
from da.runtime.context import NodeContext
from da.store.base import BatchRecord
from da.store.errors import CorruptBatch, CorruptRecord
from erasure.constants import BYTES_PER_BLOB, BYTES_PER_CELL, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB

log = logging.getLogger("cellar.node.payloads")


class PayloadReader:
    """Finds payloads, and puts them and their rows together."""

    def __init__(self, context: NodeContext, lookup: PayloadLookup, fetcher: ColumnFetcher) -> None:
        self._context = context
        self._lookup = lookup
        self._fetcher = fetcher
        self._matrix = MatrixRecovery(context)
        self._slots = asyncio.Semaphore(context.config.reading.concurrent_reconstructions_max)
        self._running: dict[tuple[bytes, int, int], asyncio.Task[bytes]] = {}

    async def payload(self, payload_id: bytes) -> bytes:
        """See Node.payload_bytes."""
        try:
            record, entry = await self._lookup.place(payload_id, None)
        except NotCertified:
            waiting = await self._lookup.waiting_bytes(payload_id)
            if waiting is not None:
                return waiting
            record, entry = await self._lookup.place(payload_id, None)  # batched between the two looks
        return await self.assemble(record, entry)

    async def certificate(self, payload_id: bytes, namespace: bytes | None) -> bytes:
        """See Node.payload_certificate."""
        record, _ = await self._lookup.place(payload_id, namespace)
        if record.certificate is None:
            raise NotCertified("0x" + payload_id.hex(), Status.DISPERSING)
        return record.certificate

    async def proof(self, payload_id: bytes, namespace: bytes | None) -> PayloadProof:
        """See Node.payload_proof."""
        record, entry = await self._lookup.place(payload_id, namespace)
        index = record.payload_list.index_of(payload_id, entry.namespace)
        assert index is not None, "the store found it there"
        return PayloadProof(
            header=record.header,
            header_hash=record.header.hash,
            entry=entry,
            index=index,
            proof=record.payload_list.prove(index),
            commitments=record.commitments,
            certificate=record.certificate,
        )

    async def assemble(self, record: BatchRecord, entry: PayloadEntry) -> bytes:
        """The bytes of a payload of this batch. Raises NotReconstructable, UndecodablePayload, Expired."""
        key = (record.header.hash, entry.first_row, entry.row_count)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._assemble(record, entry))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(task)

    async def _assemble(self, record: BatchRecord, entry: PayloadEntry) -> bytes:
        async with self._slots:
            commitments = record.commitments[entry.first_row : entry.end_row]
            assert make_payload_id(entry.length, commitments) == entry.payload_id, "checked before storing"
            blobs = await self._rows(record, RowRange(entry.first_row, entry.row_count))
            try:
                payload = await self._context.workers.compute(decode_rows, entry.length, blobs)
            except UndecodableRows as error:  # the rows are what was committed to
                raise UndecodablePayload("0x" + entry.payload_id.hex(), error.reason) from error
        return payload

    async def rows_of(self, payload_id: bytes) -> NDArray[np.uint8]:
        """See Node.payload_rows."""
        record, entry = await self._lookup.place(payload_id, None)
        return await self.rows(record, RowRange(entry.first_row, entry.row_count))

    async def rows(self, record: BatchRecord, rows: RowRange) -> NDArray[np.uint8]:
        """Rows of a batch as blobs u8[count,131072]. Raises NotReconstructable, Expired."""
        async with self._slots:
            return await self._rows(record, rows)

    async def _rows(self, record: BatchRecord, rows: RowRange) -> NDArray[np.uint8]:
        context = self._context
        data_columns = range(CELLS_PER_BLOB)
        held = set(record.columns)
        preferred = [c for c in data_columns if c in held]
        if len(preferred) < CELLS_PER_BLOB and len(held) >= CELLS_PER_BLOB:
            preferred = sorted(held)[:CELLS_PER_BLOB]
        try:
            known = await self._read_held(record, rows, preferred)
        except CorruptBatch as error:
            log.warning("%s", error)
            known = {}
        source = "held"
        if len(known) < CELLS_PER_BLOB:
            source = "peers"
            spare = [c for c in range(CELLS_PER_BLOB, CELLS_PER_EXT_BLOB) if c in held]
            wanted = [c for c in range(CELLS_PER_EXT_BLOB) if c not in known and c not in spare]
            need = CELLS_PER_BLOB - len(known)
            known |= await self._fetcher.fetch(record, rows, wanted, need)
            if len(known) < CELLS_PER_BLOB:
                known |= await self._read_held(record, rows, spare[: CELLS_PER_BLOB - len(known)])
        if len(known) < CELLS_PER_BLOB:
            cells = await self._matrix.recover(record)
            context.metrics.payloads_read.labels(source).inc()
            data = cells[rows.first : rows.first + rows.count, :CELLS_PER_BLOB]
            return np.ascontiguousarray(data).reshape(rows.count, BYTES_PER_BLOB)
        context.metrics.payloads_read.labels(source).inc()
        return await context.workers.compute(self._blobs, known)

    async def _read_held(self, record: BatchRecord, rows: RowRange, columns: Iterable[int]) -> Columns:
        """Those of the held columns that can be read; damaged ones are left out (and get repaired)."""
        store, header_hash = self._context.store, record.header.hash
        found: Columns = {}
        for column in columns:
            try:
                if rows.count == record.header.row_count:
                    records = await store.read_column(header_hash, column)
                else:
                    pairs = [(row, column) for row in range(rows.first, rows.first + rows.count)]
                    pieces = await store.read_records(header_hash, pairs)
                    whole = b"".join(piece for piece in pieces if piece is not None)
                    records = VerifiedRecords(np.frombuffer(whole, dtype=np.uint8).reshape(-1, RECORD_BYTES))
            except CorruptRecord as error:
                log.warning("batch %s: %s", header_hash.hex(), error)
                continue
            if records is not None and len(records) == rows.count:
                found[column] = records
        return found

    def _blobs(self, known: Columns) -> NDArray[np.uint8]:
        """Blobs from at least 64 columns."""
        indices = sorted(known)[:CELLS_PER_BLOB]
        cells = np.stack([known[column][:, :BYTES_PER_CELL] for column in indices], axis=1)
        if indices != list(range(CELLS_PER_BLOB)):
            cells = self._context.verifier.recover(indices, cells)[:, :CELLS_PER_BLOB]
        return np.ascontiguousarray(cells).reshape(len(cells), BYTES_PER_BLOB)
