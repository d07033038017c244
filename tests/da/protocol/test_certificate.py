from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da import bls
from da.protocol import (
    ZERO_HASH,
    Attestation,
    Certificate,
    Committee,
    DecodeError,
    Header,
    InvalidCertificate,
    attestation_message,
)
from da.protocol.certificate import MAX_CERTIFICATE_BYTES

HEADER = Header(
    chain_id=7,
    disperser_id=bytes(32),
    height=1,
    timestamp_ms=0,
    parent=ZERO_HASH,
    committee_hash=bytes(32),
    row_count=1,
    payloads_root=bytes(32),
    commitments_root=bytes(32),
)


def failed_check(certificate: Certificate, committee: Committee) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        certificate.verify(committee)
    return caught.value.check


@pytest.fixture(scope="module")
def certificate(party: Any, batch: Any, make_certificate: Callable[..., Certificate]) -> Certificate:
    return make_certificate(party, batch.header, [0, 1, 2, 4, 5])


def test_five_of_six_are_final(party: Any, certificate: Certificate):
    result = certificate.verify(party.committee)
    assert result.final
    assert result.signed_stake == 500
    assert result.margin > 0


def test_round_trip(certificate: Certificate):
    assert Certificate.decode(certificate.encode()) == certificate
    assert len(certificate.encode()) == 188 + 2 + 1 + 96


@given(
    st.integers(1, 1024).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=40)))
)
def test_round_trip_of_any_size(drawn: tuple[int, set[int]]):
    size, signers = drawn
    certificate = Certificate(
        header=HEADER, committee_size=size, signers=tuple(sorted(signers)), signature=bytes(96)
    )
    encoding = certificate.encode()
    assert Certificate.decode(encoding) == certificate
    assert len(encoding) <= MAX_CERTIFICATE_BYTES


def test_bitmap_is_least_significant_first():
    certificate = Certificate(header=HEADER, committee_size=10, signers=(0, 3, 9), signature=bytes(96))
    assert certificate.bitmap == bytes([0b00001001, 0b00000010])


def test_bits_past_the_committee_are_refused():
    certificate = Certificate(header=HEADER, committee_size=10, signers=(0,), signature=bytes(96))
    encoding = bytearray(certificate.encode())
    encoding[188 + 2 + 1] |= 0b100
    with pytest.raises(DecodeError, match="beyond the committee"):
        Certificate.decode(encoding)


@pytest.mark.parametrize(
    "changes",
    [
        {"committee_size": 0},
        {"committee_size": 1025},
        {"signers": (1, 0)},
        {"signers": (1, 1)},
        {"signers": (-1,)},
        {"signers": (10,)},
        {"signature": bytes(95)},
    ],
)
def test_values_without_an_encoding_are_refused(changes: dict[str, Any]):
    good = Certificate(header=HEADER, committee_size=10, signers=(0,), signature=bytes(96))
    with pytest.raises(DecodeError):
        dataclasses.replace(good, **changes)


@pytest.mark.parametrize("size", [0, 1025, 65535])
def test_encodings_of_impossible_committees_are_refused(size: int):
    with pytest.raises(DecodeError, match="committee_size"):
        Certificate.decode(HEADER.encode() + size.to_bytes(2, "big") + bytes(9000))


@pytest.mark.parametrize("check", ["chain", "committee", "disperser"])
def test_foreign_headers_are_refused(party: Any, certificate: Certificate, check: str):
    field, value = {
        "chain": ("chain_id", 8),
        "committee": ("committee_hash", b"x" * 32),
        "disperser": ("disperser_id", b"x" * 32),
    }[check]
    header = dataclasses.replace(certificate.header, **{field: value})
    assert failed_check(dataclasses.replace(certificate, header=header), party.committee) == check


def test_a_member_without_the_role_is_no_disperser(
    party: Any, batch: Any, make_certificate: Callable[..., Certificate]
):
    other = next(member for member in party.committee.members if not member.disperser)
    header = dataclasses.replace(batch.header, disperser_id=other.id)
    assert failed_check(make_certificate(party, header, range(6)), party.committee) == "disperser"


def test_another_epoch_is_refused(party: Any, certificate: Certificate, make_party: Callable[..., Any]):
    assert failed_check(certificate, make_party([100] * 6, epoch=2).committee) == "committee"


def test_another_size_is_refused(party: Any, certificate: Certificate):
    assert failed_check(dataclasses.replace(certificate, committee_size=7), party.committee) == "size"


def test_nobody_is_refused(party: Any, certificate: Certificate):
    assert failed_check(dataclasses.replace(certificate, signers=()), party.committee) == "signers"


def test_too_little_stake_is_refused(party: Any, batch: Any, make_certificate: Callable[..., Certificate]):
    for signers in ([0], [0, 1, 2]):
        assert failed_check(make_certificate(party, batch.header, signers), party.committee) == "stake"


def test_enough_stake_without_the_slot_bound_is_refused(
    party: Any, batch: Any, make_certificate: Callable[..., Certificate]
):
    """Four of six equal members have two thirds of the stake, but not the slots."""
    for signers in combinations(range(6), 4):
        assert failed_check(make_certificate(party, batch.header, signers), party.committee) == "slots"


def test_signatures_of_others_are_refused(party: Any, certificate: Certificate):
    for signers in ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)):
        changed = dataclasses.replace(certificate, signers=signers)
        assert failed_check(changed, party.committee) == "signature"


def test_signature_of_another_header_is_refused(party: Any, certificate: Certificate):
    header = dataclasses.replace(certificate.header, timestamp_ms=1)
    assert failed_check(dataclasses.replace(certificate, header=header), party.committee) == "signature"


@pytest.mark.parametrize("signature", [bytes(96), b"\xc0" + bytes(95), b"\xff" * 96])
def test_signatures_that_are_none_are_refused(party: Any, certificate: Certificate, signature: bytes):
    changed = dataclasses.replace(certificate, signature=signature)
    assert failed_check(changed, party.committee) == "signature"


def test_one_member_counted_twice_is_refused(party: Any, batch: Any):
    """Five copies of one signature do not make five signers."""
    message = attestation_message(party.committee.chain_id, party.committee.hash, batch.header.hash)
    signature = bls.aggregate([bls.sign(party.secrets[0], message)] * 5)
    forged = Certificate(header=batch.header, committee_size=6, signers=(0, 1, 2, 3, 4), signature=signature)
    assert failed_check(forged, party.committee) == "signature"


def test_gather_refuses_nobody_and_strangers(party: Any, batch: Any):
    with pytest.raises(bls.InvalidSignatureBytes):
        Certificate.gather(batch.header, party.committee, {})
    signature = Attestation.sign(party.secrets[0], batch.header).signature
    with pytest.raises(DecodeError, match="signers"):
        Certificate.gather(batch.header, party.committee, {6: signature})


def test_unequal_stakes(
    make_party: Callable[..., Any], make_batch: Callable[..., Any], make_certificate: Any
):
    """One member with most of the stake holds every column: alone it is final, without it nothing is."""
    party = make_party([700, 100, 100, 100])
    batch = make_batch(party.committee)
    rich = party.committee.stakes.index(700)
    others = [i for i in range(4) if i != rich]
    assert make_certificate(party, batch.header, [rich]).verify(party.committee).final
    assert failed_check(make_certificate(party, batch.header, others), party.committee) == "stake"
