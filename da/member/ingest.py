"""What a member does with what a disperser sends: columns in, attestation out; certificates in.

Flow of a push:
- the head: our chain and committee, a disperser of it, its signatures for this member and for the header, the
  next height of its log;
- the contents: payload list and commitments are those that the header binds;
- the columns: exactly this member's custody, every cell verified in one engine call;
- the payloads, for a holder of column 0: element 0 of each is that of its length, else nobody could read it;
- the store: header and columns durable; only then the signature.

Invariants: no attestation without durable columns; never an attestation for a second header at one
height (the store refuses it, and the check here says so before the work). A store may have been lost or put
back to an old state, so before the first new batch of a log after a start the peers are asked what of it is
certified. The same push again gives the same attestation, without verifying what is stored already. Any
push that is refused leaves nothing.

Does not: bound the bytes of bodies being read (the API does), nor decide whether a push is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Sequence

from da.errors import (
    DaError,
    HeaderConflict,
    HeightGap,
    InvalidPushSignature,
    InvalidTimestamp,
    NotFound,
    NotReconstructable,
    QueueFull,
    RejectedColumn,
    RejectedPayload,
    StaleCommittee,
    UnknownDisperser,
    WrongChain,
    WrongCustody,
)
from da.member.follow import LogFollower
from da.protocol.attestation import Attestation
from da.protocol.certificate import Certificate
from da.protocol.columns import VerifiedColumns, VerifiedRecords
from da.protocol.committee import Member
from da.protocol.errors import ProtocolError, UndecodableRows
from da.protocol.header import ZERO_HASH, Header
from da.protocol.payload import check_element
from da.protocol.payload_list import PayloadList
from da.protocol.proposal import VerifiedProposal
from da.protocol.push import ColumnPush
from da.protocol.push_signature import verify_push
from da.runtime.admission import Budget
from da.runtime.context import NodeContext
from da.runtime.verification import bad_columns, check_certificate, check_signature, decode_certificate
from da.store.errors import CorruptBatch, CorruptRecord
from erasure.constants import BYTES_PER_FIELD_ELEMENT

log = logging.getLogger("cellar.member.ingest")

FIRST_COLUMN = 0  # has element 0 of each row
CERTIFICATES_WAITING_MAX = 32  # to be verified; the follower brings what is turned away


class Ingest:
    """Takes pushes and certificates for one node."""

    def __init__(self, context: NodeContext, follower: LogFollower) -> None:
        self._context = context
        self._follower = follower
        self._authenticated = (b"", b"", b"")  # the header hash and the two signatures verified last
        self._asked: set[bytes] = set()  # dispersers about whose logs the peers were asked
        self._asking: defaultdict[bytes, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = asyncio.Semaphore(context.config.member.concurrent_verifications_max)
        self._running: dict[bytes, asyncio.Task[Attestation]] = {}
        wait_s = context.config.member.push_wait_s
        self._certificates = Budget(
            1,
            wait_s=wait_s,
            queue_max=CERTIFICATES_WAITING_MAX,
            refuse=lambda reason: QueueFull(max(1, round(wait_s)), f"certificates: {reason}"),
        )

    async def check_head(self, header: Header, disperser_signature: bytes, push_signature: bytes) -> None:
        """Whether a push with this head would be looked at. Raises as `accept_push`.

        What costs nothing is checked first: a stranger can make a node verify signatures only for the next
        header of a log, or one that is known.
        """
        context = self._context
        if header.chain_id != context.committee.chain_id:
            raise WrongChain(context.committee.chain_id, header.chain_id)
        if header.committee_hash != context.committee.hash:
            raise StaleCommittee(context.committee.hash, header.committee_hash)
        disperser = context.committee.member(header.disperser_id)
        if disperser is None or not disperser.disperser:
            raise UnknownDisperser(header.disperser_id)
        shown = header.hash, disperser_signature, push_signature
        if shown != self._authenticated:  # a push's head comes here before its body, and again with it
            await context.workers.compute(
                self._authenticate, disperser, header, disperser_signature, push_signature
            )
            self._authenticated = shown
        if header.disperser_id not in self._asked:
            await self._ask_peers(header)
        await self._check_place(header)

    def _authenticate(
        self, disperser: Member, header: Header, disperser_signature: bytes, push_signature: bytes
    ) -> None:
        """That the disperser sends this to this member; a public header alone does not show that."""
        if not verify_push(disperser, header, self._context.member.id, push_signature):
            raise InvalidPushSignature
        check_signature(self._context.committee, header, disperser_signature)

    async def _ask_peers(self, header: Header) -> None:
        """Once for each log, unless this very height of it is known."""
        disperser_id = header.disperser_id
        if await self._context.store.at_height(disperser_id, header.height) is not None:
            return
        async with self._asking[disperser_id]:
            if disperser_id not in self._asked:
                disperser = self._context.committee.member(disperser_id)
                assert disperser is not None, "its signature was verified"
                await self._follower.ask_peers(disperser)
                self._asked.add(disperser_id)

    async def _check_place(self, header: Header) -> None:
        """The header is known here, or is the next of its log."""
        # The top first: should the follower store this very batch in between, it is found as known.
        top, known = await self._context.store.top_and_at(header.disperser_id, header.height)
        if known is not None:
            if known != header.hash:
                log.error(
                    "equivocation: %s at height %d, known is %s",
                    header.hash.hex(),
                    header.height,
                    known.hex(),
                )
                raise HeaderConflict(known)
            return
        top_height, top_hash = (top.header.height, top.header.hash) if top else (0, ZERO_HASH)
        if header.height != top_height + 1:
            raise HeightGap(top_height + 1)
        if header.parent != top_hash:
            raise HeaderConflict(top_hash)
        if top and header.timestamp_ms < top.header.timestamp_ms:
            raise InvalidTimestamp("the timestamp is before the parent's")
        if header.timestamp_ms > self._context.clock() + self._context.config.member.clock_skew_ms_max:
            raise InvalidTimestamp("the timestamp is too far in the future")

    async def attest_again(self, header: Header) -> Attestation | None:
        """The attestation of a batch of which all columns of this member's are stored; else None."""
        try:
            record = await self._context.store.batch(header.hash)
            if not set(self._context.custody) <= set(record.columns):
                return None
            # Columns of a certified batch are fetched and kept whatever its payloads are.
            await self._check_stored_elements(header, record.payload_list)
        except (NotFound, NotReconstructable, CorruptBatch):
            return None
        return await self._context.signer.attest(header)

    async def accept_push(self, push: ColumnPush) -> Attestation:
        """Verify, store, sign.

        Raises InvalidPush and what is under it, InvalidProposal, StaleCommittee, HeightGap, HeaderConflict,
        Expired, ReadOnly, SignerUnavailable (the columns are stored, the same push again is attested),
        EngineError.
        """
        header_hash = push.header.hash
        try:
            await self.check_head(push.header, push.proposal.disperser_signature, push.push_signature)
            # A disperser that timed out pushes again while its first push is being verified: the second waits
            # for the first, and is verified itself only if that one was refused.
            while (running := self._running.get(header_hash)) is not None:
                with contextlib.suppress(DaError, ProtocolError):
                    return await asyncio.shield(running)
            # The work outlives a caller that hangs up: its result is ready for the next attempt.
            task = asyncio.create_task(self._run(push, header_hash))
            self._running[header_hash] = task
            task.add_done_callback(_retrieve)
            return await asyncio.shield(task)
        except (DaError, ProtocolError) as error:
            self._context.metrics.rejected_pushes.labels(type(error).__name__).inc()
            raise

    async def _run(self, push: ColumnPush, header_hash: bytes) -> Attestation:
        try:
            return await self._ingest(push, header_hash)
        finally:
            # Before the task is done: who came and found it done would wait for it over and over, and never
            # let go of the event loop.
            del self._running[header_hash]

    async def _ingest(self, push: ColumnPush, header_hash: bytes) -> Attestation:
        context = self._context
        if push.columns != context.custody:
            raise WrongCustody(context.custody, push.columns)
        proposal = await context.workers.compute(push.proposal.verify_contents)
        held = await self._held(header_hash)
        missing = [position for position, column in enumerate(push.columns) if column not in held]
        if missing or not held:
            async with self._slots:
                with context.metrics.verify_seconds.time():
                    columns = await self._verify(proposal, push, missing)
                if FIRST_COLUMN in push.columns and FIRST_COLUMN not in held:
                    first = push.records[push.columns.index(FIRST_COLUMN)]
                    check_elements(push.proposal.payload_list, [record.tobytes() for record in first])
            async with context.log_lock(push.header.disperser_id):
                await self._check_place(push.header)
                with context.metrics.keep_seconds.time():
                    await context.store.put_batch(proposal, columns)
            context.changed.announce()
        if FIRST_COLUMN in held:
            await self._check_stored_elements(push.header, push.proposal.payload_list)
        attestation = await context.signer.attest(push.header)
        context.metrics.attestations.inc()
        return attestation

    async def _check_stored_elements(self, header: Header, payload_list: PayloadList) -> None:
        """As `check_elements`, for a batch that is stored. Raises NotReconstructable too."""
        if FIRST_COLUMN not in self._context.custody:
            return
        pairs = [(row, FIRST_COLUMN) for row in range(header.row_count)]
        try:
            records = await self._context.store.read_records(header.hash, pairs)
        except CorruptRecord as error:
            raise NotReconstructable(f"column {FIRST_COLUMN} is damaged here and being repaired") from error
        check_elements(payload_list, records)

    async def _verify(
        self, proposal: VerifiedProposal, push: ColumnPush, positions: list[int]
    ) -> VerifiedColumns:
        context = self._context
        columns = [push.columns[position] for position in positions]
        records = push.records if len(positions) == len(push.columns) else push.records[positions]
        bad = await context.workers.compute(
            bad_columns, context.verifier, proposal.commitments, columns, records, first_only=True
        )
        if bad:
            column = min(bad)
            raise RejectedColumn(column, *bad[column])
        return zip(columns, map(VerifiedRecords, records), strict=True)

    async def _held(self, header_hash: bytes) -> frozenset[int]:
        try:
            return frozenset((await self._context.store.batch(header_hash)).columns)
        except NotFound:
            return frozenset()

    async def accept_certificate(self, header_hash: bytes, certificate_bytes: bytes) -> None:
        """Check against the committee and store; what has one already needs no other, nor another look.

        Anybody may bring a certificate, so nothing is verified that this node has no use for, and one at a
        time.

        Raises RejectedCertificate, NotFound (and the follower looks for the batch), QueueFull, Expired,
        ReadOnly.
        """
        context = self._context
        certificate = decode_certificate(header_hash, certificate_bytes)
        if await self._has_certificate(certificate):
            return
        async with self._certificates.hold():
            if await self._has_certificate(certificate):
                return
            await context.workers.compute(check_certificate, context.chain, certificate)
            await context.store.put_certificate(header_hash, certificate_bytes)
        context.changed.announce()

    async def _has_certificate(self, certificate: Certificate) -> bool:
        try:
            return (await self._context.store.batch(certificate.header.hash)).certificate is not None
        except NotFound:
            self._follower.expect(certificate)
            raise


def check_elements(payload_list: PayloadList, records: Sequence[bytes | None]) -> None:
    """That each payload begins as one of its length does; `records` are those of column 0, by row.

    Raises RejectedPayload.
    """
    for entry in payload_list.entries:
        record = records[entry.first_row]
        try:
            check_element(entry.length, (record or b"")[:BYTES_PER_FIELD_ELEMENT])
        except UndecodableRows as error:
            raise RejectedPayload(entry.payload_id, error.reason) from error


def _retrieve(task: asyncio.Task[Attestation]) -> None:
    if not task.cancelled():
        task.exception()  # mark as retrieved: whoever waited may have gone
