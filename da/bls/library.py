"""The port between the scheme and the library that computes: points and pairings, no policy.

A library decodes strictly: exactly the compressed encoding, canonical, on the curve and in the subgroup of
order r. All its other arguments are valid: keys and signatures that it decoded itself, secrets in 1..r-1.
Identities are decoded as `None`, like malformed bytes, since neither is a key or a signature here.

Does not: cache, count keys, or check lengths of secrets (see scheme.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Key = TypeVar("Key")
Signature = TypeVar("Signature")


class Library(Protocol[Key, Signature]):
    """BLS12-381 as one installed library computes it. `Key` and `Signature` are its own decoded points."""

    name: str
    version: str

    def public_key(self, secret: bytes) -> bytes:
        """The public key of a valid secret (bytes[32], big-endian): bytes[48]."""

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """The signature of the message under the ciphersuite's signature tag: bytes[96]."""

    def prove_possession(self, secret: bytes) -> bytes:
        """The signature of the public key under the ciphersuite's possession tag: bytes[96]."""

    def decode_key(self, encoded: bytes) -> Key | None:
        """The point of G1, or None for the identity and for bytes that are not a canonical point."""

    def decode_signature(self, encoded: bytes) -> Signature | None:
        """The point of G2, or None for the identity and for bytes that are not a canonical point."""

    def add(self, signatures: Sequence[Signature]) -> bytes | None:
        """The sum of one or more signatures: bytes[96], or None if it is the identity."""

    def verify(self, keys: Sequence[Key], message: bytes, signature: Signature) -> bool:
        """Whether the signature is the sum of the signatures of one or more keys over the message."""

    def verify_possession(self, key: Key, proof: Signature) -> bool:
        """Whether the proof is the key owner's proof of possession."""
