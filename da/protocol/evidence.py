"""What a reader checks about a payload before it believes that it has it.

The idea: a member that serves a payload also shows the proof of it: the batch's header, the payload's entry
with its Merkle proof, the commitments, the certificate. Against the payload id alone, the commitments and the
length are checked (the id is their hash) and the bytes against the commitments. With a committee, also that
it certified the header, and that the header binds entry and commitments.

    contents     the commitments have the header's number of rows, or are not those that it binds
    inclusion    the entry is not in the list that the header binds
    payload_id   the entry is of another payload, or its id is not that of its length and commitments
    certificate  there is none, or it is for another header
    one of InvalidCertificate.check
    bytes        the bytes, or the rows, are not those of the commitments

Invariants: what passes depends on no member's word.

Does not: say anything about availability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.custody import Finality
from da.protocol.errors import InvalidCertificate, InvalidEvidence, InvalidProof
from da.protocol.header import Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import decode_rows, payload_id
from da.protocol.payload_list import InclusionProof, PayloadEntry, verify_inclusion
from erasure.constants import BYTES_PER_BLOB
from erasure.packing import pack


@dataclass(frozen=True, slots=True, eq=False)
class PayloadEvidence:
    """The proof of a payload as received: decoded, nothing verified. commitments u8[R,48], of the batch."""

    header: Header
    inclusion: InclusionProof
    commitments: npt.NDArray[np.uint8]
    certificate: Certificate | None

    @property
    def entry(self) -> PayloadEntry:
        """The payload's entry."""
        return self.inclusion.entry

    @property
    def _own(self) -> npt.NDArray[np.uint8]:
        return self.commitments[self.entry.first_row : self.entry.end_row]

    def verify_id(self, wanted: bytes) -> None:
        """That length and commitments are those of a payload id. Raises InvalidEvidence."""
        made = payload_id(self.entry.length, self._own)
        if not made == self.entry.payload_id == wanted:
            raise InvalidEvidence("payload_id", "the id is not that of the length and commitments shown")

    def verify_certified(self, committee: Committee) -> Finality:
        """That the committee certified the header, and that it binds entry and commitments.

        Raises InvalidEvidence.
        """
        if self.certificate is None:
            raise InvalidEvidence("certificate", "the batch has none yet")
        if self.certificate.header != self.header:
            raise InvalidEvidence("certificate", "is for another header")
        try:
            finality = self.certificate.verify(committee)
            included = verify_inclusion(self.header.payloads_root, self.inclusion)
        except InvalidCertificate as error:
            raise InvalidEvidence(error.check, error.reason) from None
        except InvalidProof as error:
            raise InvalidEvidence("inclusion", error.reason) from None
        if not included:
            raise InvalidEvidence("inclusion", "the entry is not in the list that the header binds")
        if len(self.commitments) != self.header.row_count:
            raise InvalidEvidence("contents", f"{len(self.commitments)} rows, not {self.header.row_count}")
        if commitments_root(self.commitments) != self.header.commitments_root:
            raise InvalidEvidence("contents", "the commitments are not those that the header binds")
        return finality

    def verify_bytes(self, payload: bytes) -> None:
        """That these are the payload's bytes, after `verify_id`. Raises InvalidEvidence."""
        if len(payload) != self.entry.length:
            raise InvalidEvidence("bytes", f"{len(payload)} bytes, not {self.entry.length}")
        self._verify_rows(pack(payload))

    def decode(self, rows: bytes) -> bytes:
        """The payload in its raw rows, after `verify_id`.

        Raises:
            InvalidEvidence: these are not its rows.
            UndecodableRows: they are, and they are no payload of its length; nobody can read it.
        """
        if len(rows) != self.entry.row_count * BYTES_PER_BLOB:
            raise InvalidEvidence("bytes", f"{len(rows)} bytes are not {self.entry.row_count} rows")
        blobs = np.frombuffer(rows, dtype=np.uint8).reshape(self.entry.row_count, BYTES_PER_BLOB)
        self._verify_rows(blobs)
        return decode_rows(self.entry.length, blobs)

    def _verify_rows(self, blobs: npt.NDArray[np.uint8]) -> None:
        # Loaded when a payload is checked: a program that only posts starts without curve points.
        from kzg.errors import KzgError
        from kzg.rows import rows_match

        try:
            right = rows_match(blobs, self._own)
        except KzgError as error:
            raise InvalidEvidence("bytes", str(error)) from None
        if not right:
            raise InvalidEvidence("bytes", "are not those of the commitments")
