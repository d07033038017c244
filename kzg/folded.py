"""Verification of cells of the whole matrix without an engine, the parity weights folded in.

One equation says that all k cells are right, with weights r^0, r^1, ... of a challenge r that binds every
input (the universal verification equation of EIP-7594):

    e(sum r^k proof_k, [tau^64]) = e(sum r^k (C_k - [I_k]) + sum r^k h_k^64 proof_k, [1])

h_k is the coset shift of the cell's column and I_k the polynomial of degree < 64 through the cell. The
commitment C_k of a parity row is a sum of data commitments, so its weight is spread over theirs and parity
commitments never exist: one sum over R points instead of one for each parity row that is asked for.

It needs 64 points of the setup, not a loaded c-kzg: a light client has its verdict before c-kzg would have
started (1.7 s), and a second implementation stands beside the engines. A cell costs about 0.2 ms where c-kzg
takes 0.09, so batches of thousands belong to an engine.

Source: https://github.com/ethereum/consensus-specs/blob/v1.5.0/specs/fulu/polynomial-commitments-sampling.md#verify_cell_kzg_proof_batch_impl
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from py_arkworks_bls12381 import GT, G1Point, G2Point

from erasure.columns import parity_weight_row
from erasure.constants import BLS_MODULUS, FIELD_ELEMENTS_PER_CELL
from erasure.domain import coset_shift
from erasure.field import elements_from_array
from erasure.ntt import lanes_from_cells
from erasure.residues import MAX_TERMS, constants, decode, encode, product
from kzg import trusted_setup
from kzg.points import decode_points, linear_combination
from kzg.transcript import compute_verify_cell_kzg_proof_batch_challenge
from kzg.types import Bytes, IndexArray


class FoldedVerifier:
    """Verifies cells of one matrix; keeps the decompressed commitments.

    Args:
        commitments: u8[R, 48] of the data rows.

    Raises:
        InvalidPoint: a commitment is no point; the position is its row.
    """

    def __init__(self, commitments: Bytes) -> None:
        self._commitments = commitments
        self._points = decode_points("commitment", commitments)

    def verify(self, rows: IndexArray, columns: IndexArray, cells: Bytes, proofs: Bytes) -> bool:
        """Whether all k cells are right. Shapes, indices and elements have been checked.

        Args:
            rows: int64[k] in 0..2R-1.
            columns: int64[k] in 0..127.
            cells: u8[k, 2048] of canonical elements.
            proofs: u8[k, 48].

        Raises:
            InvalidPoint: a proof is no point.
        """
        if len(rows) == 0:
            return True
        proof_points = decode_points("proof", proofs)

        powers = _powers(_challenge(self._commitments, rows, columns, cells, proofs), len(rows))
        row_weights = _weights_of_data_rows(len(self._points), rows.tolist(), powers)
        interpolation = _combined_interpolation(columns, cells, powers)
        shifts = [pow(coset_shift(c), FIELD_ELEMENTS_PER_CELL, BLS_MODULUS) for c in columns.tolist()]
        shifted_powers = [power * shift % BLS_MODULUS for power, shift in zip(powers, shifts, strict=True)]

        left = linear_combination(proof_points, powers)
        right = linear_combination(
            [*self._points, *_monomial_basis(), *proof_points],
            [*row_weights, *(-value % BLS_MODULUS for value in interpolation), *shifted_powers],
        )
        holds: bool = GT.pairing_check([right, -left], [G2Point(), _tau_64_g2()])
        return holds


def _challenge(commitments: Bytes, rows: IndexArray, columns: IndexArray, cells: Bytes, proofs: Bytes) -> int:
    """The spec's, over all data commitments; a row index of R or more stands for a parity row."""
    return compute_verify_cell_kzg_proof_batch_challenge(
        [commitment.tobytes() for commitment in commitments],
        rows.tolist(),
        columns.tolist(),
        [cell.tobytes() for cell in cells],
        [proof.tobytes() for proof in proofs],
    )


def _powers(base: int, count: int) -> list[int]:
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * base % BLS_MODULUS)
    return powers


def _weights_of_data_rows(count: int, rows: Sequence[int], powers: Sequence[int]) -> list[int]:
    """The coefficient of each data commitment in sum r^k C_k."""
    by_row: dict[int, int] = {}
    for row, power in zip(rows, powers, strict=True):
        by_row[row] = by_row.get(row, 0) + power
    weights = [by_row.get(row, 0) for row in range(count)]
    for row, weight in by_row.items():
        if row >= count:
            for i, share in enumerate(parity_weight_row(count, row - count)):
                weights[i] += weight * share
    return [weight % BLS_MODULUS for weight in weights]


def _combined_interpolation(columns: IndexArray, cells: Bytes, powers: list[int]) -> list[int]:
    """The 64 coefficients of sum r^k I_k.

    With f(X) = sum X^i g_i(X^64), the lanes g_i(h^64) of a cell are the coefficients of f on its coset, where
    X^64 is constant: they are those of I_k.
    """
    totals = [0] * FIELD_ELEMENTS_PER_CELL
    for start in range(0, len(cells), MAX_TERMS):
        part = slice(start, start + MAX_TERMS)
        lanes = lanes_from_cells(decode(np.ascontiguousarray(cells[part])), columns[part])
        weights = constants(powers[part], 1, len(columns[part]))
        coefficients = elements_from_array(encode(product(weights, lanes)))
        totals = [total + value for total, value in zip(totals, coefficients, strict=True)]
    return [total % BLS_MODULUS for total in totals]


@functools.cache
def _monomial_basis() -> list[G1Point]:
    """[tau^0]_1 .. [tau^63]_1; the setup's sha256 stands for the subgroup checks."""
    points = trusted_setup.load().g1_monomial[:FIELD_ELEMENTS_PER_CELL]
    return [G1Point.from_compressed_bytes_unchecked(point.tobytes()) for point in points]


@functools.cache
def _tau_64_g2() -> G2Point:
    encoded = trusted_setup.load().g2_monomial[FIELD_ELEMENTS_PER_CELL].tobytes()
    return G2Point.from_compressed_bytes_unchecked(encoded)
