"""Checks of columns, headers and certificates that members make, whatever their source.

Columns are checked in one engine call; only when that fails are the bad ones looked for, so that honest
traffic costs one batch verification and a bad cell names its sender. What a bad sender can cost a member is
bounded: see `bad_columns`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da.errors import InvalidDisperserSignature, RejectedCertificate, UnknownDisperser
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.committee_chain import CommitteeChain
from da.protocol.errors import InvalidProposal, ProtocolError
from da.protocol.header import Header
from da.protocol.proposal import VerifiedProposal, check_proposer
from da.wire.batches import LiveBatch
from erasure.constants import BYTES_PER_CELL
from kzg.engine import Verifier
from kzg.errors import InvalidCell, InvalidPoint

BadColumns = dict[int, tuple[int, str]]


def check_signature(committee: Committee, header: Header, disperser_signature: bytes) -> None:
    """That a disperser of the committee proposed this header.

    Raises UnknownDisperser, InvalidDisperserSignature.
    """
    disperser = committee.member(header.disperser_id)
    if disperser is None or not disperser.disperser:
        raise UnknownDisperser(header.disperser_id)
    try:
        check_proposer(committee, header, disperser_signature)
    except InvalidProposal as error:
        raise InvalidDisperserSignature from error


def decode_certificate(header_hash: bytes, certificate_bytes: bytes) -> Certificate:
    """The certificate of that header, nothing verified. Raises RejectedCertificate."""
    try:
        certificate = Certificate.decode(certificate_bytes)
    except ProtocolError as error:
        raise RejectedCertificate(str(error)) from error
    if certificate.header.hash != header_hash:
        raise RejectedCertificate("the certificate is for another header")
    return certificate


def check_certificate(chain: CommitteeChain, certificate: Certificate) -> None:
    """That the certificate convinces, under its own committee. Raises RejectedCertificate."""
    try:
        certificate.verify(chain.committee_of(certificate.header))
    except ProtocolError as error:
        raise RejectedCertificate(str(error)) from error


def check_batch(chain: CommitteeChain, batch: LiveBatch) -> VerifiedProposal:
    """The proposal of a batch that a peer sent, once it is certified and proposed by its disperser.

    Raises RejectedCertificate, UnknownDisperser, InvalidDisperserSignature, InvalidProposal.
    """
    if batch.certificate is None:
        raise RejectedCertificate("the batch has no certificate")
    if batch.certificate.header != batch.header:
        raise RejectedCertificate("the certificate is for another header")
    check_certificate(chain, batch.certificate)
    committee = chain.by_hash(batch.header.committee_hash)
    assert committee is not None, "its certificate was verified"
    check_signature(committee, batch.header, batch.proposal.disperser_signature)
    return batch.proposal.verify_contents()


def bad_columns(
    verifier: Verifier,
    commitments: NDArray[np.uint8],
    columns: Sequence[int],
    records: NDArray[np.uint8],
    *,
    first_only: bool = False,
) -> BadColumns:
    """Columns with a cell that is not the commitments', each with the first such row and the reason.

    c columns of n rows take one call of the engine when all are right, else at most c (3 + log2 n), and
    with `first_only`, which names the first bad column alone, log2 c + log2 n + 4: never one for each of the
    cells, of which an attacker may send tens of thousands.

    Args: commitments u8[n,48], of the rows in `records`; records u8[len(columns),n,2096], cell || proof.
    Raises EngineError when the engine breaks down.
    """
    search = _Search(verifier, commitments, columns, records, first_only)
    search.among(0, len(columns), known_bad=False)
    return search.found


class _Search:
    """Bisection: over the columns, and in a bad one over its rows."""

    def __init__(
        self,
        verifier: Verifier,
        commitments: NDArray[np.uint8],
        columns: Sequence[int],
        records: NDArray[np.uint8],
        first_only: bool,
    ) -> None:
        self._verifier = verifier
        self._commitments = commitments
        self._columns = columns
        self._records = records
        self._first_only = first_only
        self.found: BadColumns = {}

    def among(self, start: int, stop: int, *, known_bad: bool) -> bool:
        """Find the bad columns at these positions; whether there are any."""
        rows = slice(0, len(self._commitments))
        if start == stop or (not known_bad and self._fault(slice(start, stop), rows) is None):
            return False
        if stop - start == 1:
            self.found[self._columns[start]] = self._first_bad_row(start)
            return True
        middle = (start + stop) // 2
        if self.among(start, middle, known_bad=False):
            if not self._first_only:
                self.among(middle, stop, known_bad=False)
            return True
        return self.among(middle, stop, known_bad=True)

    def _first_bad_row(self, position: int) -> tuple[int, str]:
        column = slice(position, position + 1)
        start, stop = 0, len(self._commitments)
        while stop - start > 1:
            middle = (start + stop) // 2
            if self._fault(column, slice(start, middle)) is None:
                start = middle
            else:
                stop = middle
        reason = self._fault(column, slice(start, stop))
        assert reason is not None, "a batch that fails has a cell that fails"
        return start, reason

    def _fault(self, columns: slice, rows: slice) -> str | None:
        """What is wrong with these cells, if anything."""
        records = self._records[columns, rows]
        count, height = records.shape[:2]
        flat = records.reshape(count * height, -1)
        try:
            right = self._verifier.verify_cells(
                np.tile(self._commitments[rows], (count, 1)),
                np.repeat(np.asarray(self._columns[columns], dtype=np.int64), height),
                np.ascontiguousarray(flat[:, :BYTES_PER_CELL]),
                np.ascontiguousarray(flat[:, BYTES_PER_CELL:]),
            )
        except InvalidCell:
            return "the cell holds a number that is not a field element"
        except InvalidPoint as error:
            if error.name.startswith("commitment"):
                return "the row's commitment is not a curve point"
            return "the proof is not a curve point"
        return None if right else "the cell's proof does not verify against the row's commitment"
