"""The batch document: a batch without its cells, as JSON, and pages of the log.

    live     header, signature, payload list, commitments: all that is needed to verify and to sample it
    expired  the retention is over; header, payload list and certificate outlive the data
    missing  the member lost the batch and has not got it back yet; the same outlives

Invariants: `decode` is total: a document or an InvalidDocument for any JSON. What follows from other fields
(the header's fields one by one, labels of namespaces) is written for people and not read back.

Does not: verify anything (see da.protocol.proposal and da.protocol.certificate).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from da.bls import SIGNATURE_BYTES
from da.protocol import namespace as namespaces
from da.protocol.certificate import MAX_CERTIFICATE_BYTES, Certificate
from da.protocol.codec import U64_MAX
from da.protocol.custody import COLUMNS
from da.protocol.errors import ProtocolError
from da.protocol.fields import Fields, parse_object
from da.protocol.header import HEADER_BYTES, Header
from da.protocol.payload_list import MAX_ENTRIES, PayloadEntry, PayloadList
from da.protocol.proposal import Proposal
from da.wire import hexadecimal
from da.wire.errors import InvalidDocument
from erasure.constants import MAX_ROWS
from kzg.constants import BYTES_PER_COMMITMENT

State = Literal["live", "expired", "missing"]

# The longest document: 256 payloads of one row each, every number at its longest.
BATCH_BYTES_MAX = 160 * 1024
_NO_COMMITMENTS = np.zeros((0, BYTES_PER_COMMITMENT), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class LiveBatch:
    """A batch that the member serves; `columns` are those it says it holds, ascending."""

    state: ClassVar[State] = "live"
    proposal: Proposal
    certificate: Certificate | None
    columns: tuple[int, ...] = ()

    @property
    def header(self) -> Header:
        """The proposal's header."""
        return self.proposal.header

    @property
    def payload_list(self) -> PayloadList:
        """The proposal's payload list."""
        return self.proposal.payload_list


@dataclass(frozen=True, slots=True, eq=False)
class ExpiredBatch:
    """A batch whose retention is over at the member."""

    state: ClassVar[State] = "expired"
    header: Header
    payload_list: PayloadList
    certificate: Certificate | None


@dataclass(frozen=True, slots=True, eq=False)
class MissingBatch:
    """A batch that the member knows and cannot serve now."""

    state: ClassVar[State] = "missing"
    header: Header
    payload_list: PayloadList
    certificate: Certificate | None


