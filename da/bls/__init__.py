"""BLS signatures of the Ethereum proof-of-possession ciphersuite, by the library that is installed.

`sign`, `verify` and the others are the methods of one `Scheme` (see scheme.py for their contracts). The
markers in pyproject.toml decide which library is installed: blspy where it has wheels, pyblst elsewhere. Both
produce and accept the same bytes, so nodes with either form one committee (ADR 009).
"""

from __future__ import annotations

from da.bls.errors import BlsError, InvalidSecretKey, InvalidSignatureBytes
from da.bls.scheme import PUBLIC_KEY_BYTES, SECRET_KEY_BYTES, SIGNATURE_BYTES, Scheme

try:
    from da.bls.blspy_library import BlspyLibrary as _InstalledLibrary
except ModuleNotFoundError:
    from da.bls.pyblst_library import PyblstLibrary as _InstalledLibrary  # type: ignore[assignment]

__all__ = [
    "PUBLIC_KEY_BYTES",
    "SECRET_KEY_BYTES",
    "SIGNATURE_BYTES",
    "BlsError",
    "InvalidSecretKey",
    "InvalidSignatureBytes",
    "aggregate",
    "describe",
    "generate_secret",
    "is_public_key",
    "prove_possession",
    "public_key",
    "sign",
    "verify",
    "verify_aggregate",
    "verify_possession",
]

_scheme = Scheme(_InstalledLibrary())

aggregate = _scheme.aggregate
describe = _scheme.describe
generate_secret = _scheme.generate_secret
is_public_key = _scheme.is_public_key
prove_possession = _scheme.prove_possession
public_key = _scheme.public_key
sign = _scheme.sign
verify = _scheme.verify
verify_aggregate = _scheme.verify_aggregate
verify_possession = _scheme.verify_possession
