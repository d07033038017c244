"""Points and certificates in the encoding of the settlement contract.

BLS keys and signatures travel compressed (ZCash encoding, 48 and 96 bytes). The EIP-2537 precompiles take
uncompressed points whose base-field elements are padded to 64 bytes, big-endian, and quadratic-extension
elements with c0 first, whereas the compressed form has c1 first. py_arkworks_bls12381 decompresses.
Source: EIP-2537, "ABI for operations".
"""

from __future__ import annotations

from typing import Any

from py_arkworks_bls12381 import G1Point, G2Point

from da.protocol.errors import DecodeError

_FP_BYTES = 48
_PADDING = bytes(16)


def g1_words(public_key: bytes) -> bytes:
    """A compressed public key (48 bytes) as an EIP-2537 G1 point (128 bytes).

    Raises:
        DecodeError: the bytes are not a point of the curve's prime-order subgroup.
    """
    return _words(G1Point, public_key, "public_key")


def g2_words(signature: bytes) -> bytes:
    """A compressed signature (96 bytes) as an EIP-2537 G2 point (256 bytes).

    Raises:
        DecodeError: the bytes are not a point of the curve's prime-order subgroup.
    """
    return _words(G2Point, signature, "signature")


def _words(group: Any, compressed: bytes, field: str) -> bytes:
    try:
        point = group.from_compressed_bytes(compressed)
    except (ValueError, TypeError) as error:
        raise DecodeError(field, str(error)) from error
    # The library decodes any bytes with the infinity flag as the identity; only one encoding is canonical.
    if bytes(point.to_compressed_bytes()) != bytes(compressed):
        raise DecodeError(field, "must be the canonical encoding of a point")
    coordinates = bytes(point.to_xy_bytes_be())
    chunks = (coordinates[i : i + _FP_BYTES] for i in range(0, len(coordinates), _FP_BYTES))
    return b"".join(_PADDING + chunk for chunk in chunks)


def signer_bits(signers: tuple[int, ...]) -> int:
    """Member indices as the contract's word: bit i is set if member i signed."""
    return sum(1 << index for index in signers)
