"""Where a payload is: in a batch of the store, in the outbox, expired, or nowhere.

The idea: what is known here is answered from here. Before anything is called unknown, the logs of all
dispersers are read to their ends (see da.member.follow), so that a node that lags never denies what exists:
NotFound is for certain, NotReconstructable means that it could not be made certain.
"""

from __future__ import annotations

import asyncio

from da.disperser.batcher import Batcher
from da.disperser.outbox import Outbox, OutboxEntry, OutboxError
from da.errors import (
    DaError,
    Expired,
    InvalidRequest,
    NotCertified,
    NotFound,
    NotReconstructable,
    PayloadFailed,
)
from da.member.follow import LogFollower
from da.node.types import PayloadStatus, Status
from da.protocol.codec import HASH_BYTES
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry
from da.runtime.context import NodeContext
from da.store.base import BatchRecord, PayloadLocation
from da.store.errors import CorruptBatch
from erasure.packing import rows_for

Place = tuple[BatchRecord, PayloadEntry]


class PayloadLookup:
    """Finds payloads and batches by their ids."""

    def __init__(self, context: NodeContext, outbox: Outbox, batcher: Batcher, follower: LogFollower) -> None:
        self._context = context
        self._outbox = outbox
        self._batcher = batcher
        self._follower = follower

    async def status(self, payload_id: bytes, namespace: bytes | None) -> PayloadStatus:
        """Raises InvalidRequest, NotFound (for certain), NotReconstructable (could not ask)."""
        check_length("payload id", payload_id, HASH_BYTES)
        found = await self.local_status(payload_id, namespace)
        if found is None:
            certain = await self._follower.fresh()
            found = await self.local_status(payload_id, namespace)
            if found is None:
                raise self._unknown("payload", payload_id, certain, lost=False)
        return found

    async def local_status(self, payload_id: bytes, namespace: bytes | None) -> PayloadStatus | None:
        """What this node knows by itself; the furthest status where several batches carry the payload."""
        places, lost, expired = await self._places(payload_id, namespace)
        for record, entry in places:
            return _status(record.header, entry, _stage(record.certificate is not None))
        for location in lost:
            return _status(location.header, location.entry, _stage(location.certified))
        entry_here = await self._outbox_entry(payload_id, namespace)
        if entry_here is not None and (posted := self._posted_status(entry_here)) is not None:
            return posted
        for record, entry in expired:
            return _status(record.header, entry, Status.EXPIRED)
        return None

    async def place(self, payload_id: bytes, namespace: bytes | None) -> Place:
        """A live batch that carries the payload, a certified one if there is one.

        Raises InvalidRequest, NotCertified (in no batch yet), PayloadFailed, Expired, NotFound,
        NotReconstructable.
        """
        check_length("payload id", payload_id, HASH_BYTES)
        places, _, _ = await self._places(payload_id, namespace)
        if places:
            return places[0]
        found = await self.status(payload_id, namespace)
        ref = "0x" + payload_id.hex()
        places, lost, _ = await self._places(payload_id, namespace)  # the look may have brought it
        if places:
            return places[0]
        if lost:
            raise self._unknown("payload", payload_id, certain=False, lost=True)
        if found.status is Status.FAILED:
            raise PayloadFailed(ref, found.reason or "unknown reason")
        if found.status in (Status.EXPIRED, Status.CERTIFIED, Status.DISPERSING):
            raise Expired("payload", ref)  # it may have expired between the two looks
        raise NotCertified(ref, found.status)

    async def waiting_bytes(self, payload_id: bytes) -> bytes | None:
        """The bytes of a payload that is still in the outbox."""
        entry = await self._outbox_entry(payload_id, None)
        if entry is None or self._posted_status(entry) is None:
            return None
        try:
            return await self._context.workers.io(self._outbox.payload, entry.key)
        except OutboxError:
            return None  # batched by now, or damaged

    async def batch(self, ref: int | bytes, disperser_id: bytes) -> BatchRecord:
        """By height of a log, or by header hash. Raises Expired, and as `status`."""
        if isinstance(ref, bytes):
            check_length("header hash", ref, HASH_BYTES)
        found, lost = await self._batch(ref, disperser_id)
        if found is None:
            certain = await self._follower.fresh()
            found, lost = await self._batch(ref, disperser_id)
            if found is None:
                raise self._unknown("batch", ref, certain, lost=lost)
        return found

    async def _batch(self, ref: int | bytes, disperser_id: bytes) -> tuple[BatchRecord | None, bool]:
        """The batch, if it can be read; and whether it is known and cannot."""
        store = self._context.store
        header_hash = await store.at_height(disperser_id, ref) if isinstance(ref, int) else ref
        if header_hash is None:
            return None, False
        try:
            return await store.batch(header_hash), False
        except NotFound:
            lost = await store.state(header_hash) is not None  # it is known, and not served now
        except CorruptBatch:
            lost = True
        return None, lost

    async def _places(
        self, payload_id: bytes, namespace: bytes | None
    ) -> tuple[list[Place], list[PayloadLocation], list[Place]]:
        """Live, lost and expired batches with the payload; certified ones first, then newest first.

        What is lost was here and cannot be read until the repair has got it again.
        """
        live: list[Place] = []
        lost: list[PayloadLocation] = []
        expired: list[Place] = []
        for location in await self._context.store.find_payload(payload_id):
            if namespace is not None and location.entry.namespace != namespace:
                continue
            try:
                record = await self._context.store.any_batch(location.header_hash)
            except (NotFound, CorruptBatch):
                lost.append(location)
                continue
            (live if record.state == "live" else expired).append((record, location.entry))
        live.sort(key=lambda place: place[0].certificate is None)
        lost.sort(key=lambda location: not location.certified)
        return live, lost, expired

    async def _outbox_entry(self, payload_id: bytes, namespace: bytes | None) -> OutboxEntry | None:
        if not self._context.config.disperses:
            return None
        found = await self._context.workers.io(self._outbox.find, payload_id)
        return next((entry for entry in found if namespace in (None, entry.namespace)), None)

    def _posted_status(self, entry: OutboxEntry) -> PayloadStatus | None:
        """The status of an outbox entry whose batch, if it has one, is not in the store."""
        if entry.state == "certified":
            return None  # its batch has expired: the store says so
        # Dispersing, in a batch that the store has lost without a trace, it is as good as queued.
        status = Status.QUEUED if entry.state == "dispersing" else Status(entry.state)
        encoding = entry.state == "queued" and entry.key in self._batcher.encoding
        return PayloadStatus(
            payload_id=entry.payload_id,
            namespace=entry.namespace,
            status=Status.ENCODING if encoding else status,
            length=entry.length,
            rows=rows_for(entry.length),
            reason=entry.reason,
        )

    async def wait_certified(self, payload_id: bytes, namespace: bytes, timeout_s: float) -> PayloadStatus:
        """The status at certification, failure or expiry, or after timeout_s."""
        changed = self._context.changed
        ticket = changed.ticket()
        found = await self.status(payload_id, namespace)
        try:
            async with asyncio.timeout(timeout_s):
                while found.status not in (Status.CERTIFIED, Status.FAILED, Status.EXPIRED):
                    await ticket.wait()
                    ticket = changed.ticket()
                    found = await self.local_status(payload_id, namespace) or found
        except TimeoutError:
            pass  # the status as it is now
        return found

    def _unknown(self, kind: str, ref: int | bytes, certain: bool, *, lost: bool) -> DaError:
        text = str(ref) if isinstance(ref, int) else "0x" + ref.hex()
        if lost:
            return NotReconstructable(f"{kind} {text} is damaged here and being repaired")
        if certain:
            return NotFound(kind, text)
        return NotReconstructable(
            f"{kind} {text} is unknown here, and a disperser does not answer; try again later"
        )


def check_length(what: str, value: bytes, length: int) -> None:
    """That an argument has its length. Raises InvalidRequest."""
    if len(value) != length:
        raise InvalidRequest(f"a {what} must be {length} bytes; got {len(value)}")


def _stage(certified: bool) -> Status:
    return Status.CERTIFIED if certified else Status.DISPERSING


def _status(header: Header, entry: PayloadEntry, status: Status) -> PayloadStatus:
    return PayloadStatus(
        payload_id=entry.payload_id,
        namespace=entry.namespace,
        status=status,
        length=entry.length,
        rows=entry.row_count,
        batch_height=header.height,
        header_hash=header.hash,
        disperser_id=header.disperser_id,
    )
