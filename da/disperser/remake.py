"""Remaking: a batch of this disperser's log that the disk lost before it was certified, from the outbox.

The idea: until a batch is certified, its columns may be nowhere else, and its height can be given to no other
batch. The index still has its header and payload list, the outbox its bytes. The same bytes give the same
rows, the same roots and so the same header, which is signed and dispersed as before.

Invariants: what is put has exactly the header that the index has; anything else is not put.

Does not: choose when (see da.member.repair).
"""

from __future__ import annotations

import logging

from da.disperser.batcher import Parts, encode
from da.disperser.outbox import Outbox, OutboxError
from da.protocol.errors import InvalidProposal
from da.protocol.payload_list import PayloadEntry
from da.protocol.proposal import check_contents
from da.runtime.context import NodeContext
from da.store.base import BatchRecord
from erasure.packing import pack

log = logging.getLogger("cellar.disperser.remake")


class Remaker:
    """Makes batches again."""

    def __init__(self, context: NodeContext, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox

    async def remake(self, lost: BatchRecord) -> bool:
        """Whether the batch, all of its columns, is stored again.

        Raises ReadOnly, SignerUnavailable, EngineError.
        """
        context, header, entries = self._context, lost.header, lost.payload_list.entries
        if context.prover is None:
            log.warning(
                "height %d is lost and cannot be made again: the disperser role is off", header.height
            )
            return False
        parts = await context.workers.io(self._read, entries)
        if parts is None:
            return False
        batch = await context.workers.compute(encode, context.prover, context.verifier, entries, parts)
        if batch is None:
            log.warning("height %d not rebuilt: the bytes do not match its commitments", header.height)
            return False
        try:
            await context.workers.compute(check_contents, header, batch.payload_list, batch.commitments)
        except InvalidProposal as error:
            log.warning("height %d not rebuilt: %s", header.height, error)
            return False
        unverified = batch.proposal(header, await context.signer.propose(header))
        proposal = await context.workers.compute(unverified.verify_contents)
        async with context.log_lock(context.member.id):
            await context.store.put_batch(proposal, batch.columns())
        context.changed.announce()
        log.warning("height %d lost locally and rebuilt from the outbox", header.height)
        return True

    def _read(self, entries: tuple[PayloadEntry, ...]) -> list[Parts] | None:
        """Rows and commitments of each payload; None when the outbox has not all of them."""
        parts: list[Parts] = []
        try:
            for entry in entries:
                commitments = self._outbox.entry(*entry.key).commitments
                parts.append((pack(self._outbox.payload(entry.key)), commitments))
        except OutboxError:
            return None
        return parts
