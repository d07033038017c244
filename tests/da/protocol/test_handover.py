"""Handovers: what is signed, who must sign, one encoding, and nothing else passes as one."""

from __future__ import annotations

import dataclasses
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da import bls
from da.protocol.attestation import attestation_message
from da.protocol.committee import Committee
from da.protocol.errors import DecodeError, InvalidHandover, InvalidSignature
from da.protocol.handover import (
    HANDOVER_SIGNATURE_BYTES,
    MAX_HANDOVER_BYTES,
    TERMS_BYTES,
    Handover,
    HandoverSignature,
    HandoverTerms,
)
from tests.da.protocol.conftest import Party, build_party

VALID_UNTIL_S = 2_000_000_000
CONTRACT = bytes(range(1, 21))


@pytest.fixture(scope="module")
def old() -> Party:
    return build_party([100, 100, 100, 100])


@pytest.fixture(scope="module")
def following(old: Party) -> Committee:
    """Two members stay, with other stakes."""
    members = tuple(dataclasses.replace(each, stake=7) for each in old.committee.members[:2])
    return Committee(chain_id=7, epoch=2, members=members)


def terms_of(old: Party, following: Committee) -> HandoverTerms:
    return HandoverTerms.between(
        old.committee, following, valid_until_s=VALID_UNTIL_S, contract=CONTRACT, settlement_chain_id=11155111
    )


def signed(old: Party, terms: HandoverTerms, signers: range = range(3)) -> Handover:
    signatures = {index: terms.sign(old.secrets[index]).signature for index in signers}
    return Handover.gather(terms, old.committee, signatures)


def test_the_message_is_the_documented_one(old: Party, following: Committee) -> None:
    expected = sha256(
        b"cellar/handover/v1"
        + (7).to_bytes(8, "big")
        + CONTRACT
        + (11155111).to_bytes(8, "big")
        + (1).to_bytes(8, "big")
        + old.committee.hash
        + (2).to_bytes(8, "big")
        + following.hash
        + following.addresses_hash
        + VALID_UNTIL_S.to_bytes(8, "big")
    ).digest()
    assert terms_of(old, following).message == expected


def test_a_handover_of_the_threshold_verifies(old: Party, following: Committee) -> None:
    signed(old, terms_of(old, following)).verify(old.committee, following)


def test_signers_below_the_threshold_are_refused(old: Party, following: Committee) -> None:
    with pytest.raises(InvalidHandover) as caught:
        signed(old, terms_of(old, following), range(2)).verify(old.committee, following)
    assert caught.value.check == "stake"


@pytest.mark.parametrize(
    ("field", "value", "check"),
    [
        ("chain_id", 8, "chain"),
        ("epoch", 2, "epoch"),
        ("committee_hash", bytes(32), "committee"),
        ("next_committee_hash", bytes(32), "next"),
        ("next_addresses_hash", bytes(32), "addresses"),
        # What the two committees do not determine, the signature does.
        ("contract", bytes(20), "signature"),
        ("settlement_chain_id", 1, "signature"),
        ("valid_until_s", VALID_UNTIL_S + 1, "signature"),
    ],
)
def test_every_term_is_bound(old: Party, following: Committee, field: str, value: object, check: str) -> None:
    handover = signed(old, terms_of(old, following))
    changed = dataclasses.replace(handover, terms=dataclasses.replace(handover.terms, **{field: value}))
    with pytest.raises(InvalidHandover) as caught:
        changed.verify(old.committee, following)
    assert caught.value.check == check


def test_moved_members_are_not_the_signed_ones(old: Party, following: Committee) -> None:
    """A committee's hash leaves URLs out; a stranger must not choose them."""
    moved = tuple(dataclasses.replace(each, url="http://elsewhere.test") for each in following.members)
    other = dataclasses.replace(following, members=moved)
    assert other.hash == following.hash
    with pytest.raises(InvalidHandover) as caught:
        signed(old, terms_of(old, following)).verify(old.committee, other)
    assert caught.value.check == "addresses"


def test_the_bitmap_is_bound(old: Party, following: Committee) -> None:
    handover = dataclasses.replace(signed(old, terms_of(old, following)), signers=(0, 1, 3))
    with pytest.raises(InvalidHandover) as caught:
        handover.verify(old.committee, following)
    assert caught.value.check == "signature"
    with pytest.raises(InvalidHandover) as caught:
        dataclasses.replace(handover, committee_size=5).verify(old.committee, following)
    assert caught.value.check == "size"
    with pytest.raises(InvalidHandover) as caught:
        dataclasses.replace(handover, signers=()).verify(old.committee, following)
    assert caught.value.check == "signers"


def test_another_kind_of_signature_is_no_handover(old: Party, following: Committee) -> None:
    terms = terms_of(old, following)
    message = attestation_message(7, old.committee.hash, terms.message)
    signatures = {index: bls.sign(old.secrets[index], message) for index in range(3)}
    with pytest.raises(InvalidHandover) as caught:
        Handover.gather(terms, old.committee, signatures).verify(old.committee, following)
    assert caught.value.check == "signature"


@pytest.mark.parametrize("change", [{"chain_id": 8}, {"epoch": 1}, {"epoch": 3}])
def test_terms_join_successive_epochs_of_one_chain(
    old: Party, following: Committee, change: dict[str, int]
) -> None:
    with pytest.raises(InvalidHandover):
        HandoverTerms.between(old.committee, dataclasses.replace(following, **change), valid_until_s=1)


def test_handover_and_signature_have_one_encoding(old: Party, following: Committee) -> None:
    handover = signed(old, terms_of(old, following))
    assert Handover.decode(handover.encode()) == handover
    assert len(handover.encode()) == TERMS_BYTES + 2 + 1 + 96 <= MAX_HANDOVER_BYTES
    one = handover.terms.sign(old.secrets[2])
    assert HandoverSignature.decode(one.encode()) == HandoverSignature.from_json(one.to_json()) == one
    assert len(one.encode()) == HANDOVER_SIGNATURE_BYTES
    assert one.verify(old.committee) == 2


@given(data=st.binary(max_size=400))
def test_any_bytes_decode_or_raise(data: bytes) -> None:
    for kind in (Handover, HandoverSignature):
        try:
            decoded = kind.decode(data)
        except DecodeError:
            continue
        assert decoded.encode() == data


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"handover_signature": "0x00"}', '{"handover_signature": 1}']
)
def test_a_signature_file_is_read_strictly(text: str) -> None:
    with pytest.raises(DecodeError):
        HandoverSignature.from_json(text)


def test_a_signature_of_a_stranger_or_for_other_terms_is_refused(old: Party, following: Committee) -> None:
    terms = terms_of(old, following)
    with pytest.raises(InvalidSignature, match="not a member"):
        terms.sign((99).to_bytes(32, "big")).verify(old.committee)
    moved = dataclasses.replace(terms, valid_until_s=1)
    with pytest.raises(InvalidSignature, match="invalid"):
        dataclasses.replace(terms.sign(old.secrets[0]), terms=moved).verify(old.committee)


@pytest.mark.parametrize("change", [{"epoch": 2**64 - 1}, {"chain_id": -1}, {"contract": bytes(19)}])
def test_values_out_of_range_are_no_terms(
    old: Party, following: Committee, change: dict[str, object]
) -> None:
    with pytest.raises(DecodeError):
        dataclasses.replace(terms_of(old, following), **change)  # type: ignore[arg-type]
