"""BLS signatures of the Ethereum proof-of-possession ciphersuite; the only module that imports blspy.

The idea: public keys are points of G1 (48 bytes compressed), signatures points of G2 (96 bytes), and many
signatures over ONE message add up to one that is checked with two pairings. That is safe only when each
signer has proven that it knows its secret (proof of possession), else a key made of the others' keys
could sign for all. Committees check those proofs when they are loaded.

Invariants: keys and signatures cross this module as bytes. The identity of G1 is no public key and the
identity of G2 no signature, anywhere; no signer at all is no signature. Subgroup membership is checked by
blspy when it decodes a point.

Does not: keep secrets (see da.keystore), nor know what the messages mean (see da.protocol).

Source: draft-irtf-cfrg-bls-signature-05, ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache

from blspy import G1Element, G2Element, PopSchemeMPL, PrivateKey

SECRET_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 48
SIGNATURE_BYTES = 96

_G1_IDENTITY = G1Element()
_G2_IDENTITY = G2Element()

# Decoding a key costs a square root and a subgroup check (60 us); a committee's keys come again and again.
_DECODED_KEYS = 4096


class BlsError(ValueError):
    """Base of what this module raises."""


class InvalidSecretKey(BlsError):
    """Not 32 bytes of an integer in 1..r-1. The message never holds the value."""


class InvalidSignatureBytes(BlsError):
    """Not the compressed encoding of a point of G2 other than the identity, or no signatures to add."""


def generate_secret() -> bytes:
    """A fresh secret key from the system's random source: bytes[32], big-endian, 1..r-1."""
    return bytes(PopSchemeMPL.key_gen(secrets.token_bytes(32)))


def public_key(secret: bytes) -> bytes:
    """The public key of `secret`: bytes[48], compressed G1. Raises InvalidSecretKey."""
    return bytes(_secret_key(secret).get_g1())


def sign(secret: bytes, message: bytes) -> bytes:
    """Signature of `message`: bytes[96], compressed G2. Raises InvalidSecretKey."""
    return bytes(PopSchemeMPL.sign(_secret_key(secret), bytes(message)))


def verify(public_key_bytes: bytes, message: bytes, signature_bytes: bytes) -> bool:
    """Whether the signature is the key's over the message; False as well for anything malformed."""
    return verify_aggregate([public_key_bytes], message, signature_bytes)


def aggregate(signatures: Iterable[bytes]) -> bytes:
    """The sum of signatures over one message: bytes[96].

    Raises InvalidSignatureBytes for a malformed or identity signature, for none at all, and for signatures
    that cancel out. The signatures are not verified here.
    """
    points = []
    for position, signature_bytes in enumerate(signatures):
        point = _signature_point(signature_bytes)
        if point is None:
            raise InvalidSignatureBytes(f"signature {position} is not a point of G2 other than the identity")
        points.append(point)
    if not points:
        raise InvalidSignatureBytes("no signatures to aggregate")
    total = PopSchemeMPL.aggregate(points)
    if total == _G2_IDENTITY:
        raise InvalidSignatureBytes("the signatures add up to the identity")
    return bytes(total)


def verify_aggregate(public_keys: Sequence[bytes], message: bytes, signature_bytes: bytes) -> bool:
    """Whether the signature is the sum of all keys' signatures over the one message.

    False for no keys, for any malformed or identity key, for a malformed or identity signature. Sound only
    for keys whose possession has been proven.
    """
    if not public_keys:
        return False
    keys = [_public_key_point(bytes(key)) for key in public_keys]
    point = _signature_point(signature_bytes)
    if point is None or any(key is None for key in keys):
        return False
    return bool(PopSchemeMPL.fast_aggregate_verify(keys, bytes(message), point))


def prove_possession(secret: bytes) -> bytes:
    """Proof that the owner of the public key knows `secret`: bytes[96]. Raises InvalidSecretKey."""
    return bytes(PopSchemeMPL.pop_prove(_secret_key(secret)))


def verify_possession(public_key_bytes: bytes, proof_bytes: bytes) -> bool:
    """Whether the proof of possession is the key's; False as well for anything malformed or identity."""
    key = _public_key_point(bytes(public_key_bytes))
    proof = _signature_point(proof_bytes)
    if key is None or proof is None:
        return False
    return bool(PopSchemeMPL.pop_verify(key, proof))


def is_public_key(public_key_bytes: bytes) -> bool:
    """Whether the bytes are a canonical point of G1's prime-order subgroup other than the identity."""
    return _public_key_point(bytes(public_key_bytes)) is not None


def _secret_key(secret: bytes) -> PrivateKey:
    # blspy takes zero for a key; its messages carry no key material, ours are written here all the same.
    if len(secret) != SECRET_KEY_BYTES or not any(secret):
        raise InvalidSecretKey("a secret key is 32 bytes of an integer in 1..r-1")
    try:
        return PrivateKey.from_bytes(bytes(secret))
    except ValueError:
        raise InvalidSecretKey("a secret key is 32 bytes of an integer in 1..r-1") from None


@lru_cache(maxsize=_DECODED_KEYS)
def _public_key_point(public_key_bytes: bytes) -> G1Element | None:
    try:
        point = G1Element.from_bytes(public_key_bytes)
    except ValueError:
        return None
    return None if point == _G1_IDENTITY else point


def _signature_point(signature_bytes: bytes) -> G2Element | None:
    try:
        point = G2Element.from_bytes(bytes(signature_bytes))
    except ValueError:
        return None
    return None if point == _G2_IDENTITY else point
