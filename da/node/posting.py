"""Posting: payload bytes to a durable outbox entry and an id.

Flow of a post:
- check size, namespace and limits;
- pack into rows and commit to them (posts that come together share one engine call);
- the payload id follows; what is known under it and this namespace is answered, nothing is done twice;
- the outbox makes the bytes durable; only then the answer, and the batcher's queue.

Invariants: an answered payload survives a crash; the same bytes in the same namespace are in at most one
live batch entry of this disperser.
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from da.disperser.batcher import Batcher
from da.disperser.outbox import Outbox
from da.errors import EmptyPayload, NotADisperser, PayloadTooLarge, QueueFull, ReadOnly
from da.node.lookup import PayloadLookup, check_length
from da.node.types import Receipt, Status
from da.protocol.namespace import NAMESPACE_BYTES
from da.protocol.payload import payload_id
from da.runtime.context import NodeContext
from da.store.errors import StoreReadOnly
from erasure.packing import capacity, pack, rows_for
from kzg.engine import Prover


def _commit(prover: Prover, parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return prover.commit(parts[0] if len(parts) == 1 else np.concatenate(parts))


class CommitQueue:
    """Joins the commitments that several posts ask for at once into one engine call."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._waiting: list[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.uint8]]]] = []
        self._draining: asyncio.Task[None] | None = None

    async def commit(self, blobs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Commitments u8[n,48] of blobs u8[n,131072]. Raises EngineError."""
        result: asyncio.Future[NDArray[np.uint8]] = asyncio.get_running_loop().create_future()
        self._waiting.append((blobs, result))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await result

    async def _drain(self) -> None:
        """Serve until none waits; posts that come during one call are in the next."""
        try:
            while self._waiting:
                batch: list[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.uint8]]]] = []
                rows = 0
                while self._waiting and (not batch or rows + len(self._waiting[0][0]) <= self._rows_max):
                    batch.append(self._waiting.pop(0))
                    rows += len(batch[-1][0])
                await self._serve(batch)
        finally:
            self._draining = None

    async def _serve(self, batch: list[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.uint8]]]]) -> None:
        prover = self._context.prover
        assert prover is not None, "only a disperser takes posts"
        try:
            parts = [blobs for blobs, _ in batch]
            commitments = await self._context.workers.compute(_commit, prover, parts)
        except Exception as error:  # whatever it is, each poster gets it
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
            return
        first_row = 0
        for blobs, result in batch:
            if not result.done():
                result.set_result(commitments[first_row : first_row + len(blobs)])
            first_row += len(blobs)

    @property
    def _rows_max(self) -> int:
        return self._context.config.disperser.rows_max


class Posting:
    """Takes payloads."""

    def __init__(self, context: NodeContext, outbox: Outbox, batcher: Batcher, lookup: PayloadLookup) -> None:
        self._context = context
        self._outbox = outbox
        self._batcher = batcher
        self._lookup = lookup
        self._commits = CommitQueue(context)
        self._active = 0
        self._reserved_bytes = 0

    async def post(self, namespace: bytes, payload: bytes | bytearray) -> Receipt:
        """See Node.post."""
        config = self._context.config
        if not config.disperses:
            raise NotADisperser
        check_length("namespace", namespace, NAMESPACE_BYTES)
        if not payload:
            raise EmptyPayload
        limit = min(config.disperser.payload_bytes_max, capacity(config.disperser.rows_max))
        if len(payload) > limit:
            raise PayloadTooLarge(len(payload), limit)
        retry_after_s = max(1, -(-config.disperser.batch_interval_ms // 1000))
        if self._active >= config.disperser.concurrent_posts_max:
            raise QueueFull(retry_after_s, f"{self._active} posts are in progress")
        self._active += 1
        self._reserved_bytes += len(payload)
        try:
            await self._check_room(2 * retry_after_s)
            return await self._post(namespace, payload)
        finally:
            self._active -= 1
            self._reserved_bytes -= len(payload)

    async def _check_room(self, retry_after_s: int) -> None:
        context = self._context

        used, outbox = await context.workers.io(lambda: (self._outbox.total_bytes, self._outbox.health()))
        if used + self._reserved_bytes > context.config.disperser.outbox_bytes_max:
            raise QueueFull(retry_after_s, "the outbox is full")
        for health in (await context.store.health(), outbox):
            if not health.writable:
                raise ReadOnly(health.reason or "the disk accepts no writes")

    async def _post(self, namespace: bytes, payload: bytes | bytearray) -> Receipt:
        context = self._context
        rows = rows_for(len(payload))
        with context.metrics.commit_seconds.time():
            commitments = await self._commits.commit(await context.workers.compute(pack, payload))
        id_bytes = payload_id(len(payload), commitments)
        known = await self._lookup.local_status(id_bytes, namespace)
        created = False
        if known is None or known.status in (Status.FAILED, Status.EXPIRED):
            # Of two posts of the same bytes at the same time the outbox takes one. Once it has, the payload
            # must reach the batcher, even if the poster disconnected: no later post of it would be a new one.
            with context.metrics.accept_seconds.time():
                created = await asyncio.shield(self._accept(namespace, id_bytes, payload, commitments))
            known = None
        if created:
            context.metrics.posts.inc()
            context.metrics.post_bytes.inc(len(payload))
        else:
            context.metrics.posts_repeated.inc()
        status = Status.QUEUED if known is None else known.status
        return Receipt(id_bytes, namespace, rows, len(payload), status, created)

    async def _accept(
        self, namespace: bytes, id_bytes: bytes, payload: bytes | bytearray, commitments: NDArray[np.uint8]
    ) -> bool:
        """Make a payload durable and queue it; whether it was not queued before."""
        try:
            created = await self._context.workers.io(
                self._outbox.put, namespace, id_bytes, payload, commitments
            )
        except StoreReadOnly as error:
            raise ReadOnly(error.reason) from error
        if created:
            self._batcher.add(namespace, id_bytes, len(commitments), len(payload))
        return created
