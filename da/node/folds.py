"""Folds of columns, made on demand; see kzg/folds.py for what one is.

Every client draws a seed of its own, so no answer serves two of them and nothing is kept. A fold reads its
column from the store and costs some milliseconds of a core for the highest batch, more without vector lanes.

Invariants: a column is folded whole or not at all; a disperser, which keeps all columns of its own batches,
answers for all. At most `concurrent_folds_max` columns are read and folded at once, and requests take turns
after each column, so that one that asks for 128 holds nobody up. `fold_requests_max` requests are in progress
at once, more get QueueFull.

Does not: verify, which whoever asks does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da.errors import InvalidRequest, NotFound, QueueFull
from da.node.log import LogReader, readable
from da.protocol.custody import COLUMNS
from da.runtime.admission import Budget
from da.runtime.context import NodeContext
from da.store.errors import CorruptRecord
from da.wire.cells import CORRUPT, NOT_HELD, CellAnswer, Record
from erasure.constants import BYTES_PER_CELL
from kzg.constants import FOLD_SEED_BYTES
from kzg.engine import Verifier
from kzg.folds import fold_scalars

RETRY_AFTER_S = 2


class Folds:
    """Answers for folds."""

    def __init__(self, context: NodeContext, log: LogReader) -> None:
        reading = context.config.reading
        self._context = context
        self._log = log
        self._requests = Budget(
            reading.fold_requests_max, wait_s=reading.fold_wait_s, queue_max=0, refuse=_refusal
        )
        self._turns = Budget(
            reading.concurrent_folds_max, wait_s=reading.fold_wait_s, queue_max=None, refuse=_refusal
        )

    async def folds(self, header_hash: bytes, seed: bytes, columns: Sequence[int]) -> list[CellAnswer]:
        """See Node.folds."""
        most = self._context.config.reading.folds_per_read_max
        if len(columns) > most:
            raise InvalidRequest(f"at most {most} columns in one request; got {len(columns)}")
        if len(seed) != FOLD_SEED_BYTES:
            raise InvalidRequest(f"a seed must be {FOLD_SEED_BYTES} bytes; got {len(seed)}")
        for column in columns:
            if not 0 <= column < COLUMNS:
                raise InvalidRequest(f"a column must be in 0..{COLUMNS - 1}; got {column}")
        async with self._requests.hold():
            rows = (await self._log.batch(header_hash)).header.row_count
            scalars = fold_scalars(seed, header_hash, rows)
            try:
                return [await self._answer(header_hash, column, scalars) for column in columns]
            except NotFound:
                await self._log.batch(header_hash)  # known before: say what has become of it
                raise

    async def _answer(self, header_hash: bytes, column: int, scalars: NDArray[np.uint8]) -> CellAnswer:
        """One turn's work."""
        async with self._turns.hold():
            answer = await readable(self._fold(header_hash, column, scalars))
        self._context.metrics.folds.labels(_outcome(answer)).inc()
        return answer

    async def _fold(self, header_hash: bytes, column: int, scalars: NDArray[np.uint8]) -> CellAnswer:
        try:
            records = await self._context.store.read_column(header_hash, column)
        except CorruptRecord:
            return CORRUPT
        if records is None:
            return NOT_HELD
        with self._context.metrics.fold_seconds.time():
            content = await self._context.workers.compute(
                fold_records, self._context.verifier, records, scalars
            )
        return Record(content)


def fold_records(verifier: Verifier, records: NDArray[np.uint8], scalars: NDArray[np.uint8]) -> bytes:
    """The folded cell and proof of a column, bytes[2096], from its records u8[R,2096] and u8[R,16].

    Raises EngineError when the engine breaks down.
    """
    column = records[np.newaxis]
    cells, proofs = verifier.fold_columns(
        column[..., :BYTES_PER_CELL], column[..., BYTES_PER_CELL:], scalars[np.newaxis]
    )
    return cells.tobytes() + proofs.tobytes()


def _outcome(answer: CellAnswer) -> str:
    if isinstance(answer, Record):
        return "made"
    return "missing" if answer == NOT_HELD else "damaged"


def _refusal(reason: str) -> Exception:
    return QueueFull(RETRY_AFTER_S, f"folds take turns, {reason}")