BatchDocument = LiveBatch | ExpiredBatch | MissingBatch


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Consecutive batches of one log, ascending; `next_height` continues it, None at its end."""

    batches: tuple[BatchDocument, ...]
    next_height: int | None


def page_bytes_max(limit: int) -> int:
    """The longest page of `limit` batches."""
    return 1024 + limit * BATCH_BYTES_MAX


def encode(
    state: State,
    header: Header,
    payload_list: PayloadList,
    *,
    certificate: bytes | None,
    disperser_signature: bytes = b"",
    commitments: npt.NDArray[np.uint8] = _NO_COMMITMENTS,
    columns: Sequence[int] = (),
) -> dict[str, Any]:
    """The JSON-ready document of a batch; the last three are left out unless it is live."""
    return {
        "header_hash": hexadecimal.encode(header.hash),
        "header": hexadecimal.json_ready({name: getattr(header, name) for name in Header.__slots__}),
        "header_bytes": hexadecimal.encode(header.encode()),
        "disperser_signature": hexadecimal.encode(disperser_signature),
        "certificate": None if certificate is None else hexadecimal.encode(certificate),
        "commitments": [hexadecimal.encode(row.tobytes()) for row in commitments],
        "payloads": [encode_entry(entry) for entry in payload_list.entries],
        "columns": list(columns),
        "state": state,
    }


def encode_page(documents: Sequence[dict[str, Any]], next_height: int | None) -> dict[str, Any]:
    """The JSON-ready page of batch documents; `next_height` None at the end of what there is."""
    return {"batches": list(documents), "next": next_height}


def encode_entry(entry: PayloadEntry) -> dict[str, Any]:
    """The JSON-ready form of one payload in a list."""
    return {
        "namespace": hexadecimal.encode(entry.namespace),
        "namespace_label": namespaces.label(entry.namespace),
        "payload_id": hexadecimal.encode(entry.payload_id),
        "first_row": entry.first_row,
        "row_count": entry.row_count,
        "length": entry.length,
    }


def decode_bytes(body: bytes) -> BatchDocument:
    """The document in a JSON answer of at most BATCH_BYTES_MAX bytes. Raises InvalidDocument."""
    return decode(parse_object(body, BATCH_BYTES_MAX, InvalidDocument))


def decode(fields: Fields) -> BatchDocument:
    """The document in parsed JSON. Raises InvalidDocument."""
    header = fields.take("header_bytes", read_header)
    if fields.take("header_hash", hexadecimal.decode32) != header.hash:
        raise InvalidDocument(fields.at("header_hash"), "is not the hash of header_bytes")
    certificate = fields.take("certificate", read_certificate)
    payload_list = _payload_list(fields)
    match fields.string("state"):
        case "live":
            signature = fields.take(
                "disperser_signature", lambda value: hexadecimal.decode(value, SIGNATURE_BYTES)
            )
            proposal = Proposal(header, signature, payload_list, read_commitments(fields))
            return LiveBatch(proposal, certificate, _columns(fields))
        case "expired":
            return ExpiredBatch(header, payload_list, certificate)
        case "missing":
            return MissingBatch(header, payload_list, certificate)
    raise InvalidDocument(fields.at("state"), "is none of live, expired, missing")


def decode_page(body: bytes, *, from_height: int, limit: int, disperser_id: bytes | None = None) -> Page:
    """A page of one log from a height on: at most `limit` batches, ascending.

    Args:
        body: of at most page_bytes_max(limit) bytes.
        disperser_id: whose log it must be; None for whichever the node chose.
    Raises:
        InvalidDocument.
    """
    fields = parse_object(body, page_bytes_max(limit), InvalidDocument)
    following = fields.take("next", _next_height)
    batches = tuple(decode(each) for each in fields.objects("batches", limit))
    heights = [batch.header.height for batch in batches]
    if heights != sorted(set(heights)) or (heights and heights[0] < from_height):
        raise InvalidDocument("batches", f"do not ascend from height {from_height}")
    logs = {batch.header.disperser_id for batch in batches}
    if len(logs) > 1 or (disperser_id is not None and not logs <= {disperser_id}):
        raise InvalidDocument("batches", "are of another disperser")
    if following is not None and following <= max([from_height, *heights]):
        raise InvalidDocument("next", f"{following} does not continue the page")
    return Page(batches, following)


def _next_height(value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= U64_MAX:
        raise ValueError("is not a height or null")
    return value


def read_header(value: object) -> Header:
    """A header, as `Fields.take` reads one."""
    try:
        return Header.decode(hexadecimal.decode(value, HEADER_BYTES))
    except ProtocolError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def read_certificate(value: object) -> Certificate | None:
    """A certificate or null, as `Fields.take` reads one."""
    if value is None:
        return None
    raw = hexadecimal.decode(value)
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise ValueError(f"is over {MAX_CERTIFICATE_BYTES} bytes")
    try:
        return Certificate.decode(raw)
    except ProtocolError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _payload_list(fields: Fields) -> PayloadList:
    try:
        return PayloadList(tuple(_entry(each) for each in fields.objects("payloads", MAX_ENTRIES)))
    except InvalidDocument:
        raise
    except ProtocolError as error:
        raise InvalidDocument(fields.at("payloads"), str(error)) from None


def _entry(fields: Fields) -> PayloadEntry:
    return PayloadEntry(
        namespace=fields.take("namespace", hexadecimal.decode32),
        payload_id=fields.take("payload_id", hexadecimal.decode32),
        first_row=fields.integer("first_row"),
        row_count=fields.integer("row_count"),
        length=fields.integer("length"),
    )


def read_commitments(fields: Fields) -> npt.NDArray[np.uint8]:
    """The commitments u8[R,48] of a document, R in 0..256. Raises InvalidDocument."""
    texts = fields.values("commitments", MAX_ROWS)
    try:
        rows = b"".join(hexadecimal.decode(text, BYTES_PER_COMMITMENT) for text in texts)
    except hexadecimal.InvalidHex as error:
        raise InvalidDocument(fields.at("commitments"), str(error)) from None
    return np.frombuffer(rows, dtype=np.uint8).reshape(len(texts), BYTES_PER_COMMITMENT)


def _columns(fields: Fields) -> tuple[int, ...]:
    columns = fields.values("columns", COLUMNS)
    if any(type(column) is not int or not 0 <= column < COLUMNS for column in columns):
        raise InvalidDocument(fields.at("columns"), f"are not all in 0..{COLUMNS - 1}")
    if columns != sorted(set(columns)):
        raise InvalidDocument(fields.at("columns"), "do not ascend")
    return tuple(columns)
