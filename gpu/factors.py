"""Random factors with which many equations are checked as one, and what they come to for each commitment.

Numbers below 2^128 from the operating system, odd, so that none is zero: a wrong equation passes with a
chance of 2^-127. Commitments repeat, one for each cell of a row, so each distinct one is multiplied once, by
the sum of its cells' factors.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzg.constants import BYTES_PER_COMMITMENT
from kzg.types import Bytes, IndexArray

WORDS = 4
"""Little-endian words of 32 bits in a factor."""

Factors = np.ndarray[Any, np.dtype[np.uint32]]


def random_factors(count: int) -> Factors:
    """u32[count, 4]: odd numbers below 2^128, little-endian words."""
    drawn: NDArray[np.uint32] = np.frombuffer(secrets.token_bytes(16 * count), dtype="<u4")
    factors = drawn.reshape(-1, WORDS).copy()
    factors[:, 0] |= 1
    return factors


def distinct(commitments: Bytes) -> tuple[IndexArray, IndexArray]:
    """The first position of each distinct commitment, in that order, and which of them each one is."""
    keys = np.ascontiguousarray(commitments).view(f"V{BYTES_PER_COMMITMENT}").reshape(-1)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)]


def sums_of_factors(factors: Factors, group: IndexArray, groups: int) -> list[int]:
    """The sum of the factors in each group, 0 where it has none.

    Exact, and below the group's order: fewer than 2^21 come together, and words are summed as doubles.
    """
    words = [
        np.bincount(group, weights=factors[:, i], minlength=groups).astype(np.int64).tolist()
        for i in range(WORDS)
    ]
    return [a + (b << 32) + (c << 64) + (d << 96) for a, b, c, d in zip(*words, strict=True)]
