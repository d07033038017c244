"""Repair: getting back batches that were lost, and columns that are missing here or damaged.

Flow for one batch:
- when its file or certificate is lost, learn it again (see relearn);
- ask the other holders for exactly these columns;
- for what no peer has, fetch any columns until there are 64 (those held here count) and rebuild from them the
  cells and the proofs: both are linear combinations, which need no prover;
- verify, then store. What was rebuilt is checked like what was received.

A batch may be certified, and so learnt from the log, while its push to this node is still under way; what is
missing of a new batch is left to the push for as long as a push may take.

Invariants: one batch at a time, so memory is one matrix at most; a batch that cannot be repaired now is
tried again later, after the others.

Does not: sign. A member attests only a push.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection

import numpy as np

from da.errors import Expired, NotFound, ReadOnly, SignerUnavailable
from da.member.fetch import ColumnFetcher, Columns, RowRange
from da.member.relearn import Relearning
from da.protocol.columns import Records, VerifiedRecords
from da.protocol.header import Header
from da.protocol.push import RECORD_BYTES
from da.runtime.context import NodeContext
from da.runtime.verification import bad_columns
from da.store.base import BatchRecord
from da.store.errors import CorruptBatch, CorruptRecord
from erasure.constants import BYTES_PER_CELL, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from kzg.errors import EngineFailed

log = logging.getLogger("cellar.member.repair")


class Repair:
    """Repairs the batches that are requested, in the background."""

    def __init__(self, context: NodeContext, fetcher: ColumnFetcher, relearning: Relearning) -> None:
        self._context = context
        self._fetcher = fetcher
        self._relearning = relearning
        self._wanted: dict[bytes, set[int]] = {}  # header hash -> columns known to be damaged
        self._lost: dict[bytes, Header] = {}  # those of them whose file or certificate is damaged or gone
        self._requested = asyncio.Event()
        self._retry_at: dict[bytes, float] = {}  # the event loop's time before which it is not tried

    @property
    def waiting(self) -> int:
        """Batches that wait for repair."""
        return len(self._wanted)

    def request(self, header_hash: bytes, damaged: Collection[int] = ()) -> None:
        """Repair a batch: columns missing from this node's custody, and the `damaged` ones."""
        self._wanted.setdefault(header_hash, set()).update(damaged)
        if header_hash not in self._retry_at:
            self._requested.set()

    def request_lost(self, header: Header, damaged: Collection[int] = ()) -> None:
        """Repair a batch whose file or certificate is damaged or gone."""
        self._lost[header.hash] = header
        self.request(header.hash, damaged)

    @property
    def lost(self) -> list[Header]:
        """Batches that were lost here and wait for repair."""
        return list(self._lost.values())

    def knows_lost(self, header_hash: bytes) -> bool:
        """Whether the repair of a lost batch was asked for."""
        return header_hash in self._lost

    async def run(self) -> None:
        """Repair what was asked for; what does not succeed is tried again after an interval."""
        loop = asyncio.get_running_loop()
        while True:
            self._requested.clear()
            now_s = loop.time()
            for header_hash in [wanted for wanted in self._wanted if self._due_s(wanted) <= now_s]:
                await self._try(header_hash)
            due_s = min(map(self._due_s, self._wanted), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await self._requested.wait()

    def _due_s(self, header_hash: bytes) -> float:
        return self._retry_at.get(header_hash, 0.0)

    async def _try(self, header_hash: bytes) -> None:
        damaged = self._wanted.pop(header_hash)
        self._retry_at.pop(header_hash, None)
        rest_s = self._context.config.member.repair_retry_s
        try:
            if (header := self._lost.get(header_hash)) is not None:
                done = await self._relearning.relearn(header)
                if done:
                    del self._lost[header_hash]
            else:
                done = True
            if done and not damaged and (left_s := await self._push_left_s(header_hash)) > 0:
                done, rest_s = False, left_s
            done = done and await self.repair(header_hash, damaged)
        except (NotFound, Expired):
            self._lost.pop(header_hash, None)
            return
        except (ReadOnly, SignerUnavailable, CorruptBatch) as error:
            log.warning("batch %s not repaired, retrying: %s", header_hash.hex(), error)
            done = False
        except BaseException:
            self.request(header_hash, damaged)
            raise
        if not done:
            self._retry_at[header_hash] = asyncio.get_running_loop().time() + rest_s
            self._wanted.setdefault(header_hash, set()).update(damaged)

    async def _push_left_s(self, header_hash: bytes) -> float:
        """How long a push may still bring what is missing of the batch; not above 0 when none will."""
        context, config = self._context, self._context.config
        record = await context.store.batch(header_hash)
        custody = context.custody_of(record.header)
        if record.header.disperser_id == context.member.id or set(custody) <= set(record.columns):
            return 0.0
        size = record.header.row_count * len(custody) * RECORD_BYTES
        span_s = config.disperser.push_timeout_s + size / config.disperser.push_bytes_per_s_min
        age_s = (context.clock() - min(record.header.timestamp_ms, record.received_ms)) / 1000
        return span_s - age_s if age_s >= 0 else 0.0

    def should_hold(self, record: BatchRecord) -> Collection[int]:
        """Columns that are this node's to hold: all of its own batches, its custody of others'."""
        context = self._context
        own = record.header.disperser_id == context.member.id
        return range(CELLS_PER_EXT_BLOB) if own else context.custody_of(record.header)

    async def repair(self, header_hash: bytes, damaged: Collection[int] = ()) -> bool:
        """Whether the batch is whole now. Raises NotFound, Expired, ReadOnly, CorruptBatch."""
        context = self._context
        record = await context.store.batch(header_hash)
        missing = sorted((set(self.should_hold(record)) - set(record.columns)) | set(damaged))
        if not missing:
            return True
        rows = RowRange(0, record.header.row_count)
        found = await self._fetcher.fetch(record, rows, missing, len(missing))
        if lacking := [column for column in missing if column not in found]:
            found |= await self._rebuild(record, lacking, found, missing)
        if found:
            await context.store.add_columns(header_hash, sorted(found.items()))
            context.metrics.repaired_columns.inc(len(found))
            context.changed.announce()
        log.info("batch %s: repaired %d of %d columns", header_hash.hex(), len(found), len(missing))
        return len(found) == len(missing)

    async def _rebuild(
        self, record: BatchRecord, lacking: list[int], found: Columns, missing: list[int]
    ) -> Columns:
        """The lacking columns, from any 64; nothing when there are not so many."""
        context = self._context
        known = dict(found)
        for column in record.columns:
            if len(known) >= CELLS_PER_BLOB:
                break
            if column not in missing and (records := await self._read(record, column)) is not None:
                known[column] = records
        others = [c for c in range(CELLS_PER_EXT_BLOB) if c not in known and c not in missing]
        context.rng.shuffle(others)
        rows = RowRange(0, record.header.row_count)
        known |= await self._fetcher.fetch(record, rows, others, CELLS_PER_BLOB - len(known))
        if len(known) < CELLS_PER_BLOB:
            log.warning(
                "batch %s not rebuilt, retrying: %d columns available, %d needed",
                record.header.hash.hex(), len(known), CELLS_PER_BLOB,
            )  # fmt: skip
            return {}
        rebuilt = await context.workers.compute(_recover_columns, context, known, lacking)
        bad = await context.workers.compute(
            bad_columns,
            context.verifier,
            record.commitments,
            lacking,
            np.stack([rebuilt[column] for column in lacking]),
        )
        if bad:  # 64 verified columns determine the others
            raise EngineFailed(f"{len(bad)} columns recovered from verified ones do not verify")
        return {column: VerifiedRecords(records) for column, records in rebuilt.items()}

    async def _read(self, record: BatchRecord, column: int) -> VerifiedRecords | None:
        try:
            return await self._context.store.read_column(record.header.hash, column)
        except CorruptRecord:
            return None  # a later scrub or read finds it again, when this repair is done


def _recover_columns(context: NodeContext, known: Columns, wanted: list[int]) -> dict[int, Records]:
    indices = sorted(known)[:CELLS_PER_BLOB]
    records = np.stack([known[column] for column in indices], axis=1)
    cells = context.verifier.recover(indices, np.ascontiguousarray(records[:, :, :BYTES_PER_CELL]))
    proofs = context.verifier.recover_proofs(indices, records[:, :, BYTES_PER_CELL:], wanted)
    rebuilt: dict[int, Records] = {}
    for position, column in enumerate(wanted):
        rebuilt[column] = np.concatenate([cells[:, column], proofs[:, position]], axis=1)
    return rebuilt
