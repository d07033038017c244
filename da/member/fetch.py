"""Columns from other members: which to ask, when to ask a second one, what to accept.

Flow, in rounds, until enough columns are verified or no holder is left to ask:
- take as many columns as are still needed, most wanted first;
- ask one holder of each in parallel, chosen at random (the disperser, who holds all, last); a holder that
  does not answer soon is hedged with the next one;
- verify everything that came in one engine call; who sent a bad cell is named in the log, counted, and not
  asked again in this fetch.

Invariants: at most `concurrent_fetches_max` columns are asked for at once in a fetch; memory is what was
asked for; a returned column is verified.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from da.errors import PeerError
from da.member.hedge import first_answer
from da.protocol.columns import VerifiedRecords
from da.protocol.committee import Member
from da.protocol.push import RECORD_BYTES
from da.runtime.context import NodeContext
from da.runtime.verification import bad_columns
from da.store.base import BatchRecord
from da.wire.cells import Record

log = logging.getLogger("cellar.member.fetch")

Columns = dict[int, VerifiedRecords]


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows first .. first + count of a batch."""

    first: int
    count: int


class ColumnFetcher:
    """Fetches verified columns from peers."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context

    async def fetch(self, record: BatchRecord, rows: RowRange, wanted: Sequence[int], need: int) -> Columns:
        """Up to `need` of the `wanted` columns, verified: column -> u8[rows.count,2096].

        Fewer than `need` come back when no reachable peer has more.
        """
        found: Columns = {}
        bad_peers: set[bytes] = set()
        left = list(wanted)
        slots = asyncio.Semaphore(self._context.config.reading.concurrent_fetches_max)
        while left and len(found) < need:
            now = left[: need - len(found)]
            left = left[len(now) :]
            answers = await asyncio.gather(
                *(self._ask(record, rows, column, bad_peers, slots) for column in now)
            )
            came = [(column, *answer) for column, answer in zip(now, answers, strict=True) if answer]
            if not came:
                continue
            bad = await self._context.workers.compute(
                bad_columns,
                self._context.verifier,
                record.commitments[rows.first : rows.first + rows.count],
                [column for column, _, _ in came],
                np.stack([records for _, _, records in came]),
            )
            for column, member, records in came:
                if column not in bad:
                    found[column] = VerifiedRecords(records)
                    continue
                row, reason = bad[column]
                log.warning("%s sent a bad cell (%d, %d): %s", member.name, rows.first + row, column, reason)
                self._context.metrics.bad_peer_cells.labels(member.name).inc()
                bad_peers.add(member.id)
                left.insert(0, column)  # another holder may have it
        return found

    def _candidates(self, record: BatchRecord, column: int, excluded: set[bytes]) -> list[Member]:
        context = self._context
        holders = context.holders_of(record.header, column)
        context.rng.shuffle(holders)
        for disperser in context.dispersers:
            if disperser.id == record.header.disperser_id and disperser not in holders:
                holders.append(disperser)
        return [m for m in holders if m.id not in excluded and m.id != context.member.id]

    async def _ask(
        self, record: BatchRecord, rows: RowRange, column: int, excluded: set[bytes], slots: asyncio.Semaphore
    ) -> tuple[Member, NDArray[np.uint8]] | None:
        """The column from the first holder that gives it."""
        async with slots:
            return await first_answer(
                [
                    partial(self._request, member, record, rows, column)
                    for member in self._candidates(record, column, excluded)
                ],
                self._context.config.reading.hedge_after_s,
            )

    async def _request(
        self, member: Member, record: BatchRecord, rows: RowRange, column: int
    ) -> tuple[Member, NDArray[np.uint8]] | None:
        context = self._context
        header_hash, timeout_s = record.header.hash, context.config.reading.peer_timeout_s
        try:
            if rows.count == record.header.row_count:
                data = await context.transport.get_column(member, header_hash, column, rows.count, timeout_s)
            else:
                pairs = [(row, column) for row in range(rows.first, rows.first + rows.count)]
                records = await context.transport.get_records(member, header_hash, pairs, timeout_s)
                held = [answer.content for answer in records if isinstance(answer, Record)]
                data = b"".join(held) if len(held) == len(pairs) else None
        except PeerError as error:
            log.debug("column %d not served: %s", column, error)  # at info, a line a column and peer
            return None
        if data is None:
            return None
        return member, np.frombuffer(data, dtype=np.uint8).reshape(rows.count, RECORD_BYTES)
