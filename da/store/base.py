"""The port of the store: what a node asks of the place where its batches live.

The idea: a batch is immutable once put. It is a header with its disperser's signature, a payload list, the
row commitments, and for each column held R records of cell || proof; the certificate arrives later and beside
it. Batches are found by header hash, by (disperser, height) and by payload id. They leave whole, a time
bucket at once, and leave a tombstone behind, so that "expired" is told apart from "unknown".

Invariants of every implementation:
- put_batch, add_columns and put_certificate return only when what was given would survive a power cut;
- never two headers of one disperser at one height, whatever happens in between;
- what is read was checked: a wrong byte is an error, never an answer;
- all methods may be called from many threads at once; none touches an event loop.

Does not: verify cells, proofs, signatures or certificates (see da.member); derive parity rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from da.protocol.columns import VerifiedColumns, VerifiedRecords
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.proposal import VerifiedProposal

Bytes8 = npt.NDArray[np.uint8]
BatchState = Literal["live", "expired", "missing"]


@dataclass(frozen=True, slots=True, eq=False)
class BatchRecord:
    """A stored batch without its cells.

    disperser_signature bytes[96]; commitments u8[R,48], read-only; columns: held ones, ascending;
    certificate: its encoding, None before it arrived; received_ms: Unix time at which it was stored. state:
    "live"; "expired": its time is over; "missing": its file was lost, so it is not served, but its height
    stays taken until the same batch is put again. When it is not "live", disperser_signature and columns are
    empty and commitments is u8[0,48].
    """

    header: Header
    disperser_signature: bytes
    payload_list: PayloadList
    commitments: Bytes8
    columns: tuple[int, ...]
    certificate: bytes | None
    received_ms: int
    state: BatchState = "live"

    @property
    def proposal(self) -> VerifiedProposal:
        """What the live batch was stored as."""
        assert self.state == "live", "of others the store has not all parts"
        return VerifiedProposal(self.header, self.disperser_signature, self.payload_list, self.commitments)


@dataclass(frozen=True, slots=True)
class PayloadLocation:
    """A batch that carries a payload, and the payload's entry in that batch's list.

    Known in whatever state the batch is; `certified`: its certificate was stored once.
    """

    header_hash: bytes
    entry: PayloadEntry
    header: Header
    certified: bool
    state: BatchState


FindingKind = Literal[
    "record",  # a record fails its checksum: repair it with add_columns
    "head",  # a batch file's head fails its checksums: the batch is not served until it is put again
    "certificate",  # a certificate's file is gone or fails its checksum: put it again
    "missing",  # the index knew a batch whose file is gone: not served until it is put again
    "unindexed",  # a file that the index did not know: indexed now
    "equivocation",  # a file whose height belongs to another header: moved to quarantine
    "index",  # the index could not be trusted: made anew from the files
    "tombstone",  # a file of tombstones fails its checksums
    "stray",  # a file or directory that is not the store's own: left alone
]


@dataclass(frozen=True, slots=True)
class ScrubFinding:
    """Something wrong that was found on disk; `path` is relative to the store's directory."""

    kind: FindingKind
    path: str
    detail: str
    header_hash: bytes | None = None
    row: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether writes are taken; when not, why, in words for an operator."""

    writable: bool
    reason: str | None = None


class BatchStore(Protocol):
    """See the module docstring for the invariants. Every method may raise StoreClosed."""

    @property
    def findings(self) -> Sequence[ScrubFinding]:
        """What was wrong when the store was opened, then at each rebuild_index.

        The implementation logs each finding once, as a warning of `cellar.store`; callers need not.
        """
        ...

    def put_batch(self, proposal: VerifiedProposal, columns: VerifiedColumns) -> None:
        """Stores a batch durably. On return all given columns are held.

        Args: columns: in strictly ascending order, possibly none; consumed one at a time. Idempotent: for a
        batch that is there, columns whose bytes are stored already are skipped and others added.

        Raises: InvalidBatch, Equivocation, PrunedHeight, ExpiredBatch, StoreFull, StoreReadOnly; and whatever
        `columns` raises, with nothing stored.
        """
        ...

    def put_certificate(self, header_hash: bytes, certificate_bytes: bytes) -> None:
        """Stores the certificate durably; a later one replaces it.

        Raises: UnknownBatch, ExpiredBatch, InvalidBatch (empty or over 64 KiB), StoreFull, StoreReadOnly.
        """
        ...

    def add_columns(self, header_hash: bytes, columns: VerifiedColumns) -> None:
        """Adds columns, or replaces them where they are held already (repair). Same form as put_batch's.

        Raises: UnknownBatch, ExpiredBatch, CorruptBatch, InvalidBatch, StoreFull, StoreReadOnly.
        """
        ...

    def batch(self, header_hash: bytes) -> BatchRecord:
        """The batch. Raises UnknownBatch, ExpiredBatch, CorruptBatch."""
        ...

    def state(self, header_hash: bytes) -> BatchState | None:
        """What has become of a batch; None when it is unknown."""
        ...

    def at_height(self, disperser_id: bytes, height: int) -> bytes | None:
        """The header hash at that height, expired ones too; None when there is none."""
        ...

    def latest(self, disperser_id: bytes, certified: bool = False) -> BatchRecord | None:
        """The batch of the greatest height, expired or not; `certified`: among those with a certificate."""
        ...

    def batches(
        self, disperser_id: bytes, from_height: int, limit: int, certified_only: bool = False
    ) -> list[BatchRecord]:
        """At most `limit` batches from `from_height` on, ascending, expired ones too. Gaps are possible."""
        ...

    def read_records(self, header_hash: bytes, pairs: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The 2096-byte records (cell || proof) at (row, column) pairs, in order; None: column not held.

        Raises: UnknownBatch, ExpiredBatch, CorruptBatch, OutOfRange, CorruptRecord (the first one met).
        """
        ...

    def read_column(self, header_hash: bytes, column: int) -> VerifiedRecords | None:
        """All records of a column, u8[R,2096]; None: not held. Raises as read_records."""
        ...

    def find_payload(self, payload_id: bytes) -> list[PayloadLocation]:
        """Batches that carry the payload, the one stored last first, expired ones too."""
        ...

    def expire(self, now_ms: int, retention_ms: int, keep: Collection[bytes] = ()) -> int:
        """Drops every time bucket that ended at least `retention_ms` ago; returns the number of batches.

        The batches of these header hashes are kept: they move along to the bucket of `now_ms`.
        """
        ...

    def scrub(self, header_hash: bytes | None = None) -> Iterator[ScrubFinding]:
        """Reads and checks every byte of one batch, or of the whole store; yields what is wrong."""
        ...

    def rebuild_index(self) -> None:
        """Makes the index anew from the files."""
        ...

    def free_bytes(self) -> int:
        """Bytes that may still be stored before the store turns read-only."""
        ...

    def health(self) -> StoreHealth:
        """Whether writes are taken, checked now."""
        ...

    def close(self) -> None:
        """Closes files and gives the directory free. May be called twice."""
        ...
