"""The proof-of-possession scheme: which bytes are keys and signatures, and when a signature is valid.

The idea: public keys are points of G1 (48 bytes compressed), signatures points of G2 (96 bytes), and many
signatures over ONE message add up to one that is checked with two pairings. That is safe only when each
signer has proven that it knows its secret (proof of possession); otherwise a key derived from the others'
keys could sign for all of them. Committees check those proofs when they are loaded.

Invariants: keys and signatures cross this module as bytes. The identity of G1 is never a public key, the
identity of G2 never a signature, and an empty set of signers is refused. Subgroup membership is checked by
the library when it decodes a point.

Does not: store secrets (see da.keystore), or interpret messages (see da.protocol).

Source: draft-irtf-cfrg-bls-signature-05, ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Generic

from da.bls.errors import InvalidSecretKey, InvalidSignatureBytes
from da.bls.library import Key, Library, Signature
from erasure.constants import BLS_MODULUS

SECRET_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 48
SIGNATURE_BYTES = 96

# Decoding a key costs a square root and a subgroup check (60 us); a committee's keys are decoded often.
_DECODED_KEYS = 4096


class Scheme(Generic[Key, Signature]):
    """The scheme on one library. Methods may be called from any thread."""

    def __init__(self, library: Library[Key, Signature]) -> None:
        self._library = library
        self._decode_key = lru_cache(maxsize=_DECODED_KEYS)(library.decode_key)

    def describe(self) -> dict[str, str]:
        """The library and its version, for logs and `/v1/node`."""
        return {"library": self._library.name, "version": self._library.version}

    def generate_secret(self) -> bytes:
        """A new secret key from the system's random source: bytes[32], big-endian, uniform in 1..r-1."""
        return (1 + secrets.randbelow(BLS_MODULUS - 1)).to_bytes(SECRET_KEY_BYTES, "big")

    def public_key(self, secret: bytes) -> bytes:
        """The public key of `secret`: bytes[48], compressed G1. Raises InvalidSecretKey."""
        return self._library.public_key(_valid_secret(secret))

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """Signature of `message`: bytes[96], compressed G2. Raises InvalidSecretKey."""
        return self._library.sign(_valid_secret(secret), bytes(message))

    def verify(self, public_key_bytes: bytes, message: bytes, signature_bytes: bytes) -> bool:
        """Whether the signature over the message is the key's; False for malformed input."""
        return self.verify_aggregate([public_key_bytes], message, signature_bytes)

    def aggregate(self, signatures: Iterable[bytes]) -> bytes:
        """The sum of signatures over one message: bytes[96].

        Raises InvalidSignatureBytes for a malformed or identity signature, for no signatures, and for
        signatures that cancel out. The signatures are not verified here.
        """
        points = []
        for position, signature_bytes in enumerate(signatures):
            point = self._library.decode_signature(bytes(signature_bytes))
            if point is None:
                raise InvalidSignatureBytes(
                    f"signature {position} must be a point of G2 other than the identity"
                )
            points.append(point)
        if not points:
            raise InvalidSignatureBytes("no signatures to aggregate")
        total = self._library.add(points)
        if total is None:
            raise InvalidSignatureBytes("the signatures add up to the identity")
        return total

    def verify_aggregate(self, public_keys: Sequence[bytes], message: bytes, signature_bytes: bytes) -> bool:
        """Whether the signature is the sum of all keys' signatures over the one message.

        False for no keys, for any malformed or identity key, for a malformed or identity signature. Sound
        only for keys whose possession has been proven.
        """
        keys = [key for key in (self._decode_key(bytes(each)) for each in public_keys) if key is not None]
        if not keys or len(keys) != len(public_keys):
            return False
        point = self._library.decode_signature(bytes(signature_bytes))
        return point is not None and self._library.verify(keys, bytes(message), point)

    def prove_possession(self, secret: bytes) -> bytes:
        """Proof that the owner of the public key knows `secret`: bytes[96]. Raises InvalidSecretKey."""
        return self._library.prove_possession(_valid_secret(secret))

    def verify_possession(self, public_key_bytes: bytes, proof_bytes: bytes) -> bool:
        """Whether the proof of possession is the key's; False for malformed input or the identity."""
        key = self._decode_key(bytes(public_key_bytes))
        proof = self._library.decode_signature(bytes(proof_bytes))
        return key is not None and proof is not None and self._library.verify_possession(key, proof)

    def is_public_key(self, public_key_bytes: bytes) -> bool:
        """Whether the bytes are a canonical point of G1's prime-order subgroup other than the identity."""
        return self._decode_key(bytes(public_key_bytes)) is not None


def _valid_secret(secret: bytes) -> bytes:
    # Libraries differ in what they accept (blspy accepts zero). The message never contains the value.
    if len(secret) != SECRET_KEY_BYTES or not 0 < int.from_bytes(secret, "big") < BLS_MODULUS:
        raise InvalidSecretKey("secret key must be 32 bytes, a big-endian integer in 1..r-1")
    return bytes(secret)
