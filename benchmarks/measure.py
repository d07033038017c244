"""Timing and the machine's description.

These machines are shared and noisy: each figure is the median of several runs with its spread, ours and the
peer's taken in turns in one process, so that the ratio holds better than either figure alone.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs of one thing."""

    runs_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.runs_s)

    def each_ms(self, units: int = 1) -> str:
        """Median per unit, with the fastest and slowest run: '12.3 (11.9-14.0)'."""
        scale = 1000 / units
        return f"{self.median_s * scale:.4g} ({min(self.runs_s) * scale:.4g}-{max(self.runs_s) * scale:.4g})"


def in_turns(
    subjects: dict[str, Callable[[], object]], runs: int = 5, budget_s: float = 20.0
) -> dict[str, Timing]:
    """Time each subject `runs` times, in turns, after one warm-up each; fewer when the budget is spent.

    At least two timed runs are made of each.
    """
    for subject in subjects.values():
        subject()
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    start = time.perf_counter()
    for turn in range(runs):
        for name, subject in subjects.items():
            before = time.perf_counter()
            subject()
            taken[name].append(time.perf_counter() - before)
        if turn and time.perf_counter() - start > budget_s:
            break
    return {name: Timing(tuple(runs_s)) for name, runs_s in taken.items()}


def machine() -> str:
    """One paragraph: processor, cores, memory, versions, commit."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("numpy", "ckzg", "blspy", "httpx", "uvicorn")
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"{model}, {len(os.sched_getaffinity(0))} cores, {memory_gib:.0f} GiB; {platform.system()} "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}; {versions}; "
        f"commit {commit or 'unknown'}; {time.strftime('%Y-%m-%d')}"
    )


@dataclass(frozen=True)
class Table:
    """One table of the document: text cells, figures with their units in the header or beside them."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""

    def markdown(self) -> str:
        """The table, padded so that it also reads well on a terminal."""
        widths = [max(len(row[i]) for row in (self.header, *self.rows)) for i in range(len(self.header))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in (self.header, *self.rows)
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        parts = [f"### {self.title}", "\n".join([lines[0], rule, *lines[1:]])]
        return "\n\n".join([*parts, self.note] if self.note else parts)

    def as_json(self) -> dict[str, object]:
        """The same for a script: rows as objects under the header's names."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.header, row, strict=True)) for row in self.rows],
            "note": self.note,
        }


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a part q of all values does not pass."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]
