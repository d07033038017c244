"""Errors of da.bls.

BlsError (ValueError)
├── InvalidSecretKey
└── InvalidSignatureBytes
"""

from __future__ import annotations


class BlsError(ValueError):
    """Base of this package's errors."""


class InvalidSecretKey(BlsError):
    """Not 32 bytes of an integer in 1..r-1. The message never contains the value."""


class InvalidSignatureBytes(BlsError):
    """Not the compressed encoding of a point of G2 other than the identity, or no signatures to add."""
