"""Selection: distinct, in range, uniform, and a function of the generator alone."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling import Coordinates, InvalidRows, InvalidSampleCount, extend_cells, select_cells


@given(rows=st.integers(1, 256), samples=st.integers(1, 256), seed=st.integers())
def test_cells_are_distinct_and_inside_the_matrix(rows: int, samples: int, seed: int) -> None:
    cells = select_cells(rows, samples, random.Random(seed))
    assert len(set(cells)) == len(cells) == samples
    assert all(0 <= cell.row < 2 * rows and 0 <= cell.column < 128 for cell in cells)
    assert cells == select_cells(rows, samples, random.Random(seed))


def test_every_cell_is_equally_likely() -> None:
    rng = random.Random(7)
    rounds, samples = 4000, 16
    seen = Counter(cell for _ in range(rounds) for cell in select_cells(1, samples, rng))
    expected = rounds * samples / 256
    # Pearson's statistic has mean 255 and deviation sqrt(510) = 22.6; six deviations are 390.
    assert sum((seen[Coordinates(*divmod(i, 128))] - expected) ** 2 / expected for i in range(256)) < 390


def test_the_system_generator_works() -> None:
    first, second = (select_cells(256, 33, random.SystemRandom()) for _ in range(2))
    assert first != second


def test_all_cells_can_be_drawn_and_not_one_more() -> None:
    assert len(set(select_cells(1, 256, random.Random(0)))) == 256
    with pytest.raises(InvalidSampleCount):
        select_cells(1, 257, random.Random(0))
    with pytest.raises(InvalidSampleCount):
        select_cells(1, 0, random.Random(0))
    with pytest.raises(InvalidRows):
        select_cells(0, 1, random.Random(0))


@given(first=st.integers(1, 100), more=st.integers(0, 100), seed=st.integers())
def test_an_extended_draw_keeps_what_was_chosen(first: int, more: int, seed: int) -> None:
    rng = random.Random(seed)
    chosen = select_cells(1, first, rng)
    cells = extend_cells(1, chosen, first + more, rng)
    assert cells[:first] == chosen
    assert len(set(cells)) == len(cells) == first + more
    with pytest.raises(InvalidSampleCount):
        extend_cells(1, cells, len(cells) - 1, rng)


def test_an_extended_draw_is_uniform_too() -> None:
    rng = random.Random(8)
    rounds = 4000
    seen = Counter(
        cell for _ in range(rounds) for cell in extend_cells(1, select_cells(1, 8, rng), 16, rng)[8:]
    )
    expected = rounds * 8 / 256
    assert sum((seen[Coordinates(*divmod(i, 128))] - expected) ** 2 / expected for i in range(256)) < 390
