"""Bytes that one library made, for each to reproduce and to check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.bls import InvalidSignatureBytes
from da.bls.scheme import Scheme
from erasure.constants import BLS_MODULUS
from tests.da.bls.conftest import LIBRARIES, scheme_on

Bls = Scheme[Any, Any]
VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_bytes())
KEYS = VECTORS["keys"]
PAIRS = [(first, second) for first in LIBRARIES for second in LIBRARIES if first != second]


def value(entry: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(entry[name])


def test_there_are_vectors_of_each_kind():
    assert {name: len(entries) for name, entries in VECTORS.items() if name != "made_by"} == {
        "keys": 7,
        "signatures": 21,
        "aggregates": 10,
        "malformed_keys": 15,
        "malformed_signatures": 17,
    }


@pytest.mark.parametrize("entry", KEYS, ids=lambda entry: entry["secret"][-8:])
def test_keys_and_proofs_of_possession(bls: Bls, entry: dict[str, Any]):
    secret, key, proof = (value(entry, name) for name in ("secret", "public_key", "proof_of_possession"))
    assert bls.public_key(secret) == key
    assert bls.prove_possession(secret) == proof
    assert bls.is_public_key(key)
    assert bls.verify_possession(key, proof)
    others = [value(other, "public_key") for other in KEYS if other is not entry]
    assert not any(bls.verify_possession(other, proof) for other in others)
    assert not bls.verify(key, key, proof)


@pytest.mark.parametrize("entry", VECTORS["signatures"], ids=lambda entry: entry["signature"][:8])
def test_signatures(bls: Bls, entry: dict[str, Any]):
    owner, message, signature = KEYS[entry["key"]], value(entry, "message"), value(entry, "signature")
    key = value(owner, "public_key")
    assert bls.sign(value(owner, "secret"), message) == signature
    assert bls.verify(key, message, signature)
    assert not bls.verify(key, message + b"\0", signature)
    assert not bls.verify_possession(key, signature)


@pytest.mark.parametrize("entry", VECTORS["aggregates"], ids=lambda entry: entry["signature"][:8])
def test_aggregates(bls: Bls, entry: dict[str, Any]):
    message, signature = value(entry, "message"), value(entry, "signature")
    keys = [value(KEYS[index], "public_key") for index in entry["keys"]]
    shares = [bls.sign(value(KEYS[index], "secret"), message) for index in entry["keys"]]
    assert bls.aggregate(shares) == signature
    assert bls.aggregate(reversed(shares)) == signature
    assert bls.verify_aggregate(keys, message, signature)
    assert not bls.verify_aggregate([*keys, keys[0]], message, signature)
    assert not bls.verify_aggregate(keys[1:], message, signature)


@pytest.mark.parametrize("name", VECTORS["malformed_keys"])
def test_malformed_keys_are_refused(bls: Bls, name: str):
    key = value(VECTORS["malformed_keys"], name)
    good, message = VECTORS["signatures"][7], value(VECTORS["signatures"][7], "message")
    assert not bls.is_public_key(key)
    assert not bls.verify(key, message, value(good, "signature"))
    assert not bls.verify_aggregate(
        [value(KEYS[good["key"]], "public_key"), key], message, value(good, "signature")
    )
    assert not bls.verify_possession(key, value(KEYS[2], "proof_of_possession"))


@pytest.mark.parametrize("name", VECTORS["malformed_signatures"])
def test_malformed_signatures_are_refused(bls: Bls, name: str):
    signature = value(VECTORS["malformed_signatures"], name)
    good = VECTORS["signatures"][7]
    key, message = value(KEYS[good["key"]], "public_key"), value(good, "message")
    assert not bls.verify(key, message, signature)
    assert not bls.verify_possession(key, signature)
    with pytest.raises(InvalidSignatureBytes, match="signature 1"):
        bls.aggregate([value(good, "signature"), signature])


def test_keys_that_cancel_out_have_signed_nothing(bls: Bls):
    first, last = value(KEYS[0], "public_key"), value(KEYS[5], "public_key")  # secrets 1 and r - 1
    assert bls.is_public_key(last)
    message, identity = b"m", value(VECTORS["malformed_signatures"], "identity")
    for signature in (bls.sign(value(KEYS[0], "secret"), message), identity):
        assert not bls.verify_aggregate([first, last], message, signature)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@given(
    secrets=st.lists(st.integers(1, BLS_MODULUS - 1), min_size=1, max_size=4),
    message=st.binary(max_size=300),
)
def test_each_accepts_what_the_other_makes(ours: str, theirs: str, secrets: list[int], message: bytes):
    maker, checker = scheme_on(ours), scheme_on(theirs)
    encoded = [secret.to_bytes(32, "big") for secret in secrets]
    keys = [maker.public_key(secret) for secret in encoded]
    shares = [maker.sign(secret, message) for secret in encoded]
    assert shares == [checker.sign(secret, message) for secret in encoded]
    assert checker.verify_aggregate(keys, message, checker.aggregate(shares))
    assert all(map(checker.verify_possession, keys, map(maker.prove_possession, encoded)))


@pytest.mark.parametrize("kind", ["decode_key", "decode_signature"])
@given(data=st.data())
def test_they_agree_on_what_is_a_point(kind: str, data: st.DataObject):
    """Valid points with bits flipped: half of the flips in x give a point outside the subgroup."""
    schemes = [scheme_on(library) for library in LIBRARIES]
    entry = data.draw(st.sampled_from(KEYS))
    encoded = bytearray(value(entry, "public_key" if kind == "decode_key" else "proof_of_possession"))
    for bit in data.draw(st.sets(st.integers(0, 8 * len(encoded) - 1), max_size=3)):
        encoded[bit // 8] ^= 1 << bit % 8
    answers = {getattr(scheme._library, kind)(bytes(encoded)) is not None for scheme in schemes}
    assert len(answers) == 1
