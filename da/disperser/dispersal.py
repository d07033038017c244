"""The dispersal: an encoded matrix to a certified batch.

Flow, for one batch after the other:
- the header: next height, parent the batch before (certified by now), time that never runs backwards and
  is not ahead of the committee's;
- header and whole matrix durable in the store;
- every member is sent its columns by its own delivery (see delivery), this node attests itself;
- whenever an attestation comes, ask whether the signers make the batch final; if so publish the certificate;
- only then the outbox drops the bytes, from which a batch that the disk lost can be rebuilt (see remake).

Invariants: a header exists nowhere before it is durable here, and the next is made only after the one
before is certified, so there are never two at one height, whatever crashes. After a restart the top of the
log, if it has no certificate, is dispersed again from the store.

Does not: encode (see batcher), nor wait for members after the certificate; their deliveries go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial

from da.disperser.batcher import Batcher, EncodedBatch
from da.disperser.outbox import Key, Outbox, OutboxEntry, State, UnknownPayload
from da.disperser.own_log import OwnLog
from da.errors import Expired, NotFound
from da.member.follow import LogFollower
from da.protocol.certificate import Certificate
from da.protocol.custody import finality
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload_list import PayloadList
from da.runtime.committee_time import Timekeeper
from da.runtime.context import NodeContext
from da.runtime.retry import retry_until_signed, retry_while_full
from da.store.base import BatchRecord
from da.store.errors import CorruptBatch

log = logging.getLogger("cellar.disperser.dispersal")


class Dispersal:
    """Proposes batches and gathers their certificates."""

    def __init__(
        self,
        context: NodeContext,
        batcher: Batcher,
        outbox: Outbox,
        own_log: OwnLog,
        timekeeper: Timekeeper,
        follower: LogFollower,
    ) -> None:
        self._context = context
        self._batcher = batcher
        self._outbox = outbox
        self._own_log = own_log
        self._timekeeper = timekeeper
        self._follower = follower

    async def run(self) -> None:
        """Disperse batch after batch, until cancelled."""
        context = self._context
        # The store may have been lost, or put back to an old state: no second header at a height.
        while True:
            if await self._follower.ask_for_own_log():
                break
            await asyncio.sleep(self._pause_s)
        await self._own_log.load()
        self._own_log.known.set()
        await self._reconcile()
        if self._own_log.certified_height < self._own_log.top_height:
            top = await context.store.latest(context.member.id)
            assert top is not None, "the log has a top"
            log.info("height %d is not certified yet: dispersing it again", top.header.height)
            await self._certify(top.header, top.payload_list)
        while True:
            batch = await self._batcher.take()
            with context.metrics.propose_seconds.time():
                header, payload_list = await self._propose(batch), batch.payload_list
            del batch  # the matrix is on disk; its memory is the next batch's
            await self._certify(header, payload_list)

    async def _reconcile(self) -> None:
        """Bring outbox and store together, after a crash at any point between their writes."""
        context = self._context
        top = await context.store.latest(context.member.id)
        for entry in await context.workers.io(self._outbox.pending):
            found = await self._own_batch(entry, top)
            if found is not None:
                header_hash, certified = found
                await self._mark(entry.key, State.CERTIFIED if certified else State.DISPERSING, header_hash)
            elif not self._batcher.holds(entry.key):
                self._batcher.add(*entry.key, len(entry.commitments), entry.length)

    async def _own_batch(self, entry: OutboxEntry, top: BatchRecord | None) -> tuple[bytes, bool] | None:
        """The batch of this disperser that carries the payload and has not expired; whether it is certified.

        One whose file is damaged counts: its height and contents stay what they are.
        """
        context = self._context
        for location in await context.store.find_payload(entry.payload_id):
            if location.state == "expired" or location.entry.namespace != entry.namespace:
                continue
            header_hash = location.header_hash
            if top is not None and header_hash == top.header.hash:
                return header_hash, self._own_log.certified_height == top.header.height
            try:
                record = await context.store.batch(header_hash)
            except (NotFound, Expired, CorruptBatch):
                if header_hash == entry.header_hash:
                    return header_hash, True  # it is below the top
                continue
            if record.header.disperser_id == context.member.id:
                return header_hash, record.certificate is not None
        return None

    async def _propose(self, batch: EncodedBatch) -> Header:
        """Make the header and store the batch; from here on it will be dispersed whatever happens."""
        context = self._context
        # A header from the future would be refused until then, and nothing else may ever take its height.
        now_ms = await self._timekeeper.header_time()
        async with context.log_lock(context.member.id):
            parent = await context.store.latest(context.member.id)
            header = Header(
                chain_id=context.committee.chain_id,
                disperser_id=context.member.id,
                height=parent.header.height + 1 if parent else 1,
                timestamp_ms=max(now_ms, parent.header.timestamp_ms) if parent else now_ms,
                parent=parent.header.hash if parent else ZERO_HASH,
                committee_hash=context.committee.hash,
                row_count=batch.payload_list.row_count,
                payloads_root=batch.payload_list.root,
                commitments_root=commitments_root(batch.commitments),
            )
            # The same header until it is signed: whoever keeps the key may have signed it already, and signs
            # no other one at this height.
            signature = await retry_until_signed(
                f"height {header.height}", self._pause_s, lambda: context.signer.propose(header)
            )
            proposal = await context.workers.compute(batch.proposal(header, signature).verify_contents)
            # While there is no room nothing is stored and nothing was sent: the same header is tried again.
            await retry_while_full(
                f"height {header.height}",
                self._pause_s,
                lambda: context.store.put_batch(proposal, batch.columns()),
            )
        for key in batch.keys:
            await self._mark(key, State.DISPERSING, header.hash)
        context.metrics.batches.inc()
        context.metrics.batch_rows.inc(header.row_count)
        context.changed.announce()
        self._own_log.proposed(header)
        log.info("height %d: %d rows, %d payloads", header.height, header.row_count, len(batch.keys))
        return header

    async def _mark(self, key: Key, state: State, header_hash: bytes) -> None:
        """Note in the outbox where a payload is; its bytes stay there until it is certified."""
        workers = self._context.workers
        mark = partial(self._outbox.mark, key, state, header_hash=header_hash)
        # An outbox that was lost knows nothing of the payload; the batch is all that counts then.
        with contextlib.suppress(UnknownPayload):
            await retry_while_full(
                f"payload {key[1].hex()}, {state.value},", self._pause_s, lambda: workers.io(mark)
            )

    @property
    def _pause_s(self) -> float:
        return self._context.config.disperser.encode_retry_ms / 1000

    async def _wait_until_held(self, header: Header) -> None:
        """Wait until the batch is held here, which it is unless the disk lost it: see Remaker."""
        context, logged = self._context, False
        while True:
            ticket = context.changed.ticket()
            with contextlib.suppress(NotFound, Expired, CorruptBatch):
                if set(context.custody) <= set((await context.store.batch(header.hash)).columns):
                    return
            if not logged:
                log.error(
                    "height %d is damaged here and not certified: waiting for its repair",
                    header.height,
                )
                logged = True
            await ticket.wait()

    async def _certify(self, header: Header, payload_list: PayloadList) -> None:
        """Wait until enough members attest, then publish the certificate."""
        context = self._context
        await self._wait_until_held(header)
        started = time.monotonic()
        own = await retry_until_signed(
            f"the attestation of height {header.height}", self._pause_s, lambda: context.signer.attest(header)
        )
        self._own_log.attested(context.index, header.height, own)
        while True:
            ticket = self._own_log.changed.ticket()
            signatures = self._own_log.signatures(header)
            result = await context.workers.compute(finality, context.committee, tuple(signatures))
            if result.final:
                break
            await ticket.wait()
        certificate = await context.workers.compute(Certificate.gather, header, context.committee, signatures)
        encoded = certificate.encode()
        await retry_while_full(
            f"the certificate of height {header.height}",
            self._pause_s,
            lambda: context.store.put_certificate(header.hash, encoded),
        )
        seconds = time.monotonic() - started
        context.metrics.certificates.inc()
        context.metrics.certify_seconds.observe(seconds)
        log.info(
            "height %d certified by %d members in %.2f s, margin %d",
            header.height, len(signatures), seconds, result.margin,
        )  # fmt: skip
        context.changed.announce()  # posters that wait first, then the deliveries
        self._own_log.certified(header)
        for entry in payload_list.entries:
            await self._mark(entry.key, State.CERTIFIED, header.hash)
