"""The node's service: one object that the HTTP API, adapters and tests call. Async, no HTTP.

It puts the parts together and delegates; what each does and promises is in its own module:

    posting -> outbox -> disperser.batcher -> disperser.dispersal -> disperser.delivery (one a member)
    member.ingest | member.follow | member.fetch | member.repair | member.scrub | member.retention
    lookup, reading, openings, samples | timekeeping

Invariants: methods may be called concurrently from one event loop; none does heavy work on it; errors are
those of da/errors.py and da/protocol/errors.py, and kzg's EngineError when the engine breaks down.

Does not: open or close engine, store, outbox and transport; the program that made them does.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from da.clock import Clock
from da.disperser.batcher import Batcher
from da.disperser.delivery import Delivery
from da.disperser.dispersal import Dispersal
from da.disperser.outbox import Outbox
from da.disperser.own_log import OwnLog
from da.disperser.remake import Remaker
from da.errors import (
    ColumnNotHeld,
    InvalidRequest,
    NotCertified,
    NotFound,
    NotReconstructable,
    QueueFull,
)
from da.member.fetch import ColumnFetcher
from da.member.follow import LogFollower
from da.member.ingest import Ingest
from da.member.relearn import Relearning
from da.member.repair import Repair
from da.member.retention import Retention
from da.member.scrub import Scrub
from da.node.lookup import PayloadLookup
from da.node.openings import Openings
from da.node.operation import Operation
from da.node.posting import Posting
from da.node.reading import PayloadReader
from da.node.samples import RecordReader
from da.node.types import (
    NamespaceListing,
    PayloadOpening,
    PayloadProof,
    PayloadStatus,
    Readiness,
    Receipt,
    Status,
)
from da.protocol.attestation import Attestation
from da.protocol.committee import Committee, member_id
from da.protocol.header import Header
from da.protocol.namespace import NAMESPACE_BYTES
from da.protocol.push import ColumnPush
from da.runtime.admission import Budget
from da.runtime.async_store import AsyncStore
from da.runtime.broadcast import Broadcast
from da.runtime.committee_time import Timekeeper
from da.runtime.config import NodeConfig
from da.runtime.context import NodeContext
from da.runtime.loops import Loops
from da.runtime.metrics import NodeMetrics
from da.runtime.signer import Signer
from da.runtime.workers import Workers
from da.store.base import BatchRecord, BatchStore
from da.store.errors import CorruptBatch, CorruptRecord
from da.transport.port import PeerTransport
from erasure.constants import CELLS_PER_EXT_BLOB, FIELD_ELEMENTS_PER_BLOB
from kzg.engine import Engine

T = TypeVar("T")

HASH_BYTES = 32
_ROW_COUNTS_MAX = 10_000


class Node:
    """A DA node. The caller opens and closes engine, store, outbox and transport."""

    def __init__(
        self,
        config: NodeConfig,
        committee: Committee,
        signer: Signer,
        engine: Engine,
        store: BatchStore,
        outbox: Outbox,
        transport: PeerTransport,
        workers: Workers,
        *,
        clock: Clock,
        name: str = "",
        seed: int | None = None,
    ) -> None:
        """`signer` signs for a member; `workers` are the node's from here on, and `stop` ends them; `seed`
        fixes jitter and peer order (tests).

        Raises InvalidRequest when the key is no member's, or the disperser role is on and not its.
        """
        self.config = config
        self.committee = committee
        self.member_id = member_id(signer.public_key)
        self.metrics = NodeMetrics()
        index = committee.member_index(self.member_id)
        if index is None:
            raise InvalidRequest(f"the key of member 0x{self.member_id.hex()} is not in the committee")
        member = committee.members[index]
        if config.disperses and not member.disperser:
            raise InvalidRequest(f"the committee does not let {member.name} disperse")
        self.is_disperser = config.disperses
        self.name = name or member.name
        self._workers = workers
        self._loops = Loops(self.metrics)
        self._pushes = Budget(
            config.member.push_inflight_bytes_max,
            wait_s=config.member.push_wait_s,
            queue_max=None,  # each has shown a disperser's signature
            refuse=lambda reason: QueueFull(
                max(1, round(config.member.push_wait_s)), f"column pushes: {reason}"
            ),
        )
        context = self._context = NodeContext(
            config=config,
            committee=committee,
            index=index,
            signer=signer,
            engine=engine,
            store=AsyncStore(store, self._workers, self._on_corrupt, self._on_lost, self._on_corrupt_index),
            transport=transport,
            workers=self._workers,
            metrics=self.metrics,
            clock=clock,
            rng=random.Random(seed),
            changed=Broadcast(),
        )
        fetcher = ColumnFetcher(context)
        self._repair = Repair(context, fetcher, Relearning(context, Remaker(context, outbox).remake))
        self._follower = LogFollower(context, self._repair.request)
        self._ingest = Ingest(context, self._follower)
        self._scrub = Scrub(context, self._repair)
        self._timekeeper = Timekeeper(context)
        self._retention = Retention(context, self._timekeeper)
        self._batcher = Batcher(context, outbox)
        self._own_log = OwnLog(context)
        self._dispersal = Dispersal(
            context, self._batcher, outbox, self._own_log, self._timekeeper, self._follower
        )
        self._deliveries = [Delivery(context, self._own_log, member) for member in context.peers]
        self._posting = Posting(context, outbox, self._batcher)
        self._lookup = PayloadLookup(context, outbox, self._batcher, self._follower)
        self._reader = PayloadReader(context, fetcher)
        self._openings = Openings(context, self._lookup, self._reader)
        self._records = RecordReader(context)
        self._operation = Operation(
            context, outbox, self._batcher, self._own_log, self._repair, self._scrub, self._timekeeper
        )
        # Of batches that samplers asked for: R never changes, and spares a look into the store a cell.
        self._row_counts: dict[bytes, int] = {}
        self._stopping = False

    async def start(self) -> None:
        """Resume what a stop or crash left, then run the loops."""
        if self.is_disperser:
            # With an empty store this may be a disk that was lost: the peers know how far the log got.
            await self._follower.sync(self._context.member)
            await self._own_log.load()
            self._loops.spawn("batcher", self._batcher.run)
            self._loops.spawn("dispersal", self._dispersal.run)
            for delivery in self._deliveries:
                self._loops.spawn(f"delivery to {delivery.member.name}", delivery.run)
        self._loops.spawn("time", self._timekeeper.run)
        self._loops.spawn("follower", self._follower.run)
        self._loops.spawn("repair", self._repair.run)
        self._loops.spawn("scrub", self._scrub.run)
        self._loops.spawn("index", self._scrub.mend_index)
        self._loops.spawn("retention", self._retention.run)
        self._loops.spawn("measure", self._operation.run)

    async def stop(self) -> None:
        """End the loops and wait for the threads; what is durable stays."""
        self._stopping = True
        await self._loops.stop()
        await self._follower.close()
        self._context.changed.announce()
        await self._workers.close()

    def _on_corrupt(self, header_hash: bytes, row: int, column: int) -> None:
        """Called in the event loop by the store's async face."""
        self.metrics.corrupt_records.inc()
        self._repair.request(header_hash, {column})

    def _on_lost(self, header_hash: bytes) -> None:
        """Called in the event loop by the store's async face."""
        self._scrub.doubt(header_hash)

    def _on_corrupt_index(self) -> None:
        """Called in the event loop by the store's async face."""
        self._scrub.doubt_index()

    # --- rollups: posting -----------------------------------------------------------------
    async def post(self, namespace: bytes, payload: bytes | bytearray) -> Receipt:
        """Take a payload; it is durable when this returns. It is not copied: leave it unchanged till then.

        Raises NotADisperser, EmptyPayload, PayloadTooLarge, InvalidRequest, QueueFull, ReadOnly, EngineError.
        """
        return await self._posting.post(namespace, payload, self._lookup)

    async def wait_certified(self, namespace: bytes, payload_id: bytes, timeout_s: float) -> PayloadStatus:
        """The status at certification, failure or after timeout_s, whichever is first.

        Raises NotFound, NotReconstructable.
        """
        return await self._lookup.wait_certified(payload_id, namespace, timeout_s)

    async def payload_status(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadStatus:
        """Raises NotFound (for certain), NotReconstructable (could not ask)."""
        _check_length("payload id", payload_id, HASH_BYTES)
        return await self._lookup.status(payload_id, namespace)

    # --- rollups: reading -----------------------------------------------------------------
    async def payload_bytes(self, payload_id: bytes) -> bytes:
        """Raises NotFound, Expired, NotReconstructable, PayloadFailed."""
        _check_length("payload id", payload_id, HASH_BYTES)
        try:
            record, entry = await self._lookup.place(payload_id, None)
        except NotCertified:
            waiting = await self._lookup.waiting_bytes(payload_id)
            if waiting is not None:
                return waiting
            record, entry = await self._lookup.place(payload_id, None)  # batched between the two looks
        return await self._reader.payload(record, entry)

    async def payload_certificate(self, payload_id: bytes, namespace: bytes | None = None) -> bytes:
        """Encoded Certificate. Raises NotCertified, PayloadFailed, NotFound, Expired, NotReconstructable."""
        _check_length("payload id", payload_id, HASH_BYTES)
        record, _ = await self._lookup.place(payload_id, namespace)
        if record.certificate is None:
            raise NotCertified("0x" + payload_id.hex(), Status.DISPERSING)
        return record.certificate

    async def payload_proof(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadProof:
        """Raises NotCertified (not in a batch yet), PayloadFailed, NotFound, Expired, NotReconstructable."""
        _check_length("payload id", payload_id, HASH_BYTES)
        record, entry = await self._lookup.place(payload_id, namespace)
        index = record.payload_list.index_of(payload_id, entry.namespace)
        assert index is not None, "the store found it there"
        return PayloadProof(
            header=record.header,
            header_hash=record.header.hash,
            entry=entry,
            index=index,
            proof=record.payload_list.prove(index),
            commitments=record.commitments,
            certificate=record.certificate,
        )

    async def opening(
        self, payload_id: bytes, *, z: bytes | None = None, index: int | None = None, row: int = 0
    ) -> PayloadOpening:
        """Open the payload's row `row` at a point z (32 bytes), or the payload's index-th element.

        Exactly one of z and index; with index, the row follows from it.
        Raises InvalidRequest, KzgError (z), QueueFull, and what payload_proof and payload_bytes raise.
        """
        _check_length("payload id", payload_id, HASH_BYTES)
        if (z is None) == (index is None):
            raise InvalidRequest("an opening is at z or at index, one of the two")
        if index is not None:
            row, index = divmod(index, FIELD_ELEMENTS_PER_BLOB)
            return await self._openings.opening(payload_id, index, row)
        assert z is not None, "checked above"
        return await self._openings.opening(payload_id, z, row)

    # --- the log --------------------------------------------------------------------------
    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchRecord:
        """By height or header hash. Raises NotFound, Expired, NotReconstructable, InvalidRequest."""
        if isinstance(ref, bytes):
            _check_length("header hash", ref, HASH_BYTES)
            return await _readable(self._lookup.batch(ref, b""))
        return await _readable(self._lookup.batch(ref, self._log_of(disperser_id)))

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes | None = None
    ) -> list[BatchRecord]:
        """Certified batches, ascending, expired ones too. Raises InvalidRequest, NotReconstructable."""
        limit = min(limit, self.config.reading.batches_per_page_max)
        log_of = self._log_of(disperser_id)
        page = await self._context.store.batches(log_of, from_height, limit, certified_only=True)
        if not page and log_of == self.member_id and not await self._follower.knows_own_log():
            raise NotReconstructable("this node's own log is not here, and too few peers have told it yet")
        return page

    async def subscribe(
        self, from_height: int, disperser_id: bytes | None = None
    ) -> AsyncIterator[BatchRecord]:
        """Certified batches from a height on, in order, none lost or repeated, until the node stops.

        The place in the log is all that a subscriber costs: what it has not read yet stays in the store.
        """
        log_of, store = self._log_of(disperser_id), self._context.store
        height = max(1, from_height)
        while not self._stopping:
            ticket = self._context.changed.ticket()
            page = await store.batches(log_of, height, self.config.member.follow_page)
            for record in page:
                # A batch whose certificate is still on its way holds back those after it; heights that
                # are not here at all have expired.
                if record.certificate is None and record.state == "live":
                    break
                if record.certificate is not None:
                    yield record
                height = record.header.height + 1
            else:
                if len(page) == self.config.member.follow_page:
                    continue
            await ticket.wait()

    async def namespace_proof(self, header_hash: bytes, namespace: bytes) -> NamespaceListing:
        """Raises NotFound, Expired, NotReconstructable."""
        _check_length("namespace", namespace, NAMESPACE_BYTES)
        record = await self.batch(header_hash)
        proof = record.payload_list.prove_namespace(namespace)
        return NamespaceListing(record.header, header_hash, namespace, proof.matches, proof)

    def _log_of(self, disperser_id: bytes | None) -> bytes:
        dispersers = self.committee.dispersers
        if disperser_id is None:
            if len(dispersers) != 1:
                raise InvalidRequest(f"there are {len(dispersers)} dispersers: say whose log is meant")
            return dispersers[0].id
        if all(member.id != disperser_id for member in dispersers):
            raise InvalidRequest(f"0x{disperser_id.hex()} is no disperser of the committee")
        return disperser_id

    # --- samples --------------------------------------------------------------------------
    async def records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """2096-byte records of (row < 2R, column); None = not held, b"" = corrupt, under repair.

        Raises InvalidRequest, NotFound, Expired, NotReconstructable.
        """
        rows = self._row_counts.get(header_hash)
        if rows is None:
            rows = (await self.batch(header_hash)).header.row_count
            if len(self._row_counts) >= _ROW_COUNTS_MAX:
                self._row_counts.clear()
            self._row_counts[header_hash] = rows
        try:
            return await _readable(self._records.records(header_hash, rows, pairs))
        except NotFound:
            await self.batch(header_hash)  # known before: say what has become of it
            raise

    async def column(self, header_hash: bytes, column: int) -> bytes:
        """R x 2096 bytes. Raises InvalidRequest, ColumnNotHeld, NotFound, Expired, NotReconstructable."""
        if not 0 <= column < CELLS_PER_EXT_BLOB:
            raise InvalidRequest(f"columns are 0..{CELLS_PER_EXT_BLOB - 1}, not {column}")
        await self.batch(header_hash)
        try:
            records = await _readable(self._context.store.read_column(header_hash, column))
        except CorruptRecord as error:
            raise NotReconstructable(f"column {column} is damaged here, its repair is under way") from error
        if records is None:
            raise ColumnNotHeld(column)
        return records.tobytes()

    # --- members --------------------------------------------------------------------------
    def admit_push(self, size: int) -> AbstractAsyncContextManager[None]:
        """Room for a push body of `size` bytes: hold it from before reading the body to the answer.

        Raises QueueFull when there is none within push_wait_s.
        """
        return self._pushes.hold(size)

    async def check_push(self, header: Header, disperser_signature: bytes) -> None:
        """All that can be said from the header alone, before the body is read. Raises as accept_push."""
        await self._ingest.check_header(header, disperser_signature)

    async def attest_again(self, header: Header) -> Attestation | None:
        """The attestation of a batch whose push was taken before; None when its columns are needed."""
        return await self._ingest.attest_again(header)

    async def accept_push(self, push: ColumnPush) -> Attestation:
        """Verify, store durably, sign.

        Raises InvalidPush and what is under it, StaleCommittee, HeightGap, HeaderConflict, Expired, ReadOnly,
        EngineError.
        """
        return await self._ingest.accept_push(push)

    async def accept_certificate(self, header_hash: bytes, certificate: bytes) -> None:
        """Raises RejectedCertificate, NotFound (unknown here; it is looked for), Expired, ReadOnly."""
        await self._ingest.accept_certificate(header_hash, certificate)

    # --- operators ------------------------------------------------------------------------
    async def info(self) -> dict[str, object]:
        """Identity, roles, engine, heights: what GET /v1/node shows. Bytes are 0x-hex."""
        return await self._operation.info(self.name, disperser=self.is_disperser)

    def health(self) -> bool:
        """Whether the loops run."""
        return self._loops.healthy

    async def ready(self) -> Readiness:
        """Whether the node can take and serve everything."""
        if not self._loops.healthy:
            return Readiness(ready=False, reasons=("not started, or stopping, or a loop has died",))
        reasons = await self._operation.reasons()
        return Readiness(ready=not reasons, reasons=tuple(reasons))


async def _readable(call: Awaitable[T]) -> T:
    """The call's result; a batch file with a damaged head is not servable at this moment."""
    try:
        return await call
    except CorruptBatch as error:
        raise NotReconstructable(str(error)) from error


def _check_length(what: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise InvalidRequest(f"a {what} is {length} bytes, not {len(value)}")
