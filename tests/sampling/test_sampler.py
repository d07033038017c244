"""The sampler's state machine: every verdict, every bound, and chance replayed from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling import (
    Answer,
    Coordinates,
    InvalidEvent,
    InvalidHolders,
    InvalidSampleCount,
    Sampler,
    SampleState,
    Verdict,
    select_cells,
)

_VALID = "valid"
_Behaviour = Callable[[int, int], str | Answer]
"""(position, member) -> what the member does when asked for the cell."""


def _sampler(cells: int = 4, members: int = 3, seed: int = 0, **options: object) -> Sampler:
    rng = random.Random(seed)
    return Sampler(select_cells(5, cells, rng), [range(members)] * cells, rng, **options)  # type: ignore[arg-type]


def _drive(sampler: Sampler, behave: _Behaviour, rounds_max: int = 1000) -> Counter[tuple[int, int]]:
    """Answer every request until the sampler is finished; how often each (position, member) was asked."""
    asked: Counter[tuple[int, int]] = Counter()
    bad: set[int] = set()
    for _ in range(rounds_max):
        if sampler.finished:
            return asked
        for request in sampler.requests():
            for position in request.positions:
                asked[position, request.member] += 1
                answer = behave(position, request.member)
                if answer is Answer.INVALID or answer == _VALID:
                    sampler.received(position, request.member)
                    (bad.add if answer is Answer.INVALID else bad.discard)(position)
                else:
                    sampler.answered(position, request.member, Answer(answer), f"{answer}")
        arrived = sampler.to_verify()
        sampler.verified([position for position in arrived if position not in bad])
        for position in arrived:
            if position in bad:
                sampler.invalid(position, "does not verify")
    raise AssertionError("the sampler never finished")


def test_all_cells_valid_is_available_after_one_round() -> None:
    sampler = _sampler(cells=20, members=6)
    requests = sampler.requests()
    assert sorted(p for request in requests for p in request.positions) == list(range(20))
    assert len({request.member for request in requests}) == len(requests)
    for request in requests:
        assert not sampler.to_verify()
        for position in request.positions:
            sampler.received(position, request.member)
    assert sampler.verdict is Verdict.UNDECIDED
    assert not sampler.finished
    assert sampler.to_verify() == tuple(range(20))
    sampler.verified(sampler.to_verify())
    assert sampler.verdict is Verdict.AVAILABLE
    assert sampler.finished
    assert sampler.requests() == []


def test_a_liar_is_asked_once_and_the_cell_found_elsewhere() -> None:
    sampler = _sampler(cells=9)
    asked = _drive(sampler, lambda position, member: Answer.INVALID if member == 1 else _VALID)
    assert sampler.verdict is Verdict.AVAILABLE
    assert all(times == 1 for times in asked.values())
    lies = [p for p in range(9) if sampler.attempts(p)[1].answers == [Answer.INVALID]]
    assert lies
    assert all(sampler.sender(p) != 1 for p in range(9))
    assert {sampler.attempts(p)[1].reason for p in lies} == {"does not verify"}


@pytest.mark.parametrize("answer", [Answer.INVALID, Answer.NOT_HELD, Answer.CORRUPT, Answer.EXPIRED])
def test_one_cell_that_every_holder_answers_without_is_unavailable(answer: Answer) -> None:
    sampler = _sampler()
    asked = _drive(sampler, lambda position, member: answer if position == 2 else _VALID)
    assert sampler.verdict is Verdict.UNAVAILABLE
    assert sampler.state(2) is SampleState.WITHHELD
    assert sampler.count(SampleState.VALID) == 3
    times = 1 if answer is Answer.INVALID else 2
    assert [asked[2, member] for member in range(3)] == [times] * 3


def test_one_silent_holder_leaves_it_undecided() -> None:
    def behave(position: int, member: int) -> str | Answer:
        if position != 2:
            return _VALID
        return Answer.UNREACHABLE if member == 0 else Answer.NOT_HELD

    sampler = _sampler()
    asked = _drive(sampler, behave)
    assert sampler.verdict is Verdict.UNDECIDED
    assert not sampler.expired
    assert sampler.state(2) is SampleState.UNREACHED
    assert asked[2, 0] == 4  # attempts_max
    assert asked[2, 1] == asked[2, 2] == 2  # refusals_max


def test_a_holder_that_answers_in_time_decides_it() -> None:
    calls = Counter[int]()

    def behave(position: int, member: int) -> str | Answer:
        calls[member] += 1
        return _VALID if member == 0 and calls[0] == 4 else Answer.UNREACHABLE

    sampler = _sampler(cells=1)
    _drive(sampler, behave)
    assert sampler.verdict is Verdict.AVAILABLE


def test_every_holder_is_asked_before_any_is_asked_again() -> None:
    sampler = _sampler(cells=1, members=4)
    order = []
    while not sampler.finished:
        (request,) = sampler.requests()
        order.append((request.attempt, request.member))
        sampler.answered(0, request.member, Answer.NOT_HELD)
    assert [attempt for attempt, _ in order] == [0] * 4 + [1] * 4
    assert [m for a, m in order if a == 0] == [m for a, m in order if a == 1] != [0, 1, 2, 3]


def test_after_the_retention_expired_is_no_refusal() -> None:
    sampler = _sampler(retention_over=True)
    asked = _drive(sampler, lambda position, member: Answer.EXPIRED)
    assert sampler.verdict is Verdict.UNDECIDED
    assert sampler.expired
    assert set(asked.values()) == {1}
    served = _sampler(retention_over=True)
    _drive(served, lambda position, member: Answer.EXPIRED if member else _VALID)
    assert served.verdict is Verdict.AVAILABLE
    assert not served.expired


def test_once_a_cell_is_withheld_no_holder_is_asked_again() -> None:
    def behave(position: int, member: int) -> str | Answer:
        return Answer.INVALID if position == 0 else Answer.UNREACHABLE

    sampler = _sampler(cells=2)
    asked = _drive(sampler, behave)
    assert sampler.verdict is Verdict.UNAVAILABLE
    assert [asked[1, member] for member in range(3)] == [1, 1, 1]


def test_holders_are_spread_at_random() -> None:
    first = Counter(sampler.requests()[0].member for sampler in (_sampler(1, 5, seed) for seed in range(500)))
    assert set(first) == set(range(5))
    assert max(first.values()) < 150
    assert _sampler(9, 5, 1).requests() == _sampler(9, 5, 1).requests()


def test_events_that_answer_no_request_are_refused() -> None:
    sampler = _sampler(cells=1)
    with pytest.raises(InvalidEvent, match="waiting"):
        sampler.received(0, 0)
    (request,) = sampler.requests()
    other = (request.member + 1) % 3
    with pytest.raises(InvalidEvent, match="was requested from member"):
        sampler.received(0, other)
    with pytest.raises(InvalidEvent, match="was requested from member"):
        sampler.answered(0, other, Answer.NOT_HELD)
    with pytest.raises(InvalidEvent, match="in-flight, not received"):
        sampler.verified([0])
    with pytest.raises(InvalidEvent, match="in-flight, not received"):
        sampler.invalid(0, "")
    with pytest.raises(InvalidEvent, match="no such item"):
        sampler.received(1, 0)
    sampler.received(0, request.member)
    with pytest.raises(InvalidEvent, match="received, not in-flight"):
        sampler.received(0, request.member)


def test_cells_without_holders_and_no_cells_are_refused() -> None:
    rng = random.Random(0)
    with pytest.raises(InvalidSampleCount):
        Sampler([], [], rng)
    with pytest.raises(InvalidSampleCount):
        Sampler([Coordinates(0, 0)], [], rng)
    with pytest.raises(InvalidHolders):
        Sampler([Coordinates(0, 0)], [[]], rng)


def test_at_the_deadline_what_arrived_still_counts_and_the_rest_is_open() -> None:
    sampler = _sampler(cells=3, members=1)
    assert len(sampler.requests()) == 1
    sampler.received(0, 0)
    sampler.received(1, 0)
    sampler.give_up()
    assert sampler.state(2) is SampleState.UNREACHED
    assert sampler.requests() == []
    assert sampler.to_verify() == (0, 1)
    sampler.verified([0])
    assert sampler.verdict is Verdict.UNDECIDED
    sampler.invalid(1, "does not verify")  # its only holder lied: that decides, deadline or not
    assert sampler.finished
    assert sampler.verdict is Verdict.UNAVAILABLE


def test_at_the_deadline_one_answer_of_each_holder_decides() -> None:
    sampler = _sampler(cells=1, members=2)
    for _ in range(2):
        (request,) = sampler.requests()
        sampler.answered(0, request.member, Answer.NOT_HELD)
    assert sampler.state(0) is SampleState.WAITING
    sampler.give_up()
    assert sampler.verdict is Verdict.UNAVAILABLE
    silent = _sampler(cells=1, members=2)
    (request,) = silent.requests()
    silent.answered(0, request.member, Answer.NOT_HELD)
    silent.give_up()
    assert silent.verdict is Verdict.UNDECIDED


@given(data=st.data())
def test_the_verdict_follows_from_what_the_holders_do(data: st.DataObject) -> None:
    """Each holder behaves one way for each cell; then the verdict is a function of the table alone."""
    cells, members = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    kinds = st.sampled_from([_VALID, *Answer])
    table = {(p, m): data.draw(kinds) for p in range(cells) for m in range(members)}
    over = data.draw(st.booleans())
    sampler = _sampler(cells, members, data.draw(st.integers(0, 99)), retention_over=over)
    asked = _drive(sampler, lambda position, member: table[position, member])

    silent = {Answer.UNREACHABLE} | ({Answer.EXPIRED} if over else set())
    answers = [{table[p, m] for m in range(members)} for p in range(cells)]
    lost = [_VALID not in given and not given & silent for given in answers]
    assert (sampler.verdict is Verdict.UNAVAILABLE) == any(lost)
    assert (sampler.verdict is Verdict.AVAILABLE) == all(_VALID in given for given in answers)
    assert max(asked.values()) <= 4
