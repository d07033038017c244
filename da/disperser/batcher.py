"""The batcher: waiting payloads to one encoded matrix.

Flow:
- payloads wait in the order in which they came, no bytes in memory, only what the outbox knows of them;
- a batch closes when the batch interval is over since the one before closed, so at once after a quiet time,
  or when the next payload would pass rows_max;
- its payloads are sorted by (namespace, payload_id), which is the order of their rows;
- one engine call extends and proves all rows;
- two columns are verified against the commitments that the posters received, so that a batch which
  members would refuse (and with it a stuck log) is never proposed.

Invariants: at most one encoded batch waits, and the next is encoded only after it was taken: one is being
dispersed from disk, one is in memory. A payload whose bytes are no longer those of its commitments is
failed, by name; its neighbours go on in the next batch.

Does not: make headers (see dispersal), nor store anything but states in the outbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from da.disperser.outbox import Outbox, OutboxError, State, UnknownPayload
from da.protocol.columns import VerifiedRecords
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.proposal import Proposal
from da.protocol.push import RECORD_BYTES
from da.runtime.context import NodeContext
from da.runtime.retry import retry_while_full
from da.runtime.verification import bad_columns
from erasure.constants import BYTES_PER_CELL, CELLS_PER_EXT_BLOB
from erasure.packing import pack
from kzg.engine import Prover, Verifier

log = logging.getLogger("cellar.disperser.batcher")

_CHECKED_COLUMNS = (0, CELLS_PER_EXT_BLOB - 1)

Key = tuple[bytes, bytes]  # namespace, payload id
# A payload's blobs u8[rows,131072] and commitments u8[rows,48].
Parts = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A payload in the outbox that no batch has yet. `since` is the event loop's time."""

    namespace: bytes
    payload_id: bytes
    rows: int
    length: int
    since: float

    @property
    def key(self) -> Key:
        """Its place in the outbox."""
        return self.namespace, self.payload_id


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBatch:
    """A matrix ready to be proposed: commitments u8[R,48], cells u8[R,128,2048], proofs u8[R,128,48]."""

    payload_list: PayloadList
    commitments: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    proofs: NDArray[np.uint8]

    @property
    def keys(self) -> list[Key]:
        """The payloads' keys in the outbox."""
        return [entry.key for entry in self.payload_list.entries]

    def column(self, column: int) -> NDArray[np.uint8]:
        """Records of a column, u8[R,2096]."""
        records = np.empty((self.cells.shape[0], RECORD_BYTES), dtype=np.uint8)
        records[:, :BYTES_PER_CELL] = self.cells[:, column]
        records[:, BYTES_PER_CELL:] = self.proofs[:, column]
        return records

    def proposal(self, header: Header, disperser_signature: bytes) -> Proposal:
        """The batch under its header."""
        return Proposal(header, disperser_signature, self.payload_list, self.commitments)

    def columns(self) -> Iterator[tuple[int, VerifiedRecords]]:
        """All columns, one at a time."""
        for column in range(CELLS_PER_EXT_BLOB):
            yield column, VerifiedRecords(self.column(column))


