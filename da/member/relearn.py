"""Relearning: getting a batch again whose file or certificate was damaged or lost.

The idea: the index still knows the header, and so which batch it is. A batch of this node's own that is not
certified yet is made again from the outbox, which keeps the bytes until then; any other one is fetched from a
peer with its certificate. The columns are left to the repair.

Invariants: what is put again has exactly the header that was there before, so its height stays what it was;
what a peer serves is verified as if it were new.

Does not: choose when (see repair).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from da.errors import DaError, Expired, NotFound, PeerError
from da.member.hedge import first_answer
from da.protocol.certificate import Certificate
from da.protocol.committee import Member
from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.proposal import VerifiedProposal
from da.runtime.context import NodeContext
from da.runtime.verification import check_batch
from da.store.base import BatchRecord
from da.wire.batches import LiveBatch

log = logging.getLogger("cellar.member.relearn")


class Relearning:
    """Puts lost batches again."""

    def __init__(self, context: NodeContext, remake: Callable[[BatchRecord], Awaitable[bool]]) -> None:
        """`remake` makes a batch of this node's own again, if what it was made of is still there."""
        self._context = context
        self._remake = remake

    async def relearn(self, header: Header) -> bool:
        """Whether the batch is served again, perhaps with columns missing.

        Raises NotFound (of an unknown committee, or forgotten), Expired, ReadOnly, SignerUnavailable.
        """
        context = self._context
        page = await context.store.batches(header.disperser_id, header.height, 1)
        if not page or page[0].header != header or context.chain.by_hash(header.committee_hash) is None:
            raise NotFound("batch", "0x" + header.hash.hex())
        if page[0].state == "expired":
            raise Expired("batch", "0x" + header.hash.hex())
        if page[0].state == "live":
            return True
        if header.disperser_id == context.member.id and await self._remake(page[0]):
            return True
        return await self._learn(header)

    async def _learn(self, header: Header) -> bool:
        """Get the batch from a peer with its certificate, its disperser last: all others ask that one."""
        context = self._context
        peers = list(context.peers)
        context.rng.shuffle(peers)
        peers.sort(key=lambda member: member.id == header.disperser_id)
        answer = await first_answer(
            [partial(self._ask, member, header) for member in peers], context.config.reading.hedge_after_s
        )
        if answer is None:
            log.warning("batch %s lost locally and no peer serves it; retrying", header.hash.hex())
            return False
        proposal, certificate = answer
        async with context.log_lock(header.disperser_id):
            await context.store.put_batch(proposal)
            await context.store.put_certificate(header.hash, certificate.encode())
        context.changed.announce()
        log.info("batch %s lost locally and restored from a peer", header.hash.hex())
        return True

    async def _ask(self, member: Member, header: Header) -> tuple[VerifiedProposal, Certificate] | None:
        context = self._context
        try:
            page = await context.transport.get_batches(
                member, header.disperser_id, header.height, 1, context.config.reading.peer_timeout_s
            )
            for batch in page.batches:
                if isinstance(batch, LiveBatch) and batch.header == header:
                    proposal = await context.workers.compute(check_batch, context.chain, batch)
                    assert batch.certificate is not None, "check_batch has seen it"
                    return proposal, batch.certificate
        except PeerError as error:
            log.info("batch %s not served: %s", header.hash.hex(), error)
        except (DaError, ProtocolError) as error:
            log.warning("batch %s: %s served an invalid batch: %s", header.hash.hex(), member.name, error)
        return None
