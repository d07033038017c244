"""Proofs of lost columns, from those of 64 columns, without tables and without an engine.

Dividing a row's polynomial by X^64 - z for the z of a cell (EIP-7594) leaves a quotient that is the proof:
its coefficients, and so the proof, are polynomials in z of degree < 64, since the row has 64 x 64
coefficients. z takes the 128 values of the 128th roots of unity, so the proofs of a row are a codeword like
the row's cells, over points of the curve: any 64 of them give the others by the weights of the same
interpolation, which are the same for all rows.

What it does not do: check the proofs. The answer for wrong ones is wrong.

Source: Feist and Khovratovich, "Fast amortized KZG proofs", https://eprint.iacr.org/2023/033
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from erasure.interpolation import interpolation_matrix
from kzg.checks import check_proof_recovery
from kzg.constants import BYTES_PER_PROOF
from kzg.errors import InvalidPoint
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes, Indices

_LOG2_CELLS: Final = CELLS_PER_EXT_BLOB.bit_length() - 1


@lru_cache(maxsize=8)
def column_weights(known: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Weights of 64 known columns in the wanted ones: a row of 64 for each wanted column.

    They are those of the proofs, and of the coefficients of the rows modulo X^64 - z (`erasure.ntt`'s lanes).
    """
    assert len(known) == CELLS_PER_BLOB
    lost = sorted(set(wanted) - set(known))
    weights = dict(zip(lost, interpolation_matrix(_LOG2_CELLS, known, lost), strict=True))
    for position, column in enumerate(known):
        weights[column] = [int(i == position) for i in range(CELLS_PER_BLOB)]
    return tuple(tuple(weights[column]) for column in wanted)


def recover_proofs(cell_indices: Indices, proofs: Bytes, wanted: Indices) -> Bytes:
    """`kzg.engine.Verifier.recover_proofs` without an engine."""
    indices, proofs, columns = check_proof_recovery(cell_indices, proofs, wanted)
    recovered = np.empty((len(proofs), len(columns), BYTES_PER_PROOF), dtype=np.uint8)
    if not recovered.size:
        return recovered
    weights = column_weights(tuple(indices[:CELLS_PER_BLOB].tolist()), tuple(columns.tolist()))
    for row, of_row in enumerate(proofs):
        try:
            points = decode_points("proof", of_row[:CELLS_PER_BLOB])
        except InvalidPoint as error:
            raise InvalidPoint(error.name, row * len(indices) + error.position) from None
        for position, weights_of_column in enumerate(weights):
            encoded = linear_combination(points, weights_of_column).to_compressed_bytes()
            recovered[row, position] = np.frombuffer(encoded, dtype=np.uint8)
    return recovered
