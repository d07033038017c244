"""Proofs of lost columns from those of others, for every verifier: bytes of the oracle, and typed errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kzg.errors import InvalidArray, InvalidCellIndex, InvalidPoint, LengthMismatch, NotEnoughCells
from kzg.recovery import recover_proofs
from tests.kzg.conftest import blob_of
from tests.kzg.hostile import MALFORMED_POINTS


@given(columns=st.sets(st.integers(0, 127), min_size=64, max_size=80), data=st.data())
@settings(max_examples=8, deadline=None)
def test_any_half_of_the_columns_gives_the_proofs_of_the_others(verifier, matrix, columns, data) -> None:
    known = sorted(columns)
    wanted = data.draw(st.lists(st.integers(0, 127), max_size=3))
    recovered = verifier.recover_proofs(known, matrix.proofs[:2, known], wanted)
    assert recovered.shape == (2, len(wanted), 48)
    assert (recovered == matrix.proofs[:2, wanted]).all()


def test_without_an_engine(matrix) -> None:
    known = range(0, 128, 2)
    assert (
        recover_proofs(known, matrix.proofs[:, list(known)], [1, 127]) == matrix.proofs[:, [1, 127]]
    ).all()


def test_all_lost_columns_at_once(verifier, matrix) -> None:
    known = list(range(64, 128))
    assert (
        verifier.recover_proofs(known, matrix.proofs[:1, known], range(64)) == matrix.proofs[:1, :64]
    ).all()


def test_rows_whose_proofs_are_infinity_or_meet(verifier, prove_row) -> None:
    for elements in ([0] * 4096, [5] * 4096, [1] + [0] * 4095):
        proofs = prove_row(blob_of(elements))[2]
        recovered = verifier.recover_proofs(range(64), proofs[np.newaxis, :64], [64, 100, 127, 3])
        assert (recovered[0] == proofs[[64, 100, 127, 3]]).all()


def test_more_than_64_columns_are_fine_and_the_first_64_decide(verifier, matrix) -> None:
    known = list(range(100))
    proofs = matrix.proofs[:1, known].copy()
    proofs[0, 64:] = 0xFF
    assert (verifier.recover_proofs(known, proofs, [70, 127]) == matrix.proofs[:1, [70, 127]]).all()


def test_nothing_of_nothing(verifier, matrix) -> None:
    assert verifier.recover_proofs(range(64), matrix.proofs[:0, :64], [99]).shape == (0, 1, 48)
    assert verifier.recover_proofs(range(64), matrix.proofs[:2, :64], []).shape == (2, 0, 48)


@pytest.mark.parametrize("point", MALFORMED_POINTS)
def test_a_malformed_proof_is_named(verifier, matrix, point: str) -> None:
    known = list(range(70))
    proofs = matrix.proofs[:2, known].copy()
    proofs[1, 63] = np.frombuffer(MALFORMED_POINTS[point], dtype=np.uint8)
    with pytest.raises(InvalidPoint) as caught:
        verifier.recover_proofs(known, proofs, [99])
    assert (caught.value.name, caught.value.position) == ("proof", 70 + 63)


def test_malformed_recoveries_are_refused(verifier, matrix) -> None:
    proofs = matrix.proofs
    with pytest.raises(NotEnoughCells):
        verifier.recover_proofs(range(63), proofs[:, :63], [99])
    with pytest.raises(InvalidCellIndex, match="not greater than the index before it"):
        verifier.recover_proofs([1, 0, *range(2, 64)], proofs[:, :64], [99])
    with pytest.raises(InvalidCellIndex, match=r"not in 0\.\.127"):
        verifier.recover_proofs(range(64), proofs[:, :64], [128])
    with pytest.raises(LengthMismatch):
        verifier.recover_proofs(range(64), proofs[:, :65], [99])
    with pytest.raises(InvalidArray):
        verifier.recover_proofs(range(64), proofs[0, :64], [99])
