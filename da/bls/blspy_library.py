"""The port on blspy; the only module that imports it. Chia's blspy is blst with the ciphersuites built in.

Source: https://github.com/Chia-Network/bls-signatures (PopSchemeMPL).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from blspy import G1Element, G2Element, PopSchemeMPL, PrivateKey

_G1_IDENTITY = G1Element()
_G2_IDENTITY = G2Element()


class BlspyLibrary:
    """`Library[G1Element, G2Element]`."""

    name = "blspy"

    def __init__(self) -> None:
        self.version = version("blspy")

    def public_key(self, secret: bytes) -> bytes:
        """See the port."""
        return bytes(PrivateKey.from_bytes(secret).get_g1())

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """See the port."""
        return bytes(PopSchemeMPL.sign(PrivateKey.from_bytes(secret), message))

    def prove_possession(self, secret: bytes) -> bytes:
        """See the port."""
        return bytes(PopSchemeMPL.pop_prove(PrivateKey.from_bytes(secret)))

    def decode_key(self, encoded: bytes) -> G1Element | None:
        """See the port."""
        try:
            point = G1Element.from_bytes(encoded)
        except ValueError:
            return None
        return None if point == _G1_IDENTITY else point

    def decode_signature(self, encoded: bytes) -> G2Element | None:
        """See the port."""
        try:
            point = G2Element.from_bytes(encoded)
        except ValueError:
            return None
        return None if point == _G2_IDENTITY else point

    def add(self, signatures: Sequence[G2Element]) -> bytes | None:
        """See the port."""
        total = PopSchemeMPL.aggregate(list(signatures))
        return None if total == _G2_IDENTITY else bytes(total)

    def verify(self, keys: Sequence[G1Element], message: bytes, signature: G2Element) -> bool:
        """See the port."""
        return bool(PopSchemeMPL.fast_aggregate_verify(list(keys), message, signature))

    def verify_possession(self, key: G1Element, proof: G2Element) -> bool:
        """See the port."""
        return bool(PopSchemeMPL.pop_verify(key, proof))
