"""Fiat-Shamir challenges of EIP-4844 and EIP-7594.

A challenge is the sha256 of everything that the proof is about, read as a big-endian integer and reduced
modulo r. Each input has a fixed width or is preceded by its count, so no two statements share a transcript.

Source: https://github.com/ethereum/consensus-specs/blob/v1.5.0/specs/deneb/polynomial-commitments.md#compute_challenge
and .../specs/fulu/polynomial-commitments-sampling.md#compute_verify_cell_kzg_proof_batch_challenge
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from erasure.constants import BLS_MODULUS, FIELD_ELEMENTS_PER_BLOB, FIELD_ELEMENTS_PER_CELL
from kzg.constants import FIAT_SHAMIR_PROTOCOL_DOMAIN, RANDOM_CHALLENGE_KZG_CELL_BATCH_DOMAIN


def compute_challenge(blob: bytes, commitment: bytes) -> int:
    """The point at which EIP-4844 opens a blob to prove that the commitment is the blob's.

    Args:
        blob: 131072 bytes.
        commitment: 48 bytes.

    Returns:
        An element, 0..r-1.
    """
    degree = FIELD_ELEMENTS_PER_BLOB.to_bytes(16, "big")
    return _hash_to_bls_field(FIAT_SHAMIR_PROTOCOL_DOMAIN, degree, blob, commitment)


def compute_verify_cell_kzg_proof_batch_challenge(
    commitments: Sequence[bytes],
    commitment_indices: Sequence[int],
    cell_indices: Sequence[int],
    cells: Sequence[bytes],
    proofs: Sequence[bytes],
) -> int:
    """The weight r of a batch of cells: cell k enters the verification equation with r^k.

    Args:
        commitments: 48 bytes each, without repetition, in the order of their first cell.
        commitment_indices: for each of the k cells, which of the commitments is its row's.
        cell_indices: k integers in 0..127.
        cells: k times 2048 bytes.
        proofs: k times 48 bytes.

    Returns:
        An element, 0..r-1.
    """
    counts = (FIELD_ELEMENTS_PER_BLOB, FIELD_ELEMENTS_PER_CELL, len(commitments), len(cell_indices))
    parts = [RANDOM_CHALLENGE_KZG_CELL_BATCH_DOMAIN, *map(_u64, counts), *commitments]
    for row, column, cell, proof in zip(commitment_indices, cell_indices, cells, proofs, strict=True):
        parts += (_u64(row), _u64(column), cell, proof)
    return _hash_to_bls_field(*parts)


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _hash_to_bls_field(*parts: bytes) -> int:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "big") % BLS_MODULUS
