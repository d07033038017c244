"""Clients that give a batch back: the bound against exact figures and against draws."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from sampling import rescue
from sampling.errors import InvalidConfidence, InvalidRows, InvalidSampleCount


def one_row_failure(columns: int, clients: int) -> Fraction:
    """P(fewer than 64 of 128 columns drawn), exactly: a Markov chain over the number of drawn columns."""
    chances = {0: Fraction(1)}
    for _ in range(clients):
        following: dict[int, Fraction] = {}
        for drawn, chance in chances.items():
            for new in range(columns + 1):
                ways = comb(128 - drawn, new) * comb(drawn, columns - new)
                if ways:
                    share = chance * Fraction(ways, comb(128, columns))
                    following[drawn + new] = following.get(drawn + new, Fraction(0)) + share
        chances = following
    return sum((chance for drawn, chance in chances.items() if drawn < 64), Fraction(0))


@pytest.mark.parametrize("clients", [1, 5, 7, 8, 10, 12])
def test_the_bound_is_above_the_exact_figure_for_one_row(clients: int) -> None:
    exact = float(one_row_failure(13, clients))
    assert exact <= rescue.rescue_failure_bound(1, 13, clients) <= 1
    assert exact < 0.01 or clients < 8


def test_the_number_of_a_columns_equations_is_binomial() -> None:
    assert rescue.solved_probability(1, 13, 1) == Fraction(13, 128)
    assert rescue.solved_probability(1, 13, 2) == 1 - Fraction(115, 128) ** 2
    assert rescue.solved_probability(2, 13, 2) == Fraction(13, 128) ** 2
    assert rescue.solved_probability(3, 13, 2) == 0
    assert rescue.solved_probability(1, 128, 1) == 1
    assert rescue.solved_probability(1, 13, 0) == 0


@pytest.mark.parametrize("rows", [1, 3, 8, 32])
def test_draws_need_no_more_clients_than_the_bound_says(rows: int) -> None:
    rng = np.random.default_rng(rows)
    needed = sorted(rescue.simulate_rescue(rows, 13, rng) for _ in range(200))
    assert needed[-3] <= rescue.rescuers_needed(rows, 13, 0.99)
    assert needed[100] >= 0.6 * rescue.rescuers_needed(rows, 13, 0.99)


def test_a_client_that_asks_for_half_of_the_columns_of_one_row_is_enough() -> None:
    assert rescue.simulate_rescue(1, 64, np.random.default_rng(1)) == 1
    assert rescue.rescuers_needed(1, 128, 0.99) == 1


def test_refuses_what_does_not_exist() -> None:
    with pytest.raises(InvalidRows):
        rescue.solved_probability(0, 13, 1)
    with pytest.raises(InvalidRows):
        rescue.simulate_rescue(257, 13, np.random.default_rng(1))
    with pytest.raises(InvalidSampleCount):
        rescue.solved_probability(1, 129, 1)
    with pytest.raises(InvalidSampleCount):
        rescue.simulate_rescue(1, 0, np.random.default_rng(1))
    with pytest.raises(InvalidConfidence):
        rescue.rescuers_needed(1, 13, 1.0)
