"""Recovery of a batch cell by cell, when too few whole columns can be had: rows and columns in turn.

Flow:
- the columns held here are the first known cells;
- in rounds, one member is asked for the unknown cells of each column that is open: its data cells of each
  holder and of the disperser, then its parity cells;
- what came is verified against the certified commitments; who sent a bad cell is asked no more;
- after each round the pattern of known cells is followed: what rows and columns will give back is not asked
  for, and when that is all, the matrix is repaired.

Invariants: a cell counts only once it is verified; each member is asked at most twice for a column's cells;
one matrix at a time, since one of 256 data rows has 128 MiB.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from da.errors import NotReconstructable, PeerError
from da.protocol.committee import Member
from da.protocol.push import RECORD_BYTES
from da.runtime.context import NodeContext
from da.store.base import BatchRecord
from da.store.errors import CorruptBatch, CorruptRecord
from da.wire.cells import Record
from erasure import repair_matrix
from erasure.constants import BYTES_PER_CELL, CELLS_PER_EXT_BLOB
from erasure.errors import UnrecoverableMatrix
from erasure.matrix import Mask, reachable, stopping_set
from kzg.engine import Verifier
from kzg.errors import InvalidCell, InvalidPoint

log = logging.getLogger("cellar.member.matrix")

_ASKED_SHOWN = 8

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Answer:
    member: Member
    pairs: list[Pair]
    records: NDArray[np.uint8]


@dataclass(slots=True)
class _Matrix:
    """What is known of a batch, and who is still to be asked for what."""

    record: BatchRecord
    cells: NDArray[np.uint8]
    known: Mask
    plans: dict[int, deque[tuple[Member, bool]]]  # column -> (member, whether for its parity cells)
    bad: set[bytes] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)  # cells asked for, by member's name

    def next_questions(self) -> list[tuple[Member, list[Pair]]]:
        """One for each column that is open; none when nobody is left or nothing is needed."""
        reached, rows = reachable(self.known), self.record.header.row_count
        questions = []
        for column, plan in self.plans.items():
            while plan and not reached[:, column].all():
                member, parity = plan.popleft()
                start = rows if parity else 0
                missing = np.flatnonzero(~reached[start : start + rows, column])
                if member.id not in self.bad and missing.size:
                    questions.append((member, [(start + int(row), column) for row in missing]))
                    break
        return questions


class MatrixRecovery:
    """Recovers whole matrices from single cells."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._lane = asyncio.Semaphore(1)

    async def recover(self, record: BatchRecord) -> NDArray[np.uint8]:
        """The batch's cells u8[2R,128,2048].

        Raises NotReconstructable, which names the rows and columns that cannot be had, and who was asked.
        """
        async with self._lane:
            matrix = await self._held(record)
            slots = asyncio.Semaphore(self._context.config.reading.concurrent_fetches_max)
            while questions := matrix.next_questions():
                answers = await asyncio.gather(
                    *(self._ask(matrix, member, pairs, slots) for member, pairs in questions)
                )
                await self._take(matrix, [answer for answer in answers if answer is not None])
            try:
                return await self._context.workers.compute(repair_matrix, matrix.cells, matrix.known)
            except UnrecoverableMatrix:
                raise self._failure(matrix) from None

    async def _held(self, record: BatchRecord) -> _Matrix:
        context, rows = self._context, record.header.row_count
        cells = np.zeros((2 * rows, CELLS_PER_EXT_BLOB, BYTES_PER_CELL), dtype=np.uint8)
        known = np.zeros((2 * rows, CELLS_PER_EXT_BLOB), dtype=np.bool_)
        for column in record.columns:
            try:
                records = await context.store.read_column(record.header.hash, column)
            except (CorruptRecord, CorruptBatch) as error:
                log.warning("batch %s: %s", record.header.hash.hex(), error)
                continue
            if records is not None:
                cells[:rows, column], known[:rows, column] = records[:, :BYTES_PER_CELL], True
        plans = {column: self._plan(record, column) for column in range(CELLS_PER_EXT_BLOB)}
        return _Matrix(record, cells, known, plans)

    def _plan(self, record: BatchRecord, column: int) -> deque[tuple[Member, bool]]:
        context = self._context
        holders = context.holders_of(record.header, column)
        context.rng.shuffle(holders)
        holders += [
            disperser
            for disperser in context.dispersers
            if disperser.id == record.header.disperser_id and disperser not in holders
        ]
        others = [member for member in holders if member.id != context.member.id]
        return deque((member, parity) for parity in (False, True) for member in others)

    async def _ask(
        self, matrix: _Matrix, member: Member, pairs: list[Pair], slots: asyncio.Semaphore
    ) -> _Answer | None:
        """Those of the cells that the member has; nothing when it has none, or does not answer in time."""
        context = self._context
        matrix.asked[member.name] += len(pairs)
        timeout_s = context.config.reading.peer_timeout_s
        try:
            async with slots:
                answers = await context.transport.get_records(
                    member, matrix.record.header.hash, pairs, timeout_s
                )
        except PeerError as error:
            log.debug("%d cells not served: %s", len(pairs), error)
            return None
        held = [(pair, answer.content) for pair, answer in zip(pairs, answers, strict=True)
                if isinstance(answer, Record)]  # fmt: skip
        if not held:
            return None
        records = np.frombuffer(b"".join(content for _, content in held), dtype=np.uint8)
        return _Answer(member, [pair for pair, _ in held], records.reshape(-1, RECORD_BYTES))

    async def _take(self, matrix: _Matrix, answers: Sequence[_Answer]) -> None:
        """Keep what is verified; each answer alone when not all is."""
        context, commitments = self._context, matrix.record.commitments
        if not answers:
            return
        verify = context.workers.compute
        all_valid = await verify(_are_valid, context.verifier, commitments, answers)
        for answer in answers:
            if not all_valid and not await verify(_are_valid, context.verifier, commitments, [answer]):
                log.warning("%s sent a bad cell of column %d", answer.member.name, answer.pairs[0][1])
                context.metrics.bad_peer_cells.labels(answer.member.name).inc()
                matrix.bad.add(answer.member.id)
                continue
            rows, columns = map(list, zip(*answer.pairs, strict=True))
            matrix.cells[rows, columns] = answer.records[:, :BYTES_PER_CELL]
            matrix.known[rows, columns] = True

    def _failure(self, matrix: _Matrix) -> NotReconstructable:
        stuck = stopping_set(matrix.known)
        shown = [f"{name} for {cells} cells" for name, cells in matrix.asked.most_common(_ASKED_SHOWN)]
        more = ", ..." if len(matrix.asked) > _ASKED_SHOWN else ""
        reason = f"{stuck}; asked {', '.join(shown) or 'nobody'}{more}; try again later"
        log.warning("batch %s not recovered: %s", matrix.record.header.hash.hex(), reason)
        return NotReconstructable(reason)


def _are_valid(verifier: Verifier, commitments: NDArray[np.uint8], answers: Sequence[_Answer]) -> bool:
    records = np.concatenate([answer.records for answer in answers])
    pairs = np.array([pair for answer in answers for pair in answer.pairs])
    try:
        return verifier.verify_matrix_cells(
            commitments,
            np.ascontiguousarray(pairs[:, 0]),
            np.ascontiguousarray(pairs[:, 1]),
            np.ascontiguousarray(records[:, :BYTES_PER_CELL]),
            np.ascontiguousarray(records[:, BYTES_PER_CELL:]),
        )
    except (InvalidCell, InvalidPoint):
        return False
