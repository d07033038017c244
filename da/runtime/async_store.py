"""The batch store as the event loop sees it: every call in a thread, errors in the node's terms.

What the catalogue alone answers runs in the `io` threads, what reads or writes objects in those of `objects`.

    UnknownBatch -> NotFound      ExpiredBatch -> Expired       Equivocation, PrunedHeight -> HeaderConflict
    StoreReadOnly, StoreFull -> ReadOnly

    CorruptIndex -> NotReconstructable

CorruptRecord and CorruptBatch pass as they are; all three are reported to the repair and the scrub.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from da.errors import ColumnNotHeld, Expired, HeaderConflict, NotFound, NotReconstructable, ReadOnly
from da.protocol.columns import VerifiedColumns, VerifiedRecords
from da.protocol.header import ZERO_HASH
from da.protocol.proposal import VerifiedProposal
from da.runtime.workers import Workers
from da.store.base import BatchRecord, BatchState, BatchStore, PayloadLocation, ScrubFinding, StoreHealth
from da.store.errors import (
    CorruptBatch,
    CorruptIndex,
    CorruptRecord,
    Equivocation,
    ExpiredBatch,
    PrunedHeight,
    StoreReadOnly,
    UnknownBatch,
)

P = ParamSpec("P")
T = TypeVar("T")


class AsyncStore:
    """Awaitable twins of the BatchStore methods that the node uses."""

    def __init__(
        self,
        store: BatchStore,
        workers: Workers,
        on_corrupt: Callable[[bytes, int, int], None],
        on_lost: Callable[[bytes], None],
        on_corrupt_index: Callable[[], None],
    ) -> None:
        """`on_corrupt` gets (header hash, row, column) of every record that fails its checksum, `on_lost` the
        hash of every batch that as a whole cannot be read any more; `on_corrupt_index` is called when the
        index cannot be trusted."""
        self._store = store
        self._workers = workers
        self._on_corrupt = on_corrupt
        self._on_lost = on_lost
        self._on_corrupt_index = on_corrupt_index

    async def _catalogue(self, call: Callable[[], T]) -> T:
        """Run what the catalogue alone answers, with the errors mapped."""
        return await self._mapped(self._workers.io, call)

    async def _objects(self, call: Callable[[], T]) -> T:
        """Run what reads or writes objects, with the errors mapped."""
        return await self._mapped(self._workers.objects, call)

    async def _mapped(self, run: Callable[[Callable[[], T]], Awaitable[T]], call: Callable[[], T]) -> T:
        try:
            return await run(call)
        except UnknownBatch as error:
            raise NotFound("batch", "0x" + error.header_hash.hex()) from error
        except ExpiredBatch as error:
            raise Expired("batch", "0x" + error.record.header.hash.hex()) from error
        except Equivocation as error:
            raise HeaderConflict(error.existing_hash) from error
        except PrunedHeight as error:
            raise HeaderConflict(ZERO_HASH) from error
        except StoreReadOnly as error:
            raise ReadOnly(error.reason) from error
        except CorruptIndex as error:
            self._on_corrupt_index()
            raise NotReconstructable("the index is damaged and is being rebuilt; try again later") from error

    async def _read(
        self,
        method: Callable[Concatenate[bytes, P], T],
        header_hash: bytes,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """A call about one batch's objects; when it cannot be read, its hash is reported."""
        try:
            return await self._objects(partial(method, header_hash, *args, **kwargs))
        except CorruptBatch:
            self._on_lost(header_hash)
            raise

    async def put_batch(self, proposal: VerifiedProposal, columns: VerifiedColumns = ()) -> None:
        """Durable on return. Raises HeaderConflict, Expired, ReadOnly."""
        await self._objects(lambda: self._store.put_batch(proposal, columns))

    async def put_certificate(self, header_hash: bytes, certificate: bytes) -> None:
        """Durable on return. Raises NotFound, Expired, ReadOnly."""
        await self._objects(lambda: self._store.put_certificate(header_hash, certificate))

    async def add_columns(self, header_hash: bytes, columns: VerifiedColumns) -> None:
        """Durable on return. Raises NotFound, Expired, ReadOnly, CorruptBatch."""
        await self._read(self._store.add_columns, header_hash, columns)

    async def batch(self, header_hash: bytes) -> BatchRecord:
        """Raises NotFound (here), Expired, CorruptBatch."""
        return await self._read(self._store.batch, header_hash)

    async def any_batch(self, header_hash: bytes) -> BatchRecord:
        """As `batch`, but an expired one is returned too: its `state` says so."""

        def expired_too(header_hash: bytes) -> BatchRecord:
            try:
                return self._store.batch(header_hash)
            except ExpiredBatch as error:
                return error.record

        return await self._read(expired_too, header_hash)

    async def state(self, header_hash: bytes) -> BatchState | None:
        """What has become of a batch; None when it is unknown here."""
        return await self._catalogue(lambda: self._store.state(header_hash))

    async def at_height(self, disperser_id: bytes, height: int) -> bytes | None:
        """The header hash at a height of a log, expired ones too."""
        return await self._catalogue(lambda: self._store.at_height(disperser_id, height))

    async def latest(self, disperser_id: bytes, *, certified: bool = False) -> BatchRecord | None:
        """The top of a log."""
        return await self._objects(lambda: self._store.latest(disperser_id, certified))

    async def top_and_at(self, disperser_id: bytes, height: int) -> tuple[BatchRecord | None, bytes | None]:
        """The top of a log, and after that the header hash at a height of it, in one call."""
        return await self._objects(
            lambda: (self._store.latest(disperser_id, False), self._store.at_height(disperser_id, height))
        )

    async def batch_at(self, disperser_id: bytes, height: int) -> BatchRecord | None:
        """The batch at a height of a log; None when the height has none. Raises as `batch`."""
        header_hash = None

        def read() -> BatchRecord | None:
            nonlocal header_hash
            header_hash = self._store.at_height(disperser_id, height)
            return None if header_hash is None else self._store.batch(header_hash)

        try:
            return await self._objects(read)
        except CorruptBatch:
            assert header_hash is not None, "a batch was read"
            self._on_lost(header_hash)
            raise

    async def batches(
        self, disperser_id: bytes, from_height: int, limit: int, *, certified_only: bool = False
    ) -> list[BatchRecord]:
        """A page of a log, expired ones too."""
        return await self._objects(
            lambda: self._store.batches(disperser_id, from_height, limit, certified_only)
        )

    async def read_records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """Raises NotFound, Expired, CorruptRecord, CorruptBatch."""
        try:
            return await self._read(self._store.read_records, header_hash, pairs)
        except CorruptRecord as error:
            self._on_corrupt(header_hash, error.row, error.column)
            raise

    async def read_column(self, header_hash: bytes, column: int) -> VerifiedRecords | None:
        """u8[R,2096] or None. Raises as read_records."""
        try:
            return await self._read(self._store.read_column, header_hash, column)
        except CorruptRecord as error:
            self._on_corrupt(header_hash, error.row, error.column)
            raise

    async def read_columns(self, header_hash: bytes, columns: Sequence[int]) -> bytes:
        """The records of held columns, one column after the other. Raises as read_records; ColumnNotHeld."""

        def read(header_hash: bytes) -> bytes:
            parts = []
            for column in columns:
                records = self._store.read_column(header_hash, column)
                if records is None:
                    raise ColumnNotHeld(column)
                parts.append(records.data)
            return b"".join(parts)

        try:
            return await self._read(read, header_hash)
        except CorruptRecord as error:
            self._on_corrupt(header_hash, error.row, error.column)
            raise

    async def find_payload(self, payload_id: bytes) -> list[PayloadLocation]:
        """Batches that carry a payload, newest first, expired ones too."""
        return await self._catalogue(lambda: self._store.find_payload(payload_id))

    async def health(self) -> StoreHealth:
        """Whether writes are taken."""
        return await self._catalogue(self._store.health)

    async def free_bytes(self) -> int:
        """Bytes that may still be stored before the store turns read-only."""
        return await self._catalogue(self._store.free_bytes)

    async def expire(self, now_ms: int, retention_ms: int, keep: Collection[bytes]) -> int:
        """Drop time buckets that are too old, but for the batches to keep; how many went. Raises ReadOnly."""
        return await self._objects(lambda: self._store.expire(now_ms, retention_ms, keep))

    async def scrub(self, header_hash: bytes) -> list[ScrubFinding]:
        """What is wrong with a batch on disk, every byte read. Raises NotFound, Expired."""
        return await self._objects(lambda: list(self._store.scrub(header_hash)))

    async def rebuild_index(self) -> None:
        """Make the index again from the objects. Raises ReadOnly."""
        await self._objects(self._store.rebuild_index)
