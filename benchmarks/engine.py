"""The engines beside plain c-kzg: extend, commit, prove, verify, recover and parity, on one core and on all.

Peer: ckzg called directly with precompute 8, in this process for one core, and in one process a core for all
cores. The same rows, and every operation of every engine compared with it before anything is timed. Ours
take a batch in one call; the peer takes rows one by one, and only some of a long batch, others at every turn,
since its cost a row is constant: see its figures for the batches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from benchmarks import footprint, peer, stages
from benchmarks.matrix import (
    Matrix,
    Operation,
    Term,
    check,
    column_operations,
    fold_operations,
    row_operations,
)
from benchmarks.measure import (
    Sample,
    Subject,
    Table,
    Timing,
    commit_and_date,
    in_turns,
    machine,
    processor,
    short,
)
from benchmarks.plot import BATCHES as PLOTTED
from benchmarks.plot import rows_per_second
from gpu import ENGINE_NAMES, EngineOptions, open_engine
from gpu.select import why_not
from kzg.engine import Engine
from kzg.errors import EngineUnavailable

BATCHES: Final = (1, 8, 64, 256)
PEER_ROWS: Final = 4
"""Rows of a batch that the peer processes in one turn, on each core."""
SLOW_ROWS: Final = 16
"""From this number of rows on, operations that take the ckzg engine tens of milliseconds per row run once."""
FOLDED: Final = (1, 8, 133, 256)
"""Rows of the batches whose columns and commitments are folded."""
NOT_MEASURED: Final = "not measured"

ENGINES: Final = ENGINE_NAMES[1:]

Times = dict[str, Timing]
"""Timings by who: 'c-kzg 1', 'c-kzg all', 'host 1', 'host all', ..."""


@dataclass(frozen=True)
class Target:
    """`operation` should be `factor` times as fast as c-kzg on one core, and take at most `ms`."""

    operation: str
    factor: float
    ms: float | None = None


ROW_TARGETS: Final = (
    Target("extend", 6, 0.4),
    Target("commit", 8, 4.2),
    Target("prove", 10, 15),
    Target("verify 128 cells", 4),
    Target("recover cells", 8),
    Target("recover cells, proofs", 10),
)
COLUMN_TARGET: Final = Target("verify", 4)
COLUMN_TARGET_ROWS: Final = 64
CUDA_ROWS_PER_S: Final = 4000


@dataclass
class Results:
    """All timings of a run: seconds a row in `rows`, seconds a column in `columns`, a fold in `folds`."""

    cores: int
    rows: dict[tuple[str, int], Times] = field(default_factory=dict)
    columns: dict[tuple[str, int], Times] = field(default_factory=dict)
    folds: dict[tuple[str, int], Times] = field(default_factory=dict)

    def raw(self) -> list[dict[str, object]]:
        return [
            {"operation": name, "unit": unit, "rows": rows, "who": who, "runs_s": timing.runs_s}
            for unit, table in (("row", self.rows), ("column", self.columns), ("fold", self.folds))
            for (name, rows), times in table.items()
            for who, timing in times.items()
        ]


def run(batches: tuple[int, ...] = BATCHES, plotted: tuple[int, ...] = PLOTTED) -> list[Table]:
    """All tables of the engines."""
    described, place, load = machine(), f"{processor()}; {commit_and_date()}", os.getloadavg()[0]
    peer.load_setup(peer.PRECOMPUTE)
    shares, spaces = stages.table(), footprint.table()
    processes = peer.Processes()
    try:
        with _engines() as engines:
            first = next(iter(engines.values()))
            if "cuda all" in engines:
                place += f"; cuda: {engines['cuda all'].describe()['devices']}"
            matrix = Matrix.random(max(*batches, *plotted, 2), first)
            for engine in engines.values():
                check(engine, matrix.head(COLUMN_TARGET_ROWS))
            results = _measure(matrix, engines, processes, batches, plotted)
            results.folds = measure_folds(matrix, engines)
    finally:
        processes.close()
    note = f"{described}. Load average before the run: {load:.2f}, after it: {os.getloadavg()[0]:.2f}."
    return [
        targets_table(results, batches, note),
        one_core_table(results, batches),
        all_cores_table(results, batches),
        columns_table(results, batches),
        folds_table(results.folds),
        speed_table(results, plotted, place),
        spaces,
        shares,
    ]


@contextmanager
def _engines() -> Iterator[dict[str, Engine]]:
    """All that can run here, by who: on all cores, and on one if it is an engine of the processor."""
    opened: dict[str, Engine] = {}
    try:
        for name in ENGINES:
            if name != "ckzg" and why_not(name) is not None:
                continue
            try:
                opened[f"{name} all"] = open_engine(EngineOptions(name))
                if name != "cuda":
                    opened[f"{name} 1"] = open_engine(EngineOptions(name, workers=1))
            except EngineUnavailable as error:
                print(f"{name}: {error}")
        yield opened
    finally:
        for engine in opened.values():
            engine.close()


def _measure(
    matrix: Matrix,
    engines: dict[str, Engine],
    processes: peer.Processes,
    batches: tuple[int, ...],
    plotted: tuple[int, ...],
) -> Results:
    results = Results(processes.count)
    for count in sorted({*batches, *plotted}):
        started = time.perf_counter()
        m = matrix.head(count)
        for operation in row_operations(m):
            if count in batches or operation.name == "prove":
                results.rows[operation.name, count] = _time(operation, count, engines, processes)
        if count in batches:
            for operation in column_operations(m):
                results.columns[operation.name, count] = _time_column(operation, count, engines)
        print(f"{count} rows: {time.perf_counter() - started:.0f} s", flush=True)
    return results


def measure_folds(matrix: Matrix, engines: dict[str, Engine]) -> dict[tuple[str, int], Times]:
    """Seconds a fold, for as many of FOLDED as there are rows."""
    return {
        (operation.name, rows): _time_column(operation, rows, engines, "py_arkworks")
        for rows in FOLDED
        if rows <= len(matrix)
        for operation in fold_operations(matrix.head(rows))
    }


def _time(operation: Operation, rows: int, engines: dict[str, Engine], processes: peer.Processes) -> Times:
    """Seconds a row, of the peer on one core and on all, and of each engine."""
    subjects: dict[str, Subject] = {}
    ways = {"c-kzg 1": (peer.each, PEER_ROWS), "c-kzg all": (processes.run, PEER_ROWS * processes.count)}
    inputs = [[term.inputs(row) for row in range(rows)] for term in operation.by_peer]
    for who, (way, size) in ways.items():
        for number, term in enumerate(operation.by_peer):
            # All terms draw the same rows in the same turn.
            sample = Sample(inputs[number], size)
            subjects[f"{who} {number}"] = Subject(partial(_of_peer, way, term, sample), sample.size)
    subjects |= _engine_subjects(operation, rows, engines, units=rows)
    timings = in_turns(subjects)
    signs = [term.sign for term in operation.by_peer]
    peers = {who: total(signs, [timings[f"{who} {i}"] for i in range(len(signs))]) for who in ways}
    return peers | {who: timings[who] for who in engines}


def _of_peer(way: Callable[..., None], term: Term, sample: Sample[Any]) -> None:
    way(term.function, sample.draw())


def _time_column(operation: Operation, rows: int, engines: dict[str, Engine], by: str = "c-kzg 1") -> Times:
    """Seconds a column; the peer takes it as one batch, on one core."""
    subjects: dict[str, Subject] = {}
    for term in operation.by_peer:
        subjects[by] = Subject(partial(term.function, term.inputs(0)))
    return in_turns(subjects | _engine_subjects(operation, rows, engines, units=1), runs=9)


def _engine_subjects(
    operation: Operation, rows: int, engines: dict[str, Engine], units: int
) -> dict[str, Subject]:
    return {
        who: Subject(
            partial(operation.by_engine, engine),
            units,
            once=operation.slow and engine.name == "ckzg" and rows >= SLOW_ROWS,
        )
        for who, engine in engines.items()
    }


def total(signs: list[int], terms: list[Timing]) -> Timing:
    """The sum of several timings, turn by turn."""
    turns = zip(*(term.runs_s for term in terms), strict=True)
    return Timing(tuple(sum(sign * s for sign, s in zip(signs, turn, strict=True)) for turn in turns))


def _ms(times: Times, who: str) -> str:
    return times[who].ms() if who in times else NOT_MEASURED


def ratio(times: Times, slower: str, faster: str) -> float | None:
    """How many times as long the one takes as the other."""
    if slower not in times or faster not in times:
        return None
    return times[slower].median_s / times[faster].median_s


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x" if value < 3 else f"{value:.1f}x"


def verdict(factors: dict[int, float], wanted: float) -> str:
    """Whether the factors at batches of these many rows reach the one that is wanted, and where not, by how
    much they miss it."""
    if not factors:
        return NOT_MEASURED
    missed = {rows: factor for rows, factor in factors.items() if factor < wanted}
    if not missed:
        return "hit"
    misses = ", ".join(f"{1 - factor / wanted:.0%} at {rows}" for rows, factor in missed.items())
    return f"missed by {misses}" if len(missed) == len(factors) else f"hit, but missed by {misses}"


def targets_table(results: Results, batches: tuple[int, ...], note: str) -> Table:
    """What was wanted, what was reached, and whether that is enough."""
    rows: list[tuple[str, ...]] = []
    for target in ROW_TARGETS:
        factors = {
            count: factor
            for count in batches
            if (factor := ratio(results.rows[target.operation, count], "c-kzg 1", "host 1")) is not None
        }
        rows.append(_target_row(target, target.operation, batches, factors))
    column = {
        count: factor
        for count in batches
        if (factor := ratio(results.columns[COLUMN_TARGET.operation, count], "c-kzg 1", "host 1")) is not None
    }
    decisive = {count: factor for count, factor in column.items() if count == COLUMN_TARGET_ROWS}
    name = f"verify a column (wanted for {COLUMN_TARGET_ROWS})"
    rows.append((*_target_row(COLUMN_TARGET, name, batches, column)[:-1], verdict(decisive, 4)))
    scaling = {
        count: factor
        for count in batches
        if (factor := ratio(results.rows["prove", count], "host 1", "host all")) is not None
    }
    several = {count: factor for count, factor in scaling.items() if count >= results.cores}
    wanted = Target("", results.cores)
    name = f"prove on {results.cores} cores, of one core"
    rows.append((*_target_row(wanted, name, batches, scaling)[:-1], verdict(several, results.cores)))
    rows.append(_cuda_row(results, batches))
    header = (
        "target",
        "wanted",
        *(f"{count} rows" if count > 1 else "1 row" for count in batches),
        "verdict",
    )
    return Table("Targets", header, rows, note, raw=results.raw())


def _target_row(
    target: Target, name: str, batches: tuple[int, ...], factors: dict[int, float]
) -> tuple[str, ...]:
    reached = (_times(factors.get(count)) for count in batches)
    return (
        name,
        f"{target.factor:g}x",
        *reached,
        verdict(factors, target.factor),
    )


def _cuda_row(results: Results, batches: tuple[int, ...]) -> tuple[str, ...]:
    rates = {
        count: 1 / times["cuda all"].median_s
        for count in batches
        if "cuda all" in (times := results.rows["prove", count])
    }
    last = {count: rate for count, rate in rates.items() if count == max(batches)}
    reached = (f"{short(rates[count])}/s" if count in rates else "-" for count in batches)
    return ("prove with `cuda`, rows/s", f"{CUDA_ROWS_PER_S:,}/s", *reached, verdict(last, CUDA_ROWS_PER_S))


def one_core_table(results: Results, batches: tuple[int, ...]) -> Table:
    rows = []
    for target in ROW_TARGETS:
        for count in batches:
            times = results.rows[target.operation, count]
            wanted = f"{target.factor:g}x" + (f", {target.ms:g} ms" if target.ms else "")
            factor = _times(ratio(times, "c-kzg 1", "host 1"))
            figures = (_ms(times, "c-kzg 1"), _ms(times, "host 1"), factor, wanted, _ms(times, "ckzg 1"))
            rows.append((target.operation, str(count), *figures))
    header = ("ms a row", "rows", "c-kzg", "`host`", "c-kzg / `host`", "target", "`ckzg`")
    return Table("One core", header, rows)


def all_cores_table(results: Results, batches: tuple[int, ...]) -> Table:
    rows = []
    for target in ROW_TARGETS:
        for count in batches:
            times = results.rows[target.operation, count]
            rows.append(
                (
                    target.operation,
                    str(count),
                    _ms(times, "c-kzg all"),
                    _ms(times, "host all"),
                    _times(ratio(times, "c-kzg all", "host all")),
                    _times(ratio(times, "host 1", "host all")),
                    _ms(times, "ckzg all"),
                    _ms(times, "cuda all"),
                )
            )
    scaling = f"`host`, 1 / {results.cores} cores"
    peers = f"c-kzg, {results.cores} processes"
    header = ("ms a row", "rows", peers, "`host`", "c-kzg / `host`", scaling, "`ckzg`", "`cuda`")
    return Table("All cores", header, rows)


def columns_table(results: Results, batches: tuple[int, ...]) -> Table:
    rows = []
    for name in dict.fromkeys(name for name, _ in results.columns):
        for count in batches:
            times = results.columns[name, count]
            rows.append(
                (
                    name,
                    str(count),
                    _ms(times, "c-kzg 1") if "c-kzg 1" in times else "-",
                    _ms(times, "host 1"),
                    _times(ratio(times, "c-kzg 1", "host 1")),
                    _ms(times, "host all"),
                    _times(ratio(times, "host 1", "host all")),
                    _ms(times, "ckzg all"),
                    _ms(times, "cuda all"),
                )
            )
    cores = f"{results.cores} cores"
    header = (
        "ms a column",
        "rows",
        "c-kzg, 1 core",
        "`host`, 1 core",
        "c-kzg / `host`",
        f"`host`, {cores}",
        f"1 / {cores}",
        f"`ckzg`, {cores}",
        "`cuda`",
    )
    return Table("A column", header, rows)


def folds_table(folds: dict[tuple[str, int], Times]) -> Table:
    rows = [
        (
            name,
            str(count),
            _ms(times, "py_arkworks"),
            _ms(times, "host 1"),
            _times(ratio(times, "py_arkworks", "host 1")),
            *(_ms(times, who) for who in ("host all", "ckzg all", "cuda all")),
        )
        for (name, count), times in sorted(folds.items())
    ]
    header = ("ms a fold", "rows", "py_arkworks", "`host`, 1 core", "py_arkworks / `host`")
    return Table("A fold", (*header, "`host`, all", "`ckzg`", "`cuda`"), rows)


def speed_table(results: Results, plotted: tuple[int, ...], place: str) -> Table:
    """Rows a second of `prove`, as numbers and as a picture."""
    cores = f"{results.cores} cores"
    names = {
        "cuda all": "cuda",
        "host all": f"host, {cores}",
        "host 1": "host, 1 core",
        "ckzg all": f"ckzg, {cores}",
        "c-kzg 1": "c-kzg itself, 1 core",
    }
    rates = {
        name: [(count, 1 / results.rows["prove", count][who].median_s) for count in plotted]
        for who, name in names.items()
        if who in results.rows["prove", plotted[0]]
    }
    nothing = (NOT_MEASURED,) * len(plotted)
    rows = [
        (label, *((short(rate) for _, rate in rates[label]) if label in rates else nothing))
        for label in names.values()
    ]
    plot = rows_per_second({label: tuple(points) for label, points in rates.items()}, place)
    header = ("rows a second", *(str(count) for count in plotted))
    return Table("Rows a second", header, rows, raw=plot.as_json(), plot=plot)
