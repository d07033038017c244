"""Handovers: the signed statement of one committee that another one follows it.

The idea: a committee that is trusted vouches for the next one, so that whoever knows the first can follow
the changes without asking anybody. The members of epoch e sign one message that names both committees by
their hashes and bounds how long the old one's certificates hold:

    sha256("cellar/handover/v1" || u64 chain_id || contract 20 || u64 settlement_chain_id || u64 epoch
           || committee_hash || u64 epoch + 1 || next_committee_hash || next_addresses_hash
           || u64 valid_until_s)

Like a certificate it carries a bitmap of who signed and the sum of their signatures, under the OLD
committee's threshold; no slot bound, for nothing is stored. `next_addresses_hash` binds the next members'
names and URLs, which a committee's hash leaves out: a reader gets the next committee from a stranger, who
could otherwise send it to hosts of their own.

Invariants: the domain differs from every other one, so no attestation, proposal or possession can pass as a
handover; contract and settlement chain are zero where no contract follows the change; each handover has one
encoding.

Does not: decide that a committee should follow (its operators do), or hold the committees (committee_chain).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from da import bls
from da.protocol.codec import HASH_BYTES, U64_MAX, Reader, u64
from da.protocol.committee import Committee, member_id
from da.protocol.errors import DecodeError, InvalidHandover, InvalidSignature
from da.protocol.fields import parse_object
from da.protocol.signers import MAX_SIGNERS_BYTES, check_signers, encode_signers, read_signers

ADDRESS_BYTES = 20
NO_CONTRACT = bytes(ADDRESS_BYTES)
TERMS_BYTES = 8 + ADDRESS_BYTES + 8 + 8 + 3 * HASH_BYTES + 8
MAX_HANDOVER_BYTES = TERMS_BYTES + MAX_SIGNERS_BYTES
HANDOVER_SIGNATURE_BYTES = TERMS_BYTES + HASH_BYTES + bls.SIGNATURE_BYTES
MAX_JSON_BYTES = 4096

_HANDOVER_DOMAIN = b"cellar/handover/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverTerms:
    """What is signed. Raises DecodeError when a value is out of range.

    chain_id, settlement_chain_id, epoch (of the old committee, below 2^64 - 1), valid_until_s u64: headers of
    the old committee dated later are refused; contract bytes[20]; the three hashes bytes[32].
    """

    chain_id: int
    contract: bytes = NO_CONTRACT
    settlement_chain_id: int = 0
    epoch: int
    committee_hash: bytes
    next_committee_hash: bytes
    next_addresses_hash: bytes
    valid_until_s: int

    def __post_init__(self) -> None:
        for field in ("chain_id", "settlement_chain_id", "valid_until_s"):
            if not 0 <= getattr(self, field) <= U64_MAX:
                raise DecodeError(field, "must be in 0..2^64-1")
        if not 0 <= self.epoch < U64_MAX:
            raise DecodeError("epoch", "must be in 0..2^64-2")
        for field, size in (
            ("contract", ADDRESS_BYTES),
            ("committee_hash", HASH_BYTES),
            ("next_committee_hash", HASH_BYTES),
            ("next_addresses_hash", HASH_BYTES),
        ):
            if len(getattr(self, field)) != size:
                raise DecodeError(field, f"must be {size} bytes; got {len(getattr(self, field))}")

    @classmethod
    def between(
        cls,
        committee: Committee,
        following: Committee,
        *,
        valid_until_s: int,
        contract: bytes = NO_CONTRACT,
        settlement_chain_id: int = 0,
    ) -> HandoverTerms:
        """The terms of a change from one committee to the next. Raises InvalidHandover, DecodeError."""
        if following.chain_id != committee.chain_id:
            raise InvalidHandover(
                "chain", f"the next committee has chain id {following.chain_id}, not {committee.chain_id}"
            )
        if following.epoch != committee.epoch + 1:
            raise InvalidHandover(
                "epoch", f"the next committee has epoch {following.epoch}; must be {committee.epoch + 1}"
            )
        return cls(
            chain_id=committee.chain_id,
            contract=contract,
            settlement_chain_id=settlement_chain_id,
            epoch=committee.epoch,
            committee_hash=committee.hash,
            next_committee_hash=following.hash,
            next_addresses_hash=following.addresses_hash,
            valid_until_s=valid_until_s,
        )

    @property
    def message(self) -> bytes:
        """The message that members of the old committee sign: bytes[32]."""
        return sha256(
            _HANDOVER_DOMAIN
            + u64(self.chain_id)
            + self.contract
            + u64(self.settlement_chain_id)
            + u64(self.epoch)
            + self.committee_hash
            + u64(self.epoch + 1)
            + self.next_committee_hash
            + self.next_addresses_hash
            + u64(self.valid_until_s)
        ).digest()

    def sign(self, secret: bytes) -> HandoverSignature:
        """The signature of the owner of `secret`. Raises bls.InvalidSecretKey."""
        return HandoverSignature(self, member_id(bls.public_key(secret)), bls.sign(secret, self.message))

    def encode(self) -> bytes:
        """chain_id 8 | contract 20 | settlement_chain_id 8 | epoch 8 | three hashes | valid_until_s 8."""
        return (
            u64(self.chain_id)
            + self.contract
            + u64(self.settlement_chain_id)
            + u64(self.epoch)
            + self.committee_hash
            + self.next_committee_hash
            + self.next_addresses_hash
            + u64(self.valid_until_s)
        )

    @classmethod
    def read(cls, reader: Reader) -> HandoverTerms:
        """The terms at the front of `reader`. Raises DecodeError."""
        return cls(
            chain_id=reader.u64("chain_id"),
            contract=reader.fixed(ADDRESS_BYTES, "contract"),
            settlement_chain_id=reader.u64("settlement_chain_id"),
            epoch=reader.u64("epoch"),
            committee_hash=reader.fixed(HASH_BYTES, "committee_hash"),
            next_committee_hash=reader.fixed(HASH_BYTES, "next_committee_hash"),
            next_addresses_hash=reader.fixed(HASH_BYTES, "next_addresses_hash"),
            valid_until_s=reader.u64("valid_until_s"),
        )


@dataclass(frozen=True, slots=True)
class HandoverSignature:
    """One member's signature: member_id bytes[32], signature bytes[96]."""

    terms: HandoverTerms
    member_id: bytes
    signature: bytes

    def encode(self) -> bytes:
        """terms | member_id 32 | signature 96."""
        return self.terms.encode() + self.member_id + self.signature

    @classmethod
    def decode(cls, signature_bytes: bytes | bytearray | memoryview) -> HandoverSignature:
        """The signature with its terms; nothing is verified. Raises DecodeError."""
        reader = Reader(signature_bytes)
        decoded = cls(
            HandoverTerms.read(reader),
            reader.fixed(HASH_BYTES, "member_id"),
            reader.fixed(bls.SIGNATURE_BYTES, "signature"),
        )
        reader.finish("handover signature")
        return decoded

    def to_json(self) -> str:
        """The file that a member's operator sends to whoever gathers them."""
        return json.dumps({"handover_signature": "0x" + self.encode().hex()})

    @classmethod
    def from_json(cls, text: bytes | str) -> HandoverSignature:
        """Read `to_json`. Raises DecodeError."""
        return cls.decode(_only_field(text, "handover_signature", HANDOVER_SIGNATURE_BYTES))

    def verify(self, committee: Committee) -> int:
        """The index of the member that signed. Raises InvalidSignature."""
        index = committee.member_index(self.member_id)
        if index is None:
            raise InvalidSignature(f"0x{self.member_id.hex()} is not a member of the committee")
        if not bls.verify(committee.members[index].public_key, self.terms.message, self.signature):
            raise InvalidSignature(f"the signature of {committee.members[index].name} is invalid")
        return index


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Signatures of members of the old committee for the terms.

    signers: member indices, ascending; signature bytes[96], the sum of their signatures. Raises DecodeError
    when the values cannot be encoded.
    """

    terms: HandoverTerms
    committee_size: int
    signers: tuple[int, ...]
    signature: bytes

    def __post_init__(self) -> None:
        check_signers(self.committee_size, self.signers, self.signature)

    @classmethod
    def gather(cls, terms: HandoverTerms, committee: Committee, signatures: Mapping[int, bytes]) -> Handover:
        """Aggregate verified signatures, by member index.

        Raises DecodeError for an index out of range, bls.InvalidSignatureBytes for no signatures or invalid
        ones.
        """
        signers = tuple(sorted(signatures))
        return cls(
            terms=terms,
            committee_size=len(committee.members),
            signers=signers,
            signature=bls.aggregate(signatures[index] for index in signers),
        )

    def encode(self) -> bytes:
        """terms | committee_size u16 | bitmap | signature 96."""
        return self.terms.encode() + encode_signers(self.committee_size, self.signers, self.signature)

    @classmethod
    def decode(cls, handover_bytes: bytes | bytearray | memoryview) -> Handover:
        """The handover; nothing is verified. Raises DecodeError."""
        reader = Reader(handover_bytes)
        terms = HandoverTerms.read(reader)
        size, signers, signature = read_signers(reader)
        reader.finish("handover")
        return cls(terms=terms, committee_size=size, signers=signers, signature=signature)

    def verify(self, committee: Committee, following: Committee) -> None:
        """That `committee` hands over to `following`.

        The next committee's proofs of possession are not looked at; the chain checks them once this holds.

        Raises InvalidHandover; its `check` is the check that failed. Cheap checks come first.
        """
        terms = self.terms
        expected = HandoverTerms.between(
            committee,
            following,
            valid_until_s=terms.valid_until_s,
            contract=terms.contract,
            settlement_chain_id=terms.settlement_chain_id,
        )
        for check, field in (
            ("chain", "chain_id"),
            ("epoch", "epoch"),
            ("committee", "committee_hash"),
            ("next", "next_committee_hash"),
            ("addresses", "next_addresses_hash"),
        ):
            if getattr(terms, field) != getattr(expected, field):
                raise InvalidHandover(check, f"{field} is not that of the two committees")
        if self.committee_size != len(committee.members):
            raise InvalidHandover(
                "size",
                f"bitmap is for {self.committee_size} members; the committee has {len(committee.members)}",
            )
        if not self.signers:
            raise InvalidHandover("signers", "there are no signers")
        if not committee.reaches_threshold(self.signers):
            raise InvalidHandover("stake", "the signers' stake is below the old committee's threshold")
        keys = [committee.members[index].public_key for index in self.signers]
        if not bls.verify_aggregate(keys, terms.message, self.signature):
            raise InvalidHandover("signature", "the aggregate signature is invalid")


def _only_field(text: bytes | str, name: str, size: int) -> bytes:
    fields = parse_object(text, MAX_JSON_BYTES, DecodeError)
    value = fields.hex(name, size)
    fields.finish()
    return value
