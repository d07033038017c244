"""Cells, proofs and commitments of parity rows, derived from those of the data rows.

The vertical code is linear: parity row j is the sum of W[j][i] times data row i, element by element. KZG
is linear too, so the commitment of a parity row is the same sum of the data rows' commitments, and the proof
of its cell in a column the same sum of the column's proofs. Both are byte-equal to what `commit` and `prove`
give for the parity row taken as a blob. No setup and no secret enters.

One sum over R = 256 rows takes about 10 ms, so derive what is asked for and keep it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from erasure import columns
from erasure.constants import BYTES_PER_CELL
from kzg.checks import check_cells, check_columns, check_parity_rows, check_points
from kzg.constants import BYTES_PER_G1
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes, Indices, KZGCommitment, KZGProof

_ROWS_ONE_BY_ONE: Final = 4
"""More parity cells of a column than these cost less when all are made at once."""


def parity_cells(cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
    """Cells of parity rows: `kzg.engine.Engine.parity_cells` without an engine."""
    cells = check_columns(cells)
    count, width = cells.shape[:2]
    rows = check_parity_rows(parity_rows, count)
    check_cells(cells.reshape(-1, BYTES_PER_CELL))
    if not len(rows) or not width:
        return np.empty((len(rows), width, BYTES_PER_CELL), dtype=np.uint8)
    if len(rows) > _ROWS_ONE_BY_ONE:
        return columns.parity_cells(cells)[rows]
    derived = np.empty((len(rows), width, BYTES_PER_CELL), dtype=np.uint8)
    for column in range(width):
        for position, row in enumerate(rows.tolist()):
            derived[position, column] = columns.parity_cell(cells[:, column], row)
    return derived


def parity_proof(proofs: Bytes, parity_row: int) -> KZGProof:
    """The proof of one parity cell of a column: 48 bytes; see `parity_proofs`."""
    return KZGProof(parity_proofs(proofs, [parity_row]).tobytes())


def parity_proofs(proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
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
    return _combinations("proof", proofs, parity_rows)


def parity_commitment(commitments: Bytes, parity_row: int) -> KZGCommitment:
    """The commitment of one parity row: 48 bytes; see `parity_commitments`."""
    return KZGCommitment(parity_commitments(commitments, [parity_row]).tobytes())


def parity_commitments(commitments: Bytes, parity_rows: Indices | None = None) -> Bytes:
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
    return _combinations("commitment", commitments, parity_rows)


def _combinations(name: str, encoded: Bytes, parity_rows: Indices | None) -> Bytes:
    encoded = check_points(f"{name}s", encoded)
    count = len(encoded)
    rows = check_parity_rows(parity_rows, count)
    if not len(rows):
        return np.empty((0, BYTES_PER_G1), dtype=np.uint8)

    points = decode_points(name, encoded)
    sums = (linear_combination(points, columns.parity_weight_row(count, row)) for row in rows.tolist())
    derived = b"".join(point.to_compressed_bytes() for point in sums)
    return np.frombuffer(derived, dtype=np.uint8).reshape(-1, BYTES_PER_G1)
