"""The proof of a payload as JSON: what `/v1/payloads/{id}/proof` answers, read back.

Invariants: `decode_bytes` is total: evidence or an InvalidDocument for any bytes. What follows from other
fields is written for people and not read back.

Does not: verify anything (see da.protocol.evidence).
"""

from __future__ import annotations

from da.protocol.errors import ProtocolError
from da.protocol.evidence import PayloadEvidence
from da.protocol.fields import parse_object
from da.protocol.payload_list import InclusionProof
from da.wire import hexadecimal
from da.wire.batches import read_certificate, read_commitments, read_header
from da.wire.errors import InvalidDocument

EVIDENCE_BYTES_MAX = 64 * 1024  # 256 commitments, the header twice, the proof twice


def decode_bytes(body: bytes) -> PayloadEvidence:
    """The evidence in a JSON answer of at most EVIDENCE_BYTES_MAX bytes. Raises InvalidDocument."""
    fields = parse_object(body, EVIDENCE_BYTES_MAX, InvalidDocument)
    header = fields.take("header_bytes", read_header)
    commitments = read_commitments(fields)
    inclusion = fields.take("proof", _inclusion)
    if inclusion.entry.end_row > len(commitments):
        raise InvalidDocument("proof", "the payload's rows are not among the commitments")
    return PayloadEvidence(header, inclusion, commitments, fields.take("certificate", read_certificate))


def _inclusion(value: object) -> InclusionProof:
    try:
        return InclusionProof.decode(hexadecimal.decode(value))
    except ProtocolError as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
