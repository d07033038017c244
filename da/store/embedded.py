"""The embedded store: one immutable object a batch, and a catalogue of them in SQLite on the node's own disk.

The idea: a batch becomes a durable object and is published in its time bucket; then a commit of the catalogue
makes it exist. Everything in the catalogue can be read from the objects again. A bucket is dropped at once.
Two seams: the catalogue, which is always local, and the objects, which may lie elsewhere. Which module does
what:

    base, errors                the port                objects                     the port below
    batch_file, sidecar, tombstones, bucket, keys       formats and names, pure
    catalogue, catalogue_file, sqlite                   the catalogue and its file
    inventory, batch_object     what objects hold       reader, cache               reads
    writer                      puts, added columns     expiry                      buckets are dropped
    recovery                    opening                 scrub                       finding damage
    space, lock, filesystem, keyed_locks                room, ownership, system calls

Invariants: those of the port (da.store.base). One lock orders all changes of objects and catalogue; a read
takes it only to distinguish a batch that is being put from a catalogue that lost one.

Does not: verify what it stores (see da.member); choose when to expire or scrub; bound its size other than by
room.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from da.protocol.columns import VerifiedColumns, VerifiedRecords
from da.protocol.header import Header
from da.protocol.proposal import VerifiedProposal
from da.store import expiry, recovery, scrub
from da.store.base import (
    BatchRecord,
    BatchState,
    PayloadLocation,
    ScrubFinding,
    StoreHealth,
)
from da.store.bucket import bucket_at
from da.store.catalogue import Catalogue
from da.store.catalogue_file import INDEX_NAME, fresh_catalogue, open_catalogue, swap_catalogue
from da.store.errors import InvalidBatch, StoreClosed
from da.store.filesystem import Filesystem
from da.store.inventory import live_buckets, tombstoned_buckets
from da.store.keys import BUCKETS, TOMBSTONES, certificate_key
from da.store.lock import DirectoryLock
from da.store.objects.directory import DirectoryObjects
from da.store.objects.port import Objects
from da.store.reader import BatchReader
from da.store.sidecar import MAX_CERTIFICATE_BYTES, encode_sidecar
from da.store.space import SpaceGuard
from da.store.writer import BatchWriter

DAY_S = 86_400
DEFAULT_RESERVE_BYTES = 256 * 2**20
DEFAULT_TOMBSTONE_S = 30 * DAY_S

_log = logging.getLogger("cellar.store")


def _system_now_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedStore:
    """A BatchStore in a directory. See da.store.base.BatchStore for the methods."""

    def __init__(
        self,
        directory: Path | str,
        *,
        reserve_bytes: int = DEFAULT_RESERVE_BYTES,
        bucket_s: int = DAY_S,
        tombstone_s: int = DEFAULT_TOMBSTONE_S,
        now_ms: Callable[[], int] = _system_now_ms,
        objects: Objects | None = None,
        filesystem: Filesystem | None = None,
    ) -> None:
        """Opens the store, made when it is not there; see `findings` for what recovery found.

        Args: reserve_bytes: free room below which the store takes no writes; bucket_s: length of a time
        bucket, the unit of expiry; tombstone_s: how long after its expiry a batch is still known to have
        been; objects: where batches, certificates and tombstones lie, when that is not `directory` (for this
        store alone: nothing but the lock of `directory` keeps another one out).

        Raises: StoreLocked; StoreFull or StoreReadOnly when the directory cannot be written; OSError.
        """
        root = Path(directory)
        root.mkdir(parents=True, exist_ok=True)
        self._tombstone_ms = tombstone_s * 1000
        self._bucket_s = bucket_s
        self._root = root
        self._fs = filesystem or Filesystem()
        self._write_lock = threading.RLock()  # a reader in doubt takes it too, also within a write
        self._closed = False
        self._lock = DirectoryLock(root)
        try:
            self._space = SpaceGuard(self._fs, root, reserve_bytes)
            with self._space.writing():
                if objects is None:
                    objects = DirectoryObjects(self._fs, root, (BUCKETS, TOMBSTONES))
                self._objects = objects
                self._catalogue, self._findings = self._open_catalogue()
                self._space.restore_reserve()
        except BaseException:
            self._lock.release()
            raise
        self._reader = BatchReader(self._objects, self._catalogue, self._write_lock)
        self._writer = BatchWriter(
            self._objects, self._catalogue, self._space, self._reader, self._write_lock, bucket_s, now_ms
        )
        self._writer.not_before_ms = self._newest_tombstone_ms()

    # -- writes

    def put_batch(self, proposal: VerifiedProposal, columns: VerifiedColumns) -> None:
        """See BatchStore.put_batch."""
        self._writer.put(proposal, columns)

    def add_columns(self, header_hash: bytes, columns: VerifiedColumns) -> None:
        """See BatchStore.add_columns."""
        self._writer.add_columns(header_hash, columns)

    def put_certificate(self, header_hash: bytes, certificate_bytes: bytes) -> None:
        """See BatchStore.put_certificate."""
        if not 1 <= len(certificate_bytes) <= MAX_CERTIFICATE_BYTES:
            raise InvalidBatch(f"a certificate of {len(certificate_bytes)} bytes")
        data = encode_sidecar(header_hash, certificate_bytes)
        with self._write_lock:
            self._check_open()
            row = self._reader.live_row(header_hash)
            self._space.require(len(data))
            with self._space.writing():
                self._objects.put(certificate_key(row.bucket, header_hash), [data])
                if not row.certified:
                    with self._catalogue.transaction():
                        self._catalogue.certify(row)
            self._reader.forget([header_hash])

    def expire(self, now_ms: int, retention_ms: int, keep: Collection[bytes] = ()) -> int:
        """See BatchStore.expire."""
        limit_ms = now_ms - retention_ms
        dropped = 0
        self._check_open()
        try:
            with self._write_lock:
                self._check_open()
                due = [bucket for bucket in live_buckets(self._objects) if bucket.end_ms <= limit_ms]
                if due:
                    self._space.release_reserve()
                present = bucket_at(max(now_ms, self._writer.not_before_ms), self._bucket_s)
                for header_hash in keep:
                    expiry.carry(
                        self._objects, self._catalogue, self._space, present, self._reader.forget, header_hash
                    )
                try:
                    for bucket in due:
                        dropped += expiry.expire_bucket(
                            self._objects, self._catalogue, self._space, bucket, self._reader.forget
                        )
                    expiry.prune(self._objects, self._catalogue, self._space, limit_ms - self._tombstone_ms)
                finally:
                    self._writer.not_before_ms = self._newest_tombstone_ms()
        finally:
            with self._space.writing():  # not under the lock: a day of files takes its time
                self._objects.reclaim()
                if not self._closed:
                    self._space.restore_reserve()
        return dropped

    def rebuild_index(self) -> None:
        """See BatchStore.rebuild_index. Reads go on meanwhile; what was wrong is added to `findings`."""
        with self._write_lock:
            self._check_open()
            with self._space.writing():
                fresh = fresh_catalogue(self._fs, self._root)
                try:
                    found = recovery.reconcile(self._objects, fresh, rebuilding=True)
                    recovery.keep_missing(self._catalogue, fresh)
                finally:
                    fresh.close()
                self._catalogue.replace(lambda: swap_catalogue(self._fs, self._root))
            self._log(found)
            self._findings += found
            self._reader.clear()

    def close(self) -> None:
        """See BatchStore.close."""
        with self._write_lock:
            if not self._closed:
                self._closed = self._writer.closed = True
                self._reader.close()
                self._catalogue.close()
                self._lock.release()

    # -- reads

    def batch(self, header_hash: bytes) -> BatchRecord:
        """See BatchStore.batch."""
        return self._reader.batch(header_hash)

    def state(self, header_hash: bytes) -> BatchState | None:
        """See BatchStore.state."""
        row = self._catalogue.get(header_hash)
        return None if row is None else row.state

    def at_height(self, disperser_id: bytes, height: int) -> bytes | None:
        """See BatchStore.at_height."""
        row = self._catalogue.at_height(disperser_id, height)
        return None if row is None else row.header_hash

    def latest(self, disperser_id: bytes, certified: bool = False) -> BatchRecord | None:
        """See BatchStore.latest."""
        row = self._catalogue.latest(disperser_id, certified)
        return None if row is None else self._reader.listed(row)

    def batches(
        self, disperser_id: bytes, from_height: int, limit: int, certified_only: bool = False
    ) -> list[BatchRecord]:
        """See BatchStore.batches."""
        rows = self._catalogue.page(disperser_id, from_height, limit, certified_only)
        return [self._reader.listed(row) for row in rows]

    def read_records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """See BatchStore.read_records."""
        return self._reader.read_records(header_hash, pairs)

    def read_column(self, header_hash: bytes, column: int) -> VerifiedRecords | None:
        """See BatchStore.read_column."""
        return self._reader.read_column(header_hash, column)

    def find_payload(self, payload_id: bytes) -> list[PayloadLocation]:
        """See BatchStore.find_payload."""
        found = self._catalogue.locations(payload_id)
        return [
            PayloadLocation(
                row.header_hash, entry, Header.decode(row.header), certified=row.certified, state=row.state
            )
            for row, entry in found
        ]

    def scrub(self, header_hash: bytes | None = None) -> Iterator[ScrubFinding]:
        """See BatchStore.scrub. Raises UnknownBatch, ExpiredBatch for one batch."""
        self._check_open()
        if header_hash is None:
            return self._uncached(scrub.scrub_store(self._objects, self._catalogue, self._write_lock))
        row = self._reader.live_row(header_hash)
        return self._uncached(scrub.scrub_batch(self._objects, self._catalogue, row))

    def _uncached(self, findings: Iterator[ScrubFinding]) -> Iterator[ScrubFinding]:
        # What is damaged is read from the disk from here on, so that reads tell it and puts make it anew.
        for finding in findings:
            if finding.header_hash is not None:
                self._reader.forget([finding.header_hash])
            yield finding

    @property
    def findings(self) -> Sequence[ScrubFinding]:
        """See BatchStore.findings."""
        return tuple(self._findings)

    def free_bytes(self) -> int:
        """See BatchStore.free_bytes."""
        return self._space.free_bytes()

    def health(self) -> StoreHealth:
        """See BatchStore.health."""
        self._check_open()
        return self._space.health()

    # -- opening

    def _open_catalogue(self) -> tuple[Catalogue, list[ScrubFinding]]:
        existed = (self._root / INDEX_NAME).exists()
        catalogue, found = open_catalogue(self._fs, self._root)
        try:
            found += recovery.reconcile(self._objects, catalogue, rebuilding=bool(found) or not existed)
        except BaseException:
            catalogue.close()
            raise
        self._log(found)
        return catalogue, found

    def _log(self, findings: list[ScrubFinding]) -> None:
        for finding in findings:
            _log.warning("recovery: %s in %s: %s", finding.kind, finding.path, finding.detail)

    def _newest_tombstone_ms(self) -> int:
        return max((bucket.end_ms for bucket in tombstoned_buckets(self._objects)), default=0)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed
