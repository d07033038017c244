"""The dispersers' logs: one batch, pages, a stream of what is certified, a namespace's part of a batch.

The idea: a log is read from the store, a batch through the lookup, which asks the peers before it calls one
unknown. A subscriber is a height and nothing else: what it has not read yet stays in the store.

Invariants: a page or stream has certified batches alone, ascending, none left out that is known here (heights
that are missing have expired) and none twice.

Does not: bring batches in (see da.member.follow).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from da.errors import InvalidRequest, NotReconstructable
from da.member.follow import LogFollower
from da.node.lookup import PayloadLookup, check_length
from da.node.types import NamespaceListing
from da.protocol.namespace import NAMESPACE_BYTES
from da.runtime.context import NodeContext
from da.store.base import BatchRecord
from da.store.errors import CorruptBatch

T = TypeVar("T")


async def readable(call: Awaitable[T]) -> T:
    """The call's result; a batch whose file has a damaged head is NotReconstructable at this moment."""
    try:
        return await call
    except CorruptBatch as error:
        raise NotReconstructable(str(error)) from error


class LogReader:
    """Answers for batches and logs."""

    def __init__(self, context: NodeContext, lookup: PayloadLookup, follower: LogFollower) -> None:
        self._context = context
        self._lookup = lookup
        self._follower = follower
        self._closed = False

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        self._context.changed.announce()

    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchRecord:
        """See Node.batch."""
        log_of = b"" if isinstance(ref, bytes) else self._log_of(disperser_id)
        return await readable(self._lookup.batch(ref, log_of))

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes | None = None
    ) -> list[BatchRecord]:
        """See Node.batches."""
        context, log_of = self._context, self._log_of(disperser_id)
        limit = min(limit, context.config.reading.batches_per_page_max)
        page = await context.store.batches(log_of, from_height, limit, certified_only=True)
        if not page and log_of == context.member.id and not await self._follower.knows_own_log():
            raise NotReconstructable("this node lost its own log, and too few peers have served it yet")
        return page

    async def subscribe(
        self, from_height: int, disperser_id: bytes | None = None
    ) -> AsyncIterator[BatchRecord]:
        """See Node.subscribe."""
        context, log_of = self._context, self._log_of(disperser_id)
        page_size = context.config.member.follow_page
        height = max(1, from_height)
        while not self._closed:
            ticket = context.changed.ticket()
            page = await context.store.batches(log_of, height, page_size)
            for record in page:
                # A batch whose certificate is still on its way holds back those after it; heights that
                # are not here at all have expired.
                if record.certificate is None and record.state == "live":
                    break
                if record.certificate is not None:
                    yield record
                height = record.header.height + 1
            else:
                if len(page) == page_size:
                    continue
            await ticket.wait()

    async def namespace_proof(self, header_hash: bytes, namespace: bytes) -> NamespaceListing:
        """See Node.namespace_proof."""
        check_length("namespace", namespace, NAMESPACE_BYTES)
        record = await self.batch(header_hash)
        proof = record.payload_list.prove_namespace(namespace)
        return NamespaceListing(record.header, header_hash, namespace, proof.matches, proof)

    def _log_of(self, disperser_id: bytes | None) -> bytes:
        """The disperser whose log is meant. Raises InvalidRequest."""
        if disperser_id is None:
            dispersers = self._context.committee.dispersers
            if len(dispersers) != 1:
                raise InvalidRequest(f"the committee has {len(dispersers)} dispersers: give the id of one")
            return dispersers[0].id
        if all(member.id != disperser_id for member in self._context.dispersers):
            raise InvalidRequest(f"0x{disperser_id.hex()} is not a disperser of the committee")
        return disperser_id
