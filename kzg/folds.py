"""Folds: one cell and one proof that stand for all R cells of a column.

A seed gives each row of a batch a scalar of 128 bits. The fold of a column is the sum of its cells times
these scalars, with the same sum of its proofs. Because KZG is linear, it is an ordinary EIP-7594 cell of the
row whose commitment is the same sum of the rows' commitments, and any implementation of
`verify_cell_kzg_proof_batch` verifies it. Who lacks a cell of the column cannot answer for the scalars of a
seed that was not known before, except with a chance of about 2^-128 (docs/reference/soundness.md).

`fold_columns` and `fold_commitments` are those of `kzg.engine.Verifier` without an engine.

Invariants: many folds are made in one call, each with scalars of its own; nothing here verifies.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import numpy as np

from erasure.constants import BYTES_PER_CELL
from erasure.residues import constants, decode, encode, product
from kzg.checks import check_cells, check_fold_columns, check_fold_commitments
from kzg.constants import BYTES_PER_G1, BYTES_PER_PROOF, FOLD_SCALAR_BYTES, FOLD_SEED_BYTES
from kzg.errors import InvalidPoint
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes

_DOMAIN: Final = b"cellar/fold/v1"


def fold_scalars(seed: bytes, header_hash: bytes, rows: int) -> Bytes:
    """The scalars of a batch's rows: u8[rows, 16], big-endian.

    Scalar i is the first 16 bytes of sha256("cellar/fold/v1" || seed || header_hash || u32be(i)).

    Args:
        seed: bytes[32]. header_hash: bytes[32]. rows: the batch's data rows.
    """
    assert len(seed) == FOLD_SEED_BYTES
    assert len(header_hash) == 32
    prefix = _DOMAIN + seed + header_hash
    digests = (sha256(prefix + row.to_bytes(4, "big")).digest() for row in range(rows))
    joined = b"".join(digest[:FOLD_SCALAR_BYTES] for digest in digests)
    return np.frombuffer(joined, dtype=np.uint8).reshape(rows, FOLD_SCALAR_BYTES)


def fold_columns(cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
    """`kzg.engine.Verifier.fold_columns` without an engine."""
    cells, proofs, scalars = check_fold_columns(cells, proofs, scalars)
    folded = fold_cells(cells, scalars)
    sums = np.empty((len(proofs), BYTES_PER_PROOF), dtype=np.uint8)
    for fold, weights in enumerate(scalar_integers(scalars)):
        try:
            points = decode_points("proof", proofs[fold])
        except InvalidPoint as error:
            raise InvalidPoint(error.name, fold * proofs.shape[1] + error.position) from None
        total = linear_combination(points, weights).to_compressed_bytes()
        sums[fold] = np.frombuffer(total, dtype=np.uint8)
    return folded, sums


def fold_commitments(commitments: Bytes, scalars: Bytes) -> Bytes:
    """`kzg.engine.Verifier.fold_commitments` without an engine."""
    commitments, scalars = check_fold_commitments(commitments, scalars)
    points = decode_points("commitment", commitments)
    sums = (linear_combination(points, weights) for weights in scalar_integers(scalars))
    joined = b"".join(total.to_compressed_bytes() for total in sums)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(scalars), BYTES_PER_G1)


def fold_cells(cells: Bytes, scalars: Bytes) -> Bytes:
    """The cells of folds: u8[m, 2048], from checked u8[m, R, 2048] and u8[m, R, 16].

    Raises:
        InvalidCell: its position counts the cells of all folds, one fold after the other.
    """
    check_cells(cells.reshape(-1, BYTES_PER_CELL))
    folded = np.zeros((len(cells), BYTES_PER_CELL), dtype=np.uint8)
    rows = cells.shape[1]
    if rows:
        for fold, weights in enumerate(scalar_integers(scalars)):
            folded[fold] = encode(product(constants(weights, 1, rows), decode(cells[fold])))[0]
    return folded


def scalar_integers(scalars: Bytes) -> list[list[int]]:
    """The scalars of each fold, from checked u8[m, R, 16]."""
    return [[int.from_bytes(scalar.tobytes(), "big") for scalar in of_fold] for of_fold in scalars]
