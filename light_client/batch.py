"""A batch as a member serves it, and what must hold before any of it is believed.

Flow:
- `parse_batch` reads the JSON of `/v1/batches/{b}`: the header's bytes, the disperser's signature, the
  certificate, the payload list and the commitments. Fields that follow from these are not looked at.
- `verify_header` checks the certificate against the committee (chain, committee hash, disperser, stake
  threshold, slot bound, aggregate signature), that it is for this header, and the disperser's own signature.
- `verify_contents` checks that payload list and commitments are those that the header's roots bind.

Invariants: both are total: a value or a typed error for any bytes. What `verify_batch` returns depends on
no member's word.

Does not: say anything about availability; sampling does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da.protocol import strict_json
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.custody import Finality
from da.protocol.errors import (
    InvalidCertificate,
    InvalidJson,
    InvalidProposal,
    ProtocolError,
)
from da.protocol.header import Header
from da.protocol.payload_list import MAX_ENTRIES, PayloadEntry, PayloadList
from da.protocol.proposal import check_contents, check_proposer
from erasure.constants import MAX_ROWS
from kzg.constants import BYTES_PER_COMMITMENT
from light_client.errors import MalformedBatch, UnverifiedBatch


@dataclass(frozen=True, slots=True, eq=False)
class BatchDocument:
    """A parsed batch of which nothing has been verified.

    `certificate` is None before the batch is certified. `commitments` u8[R,48] and `payload_list` are None
    when the member says that the batch has expired: header and certificate outlive the data.
    """

    header: Header
    disperser_signature: bytes
    certificate: Certificate | None
    payload_list: PayloadList | None
    commitments: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header with what makes it evidence: its disperser's signature and, if certified, the certificate."""

    header: Header
    disperser_signature: bytes
    certificate: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedBatch:
    """A batch whose certificate, signature and contents hold under a committee."""

    header: Header
    header_hash: bytes
    disperser_signature: bytes
    certificate: Certificate
    payload_list: PayloadList
    commitments: NDArray[np.uint8]
    finality: Finality

    def signed_header(self) -> SignedHeader:
        """The header with what makes it evidence."""
        return SignedHeader(self.header, self.disperser_signature, self.certificate.encode())


def parse_json(body: bytes, max_bytes: int) -> Any:
    """The JSON value of an answer.

    Args:
        max_bytes: the limit that the answer was read under.
    Raises:
        MalformedBatch: not strict JSON, or too large or too deep to be read.
    """
    try:
        return strict_json.loads(body, max_bytes=max_bytes)
    except InvalidJson as error:
        raise MalformedBatch("document", error.reason) from None


def parse_batch(document: object) -> BatchDocument:
    """The batch in a parsed JSON value.

    Raises:
        MalformedBatch: a field is missing, of the wrong type, or no encoding of what it should be.
    """
    if not isinstance(document, dict):
        raise MalformedBatch("document", "is not an object")
    try:
        header = Header.decode(parse_hex(document, "header_bytes"))
        certificate = None
        if document.get("certificate") is not None:
            certificate = Certificate.decode(parse_hex(document, "certificate"))
        signature = parse_hex(document, "disperser_signature")
        if document.get("state") == "expired":
            return BatchDocument(header, signature, certificate, None, None)
        return BatchDocument(header, signature, certificate, _payload_list(document), _commitments(document))
    except ProtocolError as error:
        raise MalformedBatch(type(error).__name__, str(error)) from None


def verify_header(document: BatchDocument, committee: Committee) -> Finality:
    """What the certificate amounts to, once header, certificate and disperser's signature agree.

    Raises:
        UnverifiedBatch: naming the first check that fails: certificate (there is none), header (it is for
            another one), one of `InvalidCertificate.check`, or proposal.
    """
    certificate = document.certificate
    if certificate is None:
        raise UnverifiedBatch("certificate", "the batch has none yet")
    if certificate.header != document.header:
        raise UnverifiedBatch("header", "the certificate is for another header")
    try:
        finality = certificate.verify(committee)
        # A member that dropped an expired batch dropped the disperser's signature with it.
        if document.payload_list is not None:
            check_proposer(committee, document.header, document.disperser_signature)
    except InvalidCertificate as error:
        raise UnverifiedBatch(error.check, error.reason) from None
    except InvalidProposal as error:
        raise UnverifiedBatch("proposal", str(error)) from None
    return finality


def verify_contents(document: BatchDocument, finality: Finality) -> VerifiedBatch:
    """The batch, once its payload list and commitments are those that its verified header binds.

    Raises:
        UnverifiedBatch: expired (the member dropped them), or contents.
    """
    if document.payload_list is None or document.commitments is None:
        raise UnverifiedBatch("expired", "the member says that the batch has expired")
    try:
        check_contents(document.header, document.payload_list, document.commitments)
    except InvalidProposal as error:
        raise UnverifiedBatch("contents", str(error)) from None
    assert document.certificate is not None, "verify_header has seen it"
    return VerifiedBatch(
        header=document.header,
        header_hash=document.header.hash,
        disperser_signature=document.disperser_signature,
        certificate=document.certificate,
        payload_list=document.payload_list,
        commitments=document.commitments,
        finality=finality,
    )


def verify_batch(document: BatchDocument, committee: Committee) -> VerifiedBatch:
    """The batch, once everything about it that can be checked without its cells has been.

    Raises:
        UnverifiedBatch: as `verify_header` and `verify_contents`.
    """
    return verify_contents(document, verify_header(document, committee))


def _payload_list(document: dict[str, Any]) -> PayloadList:
    rows = _list(document, "payloads", MAX_ENTRIES)
    return PayloadList(
        tuple(
            PayloadEntry(
                namespace=parse_hex(row, "namespace"),
                payload_id=parse_hex(row, "payload_id"),
                first_row=_integer(row, "first_row"),
                row_count=_integer(row, "row_count"),
                length=_integer(row, "length"),
            )
            for row in rows
        )
    )


def _commitments(document: dict[str, Any]) -> NDArray[np.uint8]:
    texts = _list(document, "commitments", MAX_ROWS)
    rows = [_unhex("commitments", text) for text in texts]
    if any(len(row) != BYTES_PER_COMMITMENT for row in rows):
        raise MalformedBatch("commitments", f"are {BYTES_PER_COMMITMENT} bytes each")
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), BYTES_PER_COMMITMENT)


def _list(document: dict[str, Any], field: str, count_max: int) -> list[Any]:
    values = document.get(field)
    if not isinstance(values, list) or not 1 <= len(values) <= count_max:
        raise MalformedBatch(field, f"is not a list of 1 to {count_max}")
    return values


def _integer(document: object, field: str) -> int:
    value = document.get(field) if isinstance(document, dict) else None
    if type(value) is not int:
        raise MalformedBatch(field, "is not an integer")
    return value


def parse_hex(document: object, field: str) -> bytes:
    """The bytes of a field in 0x-hex.

    Raises:
        MalformedBatch: not there, or not 0x and pairs of hex digits.
    """
    return _unhex(field, document.get(field) if isinstance(document, dict) else None)


def _unhex(field: str, value: object) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise MalformedBatch(field, "is not 0x-hex")
    try:
        decoded = bytes.fromhex(value[2:])
    except ValueError:
        raise MalformedBatch(field, "is not 0x-hex") from None
    if len(value) != 2 + 2 * len(decoded):  # bytes.fromhex skips white space
        raise MalformedBatch(field, "is not 0x-hex")
    return decoded
