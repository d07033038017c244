"""Timing and the machine's description.

These machines are shared and noisy: each figure is the median of several runs with its spread, ours and the
peer's taken in turns in one process, so that the ratio holds better than either figure alone.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from benchmarks.plot import Plot
from da import bls

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Seconds a unit of work (a row, a call) took in each of several runs."""

    runs_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.runs_s)

    def ms(self) -> str:
        """Median of the runs, with the fastest and slowest of them: '12.3 (11.9-14)'."""
        median, fastest, slowest = (
            short(1000 * value) for value in (self.median_s, min(self.runs_s), max(self.runs_s))
        )
        return f"{median} ({fastest}-{slowest})" if len(self.runs_s) > 1 else f"{median} (one run)"


@dataclass(frozen=True)
class Subject:
    """Something to time: `work` does `units` of work (rows, calls) each time.

    `once` is for work so long that it is run once, without a warm-up.
    """

    work: Callable[[], object]
    units: int = 1
    once: bool = False


class Sample(Generic[T]):
    """Some of all items, others at each draw: a random order of them, `size` at a time, round and round.

    For work whose cost an item is constant, where all of them would take minutes. Samples of equally many
    items draw from the same places at the same time.
    """

    def __init__(self, items: Sequence[T], size: int) -> None:
        self.size = min(len(items), size)
        self._items = random.Random(len(items)).sample(items, len(items))
        self._next = 0

    def draw(self) -> list[T]:
        drawn = [self._items[(self._next + i) % len(self._items)] for i in range(self.size)]
        self._next += self.size
        return drawn


def in_turns(subjects: dict[str, Subject], runs: int = 5, budget_s: float = 8.0) -> dict[str, Timing]:
    """Time each subject `runs` times, in turns, after one warm-up each; fewer when the budget is spent.

    At least three timed runs are made of each, but for those that run once.
    """
    for subject in subjects.values():
        if not subject.once:
            subject.work()
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    start = time.perf_counter()
    for turn in range(runs):
        for name, subject in subjects.items():
            if turn and subject.once:
                continue
            before = time.perf_counter()
            subject.work()
            taken[name].append((time.perf_counter() - before) / subject.units)
        if turn >= 2 and time.perf_counter() - start > budget_s:
            break
    return {name: Timing(tuple(runs_s)) for name, runs_s in taken.items()}


def short(value: float) -> str:
    """Three digits, more before the point if there are: '0.123', '12.3', '1,234'."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def processor() -> str:
    """Model and number of usable cores."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def commit_and_date() -> str:
    """Commit and date."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"commit {commit or 'unknown'}; {time.strftime('%Y-%m-%d')}"


def machine() -> str:
    """One paragraph: processor, cores, memory, versions, commit."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("numpy", "ckzg", bls.describe()["library"], "httpx", "uvicorn")
    )
    return (
        f"{processor()}, {memory_gib:.0f} GiB; {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; {versions}; {commit_and_date()}"
    )


@dataclass(frozen=True)
class Table:
    """One table of the document: text cells, figures with their units in the header or beside them."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    raw: object = None
    """What the cells were made from, for a script."""
    plot: Plot | None = None
    """A picture of it."""

    def markdown(self, heading: bool = True) -> str:
        """The table, padded so that it also reads well on a terminal."""
        parts = [f"### {self.title}"] if heading else []
        if self.rows:
            widths = [max(len(row[i]) for row in (self.header, *self.rows)) for i in range(len(self.header))]
            lines = [
                "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
                for row in (self.header, *self.rows)
            ]
            rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
            parts.append("\n".join([lines[0], rule, *lines[1:]]))
        return "\n\n".join([*parts, self.note] if self.note else parts)

    def as_json(self) -> dict[str, object]:
        """The same for a script: rows as objects under the header's names."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.header, row, strict=True)) for row in self.rows],
            "note": self.note,
            "raw": self.raw,
        }


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a part q of all values does not pass."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]
