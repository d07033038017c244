"""Turns, samples, and how figures are written."""

from __future__ import annotations

import pytest

from benchmarks.measure import Sample, Subject, Table, Timing, in_turns, short


def test_subjects_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    subjects = {"a": Subject(lambda: calls.append("a")), "b": Subject(lambda: calls.append("b"))}
    times = in_turns(subjects, runs=3)
    assert calls == ["a", "b"] * 4
    assert [len(timing.runs_s) for timing in times.values()] == [3, 3]


def test_what_is_long_runs_once_and_without_a_warm_up() -> None:
    calls: list[str] = []
    subjects = {"long": Subject(lambda: calls.append("long"), once=True), "b": Subject(lambda: None)}
    times = in_turns(subjects, runs=4)
    assert calls == ["long"]
    assert (len(times["long"].runs_s), len(times["b"].runs_s)) == (1, 4)


def test_three_runs_are_made_when_the_budget_is_spent() -> None:
    times = in_turns({"a": Subject(lambda: None)}, runs=9, budget_s=0)
    assert len(times["a"].runs_s) == 3


def test_a_timing_is_of_one_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr("benchmarks.measure.time.perf_counter", lambda: float(next(clock)))
    assert in_turns({"a": Subject(lambda: None, units=4)}, runs=1)["a"].runs_s == (0.25,)


def test_a_sample_goes_round_all_items() -> None:
    sample = Sample(range(10), 4)
    drawn = [item for _ in range(5) for item in sample.draw()]
    assert sorted(drawn[:10]) == list(range(10))
    assert drawn[10:] == drawn[:10]
    assert drawn[:10] != sorted(drawn[:10])


def test_samples_of_equally_many_draw_from_the_same_places() -> None:
    numbers, letters = Sample(range(5), 2), Sample("abcde", 2)
    for _ in range(4):
        assert ["abcde"[i] for i in numbers.draw()] == letters.draw()


def test_a_sample_of_more_than_there_are_is_all() -> None:
    sample = Sample([7], 4)
    assert (sample.size, sample.draw(), sample.draw()) == (1, [7], [7])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (12.345, "12.3"), (999.4, "999"), (999.6, "1,000"), (12345.6, "12,346")],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert short(value) == text


def test_a_timing_shows_its_spread() -> None:
    assert Timing((0.002, 0.001, 0.004)).ms() == "2 (1-4)"
    assert Timing((0.002,)).ms() == "2 (one run)"


def test_a_table_is_aligned_and_may_be_a_note_alone() -> None:
    table = Table("T", ("a", "long"), [("1", "2")], "why")
    assert table.markdown() == "### T\n\n| a | long |\n|---|------|\n| 1 | 2    |\n\nwhy"
    assert Table("T", ("a",), [], "nothing").markdown(heading=False) == "nothing"
    assert table.as_json() == {"title": "T", "rows": [{"a": "1", "long": "2"}], "note": "why", "raw": None}
