from __future__ import annotations

import dataclasses

import ckzg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure.constants import BLS_MODULUS
from erasure.domain import roots_brp
from kzg.errors import InvalidArray, InvalidBlob, InvalidPoint, InvalidScalar
from kzg.openings import (
    kzg_commitment_to_versioned_hash,
    open_index,
    open_point,
    verify_kzg_proof,
    verify_opening,
)


@given(z=st.integers(0, BLS_MODULUS - 1))
@settings(max_examples=4, deadline=None)
def test_any_point_gives_the_bytes_of_ckzg(setup, matrix, z: int) -> None:
    opening = open_point(matrix.blobs[0], z)
    proof, y = ckzg.compute_kzg_proof(matrix.blobs[0].tobytes(), opening.z, setup)
    assert (opening.proof, opening.y) == (proof, y)
    assert opening.commitment == matrix.commitments[0].tobytes()
    assert opening.z == z.to_bytes(32, "big")
    assert verify_opening(opening)


@pytest.mark.parametrize("index", [0, 1, 2048, 4095])
def test_an_element_of_the_blob_is_the_value_at_its_root(setup, matrix, index: int) -> None:
    opening = open_index(matrix.blobs[0], index)
    assert opening.y == matrix.blobs[0][32 * index : 32 * index + 32].tobytes()
    assert opening.z == roots_brp(12)[index].to_bytes(32, "big")
    assert opening.proof == ckzg.compute_kzg_proof(matrix.blobs[0].tobytes(), opening.z, setup)[0]
    assert verify_opening(opening)


@pytest.mark.parametrize("name", ["zero", "constant", "largest", "one", "last"])
@pytest.mark.parametrize("z", [0, 1, 5, BLS_MODULUS - 1])
def test_structured_rows(setup, structured, name: str, z: int) -> None:
    blob = structured[name]
    opening = open_point(blob, z.to_bytes(32, "big"))
    assert (opening.proof, opening.y) == ckzg.compute_kzg_proof(blob.tobytes(), opening.z, setup)
    assert verify_opening(opening)


def test_a_known_commitment_is_used(matrix) -> None:
    commitment = matrix.commitments[0].tobytes()
    assert open_point(matrix.blobs[0], 9, commitment=commitment) == open_point(matrix.blobs[0], 9)
    # it is taken on trust: a wrong one gives an opening that does not verify
    wrong = open_point(matrix.blobs[0], 9, commitment=matrix.commitments[1].tobytes())
    assert not verify_opening(wrong)
    with pytest.raises(InvalidPoint, match="commitment"):
        open_point(matrix.blobs[0], 9, commitment=bytes(48))


def test_calldata_is_what_the_precompile_takes(setup, matrix) -> None:
    opening = open_index(matrix.blobs[1], 97, commitment=matrix.commitments[1].tobytes())
    calldata = opening.calldata()
    assert len(calldata) == 192
    # the precompile's own steps, EIP-4844
    versioned_hash, z, y = calldata[:32], calldata[32:64], calldata[64:96]
    commitment, proof = calldata[96:144], calldata[144:192]
    assert kzg_commitment_to_versioned_hash(commitment) == versioned_hash
    assert versioned_hash[0] == 1
    assert ckzg.verify_kzg_proof(commitment, z, y, proof, setup)


@pytest.fixture(scope="module")
def opening(matrix):
    return open_point(matrix.blobs[2], 1234, commitment=matrix.commitments[2].tobytes())


@pytest.mark.parametrize("field", ["versioned_hash", "z", "y"])
def test_a_changed_bit_makes_it_wrong(opening, field: str) -> None:
    changed = bytearray(getattr(opening, field))
    changed[31] ^= 1
    assert verify_opening(opening)
    assert not verify_opening(dataclasses.replace(opening, **{field: bytes(changed)}))


def test_another_point_makes_it_wrong(opening, matrix) -> None:
    other = matrix.commitments[0].tobytes()
    assert not verify_opening(dataclasses.replace(opening, proof=other))
    renamed = dataclasses.replace(
        opening, commitment=other, versioned_hash=kzg_commitment_to_versioned_hash(other)
    )
    assert not verify_opening(renamed)


@pytest.mark.parametrize(
    "scalar", [-1, BLS_MODULUS, BLS_MODULUS.to_bytes(32, "big"), b"", bytes(31), bytes(33)]
)
def test_points_are_canonical_elements(opening, matrix, scalar: int | bytes) -> None:
    with pytest.raises(InvalidScalar):
        open_point(matrix.blobs[0], scalar)
    with pytest.raises(InvalidScalar):
        verify_kzg_proof(opening.commitment, scalar, opening.y, opening.proof)
    with pytest.raises(InvalidScalar):
        verify_kzg_proof(opening.commitment, opening.z, scalar, opening.proof)


@pytest.mark.parametrize("index", [-1, 4096])
def test_indices_are_in_the_blob(matrix, index: int) -> None:
    with pytest.raises(InvalidScalar):
        open_index(matrix.blobs[0], index)


def test_malformed_rows_and_points_are_refused(opening, matrix) -> None:
    with pytest.raises(InvalidArray):
        open_point(matrix.blobs[0][:-1], 0)
    with pytest.raises(InvalidArray):
        open_point(matrix.blobs[:1], 0)
    with pytest.raises(InvalidBlob):
        open_point(np.full(131072, 0xFF, dtype=np.uint8), 0)
    for broken in (b"", bytes(48), b"\xff" * 48, opening.proof + b"\x00"):
        with pytest.raises(InvalidPoint):
            verify_kzg_proof(broken, 0, 0, opening.proof)
        with pytest.raises(InvalidPoint):
            verify_kzg_proof(opening.commitment, 0, 0, broken)
