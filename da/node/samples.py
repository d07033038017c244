"""Cells for samplers: data ones as stored, parity ones derived from the column held.

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
from typing import TYPE_CHECKING

import numpy as np

from da.errors import InvalidRequest
from da.protocol.push import RECORD_BYTES
from da.store.errors import CorruptRecord
from erasure.constants import BYTES_PER_CELL, CELLS_PER_EXT_BLOB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from da.node.context import NodeContext
    from kzg.engine import Engine

Pair = tuple[int, int]
# Cells of a column derived in one turn, 0.15 s at most: who asks for a thousand does not hold up the others.
DERIVED_AT_ONCE = 16
CORRUPT = b""  # in place of a record whose checksum fails; its repair is under way


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


class RecordReader:
    """Answers for single cells."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self.cache = RecordCache(context.config.parity_cache_bytes)
        self._slots = asyncio.Semaphore(context.config.concurrent_derivations_max)

    async def records(self, header_hash: bytes, rows: int, pairs: Sequence[Pair]) -> list[bytes | None]:
        """2096 bytes for each (row < 2R, column); None where not held, CORRUPT where damaged.

        `rows` is the batch's R.

        Raises InvalidRequest (too many, out of range), NotFound, Expired, EngineError.
        """
        if len(pairs) > self._context.config.records_per_read_max:
            raise InvalidRequest(
                f"{len(pairs)} cells in one request, at most {self._context.config.records_per_read_max}"
            )
        for row, column in pairs:
            if not (0 <= row < 2 * rows and 0 <= column < CELLS_PER_EXT_BLOB):
                raise InvalidRequest(
                    f"no cell ({row}, {column}) in a matrix of {2 * rows} x {CELLS_PER_EXT_BLOB}"
                )
        answers: dict[Pair, bytes | None] = {}
        await self._read_data(header_hash, [pair for pair in pairs if pair[0] < rows], answers)
        wanted: dict[int, list[int]] = defaultdict(list)
        for row, column in pairs:
            if row >= rows and (row, column) not in answers:
                answers[row, column] = cached = self.cache.get((header_hash, row, column))
                if cached is None:
                    wanted[column].append(row - rows)
        for column, parity_rows in wanted.items():
            await self._derive(header_hash, rows, column, parity_rows, answers)
        self._count(pairs, rows, answers)
        return [answers[row, column] for row, column in pairs]

    async def _read_data(
        self, header_hash: bytes, pairs: list[Pair], answers: dict[Pair, bytes | None]
    ) -> None:
        left = list(dict.fromkeys(pairs))
        while left:
            try:
                found = await self._context.store.read_records(header_hash, left)
            except CorruptRecord as error:
                answers[error.row, error.column] = CORRUPT
                left.remove((error.row, error.column))
                continue
            answers.update(zip(left, found, strict=True))
            return

    async def _derive(
        self,
        header_hash: bytes,
        rows: int,
        column: int,
        parity_rows: list[int],
        answers: dict[Pair, bytes | None],
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
                    derive_parity, self._context.engine, records, part
                )
            for row, data in zip(part, derived, strict=True):
                answers[rows + row, column] = data
                self.cache.put((header_hash, rows + row, column), data)

    def _count(self, pairs: Sequence[Pair], rows: int, answers: dict[Pair, bytes | None]) -> None:
        counter = self._context.metrics.records_read
        data = sum(1 for row, column in pairs if row < rows and answers[row, column])
        parity = sum(1 for row, column in pairs if row >= rows and answers[row, column])
        counter.labels("data").inc(data)
        counter.labels("parity").inc(parity)
        counter.labels("missing").inc(len(pairs) - data - parity)


def derive_parity(engine: Engine, records: NDArray[np.uint8], parity_rows: Sequence[int]) -> list[bytes]:
    """Records of parity cells of a column, from its data records u8[R,2096]; parity_rows each in 0..R-1.

    Raises EngineError when the engine breaks down.
    """
    cells = engine.parity_cells(records[:, np.newaxis, :BYTES_PER_CELL], parity_rows)[:, 0]
    proofs = engine.parity_proofs(records[:, BYTES_PER_CELL:], parity_rows)
    return [record.tobytes() for record in np.concatenate([cells, proofs], axis=1)]
