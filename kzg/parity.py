"""Proofs and commitments of parity rows, derived from those of the data rows.

The vertical code is linear: parity row j is the sum of W[j][i] times data row i, element by element. KZG
is linear too, so the commitment of a parity row is the same sum of the data rows' commitments, and the proof
of its cell in a column the same sum of the column's proofs. Both are byte-equal to what `commit` and `prove`
give for the parity row taken as a blob. No setup and no secret enters.

One sum over R = 256 rows takes about 10 ms, so derive what is asked for and keep it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erasure.columns import parity_weight_row
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_G1, BYTES_PER_PROOF
from kzg.engine import check_bytes
from kzg.errors import InvalidRowIndex
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes, KZGCommitment, KZGProof


def parity_proof(proofs: Bytes, parity_row: int) -> KZGProof:
    """The proof of one parity cell of a column: 48 bytes; see `parity_proofs`."""
    return KZGProof(parity_proofs(proofs, [parity_row]).tobytes())


def parity_proofs(proofs: Bytes, parity_rows: Sequence[int] | None = None) -> Bytes:
    """The proofs of parity cells of a column.

    Args:
        proofs: u8[R, 48], the column's proofs, row 0 first.
        parity_rows: which, each in 0..R-1, counted from the first parity row (row R of the matrix); None
            means all R of them.

    Returns:
        u8[len(parity_rows), 48].

    Raises:
        InvalidArray, InvalidPoint, InvalidRowIndex.
    """
    return _combinations("proof", check_bytes("proofs", proofs, (None, BYTES_PER_PROOF)), parity_rows)


def parity_commitment(commitments: Bytes, parity_row: int) -> KZGCommitment:
    """The commitment of one parity row: 48 bytes; see `parity_commitments`."""
    return KZGCommitment(parity_commitments(commitments, [parity_row]).tobytes())


def parity_commitments(commitments: Bytes, parity_rows: Sequence[int] | None = None) -> Bytes:
    """The commitments of parity rows.

    Args:
        commitments: u8[R, 48] of the data rows.
        parity_rows: which, each in 0..R-1, counted from the first parity row (row R of the matrix); None
            means all R of them.

    Returns:
        u8[len(parity_rows), 48].

    Raises:
        InvalidArray, InvalidPoint, InvalidRowIndex.
    """
    checked = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
    return _combinations("commitment", checked, parity_rows)


def _combinations(name: str, encoded: Bytes, parity_rows: Sequence[int] | None) -> Bytes:
    count = len(encoded)
    if parity_rows is None:
        parity_rows = range(count)
    for position, row in enumerate(parity_rows):
        if not 0 <= row < count:
            raise InvalidRowIndex(position, count + row, count)
    if not parity_rows:
        return np.empty((0, BYTES_PER_G1), dtype=np.uint8)

    points = decode_points(name, encoded)
    sums = (linear_combination(points, parity_weight_row(count, row)) for row in parity_rows)
    derived = b"".join(point.to_compressed_bytes() for point in sums)
    return np.frombuffer(derived, dtype=np.uint8).reshape(-1, BYTES_PER_G1)
