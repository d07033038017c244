"""Names and numbers of KZG as EIP-4844 and EIP-7594 fix them.

Shapes of the code itself (elements of a blob, cells of a row, ...) live once, in `erasure.constants`; this
module holds only what belongs to commitments, proofs and transcripts.

Source: https://github.com/ethereum/consensus-specs/blob/v1.5.0/specs/deneb/polynomial-commitments.md#constants
and .../specs/fulu/polynomial-commitments-sampling.md#constants of the same tag.
"""

from __future__ import annotations

from typing import Final

from erasure.constants import (
    BYTES_PER_BLOB,
    BYTES_PER_CELL,
    BYTES_PER_FIELD_ELEMENT,
    CELLS_PER_EXT_BLOB,
    FIELD_ELEMENTS_PER_BLOB,
    FIELD_ELEMENTS_PER_CELL,
)

BYTES_PER_G1: Final = 48
BYTES_PER_G2: Final = 96
BYTES_PER_COMMITMENT: Final = BYTES_PER_G1
BYTES_PER_PROOF: Final = BYTES_PER_G1

KZG_SETUP_G1_LENGTH: Final = FIELD_ELEMENTS_PER_BLOB
KZG_SETUP_G2_LENGTH: Final = FIELD_ELEMENTS_PER_CELL + 1

FIAT_SHAMIR_PROTOCOL_DOMAIN: Final = b"FSBLOBVERIFY_V1_"
RANDOM_CHALLENGE_KZG_CELL_BATCH_DOMAIN: Final = b"RCKZGCBATCH__V1_"

VERSIONED_HASH_VERSION_KZG: Final = b"\x01"
BYTES_PER_VERSIONED_HASH: Final = 32
# versioned hash, z, y, commitment, proof: the input of the point evaluation precompile at 0x0A
BYTES_PER_POINT_EVALUATION: Final = BYTES_PER_VERSIONED_HASH + 2 * BYTES_PER_FIELD_ELEMENT + 2 * BYTES_PER_G1

# The compressed encoding of the point at infinity (ZCash format: compression and infinity bits).
G1_POINT_AT_INFINITY: Final = b"\xc0" + bytes(BYTES_PER_G1 - 1)

assert len(FIAT_SHAMIR_PROTOCOL_DOMAIN) == len(RANDOM_CHALLENGE_KZG_CELL_BATCH_DOMAIN) == 16
assert BYTES_PER_POINT_EVALUATION == 192
assert BYTES_PER_CELL * CELLS_PER_EXT_BLOB == 2 * BYTES_PER_BLOB

FOLD_SEED_BYTES: Final = 32
"""A seed from which the scalars of a fold are derived (kzg/folds.py)."""
FOLD_SCALAR_BYTES: Final = 16
"""A scalar of a fold: 128 bits, big-endian."""
