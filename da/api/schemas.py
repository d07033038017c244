"""What the API says in JSON: models with bytes inside and 0x-hex on the wire.

Answers that other programs of Cellar read back (batches, pages, payloads, errors, queries) are encoded by
da.wire, beside their decoders; their models here describe them on the OpenAPI page, and a test compares the
two. Every other JSON answer of a 2xx is one of these models. Conversion from the service's values happens
here and nowhere else.

Does not: parse what clients send (da/api/parameters.py, da/api/bodies.py).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from da.node import NamespaceListing, PayloadOpening, PayloadProof, PayloadStatus, Receipt
from da.protocol import namespace as namespaces
from da.protocol.payload_list import PayloadEntry
from da.store.base import BatchRecord, BatchState
from da.wire import batch_bytes, batches, payloads
from da.wire.payloads import PayloadInfo

HexBytes = Annotated[
    bytes,
    PlainSerializer(lambda value: "0x" + value.hex(), return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^0x([0-9a-f]{2})*$"}),
]


class Schema(BaseModel):
    """Base of the wire models."""

    model_config = ConfigDict(frozen=True)


class ErrorBody(Schema):
    """Every answer of 4xx and 5xx: the error's name, a sentence, and the error's own fields beside them."""

    model_config = ConfigDict(extra="allow")

    error: str
    message: str


class HeaderBody(Schema):
    """A batch header, field by field."""

    version: int
    chain_id: int
    disperser_id: HexBytes
    height: int
    timestamp_ms: int
    parent: HexBytes
    committee_hash: HexBytes
    row_count: int
    payloads_root: HexBytes
    commitments_root: HexBytes


class EntryBody(Schema):
    """One payload in a batch's payload list."""

    namespace: HexBytes
    namespace_label: str
    payload_id: HexBytes
    first_row: int
    row_count: int
    length: int

    @classmethod
    def of(cls, entry: PayloadEntry) -> EntryBody:
        """From an entry."""
        return cls(
            namespace=entry.namespace,
            namespace_label=namespaces.label(entry.namespace),
            payload_id=entry.payload_id,
            first_row=entry.first_row,
            row_count=entry.row_count,
            length=entry.length,
        )


class BatchBody(Schema):
    """A batch without its cells, as da.wire.batches writes it; here for the OpenAPI page alone."""

    header_hash: HexBytes
    header: HeaderBody
    header_bytes: HexBytes
    disperser_signature: HexBytes
    certificate: HexBytes | None
    commitments: tuple[HexBytes, ...]
    payloads: tuple[EntryBody, ...]
    columns: tuple[int, ...]
    state: BatchState


def batch_document(record: BatchRecord) -> dict[str, Any]:
    """The JSON-ready document of a stored batch."""
    return batches.encode(
        record.state,
        record.header,
        record.payload_list,
        certificate=record.certificate,
        disperser_signature=record.disperser_signature,
        commitments=record.commitments,
        columns=record.columns,
    )


def batch_bytes_of(record: BatchRecord) -> bytes:
    """The binary document of a live stored batch."""
    return batch_bytes.encode(
        record.header,
        record.disperser_signature,
        record.payload_list,
        record.commitments,
        record.certificate,
        record.columns,
    )


class BatchesBody(Schema):
    """A page of the log; `next` is the height to ask from next, null at the end of what is there."""

    batches: tuple[BatchBody, ...]
    next: int | None


class PayloadBody(Schema):
    """Where a payload is, as da.wire.payloads writes it; here for the OpenAPI page alone."""

    payload_id: HexBytes
    namespace: HexBytes
    namespace_label: str
    status: str
    length: int
    rows: int
    created: bool | None = None
    batch_height: int | None = None
    header_hash: HexBytes | None = None
    disperser_id: HexBytes | None = None
    reason: str | None = None
    certificate: HexBytes | None = None


def receipt_document(receipt: Receipt) -> dict[str, Any]:
    """The JSON-ready answer to a post."""
    return payloads.encode(
        PayloadInfo(
            payload_id=receipt.payload_id,
            namespace=receipt.namespace,
            status=receipt.status,
            length=receipt.length,
            rows=receipt.rows,
            created=receipt.created,
        )
    )


