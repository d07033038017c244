"""What every engine promises of folds: bytes, verification as ordinary cells, refusal of what was changed."""

from __future__ import annotations

import random
from hashlib import sha256

import ckzg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, Scalar

from erasure import equations
from erasure.constants import BLS_MODULUS
from erasure.field import elements_from_array, elements_to_array
from kzg.engine import Verifier
from kzg.errors import InvalidArray, InvalidCell, InvalidPoint, LengthMismatch
from kzg.folds import fold_scalars, scalar_integers
from kzg.types import Bytes
from tests.kzg.hostile import MALFORMED_POINTS

SEED, HASH = bytes(range(32)), bytes(range(32, 64))
ROWS = 3
INFINITY = np.frombuffer(b"\xc0" + bytes(47), dtype=np.uint8)


def column_of(height: int, seed: int) -> tuple[Bytes, Bytes, list[int]]:
    """Random cells u8[height, 2048], and points u8[height, 48] with these logarithms; not each other's."""
    rng = random.Random(seed)
    values = [rng.randrange(BLS_MODULUS) for _ in range(64 * height)]
    logarithms = [rng.choice([0, 1, BLS_MODULUS - 1, rng.randrange(BLS_MODULUS)]) for _ in range(height)]
    points = b"".join((G1Point() * Scalar(x)).to_compressed_bytes() for x in logarithms)
    cells = elements_to_array(values).reshape(height, 2048)
    return cells, np.frombuffer(points, dtype=np.uint8).reshape(height, 48), logarithms


def scalars_of(values: list[int]) -> Bytes:
    joined = b"".join(value.to_bytes(16, "big") for value in values)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16)


def expected_fold(cells: Bytes, logarithms: list[int], scalars: list[int]) -> tuple[Bytes, Bytes]:
    """The fold in plain integers."""
    elements = [elements_from_array(cell) for cell in cells]
    sums = [sum(r * row[e] for r, row in zip(scalars, elements, strict=True)) for e in range(64)]
    folded = elements_to_array([value % BLS_MODULUS for value in sums]).reshape(2048)
    point = G1Point() * Scalar(sum(r * x for r, x in zip(scalars, logarithms, strict=True)) % BLS_MODULUS)
    return folded, np.frombuffer(point.to_compressed_bytes(), dtype=np.uint8)


def folds_of(verifier: Verifier, matrix, seed: bytes, wanted: list[int]) -> tuple[Bytes, Bytes, Bytes]:
    """Commitment, cells and proofs of the folds of these columns of the matrix's data rows."""
    scalars = fold_scalars(seed, HASH, ROWS)
    (commitment,) = verifier.fold_commitments(matrix.data_commitments, scalars[np.newaxis])
    cells, proofs = verifier.fold_columns(
        matrix.cells[:ROWS, wanted].swapaxes(0, 1),
        matrix.proofs[:ROWS, wanted].swapaxes(0, 1),
        np.tile(scalars, (len(wanted), 1, 1)),
    )
    return commitment, cells, proofs


def holds(verifier: Verifier, commitment: Bytes, wanted: list[int], cells: Bytes, proofs: Bytes) -> bool:
    return verifier.verify_cells(np.tile(commitment, (len(wanted), 1)), wanted, cells, proofs)


def test_scalars_are_those_of_the_definition() -> None:
    scalars = fold_scalars(SEED, HASH, 256)
    assert scalars.shape == (256, 16)
    for row in (0, 1, 255):
        digest = sha256(b"cellar/fold/v1" + SEED + HASH + row.to_bytes(4, "big")).digest()
        assert scalars[row].tobytes() == digest[:16]
    assert scalar_integers(scalars[np.newaxis, :1]) == [[int.from_bytes(scalars[0].tobytes(), "big")]]


