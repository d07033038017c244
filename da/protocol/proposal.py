"""A proposal: what a disperser asks a committee to store, without the cells.

The idea: header, the disperser's signature, payload list and commitments travel together, in a push, in a
batch document and in the store. As received they are a `Proposal`, in which nothing is verified; `verify`
turns it into a `VerifiedProposal`, and code that needs verified values takes that type.

The checks, each named by `InvalidProposal.check` when it fails, in this order:
    chain            the header is for the committee's chain
    committee        the header is for this committee
    disperser        its disperser is one of the committee's
    signature        the disperser signed the header
    rows             commitments and payload list have the header's number of rows
    payloads_root    the payload list is the one that the header binds
    commitments_root the commitments are the ones that the header binds
    payload_id       each entry's id is that of its length and commitments

Does not: verify cells against commitments, or check certificates (see certificate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da import bls
from da.protocol.committee import Committee, Member
from da.protocol.errors import InvalidProposal
from da.protocol.header import Header, proposal_message
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadList
from kzg.constants import BYTES_PER_COMMITMENT


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A proposal as received: decoded, nothing verified.

    disperser_signature bytes[96]; commitments u8[R,48], of the data rows.
    """

    header: Header
    disperser_signature: bytes
    payload_list: PayloadList
    commitments: npt.NDArray[np.uint8]

    def verify(self, committee: Committee) -> VerifiedProposal:
        """Check everything and return the verified proposal. Raises InvalidProposal."""
        check_proposer(committee, self.header, self.disperser_signature)
        return self.verify_contents()

    def verify_contents(self) -> VerifiedProposal:
        """Check only that the contents are those that the header binds, and return the verified proposal.

        For a caller that has already checked the proposer, as a member does before it reads a whole push.
        Raises InvalidProposal.
        """
        check_contents(self.header, self.payload_list, self.commitments)
        return VerifiedProposal(self.header, self.disperser_signature, self.payload_list, self.commitments)


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedProposal:
    """A proposal with a valid signature and contents; the fields are those of `Proposal`.

    Created by `Proposal` when it has been checked, and by the store from what was put there as one.
    """

    header: Header
    disperser_signature: bytes
    payload_list: PayloadList
    commitments: npt.NDArray[np.uint8]


def sign_header(secret: bytes, header: Header) -> bytes:
    """The disperser's signature of a header, bytes[96]. Raises bls.InvalidSecretKey."""
    return bls.sign(secret, proposal_message(header))


def check_proposer(committee: Committee, header: Header, disperser_signature: bytes) -> Member:
    """The disperser that proposed `header` to this committee. Raises InvalidProposal."""
    if header.chain_id != committee.chain_id:
        raise InvalidProposal(
            "chain", f"chain id is {header.chain_id}; the committee's is {committee.chain_id}"
        )
    if header.committee_hash != committee.hash:
        raise InvalidProposal("committee", "the header is for another committee")
    member = committee.member(header.disperser_id)
    if member is None or not member.disperser:
        raise InvalidProposal(
            "disperser", f"0x{header.disperser_id.hex()} is not a disperser of the committee"
        )
    if not bls.verify(member.public_key, proposal_message(header), disperser_signature):
        raise InvalidProposal("signature", f"the signature of {member.name} is invalid")
    return member


def check_contents(header: Header, payload_list: PayloadList, commitments: npt.NDArray[np.uint8]) -> None:
    """Check that payload list and commitments are the ones that `header` binds; checks no signature.

    Args:
        commitments: u8[R,48], of the data rows.
    Raises:
        InvalidProposal.
    """
    if commitments.dtype != np.uint8 or commitments.shape != (header.row_count, BYTES_PER_COMMITMENT):
        raise InvalidProposal(
            "rows",
            f"commitments must be uint8[{header.row_count}, {BYTES_PER_COMMITMENT}]; got "
            f"{commitments.dtype}{list(commitments.shape)}",
        )
    if payload_list.row_count != header.row_count:
        raise InvalidProposal(
            "rows", f"the payload list has {payload_list.row_count} rows; the header has {header.row_count}"
        )
    if payload_list.root != header.payloads_root:
        raise InvalidProposal("payloads_root", "the header's root does not match the payload list")
    if commitments_root(commitments) != header.commitments_root:
        raise InvalidProposal("commitments_root", "the header's root does not match the commitments")
    for index, entry in enumerate(payload_list.entries):
        if payload_id(entry.length, commitments[entry.first_row : entry.end_row]) != entry.payload_id:
            raise InvalidProposal(
                "payload_id", f"payload {index}: the id does not match its length and commitments"
            )
