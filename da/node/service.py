"""The node's service: one object, async methods, no HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from da.clock import Clock
    from da.disperser.outbox import Outbox
    from da.metrics import NodeMetrics
    from da.node.config import NodeConfig
    from da.node.types import (
        NamespaceListing,
        PayloadOpening,
        PayloadProof,
        PayloadStatus,
        Readiness,
        Receipt,
    )
    from da.protocol.certificate import Attestation
    from da.protocol.committee import Committee
    from da.protocol.header import Header
    from da.protocol.push import ColumnPush
    from da.store.base import BatchRecord, BatchStore
    from da.transport import PeerTransport
    from kzg.engine import Engine


class Node:
    """A DA node. The caller opens and closes engine, store, outbox and transport."""

    metrics: NodeMetrics
    config: NodeConfig
    committee: Committee
    member_id: bytes
    is_disperser: bool

    def __init__(
        self,
        config: NodeConfig,
        committee: Committee,
        secret: bytes,
        engine: Engine,
        store: BatchStore,
        outbox: Outbox,
        transport: PeerTransport,
        *,
        clock: Clock,
        name: str = "",
        seed: int | None = None,
    ) -> None:
        """`secret` is the BLS secret key; `seed` fixes jitter and peer order (tests)."""

    async def start(self) -> None:
        """Resume what a stop or crash left, then run the loops."""

    async def stop(self) -> None:
        """End the loops and wait for the threads; what is durable stays."""

    # --- rollups: posting -----------------------------------------------------------------
    async def post(self, namespace: bytes, payload: bytes) -> Receipt:
        """Raises NotADisperser, EmptyPayload, PayloadTooLarge, InvalidRequest, QueueFull, ReadOnly."""

    async def wait_certified(self, namespace: bytes, payload_id: bytes, timeout_s: float) -> PayloadStatus:
        """The status at certification, failure or after timeout_s, whichever is first."""

    async def payload_status(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadStatus:
        """Raises NotFound (for certain), NotReconstructable (could not ask)."""

    # --- rollups: reading -----------------------------------------------------------------
    async def payload_bytes(self, payload_id: bytes) -> bytes:
        """Raises NotFound, Expired, NotReconstructable, PayloadFailed."""

    async def payload_certificate(self, payload_id: bytes, namespace: bytes | None = None) -> bytes:
        """Encoded Certificate. Raises NotCertified, NotFound, Expired, NotReconstructable."""

    async def payload_proof(self, payload_id: bytes, namespace: bytes | None = None) -> PayloadProof:
        """Raises NotCertified (not in a batch yet), NotFound, Expired, NotReconstructable."""

    async def opening(
        self, payload_id: bytes, *, z: bytes | None = None, index: int | None = None, row: int = 0
    ) -> PayloadOpening:
        """Open at a point z (32 bytes) of the payload's row, or at the index-th element of the payload."""

    # --- the log --------------------------------------------------------------------------
    async def batch(self, ref: int | bytes, disperser_id: bytes | None = None) -> BatchRecord:
        """By height or header hash. Raises NotFound, Expired, InvalidRequest (which disperser?)."""

    async def batches(
        self, from_height: int, limit: int, disperser_id: bytes | None = None
    ) -> list[BatchRecord]:
        """Certified batches, ascending."""

    def subscribe(self, from_height: int, disperser_id: bytes | None = None) -> AsyncIterator[BatchRecord]:
        """Certified batches from a height on, in order, none lost or repeated, for ever."""

    async def namespace_proof(self, header_hash: bytes, namespace: bytes) -> NamespaceListing:
        """Raises NotFound, Expired."""

    # --- samples --------------------------------------------------------------------------
    async def records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """2096-byte records of (row < 2R, column); None = not held, b"" = corrupt, under repair."""

    async def column(self, header_hash: bytes, column: int) -> bytes:
        """R x 2096 bytes. Raises ColumnNotHeld, NotFound, Expired."""

    # --- members --------------------------------------------------------------------------
    def admit_push(self, size: int) -> AbstractAsyncContextManager[None]:
        """Room for a push body of `size` bytes: hold it from before reading the body to the answer."""

    async def check_push(self, header: Header, disperser_signature: bytes) -> None:
        """All that can be said from the header alone, before the body is read. Raises as accept_push."""

    async def accept_push(self, push: ColumnPush) -> Attestation:
        """Verify, store durably, sign."""

    async def accept_certificate(self, header_hash: bytes, certificate: bytes) -> None:
        """Raises RejectedCertificate, NotFound (batch unknown here; it is looked for)."""

    # --- operators ------------------------------------------------------------------------
    async def info(self) -> dict[str, object]:
        """Identity, roles, engine, heights: what GET /v1/node shows."""

    def health(self) -> bool:
        """Whether the loops run."""

    async def ready(self) -> Readiness:
        """Whether the node can take and serve everything."""
