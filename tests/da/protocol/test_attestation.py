from __future__ import annotations

import dataclasses
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from da import bls
from da.protocol import (
    Attestation,
    DecodeError,
    InvalidSignature,
    attestation_message,
    member_id,
)


def test_message_is_the_documented_hash():
    expected = sha256(b"cellar/attest/v1" + (7).to_bytes(8, "big") + b"c" * 32 + b"h" * 32).digest()
    assert attestation_message(7, b"c" * 32, b"h" * 32) == expected


def test_every_member_attests(party: Any, batch: Any):
    for index, secret in enumerate(party.secrets):
        attestation = Attestation.sign(secret, batch.header)
        assert attestation.verify(party.committee, batch.header) == index
        assert Attestation.decode(attestation.encode()) == attestation
        assert len(attestation.encode()) == 160


def test_attestation_of_another_header_is_refused(party: Any, batch: Any):
    attestation = Attestation.sign(party.secrets[0], batch.header)
    other = dataclasses.replace(batch.header, timestamp_ms=1)
    with pytest.raises(InvalidSignature, match="another header"):
        attestation.verify(party.committee, other)
    moved = dataclasses.replace(attestation, header_hash=other.hash)
    with pytest.raises(InvalidSignature, match="is invalid"):
        moved.verify(party.committee, other)


def test_attestation_of_a_stranger_is_refused(party: Any, batch: Any):
    stranger = (4242).to_bytes(32, "big")
    with pytest.raises(InvalidSignature, match="not a member"):
        Attestation.sign(stranger, batch.header).verify(party.committee, batch.header)
    claimed = dataclasses.replace(
        Attestation.sign(stranger, batch.header), member_id=party.committee.members[0].id
    )
    with pytest.raises(InvalidSignature, match="is invalid"):
        claimed.verify(party.committee, batch.header)


def test_attestation_for_another_chain_is_refused(party: Any, batch: Any, make_party: Callable[..., Any]):
    """The same member and header hash, signed under another chain id."""
    message = attestation_message(8, party.committee.hash, batch.header.hash)
    foreign = Attestation(
        party.committee.members[0].id, batch.header.hash, bls.sign(party.secrets[0], message)
    )
    with pytest.raises(InvalidSignature):
        foreign.verify(party.committee, batch.header)


def test_identity_signature_is_refused(party: Any, batch: Any):
    forged = Attestation(party.committee.members[0].id, batch.header.hash, b"\xc0" + bytes(95))
    with pytest.raises(InvalidSignature):
        forged.verify(party.committee, batch.header)


@pytest.mark.parametrize(("field", "size"), [("member_id", 31), ("header_hash", 33), ("signature", 95)])
def test_fields_of_other_sizes_are_refused(field: str, size: int):
    good = Attestation(bytes(32), bytes(32), bytes(96))
    with pytest.raises(DecodeError) as caught:
        dataclasses.replace(good, **{field: bytes(size)})
    assert caught.value.field == field


def test_member_ids_are_domain_separated():
    assert member_id(b"k" * 48) == sha256(b"cellar/member/v1" + b"k" * 48).digest()
