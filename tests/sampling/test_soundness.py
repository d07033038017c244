"""Exact soundness against enumeration of tiny matrices, and against published and hand-made figures."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling import (
    InvalidConfidence,
    InvalidRows,
    InvalidSampleCount,
    confidence_of,
    failure_probability,
    miss_probability,
    parse_confidence,
    samples_needed,
    total_cells,
    unrecoverable_threshold,
)
from sampling.simulation import is_recoverable


def test_miss_probability_equals_enumeration_of_every_draw() -> None:
    for total in range(1, 9):
        for withheld in range(total + 1):
            for samples in range(1, total + 1):
                draws = list(combinations(range(total), samples))
                missed = sum(all(cell >= withheld for cell in draw) for draw in draws)
                assert miss_probability(total, withheld, samples) == Fraction(missed, len(draws))


@pytest.mark.parametrize(("rows", "columns"), [(2, 4), (4, 2), (2, 8), (4, 4)])
def test_the_least_lost_set_is_the_product_of_the_distances(rows: int, columns: int) -> None:
    """Over every erasure pattern of a small product code the least that sticks is the distances' product."""
    cells = rows * columns
    least, distance = cells + 1, (rows // 2 + 1) * (columns // 2 + 1)
    for pattern in range(1 << cells):
        size = pattern.bit_count()
        if size >= least:
            continue
        withheld = np.array([pattern >> cell & 1 for cell in range(cells)], dtype=np.bool_)
        if not is_recoverable(withheld.reshape(rows, columns)):
            least = size
    assert least == distance


def test_threshold_is_half_for_one_row_and_falls_to_a_quarter() -> None:
    assert unrecoverable_threshold(1) == 130
    assert total_cells(1) == 256
    shares = [Fraction(unrecoverable_threshold(rows), total_cells(rows)) for rows in range(1, 257)]
    assert shares == sorted(shares, reverse=True)
    assert Fraction(1, 4) < shares[-1] < Fraction(256, 1000)


@pytest.mark.parametrize("rows", [0, -1, 257])
def test_rows_outside_the_protocol_are_refused(rows: int) -> None:
    for function in (total_cells, unrecoverable_threshold):
        with pytest.raises(InvalidRows):
            function(rows)
    with pytest.raises(InvalidRows):
        samples_needed(rows, 0.99)


def test_samples_for_the_default_confidence() -> None:
    assert samples_needed(256, 0.9999) == 32
    assert samples_needed(5, 0.9999) == 26
    assert samples_needed(1, 0.9999) == 13
    # A quarter withheld, drawn with replacement, is the usual rule of thumb; the exact figure is below it.
    rule_of_thumb = math.ceil(math.log(1e-4) / math.log(0.75))
    assert rule_of_thumb == 33
    assert all(samples_needed(rows, 0.9999) <= rule_of_thumb for rows in range(1, 257))


@given(rows=st.integers(1, 256), exponent=st.integers(1, 12))
def test_samples_needed_is_the_least_that_suffices(rows: int, exponent: int) -> None:
    confidence = 1 - Fraction(1, 10**exponent)
    samples = samples_needed(rows, confidence)
    assert confidence_of(rows, samples) >= confidence
    if samples > 1:
        assert confidence_of(rows, samples - 1) < confidence


@given(rows=st.integers(1, 256), samples=st.integers(1, 100))
def test_more_samples_and_more_withheld_cells_only_help(rows: int, samples: int) -> None:
    here = failure_probability(rows, samples)
    assert failure_probability(rows, samples + 1) < here
    total, withheld = total_cells(rows), unrecoverable_threshold(rows)
    assert miss_probability(total, withheld + 1, samples) < here
    assert here <= Fraction(total - withheld, total) ** samples  # with replacement is worse


def test_certainty_takes_more_cells_than_can_stay() -> None:
    total, withheld = total_cells(3), unrecoverable_threshold(3)
    assert failure_probability(3, total - withheld + 1) == 0
    assert failure_probability(3, total - withheld) > 0


@pytest.mark.parametrize(("withheld", "samples"), [(1, 0), (1, 11), (11, 1), (-1, 1)])
def test_impossible_draws_are_refused(withheld: int, samples: int) -> None:
    with pytest.raises(InvalidSampleCount):
        miss_probability(10, withheld, samples)


def test_a_float_means_its_decimal() -> None:
    assert parse_confidence(0.9999) == Fraction(9999, 10000)
    assert parse_confidence(Fraction(1, 3)) == Fraction(1, 3)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5, math.nan, math.inf, Fraction(1), Fraction(0)])
def test_a_confidence_outside_zero_and_one_is_refused(confidence: Fraction | float) -> None:
    with pytest.raises(InvalidConfidence):
        samples_needed(4, confidence)
