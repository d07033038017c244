"""Proofs and commitments of parity rows, derived from those of the data rows.

The vertical code is linear: parity row j is the sum of W[j][i] times data row i, element by element. KZG
is linear too, so the commitment of a parity row is the same sum of the data rows' commitments, and the proof
of its cell in a column the same sum of the column's proofs. Both are byte-equal to what `commit` and `prove`
give for the parity row taken as a blob. No setup and no secret enters.

One sum over R = 256 rows takes about 10 ms, so derive what is asked for and keep it.
"""

from __future__ import annotations

import numpy as np
from py_arkworks_bls12381 import G1Point

from erasure.columns import parity_weight_row
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from kzg.engine import check_bytes
from kzg.errors import InvalidRowIndex
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes, KZGCommitment, KZGProof


def parity_proof(proofs: Bytes, parity_row: int) -> KZGProof:
    """The proof of one parity cell of a column.

    Args:
        proofs: u8[R, 48], the column's proofs, row 0 first.
        parity_row: 0..R-1, counted from the first parity row (row R of the matrix).

    Returns:
        48 bytes.

    Raises:
        InvalidArray, InvalidPoint, InvalidRowIndex.
    """
    proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
    _check_row(parity_row, len(proofs))
    return KZGProof(_combination(decode_points("proof", proofs), parity_row))


def parity_proofs(proofs: Bytes) -> Bytes:
    """The proofs of all parity cells of a column.

    Args:
        proofs: u8[R, 48], the column's proofs, row 0 first.

    Returns:
        u8[R, 48].

    Raises:
        InvalidArray, InvalidPoint.
    """
    proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
    return _all_combinations(decode_points("proof", proofs))


def parity_commitment(commitments: Bytes, parity_row: int) -> KZGCommitment:
    """The commitment of one parity row.

    Args:
        commitments: u8[R, 48] of the data rows.
        parity_row: 0..R-1, counted from the first parity row (row R of the matrix).

    Returns:
        48 bytes.

    Raises:
        InvalidArray, InvalidPoint, InvalidRowIndex.
    """
    commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    _check_row(parity_row, len(commitments))
    return KZGCommitment(_combination(decode_points("commitment", commitments), parity_row))


def parity_commitments(commitments: Bytes) -> Bytes:
    """The commitments of all parity rows: u8[R, 48] of the data rows to u8[R, 48].

    Raises:
        InvalidArray, InvalidPoint.
    """
    commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    return _all_combinations(decode_points("commitment", commitments))


def _check_row(parity_row: int, rows: int) -> None:
    if not 0 <= parity_row < rows:
        raise InvalidRowIndex(0, rows + parity_row, rows)


def _combination(points: list[G1Point], parity_row: int) -> bytes:
    weights = parity_weight_row(len(points), parity_row)
    encoded: bytes = linear_combination(points, weights).to_compressed_bytes()
    return encoded


def _all_combinations(points: list[G1Point]) -> Bytes:
    encoded = b"".join(_combination(points, row) for row in range(len(points)))
    return np.frombuffer(encoded, dtype=np.uint8).reshape(-1, BYTES_PER_PROOF)
