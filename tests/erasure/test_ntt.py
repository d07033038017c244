"""The transforms of a row's cells, against the split of its polynomial that they are defined by."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from erasure.constants import BLS_MODULUS
from erasure.domain import roots_brp
from erasure.field import elements_from_array, elements_to_array
from erasure.ntt import cells_from_lanes, lanes_from_cells
from erasure.reference import evaluate_row
from erasure.residues import K, Residues, constants, decode, encode, pointwise


def plain(residues: Residues) -> list[int]:
    """Canonical integers of residues, in order."""
    return elements_from_array(encode(pointwise(residues, constants([1], 1, 1))))


@pytest.mark.parametrize("cell_indices", [[0], [127], [3, 64, 65, 126], list(range(128))])
def test_round_trip_of_cells_and_lanes(cell_indices: list[int]) -> None:
    rng = random.Random(len(cell_indices))
    indices = np.array(cell_indices)
    elements = [rng.randrange(BLS_MODULUS) for _ in range(64 * len(cell_indices))]
    cells = decode(elements_to_array(elements).reshape(-1)).reshape(K, -1, 64)
    lanes = lanes_from_cells(cells, indices)
    assert lanes.shape == cells.shape
    assert elements_from_array(encode(cells_from_lanes(lanes, indices))) == elements


def test_lanes_are_the_parts_of_the_polynomial() -> None:
    """f(X) = sum_k X^k g_k(X^64): lane k of cell c is g_k at the 128th root of position c."""
    rng = random.Random(1)
    coefficients = [rng.randrange(BLS_MODULUS) for _ in range(4096)]
    row = evaluate_row(coefficients)
    indices = np.array([0, 1, 63, 64, 100])
    elements = [element for c in indices.tolist() for element in row[64 * c : 64 * c + 64]]
    lanes = lanes_from_cells(decode(elements_to_array(elements).reshape(-1)).reshape(K, -1, 64), indices)
    points = [roots_brp(7)[c] for c in indices.tolist()]
    expected = [
        sum(g * pow(y, power, BLS_MODULUS) for power, g in enumerate(coefficients[k::64])) % BLS_MODULUS
        for y in points
        for k in range(64)
    ]
    assert plain(lanes) == expected


def test_threads_do_not_disturb_each_other() -> None:
    rng = random.Random(2)
    indices = np.arange(64)
    elements = [rng.randrange(BLS_MODULUS) for _ in range(4096)]
    encoded = elements_to_array(elements).reshape(-1)

    def there_and_back(_: int) -> bytes:
        lanes = lanes_from_cells(decode(encoded).reshape(K, -1, 64), indices)
        return encode(cells_from_lanes(lanes, indices)).tobytes()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(there_and_back, range(12))) == {encoded.tobytes()}
