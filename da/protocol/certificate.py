"""Certificates: the small proof that enough of a committee holds a batch.

The idea: the header, a bitmap of who signed, and the sum of their signatures over one message. Anyone
who has the committee can check it: chain and committee, the disperser, signers that make the batch final
(stake threshold and slot bound, see custody), and one aggregate signature.

Invariants: the bitmap has one bit for each member and no others; each certificate has one encoding.

Does not: prove that the data is available now; sampling does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from da import bls
from da.protocol.attestation import attestation_message
from da.protocol.codec import Reader
from da.protocol.committee import Committee
from da.protocol.custody import Finality, finality
from da.protocol.errors import InvalidCertificate
from da.protocol.header import HEADER_BYTES, Header
from da.protocol.signers import MAX_SIGNERS_BYTES, bitmap_of, check_signers, encode_signers, read_signers

MAX_CERTIFICATE_BYTES = HEADER_BYTES + MAX_SIGNERS_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Signatures of members of a committee of `committee_size` for a header.

    signers: member indices, ascending; signature bytes[96], the sum of their signatures. Raises DecodeError
    when the values cannot be encoded.
    """

    header: Header
    committee_size: int
    signers: tuple[int, ...]
    signature: bytes

    def __post_init__(self) -> None:
        check_signers(self.committee_size, self.signers, self.signature)

    @classmethod
    def gather(cls, header: Header, committee: Committee, signatures: Mapping[int, bytes]) -> Certificate:
        """Aggregate verified signatures, by member index, into a certificate.

        Raises DecodeError for an index out of range, bls.InvalidSignatureBytes for no signatures or invalid
        ones.
        """
        signers = tuple(sorted(signatures))
        return cls(
            header=header,
            committee_size=len(committee.members),
            signers=signers,
            signature=bls.aggregate(signatures[index] for index in signers),
        )

    @property
    def bitmap(self) -> bytes:
        """A bit for each member: member i is bit i mod 8, least significant first, of byte i div 8."""
        return bitmap_of(self.committee_size, self.signers)

    def encode(self) -> bytes:
        """header 188 | committee_size u16 | bitmap | signature 96."""
        return self.header.encode() + encode_signers(self.committee_size, self.signers, self.signature)

    @classmethod
    def decode(cls, certificate_bytes: bytes | bytearray | memoryview) -> Certificate:
        """The certificate; nothing is verified. Raises DecodeError or InvalidHeader."""
        reader = Reader(certificate_bytes)
        header = Header.read(reader)
        size, signers, signature = read_signers(reader)
        reader.finish("certificate")
        return cls(header=header, committee_size=size, signers=signers, signature=signature)

    def verify(self, committee: Committee) -> Finality:
        """The finality of the certificate under this committee.

        Raises InvalidCertificate; its `check` is the check that failed. Cheap checks come first.
        """
        header = self.header
        if header.chain_id != committee.chain_id:
            raise InvalidCertificate(
                "chain", f"chain id is {header.chain_id}; the committee's is {committee.chain_id}"
            )
        if header.committee_hash != committee.hash:
            raise InvalidCertificate("committee", "the header is for another committee")
        if self.committee_size != len(committee.members):
            raise InvalidCertificate(
                "size",
                f"bitmap is for {self.committee_size} members; the committee has {len(committee.members)}",
            )
        disperser = committee.member(header.disperser_id)
        if disperser is None or not disperser.disperser:
            raise InvalidCertificate(
                "disperser", "the header's disperser is not a disperser of the committee"
            )
        if not self.signers:
            raise InvalidCertificate("signers", "there are no signers")
        result = finality(committee, self.signers)
        if not result.stake_ok:
            raise InvalidCertificate(
                "stake", f"signed stake is {result.signed_stake} of {result.total_stake}, below the threshold"
            )
        if not result.final:
            raise InvalidCertificate(
                "slots",
                f"signers with 1/3 of the stake could withhold 65 columns (margin {result.margin})",
            )
        keys = [committee.members[index].public_key for index in self.signers]
        message = attestation_message(committee.chain_id, committee.hash, header.hash)
        if not bls.verify_aggregate(keys, message, self.signature):
            raise InvalidCertificate("signature", "the aggregate signature is invalid")
        return result
