"""What a node's methods return: plain frozen values, bytes inside (hex is the API's matter)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from da.protocol.header import Header
from da.protocol.payload_list import InclusionProof, NamespaceProof, PayloadEntry
from kzg.openings import Opening


class Status(StrEnum):
    """The life of a payload."""

    QUEUED = "queued"
    ENCODING = "encoding"
    DISPERSING = "dispersing"
    CERTIFIED = "certified"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a post: the payload is durable here, whatever happens next."""

    payload_id: bytes
    namespace: bytes
    rows: int
    length: int
    status: Status
    created: bool  # False: the same bytes were posted to this namespace before


@dataclass(frozen=True, slots=True)
class PayloadStatus:
    """Where a payload is. `header_hash` and `batch_height` are there from `dispersing` on."""

    payload_id: bytes
    namespace: bytes
    status: Status
    length: int
    rows: int
    batch_height: int | None = None
    header_hash: bytes | None = None
    disperser_id: bytes | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PayloadProof:
    """That a payload is in a batch: its entry under `payloads_root`, and the rows' commitments.

    `commitments` are all R of the batch (they hash to `header.commitments_root`); the payload's are
    rows entry.first_row .. entry.first_row + entry.row_count.
    """

    header: Header
    header_hash: bytes
    entry: PayloadEntry
    index: int
    proof: InclusionProof
    commitments: NDArray[np.uint8]
    certificate: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class NamespaceListing:
    """All payloads of one namespace in one batch, with the proof that there are no others."""

    header: Header
    header_hash: bytes
    namespace: bytes
    entries: tuple[PayloadEntry, ...]
    proof: NamespaceProof


@dataclass(frozen=True, slots=True, eq=False)
class PayloadOpening:
    """A point opening of one row of a payload."""

    payload_id: bytes
    row: int  # within the payload
    batch_row: int  # within its batch
    header_hash: bytes
    opening: Opening


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the node can do all of its work; `reasons` says what is missing when not."""

    ready: bool
    reasons: tuple[str, ...] = ()