class Batcher:
    """Closes batches and encodes them, one ahead of the dispersal."""

    def __init__(self, context: NodeContext, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox
        self._waiting: deque[Waiting] = deque()
        self._added = asyncio.Event()
        self._free = asyncio.Semaphore(1)  # the place of the one encoded batch
        self._encoded: asyncio.Queue[EncodedBatch] = asyncio.Queue()
        self._closed_at: float | None = None  # event loop's time when the last batch closed
        self.encoding: frozenset[Key] = frozenset()  # until the batch is taken

    @property
    def _prover(self) -> Prover:
        assert self._context.prover is not None, "only a disperser makes batches"
        return self._context.prover

    @property
    def waiting(self) -> int:
        """Payloads that wait."""
        return len(self._waiting)

    def add(self, namespace: bytes, payload_id: bytes, rows: int, length: int) -> None:
        """Queue a payload that the outbox holds durably; nothing happens when it is queued already.

        After a start both the poster and the look through the outbox may bring the same one.
        """
        if self.holds((namespace, payload_id)):
            return
        since = asyncio.get_running_loop().time()
        self._waiting.append(Waiting(namespace, payload_id, rows, length, since))
        self._context.metrics.waiting.set(len(self._waiting))
        self._added.set()

    async def take(self) -> EncodedBatch:
        """The next encoded batch; the batcher then starts on the one after it."""
        batch = await self._encoded.get()
        self.encoding = frozenset()
        self._free.release()
        return batch

    def holds(self, key: Key) -> bool:
        """Whether the payload waits, or is in the encoded batch."""
        return key in self.encoding or any(payload.key == key for payload in self._waiting)

    async def run(self) -> None:
        """Close and encode, until cancelled."""
        while True:
            await self._free.acquire()
            batch = None
            try:
                while batch is None:
                    batch = await self._encode(await self._close())
                self._encoded.put_nowait(batch)
            except BaseException:
                self._free.release()
                raise

    async def _close(self) -> list[Waiting]:
        """The payloads of the next batch, in order of arrival; they stay queued until encoded."""
        loop = asyncio.get_running_loop()
        if self._closed_at is None:  # as if one had closed now: what a stop left shares a batch
            self._closed_at = loop.time()
        while True:
            self._added.clear()
            chosen, full = self._choose()
            due: float | None = None
            if chosen:
                last = min(self._closed_at, chosen[0].since)
                due = last + self._context.config.disperser.batch_interval_ms / 1000
            if full or (due is not None and due <= loop.time()):
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._added.wait()
        self._closed_at = loop.time()
        for payload in chosen:
            self._context.metrics.gather_seconds.observe(loop.time() - payload.since)
        return chosen

    def _choose(self) -> tuple[list[Waiting], bool]:
        """What fits into a batch now, and whether nothing more would."""
        chosen: list[Waiting] = []
        rows = 0
        for payload in self._waiting:
            if rows + payload.rows > self._context.config.disperser.rows_max:
                return chosen, True
            chosen.append(payload)
            rows += payload.rows
        return chosen, rows == self._context.config.disperser.rows_max

    async def _encode(self, chosen: list[Waiting]) -> EncodedBatch | None:
        """The encoded batch; None when a payload had to be failed and the rest must be chosen again."""
        context = self._context
        ordered = sorted(chosen, key=lambda payload: payload.key)
        self.encoding = frozenset(payload.key for payload in ordered)
        try:
            with context.metrics.load_seconds.time():
                parts, failed = await context.workers.io(self._read, ordered)
            if not failed:
                with context.metrics.encode_seconds.time():
                    batch = await context.workers.compute(
                        encode, self._prover, context.verifier, _entries(ordered), parts
                    )
                if batch is not None:
                    self._drop(chosen)
                    return batch
                failed = await context.workers.compute(self._damaged, ordered, parts)
            for payload, reason in failed:
                await self._fail(payload, reason)
        except BaseException:
            self.encoding = frozenset()
            raise
        self._drop([payload for payload, _ in failed])
        self.encoding = frozenset()
        context.changed.announce()
        return None

    def _read(self, ordered: list[Waiting]) -> tuple[list[Parts], list[tuple[Waiting, str]]]:
        """Rows and commitments of each payload, from the outbox; and those that cannot be read, with why."""
        parts: list[Parts] = []
        unreadable: list[tuple[Waiting, str]] = []
        for payload in ordered:
            try:
                commitments = self._outbox.entry(*payload.key).commitments
                parts.append((pack(self._outbox.payload(payload.key)), commitments))
            except OutboxError as error:
                unreadable.append((payload, str(error)))
        return parts, unreadable

    def _damaged(self, ordered: list[Waiting], parts: list[Parts]) -> list[tuple[Waiting, str]]:
        """Payloads whose bytes have other commitments than their posters received."""
        right = self._prover.commit(np.concatenate([blobs for blobs, _ in parts]))
        first_row, damaged = 0, []
        for payload, (_, commitments) in zip(ordered, parts, strict=True):
            if not np.array_equal(right[first_row : first_row + payload.rows], commitments):
                damaged.append((payload, "the stored bytes are no longer those of the commitments"))
            first_row += payload.rows
        assert damaged, "the engine's proofs do not verify, and all its commitments agree"
        return damaged

    async def _fail(self, payload: Waiting, reason: str) -> None:
        log.error("payload %s failed: %s", payload.payload_id.hex(), reason)
        mark = partial(self._outbox.mark, payload.key, State.FAILED, reason=reason)
        with contextlib.suppress(UnknownPayload):
            await retry_while_full(
                f"failure of payload {payload.payload_id.hex()}",
                self._context.config.disperser.encode_retry_ms / 1000,
                lambda: self._context.workers.io(mark),
            )

    def _drop(self, payloads: list[Waiting]) -> None:
        gone = {payload.key for payload in payloads}
        self._waiting = deque(payload for payload in self._waiting if payload.key not in gone)
        self._context.metrics.waiting.set(len(self._waiting))


def encode(
    prover: Prover, verifier: Verifier, entries: tuple[PayloadEntry, ...], parts: list[Parts]
) -> EncodedBatch | None:
    """The encoded batch of payloads in this order; None when blobs and commitments do not agree.

    Raises EngineError.
    """
    cells, proofs = prover.prove(
        parts[0][0] if len(parts) == 1 else np.concatenate([rows for rows, _ in parts])
    )
    commitments = np.concatenate([row_commitments for _, row_commitments in parts])
    batch = EncodedBatch(PayloadList(entries), commitments, cells, proofs)
    checked = np.stack([batch.column(column) for column in _CHECKED_COLUMNS])
    return None if bad_columns(verifier, batch.commitments, _CHECKED_COLUMNS, checked) else batch


def _entries(ordered: list[Waiting]) -> tuple[PayloadEntry, ...]:
    entries, first_row = [], 0
    for payload in ordered:
        entries.append(
            PayloadEntry(payload.namespace, payload.payload_id, first_row, payload.rows, payload.length)
        )
        first_row += payload.rows
    return tuple(entries)
