"""The port on pyblst; the only module that imports it. pyblst is a thin binding of blst: points and pairings.

The scheme on top is a few lines (CoreSign, CoreVerify): a signature is secret * H(message), and it is valid
when e(key, H(message)) = e(generator, signature). Two domain tags separate signatures from possession proofs.
blst multiplies in constant time; pyblst checks the subgroup when it decodes a point.

Source: draft-irtf-cfrg-bls-signature-05, 2.6, 2.7, 3.3 and 4.2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from importlib.metadata import version
from operator import add
from typing import Final

from pyblst import BlstP1Element, BlstP2Element, final_verify, miller_loop

SIGNATURE_TAG: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
POSSESSION_TAG: Final = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"

_G1_IDENTITY = BlstP1Element()
_G2_IDENTITY = BlstP2Element()
_G1_GENERATOR = BlstP1Element.uncompress(
    bytes.fromhex(
        "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
    )
)


class PyblstLibrary:
    """`Library[BlstP1Element, BlstP2Element]`."""

    name = "pyblst"

    def __init__(self) -> None:
        self.version = version("pyblst")

    def public_key(self, secret: bytes) -> bytes:
        """See the port."""
        return bytes(_G1_GENERATOR.scalar_mul(int.from_bytes(secret, "big")).compress())

    def sign(self, secret: bytes, message: bytes) -> bytes:
        """See the port."""
        return self._sign(secret, message, SIGNATURE_TAG)

    def prove_possession(self, secret: bytes) -> bytes:
        """See the port."""
        return self._sign(secret, self.public_key(secret), POSSESSION_TAG)

    def decode_key(self, encoded: bytes) -> BlstP1Element | None:
        """See the port."""
        try:
            point = BlstP1Element.uncompress(encoded)
        except ValueError:
            return None
        return None if point == _G1_IDENTITY else point

    def decode_signature(self, encoded: bytes) -> BlstP2Element | None:
        """See the port."""
        try:
            point = BlstP2Element.uncompress(encoded)
        except ValueError:
            return None
        return None if point == _G2_IDENTITY else point

    def add(self, signatures: Sequence[BlstP2Element]) -> bytes | None:
        """See the port."""
        total = reduce(add, signatures)
        return None if total == _G2_IDENTITY else bytes(total.compress())

    def verify(self, keys: Sequence[BlstP1Element], message: bytes, signature: BlstP2Element) -> bool:
        """See the port."""
        return self._verify(reduce(add, keys), message, signature, SIGNATURE_TAG)

    def verify_possession(self, key: BlstP1Element, proof: BlstP2Element) -> bool:
        """See the port."""
        return self._verify(key, bytes(key.compress()), proof, POSSESSION_TAG)

    def _sign(self, secret: bytes, message: bytes, tag: bytes) -> bytes:
        point = BlstP2Element.hash_to_group(message, tag)
        return bytes(point.scalar_mul(int.from_bytes(secret, "big")).compress())

    def _verify(self, key: BlstP1Element, message: bytes, signature: BlstP2Element, tag: bytes) -> bool:
        if key == _G1_IDENTITY:  # keys that cancel out have no signer
            return False
        hashed = BlstP2Element.hash_to_group(message, tag)
        return bool(final_verify(miller_loop(key, hashed), miller_loop(_G1_GENERATOR, signature)))
