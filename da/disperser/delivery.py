"""Deliveries: the disperser's log to one member, in height order, at that member's own pace.

Flow, until cancelled:
- send the certificate of the lowest height that the member has and whose certificate it lacks, or
- push its columns of the lowest height that it lacks, streamed from the store a few at a time;
- on failure wait, longer each time, and look again at what is to be sent.

A member that is behind says which height it expects, and is served from there; what has expired here is
passed over, and such a member catches up by certificates (see da.member.follow).

Invariants: memory is one column, or 512 KiB of small ones, at a time, however far behind the member; an
attestation counts only after its signature was verified and only for the member that was asked; one delivery
never waits for another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from da.disperser.own_log import OwnLog
from da.errors import ColumnNotHeld, DaError, Expired, PeerError, PeerMisbehaved, PeerRejected
from da.protocol import custody
from da.protocol.attestation import Attestation
from da.protocol.committee import Committee, Member
from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.push import RECORD_BYTES, encode_prelude, push_bytes
from da.runtime.context import NodeContext
from da.store.base import BatchRecord
from da.store.errors import StoreError

log = logging.getLogger("cellar.disperser.delivery")

# Columns of few rows are small: read and sent together they cost a fraction of the turns of the event loop.
_READ_BYTES = 2**19


class Delivery:
    """Keeps one member supplied."""

    def __init__(self, context: NodeContext, own_log: OwnLog, member: Member) -> None:
        self._context = context
        self._own_log = own_log
        self.member = member
        index = context.committee.member_index(member.id)
        assert index is not None, "the member is one of the committee"
        self._index = index
        self._columns = custody.columns_of(context.committee, index)
        self._next_push = 1
        self._next_certificate = 1
        self._rewinds = 0  # since the member last had everything
        self._failures = 0

    async def run(self) -> None:
        """Deliver, until cancelled."""
        own_log = self._own_log
        await own_log.known.wait()
        # What lies before the top was delivered by an earlier run, or the member asks for it.
        self._next_certificate = max(1, own_log.certified_height)
        self._next_push = own_log.certified_height + 1
        while True:
            ticket = own_log.changed.ticket()
            behind = max(0, own_log.top_height + 1 - self._next_push)
            self._context.metrics.member_behind.labels(self.member.name).set(behind)
            send_certificate = self._next_certificate <= min(self._next_push - 1, own_log.certified_height)
            if not send_certificate and not behind:
                self._rewinds = 0
                await ticket.wait()
                continue
            try:
                if send_certificate:
                    await self._send_certificate(self._next_certificate)
                else:
                    await self._push(self._next_push)
                self._failures = 0
            except (DaError, ProtocolError, StoreError) as error:
                self._failures += 1
                self._log_failure(error)
                await asyncio.sleep(self._pause_s())

    def _log_failure(self, error: Exception) -> None:
        reason = error.error if isinstance(error, PeerRejected) else type(error).__name__
        self._context.metrics.push_failures.labels(self.member.name, reason).inc()
        # A member that is down for days is logged less and less often.
        rare = self._failures & (self._failures - 1) == 0
        level = logging.WARNING if rare else logging.DEBUG
        log.log(level, "delivery to %s (attempt %d): %s", self.member.name, self._failures, error)

    def _pause_s(self) -> float:
        config = self._context.config
        pause_s = min(
            config.disperser.backoff_max_s,
            config.disperser.backoff_initial_s * 2.0 ** min(self._failures - 1, 32),
        )
        return pause_s * self._context.rng.uniform(0.5, 1.0)  # so that retries do not come in step

    async def _record(self, height: int) -> BatchRecord | None:
        """The batch of this node's log at a height; None when it has expired, or is of another epoch."""
        context = self._context
        try:
            record = await context.store.batch_at(context.member.id, height)
        except Expired:
            return None
        return record if record and record.header.committee_hash == context.committee.hash else None

    async def _send_certificate(self, height: int) -> None:
        record = await self._record(height)
        if record is not None and record.certificate is not None:
            context = self._context
            try:
                await context.transport.put_certificate(
                    self.member,
                    record.header.hash,
                    record.certificate,
                    context.config.disperser.certificate_timeout_s,
                )
            except PeerRejected as error:
                if error.error == "NotFound":
                    self._rewind(height, error)
                    return
                if error.error != "Expired":
                    raise
        self._next_certificate = height + 1

    async def _push(self, height: int) -> None:
        record = await self._record(height)
        if record is not None:
            try:
                await self._push_batch(record)
            except PeerRejected as error:
                if error.error == "HeightGap":
                    self._rewind_to_expected(height, error)
                    return
                if error.error == "HeaderConflict":
                    self._own_log.note_conflict(self.member, height)
                if error.error != "Expired":
                    raise
        self._next_push = height + 1

    def _rewind_to_expected(self, height: int, error: PeerRejected) -> None:
        expected = error.answer.get("expected")
        if not isinstance(expected, int) or not 1 <= expected <= self._own_log.top_height:
            raise PeerMisbehaved(self.member.name, f"expects height {expected} after {height - 1}") from error
        self._next_certificate = min(self._next_certificate, expected)
        self._rewind(expected, error)

    def _rewind(self, height: int, error: PeerRejected) -> None:
        """Push from this height on.

        A member that was away needs one rewind. For one that asks again and again it raises, and so pauses.
        """
        self._next_push = height
        self._rewinds += 1
        if self._rewinds > 1:
            raise error

    async def _push_batch(self, record: BatchRecord) -> None:
        context, header = self._context, record.header
        push_signature = await context.signer.authenticate_push(header, self.member.id)
        prelude = encode_prelude(record.proposal, push_signature, self._columns)
        size = push_bytes(header.row_count, len(self._columns), prelude)
        timeout_s = (
            context.config.disperser.push_timeout_s + size / context.config.disperser.push_bytes_per_s_min
        )
        started = time.monotonic()
        answer = await context.transport.push(
            self.member, header.hash, prelude, lambda: self._stream(header), size, timeout_s
        )
        try:
            attestation = await context.workers.compute(
                _check_attestation, context.committee, header, self._index, answer
            )
        except ProtocolError as error:
            context.metrics.bad_attestations.labels(self.member.name).inc()
            log.warning("attestation of %s is invalid: %s", self.member.name, error)
            raise PeerMisbehaved(self.member.name, f"invalid attestation: {error}") from error
        context.metrics.push_seconds.labels(self.member.name).observe(time.monotonic() - started)
        self._own_log.clear_conflict(self.member)
        self._own_log.attested(self._index, header.height, attestation)

    async def _stream(self, header: Header) -> AsyncIterator[bytes]:
        store = self._context.store
        at_once = max(1, _READ_BYTES // (header.row_count * RECORD_BYTES))
        for first in range(0, len(self._columns), at_once):
            columns = self._columns[first : first + at_once]
            try:
                yield await store.read_columns(header.hash, columns)
            except ColumnNotHeld as error:
                reason = f"column {error.column} of this node's own batch is missing here"
                raise PeerError(self._context.member.name, reason) from None


def _check_attestation(committee: Committee, header: Header, index: int, answer: bytes) -> Attestation:
    attestation = Attestation.decode(answer)
    if attestation.verify(committee, header) != index:
        raise ProtocolError(f"signed by another member than {committee.members[index].name}")
    return attestation
