"""What the scheme promises, on each library that is installed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.bls import SECRET_KEY_BYTES, SIGNATURE_BYTES, InvalidSecretKey, InvalidSignatureBytes
from da.bls.scheme import Scheme
from da.interpreter import recursion_limit_kept
from erasure.constants import BLS_MODULUS

Bls = Scheme[Any, Any]

MESSAGE = b"m" * 32
SECRETS = [(1000 + i).to_bytes(32, "big") for i in range(4)]


G1_IDENTITY = bytes([0xC0]) + bytes(47)
G2_IDENTITY = bytes([0xC0]) + bytes(95)
# On the curve y^2 = x^3 + 4 but not in the subgroup of order r (x = 4).
G1_OUTSIDE_SUBGROUP = bytes([0x80]) + bytes(46) + bytes([4])


@pytest.fixture(scope="session")
def keys(bls: Bls) -> list[bytes]:
    return [bls.public_key(secret) for secret in SECRETS]


def test_signature_verifies(bls: Bls, keys: list[bytes]):
    signature = bls.sign(SECRETS[0], MESSAGE)
    assert len(signature) == SIGNATURE_BYTES
    assert bls.verify(keys[0], MESSAGE, signature)


def test_other_message_key_or_signature_does_not(bls: Bls, keys: list[bytes]):
    signature = bls.sign(SECRETS[0], MESSAGE)
    assert not bls.verify(keys[0], MESSAGE + b"x", signature)
    assert not bls.verify(keys[1], MESSAGE, signature)
    assert not bls.verify(keys[0], MESSAGE, bls.sign(SECRETS[1], MESSAGE))


def test_known_answer(bls: Bls):
    # Secret 1 has the generator as its key, in any implementation of the curve.
    assert bls.public_key((1).to_bytes(32, "big")).hex() == (
        "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
    )


def test_agrees_with_py_ecc_on_the_ciphersuite(bls: Bls, keys: list[bytes]):
    with recursion_limit_kept():
        from py_ecc import bls as py_ecc_bls  # a dependency of eth-keyfile

    reference = py_ecc_bls.G2ProofOfPossession

    secret = int.from_bytes(SECRETS[0], "big")
    assert reference.SkToPk(secret) == keys[0]
    assert reference.Sign(secret, MESSAGE) == bls.sign(SECRETS[0], MESSAGE)
    assert reference.PopProve(secret) == bls.prove_possession(SECRETS[0])


def test_aggregate_verifies_for_exactly_its_signers(bls: Bls, keys: list[bytes]):
    total = bls.aggregate(bls.sign(secret, MESSAGE) for secret in SECRETS)
    assert bls.verify_aggregate(keys, MESSAGE, total)
    assert not bls.verify_aggregate(keys[:-1], MESSAGE, total)
    assert not bls.verify_aggregate([*keys, keys[0]], MESSAGE, total)
    assert not bls.verify_aggregate(keys, b"other", total)


def test_nobody_is_refused(bls: Bls):
    assert not bls.verify_aggregate([], MESSAGE, bls.sign(SECRETS[0], MESSAGE))
    assert not bls.verify_aggregate([], MESSAGE, G2_IDENTITY)
    with pytest.raises(InvalidSignatureBytes, match="no signatures"):
        bls.aggregate([])


def test_identities_are_refused(bls: Bls, keys: list[bytes]):
    assert not bls.verify(G1_IDENTITY, MESSAGE, G2_IDENTITY)
    assert not bls.verify_aggregate([keys[0], G1_IDENTITY], MESSAGE, bls.sign(SECRETS[0], MESSAGE))
    assert not bls.verify_possession(G1_IDENTITY, G2_IDENTITY)
    assert not bls.is_public_key(G1_IDENTITY)
    with pytest.raises(InvalidSignatureBytes, match="signature 1"):
        bls.aggregate([bls.sign(SECRETS[0], MESSAGE), G2_IDENTITY])


def test_signatures_that_cancel_out_are_refused(bls: Bls):
    negative = (BLS_MODULUS - int.from_bytes(SECRETS[0], "big")).to_bytes(32, "big")
    with pytest.raises(InvalidSignatureBytes, match="identity"):
        bls.aggregate([bls.sign(SECRETS[0], MESSAGE), bls.sign(negative, MESSAGE)])


def test_points_outside_the_subgroup_are_refused(bls: Bls):
    assert not bls.is_public_key(G1_OUTSIDE_SUBGROUP)
    assert not bls.verify(G1_OUTSIDE_SUBGROUP, MESSAGE, bls.sign(SECRETS[0], MESSAGE))


def test_possession_is_proven_by_the_secret_alone(bls: Bls, keys: list[bytes]):
    proof = bls.prove_possession(SECRETS[0])
    assert bls.verify_possession(keys[0], proof)
    assert not bls.verify_possession(keys[1], proof)


def test_a_signature_of_the_key_is_no_proof_of_possession(bls: Bls, keys: list[bytes]):
    assert not bls.verify_possession(keys[0], bls.sign(SECRETS[0], keys[0]))
    assert not bls.verify(keys[0], keys[0], bls.prove_possession(SECRETS[0]))


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        bytes(31),
        bytes(33),
        bytes(32),
        BLS_MODULUS.to_bytes(32, "big"),
        (BLS_MODULUS + 5).to_bytes(32, "big"),
        b"\xff" * 32,
    ],
)
def test_secrets_out_of_range_are_refused_without_naming_them(bls: Bls, secret: bytes):
    for use in (bls.public_key, bls.prove_possession, lambda s: bls.sign(s, MESSAGE)):
        with pytest.raises(InvalidSecretKey) as caught:
            use(secret)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert not secret or secret.hex() not in str(caught.value)


def test_largest_secret_is_taken(bls: Bls):
    assert bls.is_public_key(bls.public_key((BLS_MODULUS - 1).to_bytes(32, "big")))


def test_generated_secrets_differ_and_work(bls: Bls):
    first, second = bls.generate_secret(), bls.generate_secret()
    assert first != second
    assert len(first) == SECRET_KEY_BYTES
    assert bls.verify(bls.public_key(first), MESSAGE, bls.sign(first, MESSAGE))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_malformed_bytes_are_false(bls: Bls, keys: list[bytes], key: bytes, signature: bytes):
    assert not bls.verify(key, MESSAGE, signature)
    assert not bls.verify(keys[0], MESSAGE, signature)
    assert not bls.verify_possession(key, signature)
    with pytest.raises(InvalidSignatureBytes):
        bls.aggregate([signature])


@given(st.integers(0, 8 * 96 - 1))
def test_any_flipped_bit_is_false(bls: Bls, keys: list[bytes], bit: int):
    signature = bytearray(bls.sign(SECRETS[0], MESSAGE))
    signature[bit // 8] ^= 1 << (bit % 8)
    assert not bls.verify(keys[0], MESSAGE, bytes(signature))


def test_memoryviews_are_taken(bls: Bls, keys: list[bytes]):
    signature = memoryview(bls.sign(SECRETS[0], MESSAGE))
    assert bls.verify(memoryview(keys[0]), memoryview(MESSAGE), signature)
