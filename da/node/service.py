"""The node's service: one object that the HTTP API, adapters and tests call. Async, no HTTP.

It puts the parts together and delegates; what each does and promises is in its own module:

    posting -> outbox -> disperser.batcher -> disperser.dispersal -> disperser.delivery (one a member)
    member.ingest | member.follow | member.fetch | member.repair | member.scrub | member.retention
    lookup, payloads, cells, folds, openings, log, operation | runtime.committee_time

Invariants: methods may be called concurrently from one event loop; none does heavy work on it; errors are
those of da/errors.py and da/protocol/errors.py, and kzg's EngineError when the engine breaks down.

Does not: open or close engine, store, outbox and transport; the program that made them does.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import numpy as np
from numpy.typing import NDArray

from da.clock import Clock
from da.disperser.batcher import Batcher
from da.disperser.delivery import Delivery
from da.disperser.dispersal import Dispersal
from da.disperser.outbox import Outbox
from da.disperser.own_log import OwnLog
from da.disperser.remake import Remaker
from da.errors import (
    InvalidRequest,
    QueueFull,
)
from da.member.equations import EquationTable
from da.member.fetch import ColumnFetcher
from da.member.follow import LogFollower
from da.member.ingest import Ingest
from da.member.relearn import Relearning
from da.member.repair import Repair
from da.member.rescue import Rescue
from da.member.retention import Retention
from da.member.scrub import Scrub
from da.node.cells import CellReader
from da.node.folds import Folds
from da.node.log import LogReader
from da.node.lookup import PayloadLookup
from da.node.openings import Openings
from da.node.operation import Operation
from da.node.payloads import PayloadReader
from da.node.posting import Posting
from da.node.types import (
    NamespaceListing,
    PayloadOpening,
    PayloadProof,
    PayloadStatus,
    Readiness,
    Receipt,
)
from da.protocol import custody
from da.protocol.attestation import Attestation
from da.protocol.committee import Committee, member_id
from da.protocol.committee_chain import CommitteeChain
from da.protocol.header import Header
from da.protocol.push import ColumnPush, push_bytes_max
from da.runtime.admission import Budget, FairShares, Room
from da.runtime.async_store import AsyncStore
from da.runtime.broadcast import Broadcast
from da.runtime.committee_time import Timekeeper
from da.runtime.config import NodeConfig
from da.runtime.context import NodeContext
from da.runtime.loops import Loops
from da.runtime.metrics import NodeMetrics, delivery_loop
from da.runtime.signer import Signer
from da.runtime.workers import Workers
from da.store.base import BatchRecord, BatchStore
from da.transport.port import PeerTransport
from da.wire.cells import CellAnswer
from da.wire.contributions import Contribution, ContributionAnswer
from kzg.engine import Prover, Verifier

PUSHES_WAITING_MAX = 64  # of one disperser, for its own


class Node:
    """A DA node. The caller opens and closes engine, store, outbox and transport."""

    def __init__(
        self,
        config: NodeConfig,
        committee: Committee,
        signer: Signer,
        verifier: Verifier,
        store: BatchStore,
        outbox: Outbox,
        equations: EquationTable,
        transport: PeerTransport,
        workers: Workers,
        *,
        clock: Clock,
        chain: CommitteeChain | None = None,
        prover: Prover | None = None,
        name: str = "",
        seed: int | None = None,
    ) -> None:
        """`signer` signs for a member; `workers` are the node's from here on, and `stop` ends them; `seed`
        fixes jitter and peer order (tests). A disperser needs a prover, which may be the same engine as the
        verifier. `chain` has the committee in office; None is a chain of it alone.

        Raises InvalidRequest when the key is no member's, or the disperser role is on and not its.
        """
        self.config = config
        self.committee = committee
        self.chain = chain or CommitteeChain(committee)
        assert self.chain.by_hash(committee.hash) is not None, "the chain has the committee in office"
        self.member_id = member_id(signer.public_key)
        self.metrics = NodeMetrics(member.name for member in committee.members)
        index = committee.member_index(self.member_id)
        if index is None:
            raise InvalidRequest(f"the key of member 0x{self.member_id.hex()} is not in the committee")
        member = committee.members[index]
        if config.disperses and not member.disperser:
            raise InvalidRequest(f"the committee does not let {member.name} disperse")
        assert prover is not None or not config.disperses, "a disperser needs a prover"
        self.is_disperser = config.disperses
        self.name = name or member.name
        self._workers = workers
        self._loops = Loops(self.metrics)
        self.push_room, self.push_turns = _push_admission(config, committee, index, self.metrics)
        context = self._context = NodeContext(
            config=config,
            committee=committee,
            chain=self.chain,
            index=index,
            signer=signer,
            verifier=verifier,
            prover=prover,
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
        self._rescue = Rescue(context, equations, self._repair)
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
        self._lookup = PayloadLookup(context, outbox, self._batcher, self._follower)
        self._posting = Posting(context, outbox, self._batcher, self._lookup)
        self._payloads = PayloadReader(context, self._lookup, fetcher)
        self._openings = Openings(context, self._lookup, self._payloads)
        self._log = LogReader(context, self._lookup, self._follower)
        self._cells = CellReader(context, self._log)
        self._folds = Folds(context, self._log)
        self._operation = Operation(
            context,
            self.name,
            self._loops,
            outbox,
            self._batcher,
            self._own_log,
            self._repair,
            self._scrub,
            self._timekeeper,
        )

    async def start(self) -> None:
        """Resume what a stop or crash left, then run the loops."""
        if self.is_disperser:
            # With an empty store this may be a disk that was lost: the peers know how far the log got.
            await self._follower.sync(self._context.member)
            await self._own_log.load()
            self._loops.spawn("batcher", self._batcher.run)
            self._loops.spawn("dispersal", self._dispersal.run)
            for delivery in self._deliveries:
                self._loops.spawn(delivery_loop(delivery.member.name), delivery.run)
        self._loops.spawn("time", self._timekeeper.run)
        self._loops.spawn("follower", self._follower.run)
        self._loops.spawn("repair", self._repair.run)
        self._loops.spawn("rescue", self._rescue.run)
        self._loops.spawn("scrub", self._scrub.run)
        self._loops.spawn("index", self._scrub.rebuild_index)
        self._loops.spawn("retention", self._retention.run)
        self._loops.spawn("measure", self._operation.run)

    async def stop(self) -> None:
        """End the loops and wait for the threads; what is durable stays."""
        await self._loops.stop()
        await self._follower.close()
        self._log.close()
        await self._workers.close()

    def _on_corrupt(self, header_hash: bytes, row: int, column: int) -> None:
        """Called in the event loop by the store's async face."""
        self._scrub.report_record(header_hash, column)

    def _on_lost(self, header_hash: bytes) -> None:
        """Called in the event loop by the store's async face."""
        self._scrub.suspect(header_hash)

    def _on_corrupt_index(self) -> None:
        """Called in the event loop by the store's async face."""
        self._scrub.suspect_index()

    # --- rollups: posting -----------------------------------------------------------------
    async def post(self, namespace: bytes, payload: bytes | bytearray) -> Receipt:
        """Take a payload; it is durable when this returns. It is not copied: leave it unchanged till then.

        Raises NotADisperser, EmptyPayload, PayloadTooLarge, InvalidRequest, QueueFull, ReadOnly, EngineError.
        """
        return await self._posting.post(namespace, payload)

    async def wait_certified(self, namespace: bytes, payload_id: bytes, timeout_s: float) -> PayloadStatus:
        """The status at certification, failure or after timeout_s, whichever is first.

        Raises NotFound, NotReconstructable.
        """
        return await self._lookup.wait_certified(payload_id, namespace, timeout_s)

    async def payload_status(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadStatus:
        """Raises NotFound (for certain), NotReconstructable (could not ask)."""
        return await self._lookup.status(payload_id, namespace)

    # --- rollups: reading -----------------------------------------------------------------
    async def payload_bytes(self, payload_id: bytes) -> bytes:
        """Raises NotFound, Expired, NotReconstructable, PayloadFailed, UndecodablePayload."""
        return await self._payloads.payload(payload_id)

    async def payload_rows(self, payload_id: bytes) -> NDArray[np.uint8]:
        """The payload's rows u8[rows,131072] as they were committed to, decodable or not.

        Raises NotCertified (not in a batch yet), and what payload_bytes raises but UndecodablePayload.
        """
        return await self._payloads.rows_of(payload_id)

    async def payload_certificate(self, payload_id: bytes, namespace: bytes | None = None) -> bytes:
        """Encoded Certificate. Raises NotCertified, PayloadFailed, NotFound, Expired, NotReconstructable."""
        return await self._payloads.certificate(payload_id, namespace)

    async def payload_proof(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadProof:
        """Raises NotCertified (not in a batch yet), PayloadFailed, NotFound, Expired, NotReconstructable."""
        return await self._payloads.proof(payload_id, namespace)

    async def opening(
        self, payload_id: bytes, *, z: bytes | None = None, index: int | None = None, row: int = 0
    ) -> PayloadOpening:
        """Open the payload's row `row` at a point z (32 bytes), or the payload's index-th element.

        Exactly one of z and index; with index, the row follows from it.
        Raises InvalidRequest, KzgError (z), QueueFull, and what payload_proof and payload_bytes raise.
        """
        return await self._openings.opening(payload_id, z, index, row)

    # --- the log --------------------------------------------------------------------------
    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchRecord:
        """By height or header hash. Raises NotFound, Expired, NotReconstructable, InvalidRequest."""
        return await self._log.batch(ref, disperser_id)

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes | None = None
    ) -> list[BatchRecord]:
        """Certified batches, ascending, expired ones too. Raises InvalidRequest, NotReconstructable."""
        return await self._log.batches(from_height, limit, disperser_id)

    def subscribe(self, from_height: int, disperser_id: bytes | None = None) -> AsyncIterator[BatchRecord]:
        """Certified batches from a height on, in order, none lost or repeated, until the node stops.

        The place in the log is all that a subscriber costs: what it has not read yet stays in the store.
        """
        return self._log.subscribe(from_height, disperser_id)

    async def namespace_proof(self, header_hash: bytes, namespace: bytes) -> NamespaceListing:
        """Raises NotFound, Expired, NotReconstructable."""
        return await self._log.namespace_proof(header_hash, namespace)

    # --- samples --------------------------------------------------------------------------
    async def records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[CellAnswer]:
        """What is here at each (row < 2R, column); damaged records are under repair.

        Raises InvalidRequest, NotFound, Expired, NotReconstructable.
        """
        return await self._cells.records(header_hash, pairs)

    async def folds(self, header_hash: bytes, seed: bytes, columns: Sequence[int]) -> list[CellAnswer]:
        """The fold of each column under a seed, where the column is here; damaged ones are under repair.

        Raises InvalidRequest, QueueFull, NotFound, Expired, NotReconstructable, EngineError.
        """
        return await self._folds.folds(header_hash, seed, columns)

    async def column(self, header_hash: bytes, column: int) -> bytes:
        """R x 2096 bytes. Raises InvalidRequest, ColumnNotHeld, NotFound, Expired, NotReconstructable."""
        return await self._cells.column(header_hash, column)

    # --- members --------------------------------------------------------------------------
    async def check_push(self, header: Header, disperser_signature: bytes, push_signature: bytes) -> None:
        """Check all that a push's head shows, before the body is read. Raises as accept_push."""
        await self._ingest.check_head(header, disperser_signature, push_signature)

    async def attest_again(self, header: Header) -> Attestation | None:
        """The attestation of a batch whose push was taken before; None when its columns are needed."""
        return await self._ingest.attest_again(header)

    async def accept_push(self, push: ColumnPush) -> Attestation:
        """Verify, store durably, sign.

        Raises InvalidPush and what is under it, InvalidProposal, StaleCommittee, HeightGap, HeaderConflict,
        Expired, ReadOnly, EngineError.
        """
        return await self._ingest.accept_push(push)

    async def accept_certificate(self, header_hash: bytes, certificate: bytes) -> None:
        """Raises RejectedCertificate, NotFound (unknown here; it is looked for), Expired, ReadOnly."""
        await self._ingest.accept_certificate(header_hash, certificate)

    async def contribute(
        self, header_hash: bytes, contribution: Contribution, owner: str
    ) -> ContributionAnswer:
        """Store folds or cells of a certified batch that this node lacks; `owner` is whose share they take.

        Raises InvalidRequest, InvalidContribution, NotFound, Expired, NotCertified, QueueFull, ReadOnly,
        EngineError.
        """
        return await self._rescue.take(header_hash, contribution, owner)

    # --- operators ------------------------------------------------------------------------
    async def info(self) -> dict[str, object]:
        """Identity, roles, engine, heights: what GET /v1/node shows. Bytes are 0x-hex."""
        return await self._operation.info()

    @property
    def column_count(self) -> int:
        """Columns in this member's custody."""
        return len(self._context.custody)

    def health(self) -> bool:
        """Whether the loops run."""
        return self._loops.healthy

    async def ready(self) -> Readiness:
        """Whether the node can take and serve everything."""
        return await self._operation.readiness()


def _push_admission(
    config: NodeConfig, committee: Committee, index: int, metrics: NodeMetrics
) -> tuple[Room, FairShares]:
    """The room for pushes, and each disperser's turns in it.

    At least two of the longest pushes that this member's custody can ask for fit, whatever the configuration
    says: half of a room is the most that one disperser may fill.
    """
    wait_s = config.member.push_wait_s

    def refuse(reason: str) -> Exception:
        return QueueFull(max(1, round(wait_s)), f"column pushes: {reason}")

    longest = push_bytes_max(len(custody.columns_of(committee, index)))
    room = Room(
        max(config.member.push_inflight_bytes_max, 2 * longest),
        wait_s=wait_s,
        refuse=refuse,
        on_change=metrics.push_inflight_bytes.set,
    )
    return room, FairShares(
        lambda: Budget(room.share, wait_s=wait_s, queue_max=PUSHES_WAITING_MAX, refuse=refuse)
    )
