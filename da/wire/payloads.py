"""The payload document: where a payload is, as JSON.

Does not: verify anything; a status is the word of the node that was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

from da.protocol import namespace as namespaces
from da.protocol.certificate import MAX_CERTIFICATE_BYTES
from da.protocol.codec import U64_MAX
from da.protocol.fields import parse_object
from da.wire import hexadecimal
from da.wire.errors import InvalidDocument
from erasure.constants import MAX_PAYLOAD_BYTES, MAX_ROWS

PAYLOAD_BYTES_MAX = 64 * 1024
STATUSES = frozenset({"queued", "encoding", "dispersing", "certified", "failed", "expired"})
_REASON_CHARS_MAX = 1000


@dataclass(frozen=True, slots=True)
class PayloadInfo:
    """Where a payload is.

    payload_id, namespace, header_hash, disperser_id bytes[32]; status one of STATUSES; length in bytes.
    batch_height, header_hash and disperser_id are there from "dispersing" on; `created` and `certificate`
    (its encoding) only in the answer to a post, the latter when it waited for one.
    """

    payload_id: bytes
    namespace: bytes
    status: str
    length: int
    rows: int
    created: bool | None = None
    batch_height: int | None = None
    header_hash: bytes | None = None
    disperser_id: bytes | None = None
    reason: str | None = None
    certificate: bytes | None = None


def encode(info: PayloadInfo) -> dict[str, Any]:
    """The JSON-ready document; what is None is null there."""
    document = {field.name: getattr(info, field.name) for field in dataclass_fields(PayloadInfo)}
    document["namespace_label"] = namespaces.label(info.namespace)
    ready: dict[str, Any] = hexadecimal.json_ready(document)
    return ready


def decode_bytes(body: bytes) -> PayloadInfo:
    """The document in a JSON answer of at most PAYLOAD_BYTES_MAX bytes. Raises InvalidDocument."""
    fields = parse_object(body, PAYLOAD_BYTES_MAX, InvalidDocument)

    def optional_hash(name: str) -> bytes | None:
        return fields.take_optional(name, hexadecimal.decode32)

    status = fields.string("status")
    if status not in STATUSES:
        raise InvalidDocument("status", f"is none of {', '.join(sorted(STATUSES))}")
    return PayloadInfo(
        payload_id=fields.take("payload_id", hexadecimal.decode32),
        namespace=fields.take("namespace", hexadecimal.decode32),
        status=status,
        length=fields.take("length", lambda value: _integer(value, 1, MAX_PAYLOAD_BYTES)),
        rows=fields.take("rows", lambda value: _integer(value, 1, MAX_ROWS)),
        created=fields.take_optional("created", _boolean),
        batch_height=fields.take_optional("batch_height", lambda value: _integer(value, 1, U64_MAX)),
        header_hash=optional_hash("header_hash"),
        disperser_id=optional_hash("disperser_id"),
        reason=fields.take_optional("reason", _reason),
        certificate=fields.take_optional("certificate", _certificate),
    )


def _integer(value: object, minimum: int, maximum: int) -> int:
    if type(value) is not int or not minimum <= value <= maximum:
        raise ValueError(f"is not an integer from {minimum} to {maximum}")
    return value


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError("is not true or false")
    return value


def _reason(value: object) -> str:
    if type(value) is not str:
        raise ValueError("is not a string")
    return value[:_REASON_CHARS_MAX]


def _certificate(value: object) -> bytes:
    raw = hexadecimal.decode(value)
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise ValueError(f"is over {MAX_CERTIFICATE_BYTES} bytes")
    return raw
