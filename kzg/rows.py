"""Rows against their commitments, all of them by one commitment, without an engine.

The idea: committing is linear, so with scalars r_i the commitment to sum r_i row_i is sum r_i C_i. One row is
committed to and one sum of points is made, however many rows there are.

Bound: the scalars are drawn here, 128 bits each from the system's generator, after rows and commitments are
fixed. Let D_i be the commitment to row i less C_i, and D_j not zero. All points are checked to be in the
group of prime order r, so for any choice of the other scalars at most one r_j modulo r, hence at most one of
its 2^128 values, makes sum r_i D_i zero: wrong rows pass with a probability of at most 2^-128. Finding other
rows with the same commitments breaks the binding of KZG.

No engine is needed: a sum of 4096 points of the setup, which are decompressed once a process, and exact
products of 16-bit limbs in float64.

Does not: know payloads.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np

from erasure.constants import BLS_MODULUS, BYTES_PER_FIELD_ELEMENT, FIELD_ELEMENTS_PER_BLOB, MAX_ROWS
from kzg.checks import check_blobs, check_bytes
from kzg.constants import BYTES_PER_G1
from kzg.errors import InvalidArray
from kzg.openings import lagrange_basis
from kzg.points import decode_points, linear_combination
from kzg.types import Bytes

SCALAR_BITS: Final = 128
_LIMB_BITS: Final = 16
_ELEMENT_LIMBS: Final = BYTES_PER_FIELD_ELEMENT * 8 // _LIMB_BITS
_SCALAR_LIMBS: Final = SCALAR_BITS // _LIMB_BITS
_SUM_LIMBS: Final = _ELEMENT_LIMBS + _SCALAR_LIMBS + 1
_STRIP: Final = 2048  # limbs of a row taken at a time, so that the temporaries stay in cache

assert MAX_ROWS * 2 ** (2 * _LIMB_BITS) < 2**53  # each float64 sum is exact
assert _SCALAR_LIMBS * MAX_ROWS * 2 ** (2 * _LIMB_BITS) < 2**62  # and the sum of a column of them, with carry


def rows_match(rows: Bytes, commitments: Bytes) -> bool:
    """Whether each commitment is that of its row; wrong ones pass with a probability of at most 2^-128.

    Args:
        rows: u8[R, 131072], R in 1..256.
        commitments: u8[R, 48].

    Raises:
        InvalidArray: wrong shapes. InvalidBlob: an element is not canonical. InvalidPoint: a commitment is no
            point of the group.
    """
    rows = check_blobs(rows)
    commitments = check_bytes("commitments", commitments, (len(rows), BYTES_PER_G1))
    if not 1 <= len(rows) <= MAX_ROWS:
        raise InvalidArray("rows", f"1 to {MAX_ROWS} rows", f"{len(rows)}")
    points = decode_points("commitment", commitments)
    scalars = [secrets.randbits(SCALAR_BITS) for _ in points]
    pairs = [pair for pair in zip(lagrange_basis(), _combine(rows, scalars), strict=True) if pair[1]]
    committed = linear_combination([point for point, _ in pairs], [value for _, value in pairs])
    expected = linear_combination(points, scalars)
    return bool(committed == expected)


def _combine(rows: Bytes, scalars: list[int]) -> list[int]:
    """The elements of sum scalars[i] * rows[i], modulo r."""
    weights = np.array(
        [[scalar >> (_LIMB_BITS * limb) & 0xFFFF for scalar in scalars] for limb in range(_SCALAR_LIMBS)],
        dtype=np.float64,
    )
    limbs = rows.view(">u2")
    sums = np.empty((_SCALAR_LIMBS, limbs.shape[1]), dtype=np.int64)
    for start in range(0, limbs.shape[1], _STRIP):
        strip = slice(start, start + _STRIP)
        sums[:, strip] = weights @ limbs[:, strip].astype(np.float64)
    by_element = sums.reshape(_SCALAR_LIMBS, FIELD_ELEMENTS_PER_BLOB, _ELEMENT_LIMBS)[:, :, ::-1]
    total = np.zeros((FIELD_ELEMENTS_PER_BLOB, _SUM_LIMBS), dtype=np.int64)
    for limb in range(_SCALAR_LIMBS):
        total[:, limb : limb + _ELEMENT_LIMBS] += by_element[limb]
    for limb in range(_SUM_LIMBS - 1):
        total[:, limb + 1] += total[:, limb] >> _LIMB_BITS
        total[:, limb] &= 0xFFFF
    encoded = total.astype("<u2").tobytes()
    size = _SUM_LIMBS * 2
    return [
        int.from_bytes(encoded[start : start + size], "little") % BLS_MODULUS
        for start in range(0, len(encoded), size)
    ]