@pytest.mark.parametrize("height", [1, 2, 5, 133, 256])
def test_folds_are_the_sums(verifier: Verifier, height: int) -> None:
    rng = random.Random(height)
    cells, proofs, logarithms = column_of(height, height)
    extremes = [0, 2**128 - 1, 1, 2**128 - 2, 2**64, 2**64 - 1, 2]
    drawn = [
        [rng.getrandbits(128) for _ in range(height)],
        [extremes[i % 7] for i in range(height)],
        [0] * height,
    ]
    folded, sums = verifier.fold_columns(
        np.tile(cells, (3, 1, 1)), np.tile(proofs, (3, 1, 1)), np.stack([scalars_of(each) for each in drawn])
    )
    commitments = verifier.fold_commitments(proofs, np.stack([scalars_of(each) for each in drawn]))
    for position, scalars in enumerate(drawn):
        cell, proof = expected_fold(cells, logarithms, scalars)
        assert np.array_equal(folded[position], cell)
        assert np.array_equal(sums[position], proof)
        assert np.array_equal(commitments[position], proof)


def test_a_fold_is_a_cell_that_any_implementation_verifies(verifier: Verifier, matrix, setup) -> None:
    wanted = [0, 63, 64, 127]
    commitment, cells, proofs = folds_of(verifier, matrix, SEED, wanted)
    assert holds(verifier, commitment, wanted, cells, proofs)
    assert ckzg.verify_cell_kzg_proof_batch(
        [commitment.tobytes()] * 4, wanted, [c.tobytes() for c in cells], [p.tobytes() for p in proofs], setup
    )


def test_64_folds_are_the_folded_row(verifier: Verifier, matrix) -> None:
    _, cells, _ = folds_of(verifier, matrix, SEED, list(range(128)))
    known = sorted(random.Random(1).sample(range(128), 64))
    assert np.array_equal(verifier.recover(known, cells[known][np.newaxis])[0], cells)


def test_as_many_folds_as_rows_are_the_column(verifier: Verifier, matrix) -> None:
    column, seeds = 70, [bytes([i]) * 32 for i in range(ROWS)]
    sides = np.stack([folds_of(verifier, matrix, seed, [column])[1][0] for seed in seeds])
    weights = scalar_integers(np.stack([fold_scalars(seed, HASH, ROWS) for seed in seeds]))
    solution = equations.solve(ROWS, weights)
    assert solution is not None
    assert np.array_equal(solution.apply(sides), matrix.cells[:ROWS, column])