def status_document(
    status: PayloadStatus, *, created: bool | None = None, certificate: bytes | None = None
) -> dict[str, Any]:
    """The JSON-ready document of a status, perhaps with what a waiting post adds."""
    return payloads.encode(
        PayloadInfo(
            payload_id=status.payload_id,
            namespace=status.namespace,
            status=status.status,
            length=status.length,
            rows=status.rows,
            created=created,
            batch_height=status.batch_height,
            header_hash=status.header_hash,
            disperser_id=status.disperser_id,
            reason=status.reason,
            certificate=certificate,
        )
    )


class PayloadProofBody(Schema):
    """That a payload is in a batch. `proof` is the canonical encoding (docs/reference/wire-formats.md)."""

    header_hash: HexBytes
    header_bytes: HexBytes
    payload: EntryBody
    index: int
    count: int
    siblings: tuple[HexBytes, ...]
    proof: HexBytes
    commitments: tuple[HexBytes, ...]
    certificate: HexBytes | None

    @classmethod
    def of(cls, found: PayloadProof) -> PayloadProofBody:
        """From the service's value."""
        return cls(
            header_hash=found.header_hash,
            header_bytes=found.header.encode(),
            payload=EntryBody.of(found.entry),
            index=found.index,
            count=found.proof.count,
            siblings=found.proof.siblings,
            proof=found.proof.encode(),
            commitments=tuple(row.tobytes() for row in found.commitments),
            certificate=found.certificate,
        )


class NamespaceBody(Schema):
    """All payloads of a namespace in a batch; `proof` shows that there are no others."""

    header_hash: HexBytes
    header_bytes: HexBytes
    namespace: HexBytes
    namespace_label: str
    payloads: tuple[EntryBody, ...]
    count: int
    first: int
    siblings: tuple[HexBytes, ...]
    proof: HexBytes

    @classmethod
    def of(cls, listing: NamespaceListing) -> NamespaceBody:
        """From the service's value."""
        return cls(
            header_hash=listing.header_hash,
            header_bytes=listing.header.encode(),
            namespace=listing.namespace,
            namespace_label=namespaces.label(listing.namespace),
            payloads=tuple(EntryBody.of(entry) for entry in listing.entries),
            count=listing.proof.count,
            first=listing.proof.first,
            siblings=listing.proof.siblings,
            proof=listing.proof.encode(),
        )


class OpeningBody(Schema):
    """A KZG opening of one row at one point; `calldata` is the 192-byte input of the precompile 0x0A."""

    payload_id: HexBytes
    row: int
    batch_row: int
    header_hash: HexBytes
    versioned_hash: HexBytes
    z: HexBytes
    y: HexBytes
    commitment: HexBytes
    proof: HexBytes
    calldata: HexBytes

    @classmethod
    def of(cls, found: PayloadOpening) -> OpeningBody:
        """From the service's value."""
        opening = found.opening
        return cls(
            payload_id=found.payload_id,
            row=found.row,
            batch_row=found.batch_row,
            header_hash=found.header_hash,
            versioned_hash=opening.versioned_hash,
            z=opening.z,
            y=opening.y,
            commitment=opening.commitment,
            proof=opening.proof,
            calldata=opening.calldata(),
        )


class CellsQuery(Schema):
    """The cells a client asks for in one request: [row, column] pairs, row < 2R, column < 128.

    As da.wire.cells reads it; here for the OpenAPI page alone.
    """

    model_config = ConfigDict(extra="forbid")

    cells: tuple[tuple[int, int], ...]


class FoldsQuery(Schema):
    """The columns whose folds a client asks for in one request, and its seed of 32 bytes.

    As da.wire.folds reads it; here for the OpenAPI page alone.
    """

    model_config = ConfigDict(extra="forbid")

    seed: str
    columns: tuple[int, ...]


class ContributionBody(Schema):
    """How many equations of a contribution were stored, and the columns that the node still lacks."""

    taken: int
    wanted: tuple[int, ...]


class ReadinessBody(Schema):
    """Whether the node can take and serve everything; `reasons` says what is missing when not."""

    ready: bool
    reasons: tuple[str, ...]


class HealthBody(Schema):
    """Whether the process and its loops run."""

    healthy: bool
