from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, Scalar

from erasure.columns import parity_weights
from erasure.constants import BLS_MODULUS
from kzg.errors import InvalidArray, InvalidPoint, InvalidRowIndex
from kzg.parity import parity_commitment, parity_commitments, parity_proof, parity_proofs


def test_commitments_are_those_of_the_parity_rows_as_blobs(matrix) -> None:
    assert (parity_commitments(matrix.commitments[:3]) == matrix.commitments[3:]).all()


def test_proofs_of_every_column_are_those_of_the_parity_rows_as_blobs(matrix) -> None:
    for column in range(128):
        derived = parity_proofs(matrix.proofs[:3, column])
        assert (derived == matrix.proofs[3:, column]).all()


def test_single_ones(matrix) -> None:
    assert parity_commitment(matrix.commitments[:3], 1) == matrix.commitments[4].tobytes()
    assert parity_proof(matrix.proofs[:3, 9], 2) == matrix.proofs[5, 9].tobytes()
    some = parity_proofs(matrix.proofs[:3, 9], [2, 0, 2])
    assert (some == matrix.proofs[[5, 3, 5], 9]).all()
    assert parity_proofs(matrix.proofs[:3, 9], []).shape == (0, 48)


@given(rows=st.integers(1, 256), data=st.data())
@settings(max_examples=12, deadline=None)
def test_any_number_of_rows(rows: int, data: st.DataObject) -> None:
    """Points with known logarithms: the sum is right if its logarithm is."""
    row = data.draw(st.integers(0, rows - 1))
    logarithms = [pow(3, i + 1, BLS_MODULUS) for i in range(rows)]
    points = b"".join((G1Point() * Scalar(x)).to_compressed_bytes() for x in logarithms)
    commitments = np.frombuffer(points, dtype=np.uint8).reshape(rows, 48)
    weights = parity_weights(rows)[row]
    expected = sum(w * x for w, x in zip(weights, logarithms, strict=True)) % BLS_MODULUS
    assert parity_commitment(commitments, row) == (G1Point() * Scalar(expected)).to_compressed_bytes()


def test_rows_at_infinity_have_parity_at_infinity() -> None:
    infinity = np.frombuffer(b"\xc0" + bytes(47), dtype=np.uint8)
    assert (parity_commitments(np.stack([infinity] * 5)) == infinity).all()


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_out_of_range(matrix, row: int) -> None:
    with pytest.raises(InvalidRowIndex):
        parity_proof(matrix.proofs[:3, 0], row)
    with pytest.raises(InvalidRowIndex):
        parity_commitments(matrix.commitments[:3], [0, row])


def test_malformed_points(matrix) -> None:
    broken = matrix.proofs[:3, 0].copy()
    broken[1] = 0
    with pytest.raises(InvalidPoint) as caught:
        parity_proof(broken, 0)
    assert (caught.value.name, caught.value.position) == ("proof", 1)
    with pytest.raises(InvalidArray):
        parity_proofs(matrix.proofs[:3, 0, :47])
    with pytest.raises(InvalidArray):
        parity_commitments(matrix.commitments[0])
