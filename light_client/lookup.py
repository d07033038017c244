"""Getting a batch's header, certificate, payload list and commitments from members that nobody trusts.

Flow:
- A reference is a height (of a disperser's log), an 0x hash (of a header, or a payload id), or `latest`.
- Members are asked in random order, a few at once; the first batch that verifies is taken. What does not
  verify is held against its sender, and the next member is asked.
- A batch of a committee that is not known here is no fault: members are asked for the signed changes of
  committee (committees.py), and the search is repeated when there are any.
- For `latest` several members are asked where their log ends, by galloping and bisection over certified
  headers; the highest that verifies wins. A member need not have the batch itself any more: it is then
  asked for by its hash, of all members.

Invariants: what is returned verified under the committee; every answer is one of found, unknown, expired,
pending, unreachable or a fault; the number of requests is bounded by the members, and for `latest` by the
bits of a height, since every answer moves the search up and its steps double before they halve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TypeVar

from da.protocol.codec import HASH_BYTES, U64_MAX
from da.protocol.committee_chain import CommitteeChain
from da.protocol.header import Header
from da.wire.batches import BatchDocument, LiveBatch
from light_client.batch import (
    VerifiedBatch,
    signature_of,
    verify_batch,
    verify_contents,
    verify_header,
)
from light_client.committees import Committees
from light_client.errors import (
    BatchExpired,
    BatchNotFound,
    BatchPending,
    BatchUnreached,
    CommitteesChanged,
    InvalidReference,
    NoBatchYet,
    PeerExpired,
    PeerMisbehaved,
    PeerUnknown,
    PeerUnreachable,
    UnknownDisperser,
    UnverifiedBatch,
)
from light_client.peers import MemberClient
from light_client.settings import LightClientSettings
from light_client.witness import Fault, Witness

LATEST = "latest"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reference:
    """What to look for: exactly one of height, hash, or neither for the newest batch."""

    height: int | None = None
    hash: bytes | None = None

    def __str__(self) -> str:
        if self.hash is not None:
            return f"0x{self.hash.hex()}"
        return LATEST if self.height is None else f"height {self.height}"


class _Outcome(StrEnum):
    UNKNOWN = "did not know it"
    EXPIRED = "said that it has expired"
    PENDING = "had it without a certificate"
    MISSING = "had lost it for now"
    UNREACHABLE = "could not be asked"
    OTHER_COMMITTEE = "served a batch of a committee that no signed change leads to"
    FAULT = "sent what does not verify"


def parse_reference(text: str) -> Reference:
    """The reference that the text is.

    Raises:
        InvalidReference: neither `latest`, nor a height from 1, nor 0x and 64 hex digits.
    """
    if text == LATEST:
        return Reference()
    if text.isascii() and text.isdigit() and len(text) <= len(str(U64_MAX)) and 1 <= int(text) <= U64_MAX:
        return Reference(height=int(text))
    if text.startswith("0x") and len(text) == 2 + 2 * HASH_BYTES and text[2:].isalnum():
        try:
            return Reference(hash=bytes.fromhex(text[2:]))
        except ValueError:
            raise InvalidReference(text) from None
    raise InvalidReference(text)


def choose_dispersers(chain: CommitteeChain, wanted: str | None) -> tuple[bytes, ...]:
    """Ids of the dispersers whose logs are meant: the one named (name or 0x id), or all that are in office.

    Raises:
        UnknownDisperser: no such disperser, in no committee of the chain, or the latest has none.
    """
    named = [member for member in chain.dispersers if wanted in (member.name, f"0x{member.id.hex()}")]
    found = tuple(member.id for member in (chain.latest.dispersers if wanted is None else named))
    if not found:
        names = ", ".join(member.name for member in chain.dispersers) or "none at all"
        raise UnknownDisperser(f"the committee's dispersers are {names}")
    return found


class BatchFinder:
    """Finds batches at the members of a committee.

    Args:
        committees: that are known; it learns of others.
        witness, settings: of the run.
        rng: order in which members are asked.
    """

    def __init__(
        self, committees: Committees, witness: Witness, settings: LightClientSettings, rng: Random
    ) -> None:
        self._committees = committees
        self._members = committees.members
        self._committee = committees.latest
        self._witness = witness.under(committees.latest)
        self._saw_other_committee = False
        self._settings = settings
        self._rng = rng

    async def find(
        self, reference: Reference, dispersers: tuple[bytes, ...], known_heights: dict[bytes, int]
    ) -> VerifiedBatch:
        """The batch that the reference means.

        Args:
            reference: what to look for.
            dispersers: whose logs may be meant.
            known_heights: where to start looking for the newest batch of each log.

        Raises:
            BatchNotFound, BatchExpired, BatchPending, BatchUnreached: no member gave it, and why.
            NoBatchYet: the newest batch, and neither a member nor `known_heights` knows of any.
            UnknownDisperser: a height alone, while there are several logs.
            CommitteesChanged: another committee is in office, and now known; search again.
        """
        try:
            found = await self._find(reference, dispersers, known_heights)
        except (BatchNotFound, BatchExpired, BatchPending, BatchUnreached):
            await self._learn()
            raise
        if reference == Reference():  # others may have shown a newer one, of the next committee
            await self._learn()
        return found

    async def _learn(self) -> None:
        if self._saw_other_committee and await self._committees.learn(self._settings, self._rng):
            raise CommitteesChanged

    async def _find(
        self, reference: Reference, dispersers: tuple[bytes, ...], known_heights: dict[bytes, int]
    ) -> VerifiedBatch:
        if reference.hash is not None:
            wanted = reference.hash
            return await self._first(str(reference), lambda member: self._by_hash(member, wanted))
        if reference.height is not None:
            if len(dispersers) != 1:
                raise UnknownDisperser("several dispersers have a batch at that height: name one")
            height, disperser_id = reference.height, dispersers[0]
            return await self._first(
                str(reference), lambda member: self._by_height(member, height, disperser_id)
            )
        return await self._latest(dispersers, known_heights)

    # --- one batch from whoever has it ---------------------------------------------------------------

    async def _first(
        self, what: str, ask: Callable[[MemberClient], Awaitable[VerifiedBatch]]
    ) -> VerifiedBatch:
        order = list(range(len(self._committee.members)))
        self._rng.shuffle(order)
        outcomes: list[_Outcome] = []
        width = self._settings.hedge_members
        for start in range(0, len(order), width):
            first, *others = order[start : start + width]
            tasks = [asyncio.create_task(self._outcome(self._members[first], ask))]
            try:
                # A batch's document is long: others are asked only when the first does not answer soon.
                await asyncio.wait(tasks, timeout=self._settings.hedge_after_s)
                if not tasks[0].done() or not isinstance(tasks[0].result(), VerifiedBatch):
                    tasks += [asyncio.create_task(self._outcome(self._members[i], ask)) for i in others]
                for finished in asyncio.as_completed(tasks):
                    result = await finished
                    if isinstance(result, VerifiedBatch):
                        return result
                    outcomes.append(result)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        raise _failure(what, outcomes)

    async def _outcome(
        self, member: MemberClient, ask: Callable[[MemberClient], Awaitable[T]]
    ) -> T | _Outcome:
        """What asking one member came to; the witness notes faults and silences."""
        try:
            return await ask(member)
        except PeerUnknown:
            return _Outcome.UNKNOWN
        except PeerExpired:
            return _Outcome.EXPIRED
        except PeerUnreachable as error:
            self._witness.note_silence(member.index, error.reason)
            return _Outcome.UNREACHABLE
        except PeerMisbehaved as error:
            self._witness.accuse(member.index, Fault.MALFORMED_ANSWER, error.reason, error.sent)
            return _Outcome.FAULT
        except _Rejected as error:
            if error.cause.check == "committee":
                self._saw_other_committee = True
                return _Outcome.OTHER_COMMITTEE
            if error.cause.check == "certificate":
                return _Outcome.PENDING
            if error.cause.check == "expired":
                return _Outcome.EXPIRED
            if error.cause.check == "missing":
                self._witness.note_silence(member.index, error.cause.reason)
                return _Outcome.MISSING
            self._witness.accuse(member.index, Fault.UNVERIFIED_BATCH, str(error.cause), error.sent)
            return _Outcome.FAULT

    async def _by_height(self, member: MemberClient, height: int, disperser_id: bytes) -> VerifiedBatch:
        document = await member.batch(str(height), disperser_id, self._settings.answer_timeout_s)
        header = document.header
        if (header.height, header.disperser_id) != (height, disperser_id):
            raise _Rejected(UnverifiedBatch("header", f"is not at height {height} of that log"), document)
        return self._verified(document)

    async def _by_hash(self, member: MemberClient, wanted: bytes) -> VerifiedBatch:
        try:
            return await self._by_header_hash(member, wanted)
        except PeerUnknown:
            header_hash = await member.batch_of_payload(wanted, self._settings.answer_timeout_s)
        if header_hash is None:
            raise PeerUnknown(member.name, "the payload is in no batch yet")
        document = await member.batch(f"0x{header_hash.hex()}", None, self._settings.answer_timeout_s)
        batch = self._with_hash(document, header_hash)
        if batch.payload_list.index_of(wanted) is None:
            raise _Rejected(UnverifiedBatch("contents", "the payload is not in that batch"), document)
        return batch

    async def _by_header_hash(self, member: MemberClient, header_hash: bytes) -> VerifiedBatch:
        document = await member.batch(f"0x{header_hash.hex()}", None, self._settings.answer_timeout_s)
        return self._with_hash(document, header_hash)

    def _with_hash(self, document: BatchDocument, header_hash: bytes) -> VerifiedBatch:
        if document.header.hash != header_hash:
            raise _Rejected(UnverifiedBatch("header", f"is not 0x{header_hash.hex()}"), document)
        return self._verified(document)

    def _verified(self, document: BatchDocument) -> VerifiedBatch:
        try:
            return verify_batch(document, self._committees.of(document.header))
        except UnverifiedBatch as error:
            raise _Rejected(error, document) from None

    def _head(self, document: BatchDocument) -> _Head:
        try:
            finality = verify_header(document, self._committees.of(document.header))
            live = isinstance(document, LiveBatch)
            return _Head(document.header, verify_contents(document, finality) if live else None)
        except UnverifiedBatch as error:
            raise _Rejected(error, document) from None

    # --- the newest batch ------------------------------------------------------------------------------

    async def _latest(self, dispersers: tuple[bytes, ...], known_heights: dict[bytes, int]) -> VerifiedBatch:
        count = min(self._settings.head_members, len(self._committee.members))
        chosen = self._rng.sample(range(len(self._committee.members)), count)
        results = await asyncio.gather(
            *(
                self._outcome(
                    self._members[index],
                    lambda member, log=log: self._head_of(member, log, known_heights.get(log, 0)),  # type: ignore[misc]
                )
                for index in chosen
                for log in dispersers
            )
        )
        heads = [result for result in results if isinstance(result, _Head)]
        if not heads and not known_heights and set(results) <= {_Outcome.UNKNOWN}:
            raise NoBatchYet(count)
        if not heads:
            raise _failure(LATEST, [result for result in results if isinstance(result, _Outcome)])
        newest = max(heads, key=_Head.age)
        if newest.batch is not None:
            return newest.batch
        wanted = newest.header.hash
        try:
            return await self._first(LATEST, lambda member: self._by_header_hash(member, wanted))
        except (BatchNotFound, BatchExpired, BatchPending, BatchUnreached):
            served = [head.batch for head in sorted(heads, key=_Head.age) if head.batch is not None]
            if not served:
                raise
            return served[-1]

    async def _head_of(self, member: MemberClient, disperser_id: bytes, known_height: int) -> _Head:
        """Where a log ends, as far as this member has certified headers of it.

        Headers of committees that are not known here are passed over: the log may have begun under earlier
        ones. When it ends with such a header, that is the answer.
        """

        async def first_from(height: int) -> _Head | _Rejected | None:
            timeout_s = self._settings.answer_timeout_s
            page = await member.batches(height, 1, disperser_id, timeout_s)
            try:
                return self._head(page[0]) if page else None
            except _Rejected as error:
                if error.cause.check != "committee":
                    raise
                return error

        best = await first_from(max(known_height, 1))
        if best is None:
            raise PeerUnknown(member.name, "has no certified batch there")
        # The log ends at a height in best..beyond-1: double the step until there is nothing, then halve.
        step, beyond = 1, None
        while beyond is None or beyond - best.header.height > 1:
            height = best.header.height
            probe = min(height + step, U64_MAX) if beyond is None else (height + beyond) // 2
            step *= 2
            found = await first_from(probe) if probe > height else None
            if found is None:
                beyond = max(probe, height + 1)
            else:
                best = found
        if isinstance(best, _Rejected):
            raise best
        return best


@dataclass(frozen=True, slots=True)
class _Head:
    """A header that verified; the batch with it unless the member has expired or lost it."""

    header: Header
    batch: VerifiedBatch | None

    def age(self) -> tuple[int, int]:
        """Orders heads of all logs, the newest last."""
        return self.header.timestamp_ms, self.header.height


class _Rejected(Exception):
    """A document that did not verify: the check that it failed, its header, and what the member sent."""

    def __init__(self, cause: UnverifiedBatch, document: BatchDocument) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.header = document.header
        self.sent = describe_batch(document)


def describe_batch(document: BatchDocument) -> bytes:
    """A document's signed parts as evidence: header, disperser's signature, certificate."""
    certificate = document.certificate.encode() if document.certificate else b""
    return document.header.encode() + signature_of(document) + certificate


def _failure(what: str, outcomes: list[_Outcome]) -> Exception:
    """The error for a search in which no member gave a batch that verifies."""
    seen = set(outcomes)
    if seen <= {_Outcome.UNKNOWN}:
        return BatchNotFound(what)
    if _Outcome.EXPIRED in seen and seen <= {_Outcome.UNKNOWN, _Outcome.EXPIRED}:
        return BatchExpired(what)
    if _Outcome.PENDING in seen and seen <= {_Outcome.UNKNOWN, _Outcome.PENDING}:
        return BatchPending(what)
    reasons = ", ".join(f"{outcomes.count(each)} {each}" for each in _Outcome if each in seen)
    return BatchUnreached(what, f"of {len(outcomes)} members {reasons}")
