"""Following the log: every certified header kept, every batch sampled, every contradiction reported.

Flow, for each round and each disperser's log:
- Some members, chosen at random, are asked for the batches from the newest known height on. The newest
  itself is asked for again, so that over time every member is compared with every other.
- A batch that verifies is kept when it extends the log by one and its parent is the header before it. A
  second header at a known height is equivocation, also one with the disperser's signature alone.
- A batch of a committee that is not known here is no contradiction: members are asked for the signed changes
  of committee. Where none leads to it, as from a committee before the user's file, its height is passed over.
- Batches without a verdict are sampled, newest first; an undecided one again after a while, then ever
  more seldom.

Invariants: the kept log is one hash chain, without gaps but for heights passed over; what was kept or decided
is durable before the next request, so a restart goes on where it stopped; a round is bounded in requests and
time.

Does not: take one member's word for where the log ends: the round goes as far as any of those asked can
prove. It polls instead of holding streams open: a round is bounded, compares several members, and any HTTP
cache may answer it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from da.protocol.errors import InvalidProposal
from da.protocol.header import Header
from da.protocol.proposal import check_proposer
from da.wire.batches import BatchDocument, LiveBatch
from light_client.batch import SignedHeader, VerifiedBatch, signature_of, verify_contents, verify_header
from light_client.chain import keep_header
from light_client.client import LightClient
from light_client.describe import describe_accusations, describe_equivocations, describe_silences
from light_client.errors import (
    BatchExpired,
    BatchNotFound,
    BatchPending,
    BatchUnreached,
    PeerExpired,
    PeerMisbehaved,
    PeerUnknown,
    PeerUnreachable,
    UnverifiedBatch,
)
from light_client.lookup import Reference, choose_dispersers, describe_batch
from light_client.report import Report, RoundReport
from light_client.witness import Fault, Witness

SAMPLED_PER_ROUND = 8


@dataclass(slots=True)
class _Look:
    """What one round has found so far."""

    disperser_id: bytes
    witness: Witness
    new_headers: list[Header]
    saw_other_committee: bool = False


class Watcher:
    """Follows the logs of a committee's dispersers.

    Args:
        client: samples, and has the log.
        disperser: the one to follow (name or 0x id); None for all.
        from_height: where a log that is not known yet begins; None for its newest batch.
        sample: whether batches are sampled, or headers kept alone.

    Raises:
        UnknownDisperser: the committee has no such disperser.
    """

    def __init__(
        self,
        client: LightClient,
        *,
        disperser: str | None = None,
        from_height: int | None = None,
        sample: bool = True,
    ) -> None:
        self._client = client
        self._disperser = disperser
        choose_dispersers(client.committees.chain, disperser)
        self._from_height = from_height
        self._sample = sample
        self._fresh: dict[bytes, VerifiedBatch] = {}

    @property
    def dispersers(self) -> tuple[bytes, ...]:
        """Whose logs are followed: those in office, and earlier ones whose last batch may still be there."""
        client = self._client
        found = choose_dispersers(client.committees.chain, self._disperser)
        if self._disperser is not None:
            return found
        earlier = (each.id for each in client.committees.chain.dispersers if each.id not in found)
        return found + tuple(each for each in earlier if self._has_fresh(each))

    def _has_fresh(self, disperser_id: bytes) -> bool:
        client = self._client
        head = client.log.head(client.committee.chain_id, disperser_id)
        return head is not None and client.clock() <= head.header.timestamp_ms + self._retention_ms

    @property
    def _retention_ms(self) -> int:
        """How long a batch of any known committee may be there."""
        return 1000 * max(each.retention_s for each in self._client.committees.chain.committees)

    async def look(self, disperser_id: bytes) -> RoundReport:
        """One round over one log.

        Raises:
            StateError: the state directory cannot be used.
        """
        client = self._client
        look = _Look(disperser_id, client.witness(), [])
        with contextlib.suppress(TimeoutError):  # what was kept is kept; the next round goes on from there
            async with asyncio.timeout(client.settings.deadline_s):
                await self._follow(look)
        reports = [report async for report in self._sample_due(disperser_id)] if self._sample else []
        self._fresh.clear()
        head = client.log.head(client.committee.chain_id, disperser_id)
        names = {each.id: each.name for each in client.committees.chain.dispersers}
        return RoundReport(
            disperser=names[disperser_id],
            head=head.header.height if head else None,
            new_headers=tuple((header.height, f"0x{header.hash.hex()}") for header in look.new_headers),
            reports=tuple(reports),
            accusations=describe_accusations(look.witness),
            silences=describe_silences(look.witness),
            equivocations=describe_equivocations(look.witness.equivocations, client.committees.chain),
        )

    # --- following -----------------------------------------------------------------------------------

    async def _follow(self, look: _Look) -> None:
        """Extend the log until none of the members asked can prove more of it."""
        client = self._client
        extended = client.log.head(client.committee.chain_id, look.disperser_id) is not None
        if not extended:
            extended = await self._begin(look)
        while extended or await self._change(look):
            head = client.log.head(client.committee.chain_id, look.disperser_id)
            assert head is not None
            look.witness = look.witness.under(client.committee)
            look.saw_other_committee = False
            count = min(client.settings.head_members, len(client.committee.members))
            chosen = client.rng.sample(range(len(client.committee.members)), count)
            pages = await asyncio.gather(*(self._page(look, index, head.header.height) for index in chosen))
            results = [
                self._consider(look, index, document)
                for index, page in zip(chosen, pages, strict=True)
                for document in page
            ]
            extended = any(results)

    async def _change(self, look: _Look) -> bool:
        """Whether the log goes on under another committee, which is known now or whose batches are passed."""
        if not look.saw_other_committee:
            return False
        look.saw_other_committee = False
        client = self._client
        if await client.committees.learn(client.settings, client.rng):
            return True
        return await self._jump(look, Reference())

    async def _begin(self, look: _Look) -> bool:
        """The first header of a log that is not known yet."""
        return await self._jump(look, Reference(height=self._from_height))

    async def _jump(self, look: _Look, reference: Reference) -> bool:
        """Go on from a header that is found by itself; whether it is new."""
        client = self._client
        try:
            batch = await client.find(reference, f"0x{look.disperser_id.hex()}", look.witness)
        except (BatchNotFound, BatchPending, BatchExpired, BatchUnreached):
            return False
        return self._keep(look, batch.signed_header(), batch)

    async def _page(self, look: _Look, index: int, from_height: int) -> list[BatchDocument]:
        """What one member has of the log from a height on; nothing when it gives no proper answer."""
        settings = self._client.settings
        try:
            return await self._client.committees.members[index].batches(
                from_height, settings.page_batches, look.disperser_id, settings.answer_timeout_s
            )
        except PeerUnreachable as error:
            look.witness.note_silence(index, error.reason)
        except PeerMisbehaved as error:
            look.witness.accuse(index, Fault.MALFORMED_ANSWER, error.reason, error.sent)
        except (PeerUnknown, PeerExpired):
            pass  # it has nothing of this log from there on
        return []

    def _consider(self, look: _Look, index: int, document: BatchDocument) -> bool:
        """Keep a header that a member sent, if it extends the log; True when it did."""
        client, header = self._client, document.header
        chain = (client.committee.chain_id, look.disperser_id)
        known = client.log.header_at(*chain, header.height)
        if known is not None and known.header == header:
            return False
        head = client.log.head(*chain)
        if known is None and head is not None and header.height != head.header.height + 1:
            return False  # a member may lack a certificate in between; another has it, or the next round
        batch = None
        try:
            finality = verify_header(document, client.committees.of(header))
            if isinstance(document, LiveBatch):
                batch = verify_contents(document, finality)
        except UnverifiedBatch as error:
            if error.check == "committee":
                look.saw_other_committee = True
                return False
            if not self._is_proposal(document):
                sent = describe_batch(document)
                look.witness.accuse(index, Fault.UNVERIFIED_BATCH, f"height {header.height}: {error}", sent)
                return False
            signed = SignedHeader(header, signature_of(document), None)
            return self._keep(look, signed, None)
        assert document.certificate is not None
        signed = SignedHeader(header, signature_of(document), document.certificate.encode())
        return self._keep(look, signed, batch)

    def _is_proposal(self, document: BatchDocument) -> bool:
        """Whether the disperser signed the header, certified or not."""
        try:
            check_proposer(
                self._client.committees.of(document.header), document.header, signature_of(document)
            )
        except InvalidProposal:
            return False
        return True

    def _keep(self, look: _Look, signed: SignedHeader, batch: VerifiedBatch | None) -> bool:
        client = self._client
        if not keep_header(
            client.log, client.committees.of(signed.header), client.clock, signed, look.witness
        ):
            return False
        look.new_headers.append(signed.header)
        if batch is not None:
            self._fresh[batch.header_hash] = batch
            if len(self._fresh) > SAMPLED_PER_ROUND:
                self._fresh.pop(next(iter(self._fresh)))
        return True

    # --- sampling ------------------------------------------------------------------------------------

    async def _sample_due(self, disperser_id: bytes) -> AsyncIterator[Report]:
        """Sample the batches of the log that have no verdict, or were undecided a while ago."""
        client = self._client
        now_ms = client.clock()
        due = client.log.due(
            client.committee.chain_id,
            disperser_id,
            oldest_ms=now_ms - self._retention_ms,
            now_ms=now_ms,
            retry_ms=int(client.settings.resample_interval_s * 1000),
            retry_max_ms=int(client.settings.resample_interval_max_s * 1000),
            limit=SAMPLED_PER_ROUND,
        )
        for signed in due:
            header_hash = signed.header.hash
            reference = f"0x{header_hash.hex()}"
            batch = self._fresh.get(header_hash)
            if batch is not None:
                yield await client.sample_batch(batch, reference)
                continue
            report = await client.sample(reference)
            if report.batch is None:  # nobody gave it: that is an undecided run too
                client.record(header_hash, signed.header.height, report)
            yield report
