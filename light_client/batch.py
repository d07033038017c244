"""A batch as a member serves it, and what must hold before any of it is believed.

Flow:
- da.wire.batches decodes the document: nothing of it is verified.
- `verify_header` checks the certificate against the committee (chain, committee hash, disperser, stake
  threshold, slot bound, aggregate signature), that it is for this header, and the disperser's own signature.
- `verify_contents` checks that payload list and commitments are those that the header's roots bind.

Invariants: what `verify_batch` returns depends on no member's word.

Does not: say anything about availability; sampling does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.custody import Finality
from da.protocol.errors import InvalidCertificate, InvalidProposal
from da.protocol.header import Header
from da.protocol.payload_list import PayloadList
from da.protocol.proposal import VerifiedProposal, check_proposer
from da.wire.batches import BatchDocument, ExpiredBatch, LiveBatch
from light_client.errors import UnverifiedBatch


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header with what makes it evidence: its disperser's signature and, if certified, the certificate."""

    header: Header
    disperser_signature: bytes
    certificate: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedBatch:
    """A batch whose certificate, signature and contents hold under a committee."""

    proposal: VerifiedProposal
    header_hash: bytes
    certificate: Certificate
    finality: Finality

    @property
    def header(self) -> Header:
        """The batch's header."""
        return self.proposal.header

    @property
    def payload_list(self) -> PayloadList:
        """Which payloads it carries, and where."""
        return self.proposal.payload_list

    @property
    def commitments(self) -> NDArray[np.uint8]:
        """u8[R,48], of the data rows."""
        return self.proposal.commitments

    def signed_header(self) -> SignedHeader:
        """The header with what makes it evidence."""
        return SignedHeader(self.header, self.proposal.disperser_signature, self.certificate.encode())


def signature_of(document: BatchDocument) -> bytes:
    """The disperser's signature as the member sent it; empty when it dropped it with the data."""
    return document.proposal.disperser_signature if isinstance(document, LiveBatch) else b""


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
        # A member that has not the data any more has not the disperser's signature either.
        if isinstance(document, LiveBatch):
            check_proposer(committee, document.header, document.proposal.disperser_signature)
    except InvalidCertificate as error:
        raise UnverifiedBatch(error.check, error.reason) from None
    except InvalidProposal as error:
        raise UnverifiedBatch("proposal", str(error)) from None
    return finality


def verify_contents(document: BatchDocument, finality: Finality) -> VerifiedBatch:
    """The batch, once its payload list and commitments are those that its verified header binds.

    Raises:
        UnverifiedBatch: expired or missing (the member has not got them), or contents.
    """
    if isinstance(document, ExpiredBatch):
        raise UnverifiedBatch("expired", "the member says that the batch has expired")
    if not isinstance(document, LiveBatch):
        raise UnverifiedBatch("missing", "the member says that it has lost the batch for now")
    try:
        proposal = document.proposal.verify_contents()
    except InvalidProposal as error:
        raise UnverifiedBatch("contents", str(error)) from None
    assert document.certificate is not None, "verify_header has seen it"
    return VerifiedBatch(proposal, document.header.hash, document.certificate, finality)


def verify_batch(document: BatchDocument, committee: Committee) -> VerifiedBatch:
    """The batch, once everything about it that can be checked without its cells has been.

    Raises:
        UnverifiedBatch: as `verify_header` and `verify_contents`.
    """
    return verify_contents(document, verify_header(document, committee))
