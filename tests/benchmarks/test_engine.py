"""Tables of the engines, from timings that are made up."""

from __future__ import annotations

import pytest

from benchmarks import engine
from benchmarks.engine import COLUMN_TARGET, ROW_TARGETS, Results, Times, total, verdict
from benchmarks.measure import Timing

BATCHES = (1, 64)
HERE = {
    "c-kzg 1": 0.16,
    "c-kzg all": 0.08,
    "host 1": 0.016,
    "host all": 0.01,
    "ckzg 1": 0.17,
    "ckzg all": 0.09,
}


def results(who: dict[str, float]) -> Results:
    times: Times = {name: Timing((seconds, 2 * seconds, seconds)) for name, seconds in who.items()}
    return Results(
        2,
        {(target.operation, rows): times for target in ROW_TARGETS for rows in BATCHES},
        {(COLUMN_TARGET.operation, rows): times for rows in BATCHES},
        {("fold_columns", rows): times | {"py_arkworks": times[next(iter(times))]} for rows in BATCHES},
    )


def test_a_verdict_says_where_and_by_how_much() -> None:
    assert verdict({1: 10, 64: 12}, 10) == "hit"
    assert verdict({1: 9, 64: 12}, 10) == "hit, but missed by 10% at 1"
    assert verdict({1: 9, 64: 9.5}, 10) == "missed by 10% at 1, 5% at 64"
    assert verdict({}, 10) == "not measured"


def test_a_difference_is_taken_turn_by_turn() -> None:
    terms = [Timing((5.0, 9.0)), Timing((4.0, 7.0)), Timing((1.0, 2.0))]
    assert total([1, -1, 1], terms).runs_s == (2.0, 4.0)


def test_the_ratio_is_of_one_core_to_one_core() -> None:
    table = engine.one_core_table(results(HERE), BATCHES)
    row = next(row for row in table.rows if row[0] == "prove")
    assert row == ("prove", "1", "160 (160-320)", "16 (16-32)", "10.0x", "10x, 15 ms", "170 (170-340)")


def test_scaling_is_of_one_core_to_all() -> None:
    table = engine.all_cores_table(results(HERE), BATCHES)
    row = next(row for row in table.rows if row[0] == "commit")
    assert row[4:6] == ("8.0x", "1.60x")
    assert row[-1] == "not measured"


def test_targets_name_what_was_missed() -> None:
    rows = {row[0]: row for row in engine.targets_table(results(HERE), BATCHES, "").rows}
    assert rows["prove"] == ("prove", "10x", "10.0x", "10.0x", "hit")
    assert rows["prove on 2 cores, of one core"][-1] == "missed by 20% at 64"
    assert rows["prove with `cuda`, rows/s"][1:] == ("4,000/s", "-", "-", "not measured")


def test_a_gpu_is_measured_where_there_is_one() -> None:
    found = results(HERE | {"cuda all": 0.0005})
    rows = {row[0]: row for row in engine.targets_table(found, BATCHES, "").rows}
    assert rows["prove with `cuda`, rows/s"][2:] == ("2,000/s", "2,000/s", "missed by 50% at 64")
    assert engine.all_cores_table(found, BATCHES).rows[0][-1] == "0.5 (0.5-1)"
    table = engine.speed_table(found, BATCHES, "here")
    assert table.plot is not None
    assert table.plot.series["cuda"] == ((1, 2000.0), (64, 2000.0))


@pytest.mark.parametrize("missing", ["host", "cuda"])
def test_what_is_not_there_is_not_measured(missing: str) -> None:
    found = results({who: s for who, s in HERE.items() if not who.startswith(missing)})
    tables = [
        engine.targets_table(found, BATCHES, ""),
        engine.one_core_table(found, BATCHES),
        engine.all_cores_table(found, BATCHES),
        engine.columns_table(found, BATCHES),
        engine.folds_table(found.folds),
        engine.speed_table(found, BATCHES, ""),
    ]
    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows)
    assert "not measured" in "".join(table.markdown() for table in tables)


def test_all_runs_are_kept_for_scripts() -> None:
    raw = results(HERE).raw()
    assert len(raw) == (len(ROW_TARGETS) + 1) * len(BATCHES) * len(HERE) + len(BATCHES) * (len(HERE) + 1)
    assert raw[0] == {
        "operation": "extend",
        "unit": "row",
        "rows": 1,
        "who": "c-kzg 1",
        "runs_s": (0.16, 0.32, 0.16),
    }
