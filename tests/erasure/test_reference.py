"""The reference itself, against c-kzg: an oracle must be checked itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from erasure import reference
from erasure.constants import BLS_MODULUS
from erasure.field import Bytes, elements_from_array


def test_extension(random_blobs: Callable[[int, int], Bytes], ckzg_extend: Callable[[Bytes], Bytes]) -> None:
    blob = random_blobs(1, 21)
    assert reference.extend_row(elements_from_array(blob)) == elements_from_array(ckzg_extend(blob))


def test_recovery(random_blobs: Callable[[int, int], Bytes], ckzg_extend: Callable[[Bytes], Bytes]) -> None:
    cells = ckzg_extend(random_blobs(1, 22))[0]
    indices = np.sort(np.random.default_rng(5).permutation(128)[:64]).tolist()
    recovered = reference.recover_row({index: elements_from_array(cells[index]) for index in indices})
    assert recovered == elements_from_array(cells)


def test_transforms_are_inverse_to_each_other() -> None:
    roots = reference.compute_roots_of_unity(16)
    values = [pow(3, index, BLS_MODULUS) for index in range(16)]
    assert reference.fft_field(reference.inverse_fft_field(values, roots), roots) == values


def test_parity_of_three_rows_interpolates() -> None:
    """f(D[0..2]) = rows, f(D[3]) = 0, degree < 4; parity rows are f(D[4..6])."""
    rows = [[5], [7], [11]]
    domain = reference.bit_reversal_permutation(reference.compute_roots_of_unity(8))
    values = [*(row[0] for row in rows), 0]
    for j, parity in enumerate(reference.parity_elements(rows)):
        at = sum(v * reference._lagrange(domain[:4], i, domain[4 + j]) for i, v in enumerate(values))
        assert parity == [at % BLS_MODULUS]
