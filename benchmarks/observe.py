"""Looking at node processes from outside: memory of each, and what /metrics counted between two looks.

Memory is the high-water mark of resident memory (VmHWM), which the kernel keeps, so that no peak is missed
between two looks; shared pages (a table that several workers map) count in each process that touched them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from da.devnet import NodeProcess

Labels = tuple[tuple[str, str], ...]

_SESSION_FIELD = 3  # of /proc/PID/stat, counted from 0 after the name, which may hold spaces


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process of a node: `role` is "node" or "worker"."""

    pid: int
    role: str
    peak_bytes: int


def process_memory(node: NodeProcess) -> list[ProcessMemory]:
    """The node's process first, then its engine's workers."""
    leader = node.pid
    if leader is None:
        return []
    found = [
        ProcessMemory(pid, "node" if pid == leader else "worker", peak)
        for pid in _session(leader)
        if (peak := _peak_bytes(pid))
    ]
    return sorted(found, key=lambda process: (process.role, process.pid))


def _session(leader: int) -> Iterator[int]:
    """All processes of the session that `leader` leads."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it ended between the two looks
            if int(stat.rpartition(")")[2].split()[_SESSION_FIELD]) == leader:
                yield int(entry.name)


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


class Metrics:
    """What a node's /metrics said, or counted between two looks (`later - earlier`)."""

    def __init__(self, values: dict[tuple[str, Labels], float]) -> None:
        self._values = values

    @classmethod
    def of(cls, url: str, timeout_s: float = 30.0) -> Metrics:
        """Ask a node."""
        answer = httpx.get(f"{url}/metrics", timeout=timeout_s, trust_env=False).raise_for_status()
        return cls(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(answer.text)
                for sample in family.samples
            }
        )

    def __sub__(self, earlier: Metrics) -> Metrics:
        return Metrics({key: value - earlier._values.get(key, 0.0) for key, value in self._values.items()})

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that carry these labels."""
        wanted = set(labels.items())
        return sum(
            value for (each, found), value in self._values.items() if each == name and wanted <= set(found)
        )

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The series of a name by the value of one label."""
        return {dict(found)[label]: value for (each, found), value in self._values.items() if each == name}

    def mean_s(self, histogram: str, **labels: str) -> float:
        """The mean of a histogram of seconds; NaN when it counted nothing."""
        count = self.total(f"{histogram}_count", **labels)
        return self.total(f"{histogram}_sum", **labels) / count if count else math.nan

    def quantile_s(self, histogram: str, quantile: float) -> float:
        """An upper bound of a quantile: the end of the bucket it falls into; 0 when nothing was counted."""
        buckets = sorted(
            (float(end), count) for end, count in self.by_label(f"{histogram}_bucket", "le").items()
        )
        total = buckets[-1][1] if buckets else 0.0
        return next((end for end, count in buckets if total and count >= quantile * total), 0.0)