@given(
    what=st.sampled_from(["cell", "proof", "data cell", "data proof", "data commitment", "seed", "header"]),
    row=st.integers(0, ROWS - 1),
    bit=st.integers(0, 8 * 32 - 1),
    place=st.integers(0, 63),
)
@settings(max_examples=40, deadline=None)
def test_any_changed_bit_is_noticed(verifier, matrix, what: str, row: int, bit: int, place: int) -> None:
    """A bit of the fold, of what it is made from, or of what its scalars come from."""
    column, flip = 7, np.uint8(1 << bit % 8)
    cells, proofs = matrix.cells[:ROWS, column].copy(), matrix.proofs[:ROWS, column].copy()
    commitments, seed, header = matrix.data_commitments.copy(), bytearray(SEED), bytearray(HASH)
    if what == "data cell":
        cells[row, 32 * place + bit // 8] ^= flip
    elif what in ("data proof", "data commitment"):
        (proofs if what == "data proof" else commitments)[row, bit // 8] ^= flip
    elif what in ("seed", "header"):
        (seed if what == "seed" else header)[bit // 8] ^= int(flip)
    scalars = fold_scalars(SEED, HASH, ROWS)[np.newaxis]
    asked = fold_scalars(bytes(seed), bytes(header), ROWS)[np.newaxis]
    try:
        folded, sums = verifier.fold_columns(cells[np.newaxis], proofs[np.newaxis], scalars)
        if what == "cell":
            folded[0, 32 * place + bit // 8] ^= flip
        elif what == "proof":
            sums[0, bit // 8] ^= flip
        commitment = verifier.fold_commitments(commitments, asked)
        assert not verifier.verify_cells(commitment, [column], folded, sums)
    except (InvalidCell, InvalidPoint):
        pass


def test_a_fold_that_leaves_a_row_out_does_not_verify(verifier: Verifier, matrix) -> None:
    scalars = fold_scalars(SEED, HASH, ROWS)[np.newaxis]
    commitment = verifier.fold_commitments(matrix.data_commitments, scalars)
    cells, proofs = verifier.fold_columns(
        matrix.cells[np.newaxis, : ROWS - 1, 5], matrix.proofs[np.newaxis, : ROWS - 1, 5], scalars[:, :-1]
    )
    assert not verifier.verify_cells(commitment, [5], cells, proofs)


def empty(*shape: int) -> Bytes:
    return np.empty(shape, dtype=np.uint8)


def test_nothing_folds_to_nothing(verifier: Verifier) -> None:
    cells, proofs = verifier.fold_columns(empty(0, 3, 2048), empty(0, 3, 48), empty(0, 3, 16))
    assert (cells.shape, proofs.shape) == ((0, 2048), (0, 48))
    cells, proofs = verifier.fold_columns(empty(1, 0, 2048), empty(1, 0, 48), empty(1, 0, 16))
    assert not cells.any()
    assert np.array_equal(proofs[0], INFINITY)
    assert verifier.fold_commitments(np.tile(INFINITY, (2, 1)), empty(0, 2, 16)).shape == (0, 48)


def test_infinity_and_equal_rows(verifier: Verifier) -> None:
    cells, proofs, logarithms = column_of(1, 5)
    height = 9
    scalars = [2**128 - 1 - i for i in range(height)]
    folded, sums = verifier.fold_columns(
        np.tile(cells, (1, height, 1)), np.tile(proofs, (1, height, 1)), scalars_of(scalars)[np.newaxis]
    )
    cell, proof = expected_fold(np.tile(cells, (height, 1)), logarithms * height, scalars)
    assert np.array_equal(folded[0], cell)
    assert np.array_equal(sums[0], proof)
    at_infinity = np.tile(INFINITY, (height, 1))
    assert np.array_equal(
        verifier.fold_commitments(at_infinity, scalars_of(scalars)[np.newaxis])[0], INFINITY
    )


@pytest.mark.parametrize("malformed", MALFORMED_POINTS.values(), ids=MALFORMED_POINTS)
def test_malformed_points_are_named(verifier: Verifier, matrix, malformed: bytes) -> None:
    points = np.tile(matrix.proofs[:ROWS, 4], (2, 1, 1))
    points[1, 2] = np.frombuffer(malformed, dtype=np.uint8)
    scalars = np.tile(fold_scalars(SEED, HASH, ROWS), (2, 1, 1))
    with pytest.raises(InvalidPoint) as caught:
        verifier.fold_columns(np.tile(matrix.cells[:ROWS, 4], (2, 1, 1)), points, scalars)
    assert (caught.value.name, caught.value.position) == ("proof", 5)
    with pytest.raises(InvalidPoint) as caught:
        verifier.fold_commitments(points[1], scalars)
    assert (caught.value.name, caught.value.position) == ("commitment", 2)


def test_malformed_arguments_are_named(verifier: Verifier, matrix) -> None:
    cells, proofs = matrix.cells[np.newaxis, :ROWS, 4], matrix.proofs[np.newaxis, :ROWS, 4]
    scalars = fold_scalars(SEED, HASH, ROWS)[np.newaxis]
    bad = cells.copy()
    bad[0, 1, 96:128] = 255
    with pytest.raises(InvalidCell) as caught:
        verifier.fold_columns(bad, proofs, scalars)
    assert (caught.value.position, caught.value.element) == (1, 3)
    for arguments in (
        (cells[0], proofs, scalars),
        (cells, proofs[:, 1:], scalars),
        (cells, proofs, scalars[:, 1:]),
        (cells, proofs, scalars[..., 1:]),
        (np.zeros((1, 257, 2048), "u1"), np.zeros((1, 257, 48), "u1"), np.zeros((1, 257, 16), "u1")),
    ):
        with pytest.raises(InvalidArray):
            verifier.fold_columns(*arguments)
    with pytest.raises(LengthMismatch, match="scalars"):
        verifier.fold_columns(cells, proofs, np.tile(scalars, (2, 1, 1)))
    with pytest.raises(LengthMismatch, match="proofs"):
        verifier.fold_columns(cells, np.tile(proofs, (2, 1, 1)), scalars)
    with pytest.raises(InvalidArray):
        verifier.fold_commitments(matrix.data_commitments, scalars[:, 1:])
