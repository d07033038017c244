"""Monte Carlo against the exact figures, from fixed seeds: five standard errors are allowed."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import (
    InvalidSampleCount,
    clients_needed,
    failure_probability,
    miss_probability,
    rebuild_failure_bound,
    total_cells,
    unrecoverable_threshold,
)
from sampling.simulation import (
    draw_samples,
    is_recoverable,
    simulate_clients,
    simulate_coverage,
    withhold_cells,
    withhold_columns,
    withhold_rectangle,
)

_ERRORS_ALLOWED = 5.0


@pytest.mark.parametrize(("rows", "samples"), [(1, 4), (2, 8), (5, 10), (256, 12)])
def test_the_worst_adversary_deceives_as_often_as_computed(rows: int, samples: int) -> None:
    rng = np.random.default_rng(rows)
    withheld = withhold_rectangle(rows, rng)
    assert int(withheld.sum()) == unrecoverable_threshold(rows)
    assert not is_recoverable(withheld)
    result = simulate_clients(withheld, samples, 60_000, rng)
    assert result.deviation(float(failure_probability(rows, samples))) < _ERRORS_ALLOWED


def test_withheld_columns_deceive_no_more_than_the_worst_adversary() -> None:
    rng = np.random.default_rng(11)
    withheld = withhold_columns(5, 65, rng)
    assert not is_recoverable(withheld)
    result = simulate_clients(withheld, 6, 60_000, rng)
    exact = miss_probability(total_cells(5), int(withheld.sum()), 6)
    assert result.deviation(float(exact)) < _ERRORS_ALLOWED
    assert exact < failure_probability(5, 6)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_one_cell_less_than_the_threshold_can_always_be_rebuilt(rows: int) -> None:
    rng = np.random.default_rng(rows)
    for _ in range(20):
        withheld = withhold_rectangle(rows, rng)
        held = np.argwhere(withheld)[rng.integers(int(withheld.sum()))]
        withheld[tuple(held)] = False
        assert is_recoverable(withheld)
        assert is_recoverable(withhold_columns(rows, 64, rng))
        assert is_recoverable(withhold_cells(rows, unrecoverable_threshold(rows) - 1, rng))


def test_draws_are_distinct_by_either_method() -> None:
    rng = np.random.default_rng(3)
    for total, samples in ((256, 40), (256, 10), (65_536, 71), (4, 4)):
        drawn = draw_samples(total, samples, 500, rng)
        assert drawn.shape == (500, samples)
        assert all(np.unique(row).size == samples for row in drawn)
        assert drawn.min() >= 0
        assert drawn.max() < total
    with pytest.raises(InvalidSampleCount):
        draw_samples(4, 5, 1, rng)


@pytest.mark.parametrize(("rows", "samples"), [(1, 13), (5, 26)])
def test_enough_clients_rebuild_between_them(rows: int, samples: int) -> None:
    rng = np.random.default_rng(rows)
    clients = clients_needed(rows, samples, 0.99)
    lost = [int(simulate_coverage(rows, samples, clients, rng).sum()) for _ in range(200)]
    failures = sum(cells >= unrecoverable_threshold(rows) for cells in lost)
    assert failures / 200 <= 0.03
    # The bound is not idle: with a fifth fewer clients the union usually falls short.
    fewer = [int(simulate_coverage(rows, samples, clients * 4 // 5, rng).sum()) for _ in range(50)]
    assert sum(cells >= unrecoverable_threshold(rows) for cells in fewer) > 25


def test_the_bound_falls_with_clients_and_is_a_probability() -> None:
    bounds = [rebuild_failure_bound(16, 30, clients) for clients in range(0, 400, 20)]
    assert bounds[0] == 1.0
    assert bounds == sorted(bounds, reverse=True)
    assert 0.0 <= bounds[-1] < 1e-9
    assert rebuild_failure_bound(1, 256, 1) == 0.0
    assert rebuild_failure_bound(1, 256, 0) == 1.0
    with pytest.raises(InvalidSampleCount):
        rebuild_failure_bound(1, 257, 1)
    with pytest.raises(ValueError, match="confidence"):
        clients_needed(1, 13, 1.0)
