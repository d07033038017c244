"""The sampler of folded columns: by chance, by knowledge, withheld, undecided; and adversaries."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import Answer, FoldSampler, SampleState, Verdict
from sampling.errors import InvalidHolders, InvalidSampleCount
from sampling.soundness import fold_failure_probability, folds_needed

HOLDERS, DISPERSER = (0, 1, 2), 9
Behaviour = Callable[[int, int], Answer | None]  # (member, column) -> None for a valid fold


def sampler_of(seed: int = 0, samples: int = 13, **options: bool) -> FoldSampler:
    rng = random.Random(seed)
    columns = rng.sample(range(128), 128)
    holders, others = [HOLDERS] * 128, [(DISPERSER,)] * 128
    return FoldSampler(columns, samples, holders, rng, others=others, **options)


def drive(sampler: FoldSampler, behave: Behaviour) -> dict[int, int]:
    """Answer every request until the end; how often each column was asked for."""
    asked: dict[int, int] = {}
    for _ in range(2000):
        if sampler.finished:
            return asked
        for request in sampler.requests():
            for position in request.positions:
                column = sampler.items[position]
                asked[column] = asked.get(column, 0) + 1
                answer = behave(request.member, column)
                if answer in (None, Answer.INVALID):
                    sampler.received(position, request.member)
                else:
                    sampler.answered(position, request.member, answer)
        for position in sampler.to_verify():
            sender = sampler.sender(position)
            assert sender is not None
            if behave(sender, sampler.items[position]) is None:
                sampler.verified([position])
            else:
                sampler.invalid(position, "wrong")
    raise AssertionError("does not end")


def withheld(columns: set[int]) -> Behaviour:
    return lambda member, column: Answer.NOT_HELD if column in columns else None


def test_all_samples_valid_is_available_by_chance() -> None:
    sampler = sampler_of()
    asked = drive(sampler, withheld(set()))
    assert sampler.verdict is Verdict.AVAILABLE
    assert not sampler.by_knowledge
    assert asked == dict.fromkeys(sampler.items[:13], 1)


def test_a_thorough_run_knows_64_columns_and_asks_for_no_more() -> None:
    sampler = sampler_of(thorough=True)
    asked = drive(sampler, withheld(set()))
    assert sampler.verdict is Verdict.AVAILABLE
    assert sampler.by_knowledge
    assert set(asked) == set(sampler.items[:64])


@given(st.integers(0, 10**6), st.integers(0, 128))
@settings(max_examples=60, deadline=None)
def test_the_border_is_64_columns(seed: int, lost: int) -> None:
    rng = random.Random(seed)
    gone = set(rng.sample(range(128), lost))
    sampler = sampler_of(seed)
    asked = drive(sampler, withheld(gone))
    sample_is_there = not gone & set(sampler.items[:13])
    if lost <= 64 or sample_is_there:
        assert sampler.verdict is Verdict.AVAILABLE
        assert sampler.by_knowledge != sample_is_there
    else:
        assert sampler.verdict is Verdict.UNAVAILABLE
        assert sampler.count(SampleState.WITHHELD) >= 65
    thorough = sampler_of(seed, thorough=True)
    drive(thorough, withheld(gone))
    assert (thorough.verdict is Verdict.AVAILABLE) == (lost <= 64)
    assert max(asked.values()) <= 4 * 2, "holders and disperser, twice each"


def test_every_holder_and_the_disperser_are_asked_before_a_column_is_withheld() -> None:
    sampler = sampler_of()
    first = sampler.items[0]
    asked: list[int] = []

    def only_the_disperser(member: int, column: int) -> Answer | None:
        if column != first:
            return None
        asked.append(member)
        return None if member == DISPERSER else Answer.NOT_HELD

    drive(sampler, only_the_disperser)
    assert sampler.verdict is Verdict.AVAILABLE
    assert asked[3] == DISPERSER, "after each holder was asked once"
    assert sorted(asked[:3]) == list(HOLDERS)


def test_a_silent_disperser_excuses_no_holder() -> None:
    def silent(member: int, column: int) -> Answer | None:
        return Answer.UNREACHABLE if member == DISPERSER else Answer.NOT_HELD

    sampler = sampler_of()
    drive(sampler, silent)
    assert sampler.verdict is Verdict.UNAVAILABLE


def test_a_silent_holder_leaves_it_undecided() -> None:
    def one_silent(member: int, column: int) -> Answer | None:
        return Answer.UNREACHABLE if member == 1 else Answer.NOT_HELD

    sampler = sampler_of()
    asked = drive(sampler, one_silent)
    assert sampler.verdict is Verdict.UNDECIDED
    assert len(asked) == 128, "everybody was asked for everything"


def test_lies_count_as_refusals_and_honest_copies_still_win() -> None:
    def liars(member: int, column: int) -> Answer | None:
        return None if member == 2 else Answer.INVALID

    sampler = sampler_of()
    drive(sampler, liars)
    assert sampler.verdict is Verdict.AVAILABLE
    all_lie = sampler_of()
    drive(all_lie, lambda member, column: Answer.INVALID)
    assert all_lie.verdict is Verdict.UNAVAILABLE


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_coalition_with_64_columns_alone_changes_no_verdict(seed: int) -> None:
    """It may withhold, lie or serve as it likes, adaptively: honest members have the other 64."""
    rng = random.Random(seed)
    theirs = set(rng.sample(range(128), 64))
    decided: dict[tuple[int, int], Answer | None] = {}

    def moody(member: int, column: int) -> Answer | None:
        mood = rng.choice([None, Answer.NOT_HELD, Answer.INVALID]) if column in theirs else None
        return decided.setdefault((member, column), mood)

    sampler = sampler_of(seed)
    drive(sampler, moody)
    assert sampler.verdict is Verdict.AVAILABLE


def test_give_up_leaves_what_was_not_answered_open() -> None:
    sampler = sampler_of()
    sampler.requests()
    sampler.give_up()
    assert sampler.finished
    assert sampler.verdict is Verdict.UNDECIDED


def test_refuses_what_is_no_draw() -> None:
    rng = random.Random(1)
    everything, holders = list(range(128)), [(0,)] * 128
    for columns, samples in (
        (everything[:-1], 13),
        ([0, *everything[:-1]], 13),
        (everything, 0),
        (everything, 65),
    ):
        with pytest.raises(InvalidSampleCount):
            FoldSampler(columns, samples, holders, rng)
    with pytest.raises(InvalidHolders):
        FoldSampler(everything, 13, [(0,)] * 127 + [()], rng)


# --- soundness --------------------------------------------------------------------------------


def test_the_figures_of_the_definition() -> None:
    assert fold_failure_probability(13) == Fraction(comb(63, 13), comb(128, 13))
    assert (folds_needed(0.99), folds_needed(0.9999), folds_needed(1 - Fraction(1, 10**9))) == (7, 13, 25)
    assert fold_failure_probability(64) == 0
    assert folds_needed(1 - Fraction(1, 10**40)) <= 64
    for samples in (0, 129):
        with pytest.raises(InvalidSampleCount):
            fold_failure_probability(samples)


def test_simulated_clients_agree_with_the_figure() -> None:
    rng = np.random.default_rng(1)
    clients = 200_000
    keys = rng.random((clients, 128))
    drawn = np.argpartition(keys, 4, axis=1)[:, :5]
    deceived = int((drawn < 63).all(axis=1).sum())  # columns 63..127 are withheld
    expected = float(fold_failure_probability(5))
    assert abs(deceived / clients - expected) < 5 * (expected / clients) ** 0.5
