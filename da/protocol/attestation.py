"""Attestations: what one member signs about one batch.

The idea: a member that has verified and durably stored its columns attests the header by signing
sha256("cellar/attest/v1" || u64be(chain_id) || committee_hash || header_hash). All members
sign the same message, so that signatures can be aggregated into a certificate. (Proposals are in
da.protocol.proposal.)

Invariants: fixed width, 160 bytes.

Does not: decide whether a member may sign (see da.member), or aggregate signatures (see certificate).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from da import bls
from da.protocol.codec import HASH_BYTES, Reader, u64
from da.protocol.committee import Committee, member_id
from da.protocol.errors import DecodeError, InvalidSignature
from da.protocol.header import Header

ATTESTATION_BYTES = 160

_ATTEST_DOMAIN = b"cellar/attest/v1"


def attestation_message(chain_id: int, committee_hash: bytes, header_hash: bytes) -> bytes:
    """The message a member signs: bytes[32]."""
    return sha256(_ATTEST_DOMAIN + u64(chain_id) + committee_hash + header_hash).digest()


@dataclass(frozen=True, slots=True)
class Attestation:
    """One member's signature for one batch: member_id, header_hash bytes[32]; signature bytes[96]."""

    member_id: bytes
    header_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        for field, size in (
            ("member_id", HASH_BYTES),
            ("header_hash", HASH_BYTES),
            ("signature", bls.SIGNATURE_BYTES),
        ):
            if len(getattr(self, field)) != size:
                raise DecodeError(field, f"must be {size} bytes; got {len(getattr(self, field))}")

    @classmethod
    def sign(cls, secret: bytes, header: Header) -> Attestation:
        """The attestation of `header` by the owner of `secret`. Raises bls.InvalidSecretKey."""
        message = attestation_message(header.chain_id, header.committee_hash, header.hash)
        return cls(member_id(bls.public_key(secret)), header.hash, bls.sign(secret, message))

    def encode(self) -> bytes:
        """member_id | header_hash | signature: 160 bytes."""
        return self.member_id + self.header_hash + self.signature

    @classmethod
    def decode(cls, attestation_bytes: bytes | bytearray | memoryview) -> Attestation:
        """The attestation of exactly 160 bytes; the signature is not checked. Raises DecodeError."""
        reader = Reader(attestation_bytes)
        attestation = cls(
            reader.fixed(HASH_BYTES, "member_id"),
            reader.fixed(HASH_BYTES, "header_hash"),
            reader.fixed(bls.SIGNATURE_BYTES, "signature"),
        )
        reader.finish("attestation")
        return attestation

    def verify(self, committee: Committee, header: Header) -> int:
        """The index of the member that attests `header`. Raises InvalidSignature."""
        if self.header_hash != header.hash:
            raise InvalidSignature("the attestation is for another header")
        index = committee.member_index(self.member_id)
        if index is None:
            raise InvalidSignature(f"0x{self.member_id.hex()} is not a member of the committee")
        message = attestation_message(committee.chain_id, committee.hash, self.header_hash)
        if not bls.verify(committee.members[index].public_key, message, self.signature):
            raise InvalidSignature(f"the signature of {committee.members[index].name} is invalid")
        return index
