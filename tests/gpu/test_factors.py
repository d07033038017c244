"""Factors, and their sums by commitment."""

from __future__ import annotations

import numpy as np

from gpu.factors import distinct, random_factors, sums_of_factors


def as_ints(factors: np.ndarray) -> list[int]:
    return [sum(int(word) << 32 * i for i, word in enumerate(row)) for row in factors]


def test_factors_are_odd_and_never_the_same_again() -> None:
    factors = as_ints(random_factors(1000))
    assert all(factor & 1 and factor < 2**128 for factor in factors)
    assert len(set(factors)) == 1000
    assert max(factors) > 2**120, "all four words are drawn"
    assert random_factors(0).shape == (0, 4)


def test_distinct_commitments_keep_the_order_of_their_first_places() -> None:
    commitments = np.array([[9] * 48, [3] * 48, [9] * 48, [5] * 48, [3] * 48], dtype=np.uint8)
    first, which = distinct(commitments)
    assert first.tolist() == [0, 1, 3]
    assert which.tolist() == [0, 1, 0, 2, 1]
    assert (commitments[first][which] == commitments).all()
    strided = np.repeat(commitments, 2, axis=1)[:, ::2]
    assert distinct(strided)[1].tolist() == which.tolist()
    assert [len(part) for part in distinct(commitments[:0])] == [0, 0]


def test_sums_are_exact() -> None:
    factors = np.full((1 << 12, 4), 2**32 - 1, dtype=np.uint32)
    group = np.arange(1 << 12) % 3
    sums = sums_of_factors(factors, group, 4)
    assert sums == [(2**128 - 1) * int((group == g).sum()) for g in range(3)] + [0]
    drawn = random_factors(300)
    group = np.arange(300) % 7
    for g, total in enumerate(sums_of_factors(drawn, group, 7)):
        assert total == sum(as_ints(drawn[group == g]))
