"""KZG commitments to rows, proofs of cells, and the Engine port that computes them in batches.

The field and the code are `erasure`'s; this package does no networking. Start at `engine` (what can be
computed), `verification` (cells of a whole matrix), `openings` (single points, for L1) and `errors`.
"""

from __future__ import annotations

from kzg.ckzg_engine import CkzgEngine, CkzgVerifier
from kzg.engine import Engine, Prover, Verifier
from kzg.errors import (
    EngineClosed,
    EngineError,
    EngineFailed,
    EngineUnavailable,
    InvalidArray,
    InvalidBlob,
    InvalidCell,
    InvalidCellIndex,
    InvalidPoint,
    InvalidRowIndex,
    InvalidScalar,
    KzgError,
    LengthMismatch,
    NotEnoughCells,
    TrustedSetupError,
)
from kzg.openings import (
    Opening,
    kzg_commitment_to_versioned_hash,
    open_index,
    open_point,
    verify_kzg_proof,
    verify_opening,
)
from kzg.parity import parity_commitment, parity_commitments, parity_proof, parity_proofs
from kzg.types import KZGCommitment, KZGProof, VersionedHash
from kzg.verification import find_invalid, verify_matrix_cells

__all__ = [
    "CkzgEngine",
    "CkzgVerifier",
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineFailed",
    "EngineUnavailable",
    "InvalidArray",
    "InvalidBlob",
    "InvalidCell",
    "InvalidCellIndex",
    "InvalidPoint",
    "InvalidRowIndex",
    "InvalidScalar",
    "KZGCommitment",
    "KZGProof",
    "KzgError",
    "LengthMismatch",
    "NotEnoughCells",
    "Opening",
    "Prover",
    "TrustedSetupError",
    "Verifier",
    "VersionedHash",
    "find_invalid",
    "kzg_commitment_to_versioned_hash",
    "open_index",
    "open_point",
    "parity_commitment",
    "parity_commitments",
    "parity_proof",
    "parity_proofs",
    "verify_kzg_proof",
    "verify_matrix_cells",
    "verify_opening",
]
