"""Cells for samplers, and whole columns: data as stored, parity derived from the column held.

The idea: parity rows are never stored. The parity cell (R + j, c) is a combination of the R cells of
column c, its proof the same combination of their proofs; the engine derives both on demand (about 3 ms of one
core, or 17 without vector lanes, for R = 133) and they are kept in a cache bounded by bytes, as samplers of
one batch ask many nodes the same.

Invariants: only what is held is answered for; a derived record comes from checksummed, once verified cells;
at most `concurrent_derivations_max` columns are worked on at once, and requests take turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da.errors import ColumnNotHeld, InvalidRequest, NotFound, NotReconstructable
from da.node.log import LogReader, readable
from da.protocol.push import RECORD_BYTES
from da.runtime.context import NodeContext
from da.store.errors import CorruptRecord
from da.wire.cells import CORRUPT, NOT_HELD, CellAnswer, Record
from erasure.constants import BYTES_PER_CELL, CELLS_PER_EXT_BLOB
from kzg.engine import Verifier

Pair = tuple[int, int]
# Cells of a column derived in one turn, 0.15 s at most: who asks for a thousand does not hold up the others.
DERIVED_AT_ONCE = 16
_ROW_COUNTS_MAX = 10_000


class RecordCache:
    """Records by (header hash, row, column), least recently used out first."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes // RECORD_BYTES
        self._records: OrderedDict[tuple[bytes, int, int], bytes] = OrderedDict()

    def get(self, key: tuple[bytes, int, int]) -> bytes | None:
        """The record, now the most recently used."""
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
        return record

    def put(self, key: tuple[bytes, int, int], record: bytes) -> None:
        """Keep a record."""
        self._records[key] = record
        if len(self._records) > self._limit:
            self._records.popitem(last=False)

    @property
    def bytes(self) -> int:
        """Bytes of the records kept."""
        return len(self._records) * RECORD_BYTES


class CellReader:
    """Answers for cells and columns."""

    def __init__(self, context: NodeContext, log: LogReader) -> None:
        self._context = context
        self._log = log
        self.cache = RecordCache(context.config.reading.parity_cache_bytes)
        self._slots = asyncio.Semaphore(context.config.reading.concurrent_derivations_max)
        # Of batches that samplers asked for: R never changes, and spares a look into the store a cell.
        self._row_counts: dict[bytes, int] = {}

    async def records(self, header_hash: bytes, pairs: Sequence[Pair]) -> list[CellAnswer]:
        """See Node.records."""
        rows = await self._row_count(header_hash)
        try:
            return await readable(self._records(header_hash, rows, pairs))
        except NotFound:
            await self._log.batch(header_hash)  # known before: say what has become of it
            raise

    async def column(self, header_hash: bytes, column: int) -> bytes:
        """See Node.column."""
        if not 0 <= column < CELLS_PER_EXT_BLOB:
            raise InvalidRequest(f"column must be in 0..{CELLS_PER_EXT_BLOB - 1}; got {column}")
        await self._log.batch(header_hash)
        try:
            records = await readable(self._context.store.read_column(header_hash, column))
        except CorruptRecord as error:
            raise NotReconstructable(f"column {column} is damaged here and being repaired") from error
        if records is None:
            raise ColumnNotHeld(column)
        return records.tobytes()

    async def _row_count(self, header_hash: bytes) -> int:
        rows = self._row_counts.get(header_hash)
        if rows is None:
            rows = (await self._log.batch(header_hash)).header.row_count
            if len(self._row_counts) >= _ROW_COUNTS_MAX:
                self._row_counts.clear()
            self._row_counts[header_hash] = rows
        return rows

    async def _records(self, header_hash: bytes, rows: int, pairs: Sequence[Pair]) -> list[CellAnswer]:
        """`records` of a batch of that many rows."""
        most = self._context.config.reading.records_per_read_max
        if len(pairs) > most:
            raise InvalidRequest(f"at most {most} cells in one request; got {len(pairs)}")
        for row, column in pairs:
            if not (0 <= row < 2 * rows and 0 <= column < CELLS_PER_EXT_BLOB):
                raise InvalidRequest(
                    f"no cell ({row}, {column}) in a matrix of {2 * rows} x {CELLS_PER_EXT_BLOB}"
                )
        answers: dict[Pair, CellAnswer] = {}
        await self._read_data(header_hash, [pair for pair in pairs if pair[0] < rows], answers)
        wanted: dict[int, list[int]] = defaultdict(list)
        for row, column in pairs:
            if row >= rows and (row, column) not in answers:
                cached = self.cache.get((header_hash, row, column))
                answers[row, column] = NOT_HELD if cached is None else Record(cached)
                if cached is None:
                    wanted[column].append(row - rows)
        for column, parity_rows in wanted.items():
            await self._derive(header_hash, rows, column, parity_rows, answers)
        self._count(pairs, rows, answers)
        return [answers[row, column] for row, column in pairs]

    async def _read_data(
        self, header_hash: bytes, pairs: list[Pair], answers: dict[Pair, CellAnswer]
    ) -> None:
        left = list(dict.fromkeys(pairs))
        while left:
            try:
                found = await self._context.store.read_records(header_hash, left)
            except CorruptRecord as error:
                answers[error.row, error.column] = CORRUPT
                left.remove((error.row, error.column))
                continue
            answers.update(
                (pair, NOT_HELD if record is None else Record(record))
                for pair, record in zip(left, found, strict=True)
            )
            return

    async def _derive(
        self,
        header_hash: bytes,
        rows: int,
        column: int,
        parity_rows: list[int],
        answers: dict[Pair, CellAnswer],
    ) -> None:
        try:
            records = await self._context.store.read_column(header_hash, column)
        except CorruptRecord:
            answers.update({(rows + row, column): CORRUPT for row in parity_rows})
            return
        if records is None:
            return
        for start in range(0, len(parity_rows), DERIVED_AT_ONCE):
            part = parity_rows[start : start + DERIVED_AT_ONCE]
            async with self._slots:
                derived = await self._context.workers.compute(
                    derive_parity, self._context.verifier, records, part
                )
            for row, data in zip(part, derived, strict=True):
                answers[rows + row, column] = Record(data)
                self.cache.put((header_hash, rows + row, column), data)

    def _count(self, pairs: Sequence[Pair], rows: int, answers: dict[Pair, CellAnswer]) -> None:
        counter = self._context.metrics.records_read
        held = [row for row, column in pairs if isinstance(answers[row, column], Record)]
        data = sum(1 for row in held if row < rows)
        parity = len(held) - data
        counter.labels("data").inc(data)
        counter.labels("parity").inc(parity)
        counter.labels("missing").inc(len(pairs) - data - parity)


def derive_parity(verifier: Verifier, records: NDArray[np.uint8], parity_rows: Sequence[int]) -> list[bytes]:
    """Records of parity cells of a column, from its data records u8[R,2096]; parity_rows each in 0..R-1.

    Raises EngineError when the engine breaks down.
    """
    cells = verifier.parity_cells(records[:, np.newaxis, :BYTES_PER_CELL], parity_rows)[:, 0]
    proofs = verifier.parity_proofs(records[:, BYTES_PER_CELL:], parity_rows)
    return [record.tobytes() for record in np.concatenate([cells, proofs], axis=1)]
