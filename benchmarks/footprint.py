"""What an engine costs before it starts working and while it works: set-up time, tables, peak memory.

Each is opened in a fresh process (`python -m benchmarks.footprint WHO [OPTION]`), which answers one line of
JSON. Peaks are high-water marks of resident memory, as the kernel keeps them; of an engine with worker
processes, those of all its processes together, so that memory they share counts once for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from benchmarks import peer
from benchmarks.measure import Subject, Table, Timing, in_turns, short
from erasure.constants import BYTES_PER_BLOB
from gpu.host.engine import TABLES, HostEngine
from gpu.host.library import available
from kzg.ckzg_engine import CkzgEngine
from kzg.engine import Engine
from kzg.types import Bytes

BATCHES: Final = (64, 256)
OPENINGS: Final = 3
SPEED_ROWS: Final = 16

Prove = Callable[[Bytes], object]


@dataclass(frozen=True)
class Footprint:
    """Of one fresh process: marks after opening, and after proving so many rows in one batch."""

    open_s: float
    table_bytes: int
    opened_bytes: int
    peak_bytes: dict[str, int]


def peak_bytes() -> int:
    """High-water marks of this process and of all processes below it together."""
    return sum(_high_water(pid) for pid in family(os.getpid()))


def family(leader: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents[int(entry.name)] = int(_status(int(entry.name)).get("PPid", 0))
    family = [leader]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return family


def _high_water(pid: int) -> int:
    return int(_status(pid).get("VmHWM", "0 kB").split()[0]) * 1024


def _status(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status; none if that process has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _open(who: str, option: str, stack: ExitStack) -> tuple[int, Prove]:
    """Bytes of its tables, and how it proves a batch."""
    if who == "c-kzg":
        peer.load_setup(int(option))
        return 0, lambda blobs: [peer.prove_row(blob.tobytes()) for blob in blobs]
    engine: Engine = HostEngine(table=option) if who == "host" else CkzgEngine(precompute=int(option))
    stack.enter_context(engine)
    engine.extend(np.zeros((1, BYTES_PER_BLOB), np.uint8))  # workers start with the first task
    size = engine.describe()["table_bytes"]
    assert isinstance(size, int)
    return size, engine.prove


def _random_rows(rows: int) -> Bytes:
    blobs = np.random.default_rng(rows).integers(0, 256, (rows, BYTES_PER_BLOB), dtype=np.uint8)
    blobs.reshape(rows, -1, 32)[:, :, 0] &= 0x3F
    return blobs


def main(
    who: Annotated[str, typer.Argument(help="host, ckzg, c-kzg (called directly), or nothing.")],
    option: Annotated[str, typer.Argument(help="Table of host; precompute of the others.")] = "",
    batches: Annotated[list[int] | None, typer.Argument(help="Rows to prove, rising.")] = None,
) -> None:
    """Open one engine in this process, prove batches, and report its costs."""
    with ExitStack() as stack:
        started = time.perf_counter()
        table_bytes, prove = (0, lambda _: None) if who == "nothing" else _open(who, option, stack)
        open_s = time.perf_counter() - started
        opened = peak_bytes()
        peaks = {}
        for rows in batches or ():
            prove(_random_rows(rows))
            peaks[str(rows)] = peak_bytes()
        print(json.dumps(asdict(Footprint(open_s, table_bytes, opened, peaks))))


def of_fresh_process(who: str, option: str = "", batches: tuple[int, ...] = ()) -> Footprint:
    command = [sys.executable, "-m", "benchmarks.footprint", who, option, *map(str, batches)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return Footprint(**json.loads(answer.stdout.splitlines()[-1]))


def table(batches: tuple[int, ...] = BATCHES, openings: int = OPENINGS) -> Table:
    """One line for each engine and table size, and for c-kzg alone."""
    host = {("host", size): HostEngine for size in TABLES} if available() is None else {}
    precompute = str(peer.PRECOMPUTE)
    speeds = _speeds([size for _, size in host], _random_rows(SPEED_ROWS))
    raw: list[dict[str, object]] = []
    rows = []
    for who, option in (*host, ("ckzg", precompute), ("c-kzg", "0"), ("c-kzg", precompute), ("nothing", "")):
        # Of the slow ones, one proves at all, since each takes a minute for it.
        proves = batches if (who, option) != ("c-kzg", "0") else ()
        prints = [of_fresh_process(who, option, () if i else proves) for i in range(openings)]
        opening = Timing(tuple(found.open_s for found in prints))
        first = prints[0]
        speed = speeds.get(f"{who} {option}", {})
        raw.append(
            {
                "who": who,
                "option": option,
                "fresh": [asdict(found) for found in prints],
                "runs_s": {name: timing.runs_s for name, timing in speed.items()},
            }
        )
        peaks = [first.opened_bytes, *(first.peak_bytes.get(str(count)) for count in batches)]
        rows.append(
            (
                _label(who, option),
                _mib(first.table_bytes or None),
                "-" if who == "nothing" else f"{opening.median_s:.2f}",
                *_speed_cells(speed, speeds[f"c-kzg {precompute}"]),
                *(_mib(peak) for peak in peaks),
            )
        )
    header = (
        "",
        "tables MiB",
        "set-up s",
        "commit ms a row",
        "c-kzg / it",
        "prove ms a row",
        "c-kzg / it",
        "peak MiB, opened",
        *(f"{count} rows proved" for count in batches),
    )
    return Table("Table sizes, set-up and memory", header, rows, raw=raw)


def _label(who: str, option: str) -> str:
    if who == "nothing":
        return "this script, nothing opened"
    return f"`host`, {option}" if who == "host" else f"{who}, precompute {option}"


def _mib(size: int | None) -> str:
    return "-" if size is None else short(size / 2**20)


def _speeds(sizes: list[str], blobs: Bytes) -> dict[str, dict[str, Timing]]:
    """Seconds a row on one core, of each table size and of the peer: by who, then by operation."""
    found: dict[str, dict[str, Timing]] = {}
    with ExitStack() as stack:
        engines = {size: stack.enter_context(HostEngine(workers=1, table=size)) for size in sizes}
        some = [blob.tobytes() for blob in blobs[:4]]
        for name, of_peer in (("commit", peer.commit), ("prove", peer.prove_row)):
            subjects = {
                f"host {size}": Subject(partial(getattr(engine, name), blobs), len(blobs))
                for size, engine in engines.items()
            }
            subjects[f"c-kzg {peer.PRECOMPUTE}"] = Subject(partial(peer.each, of_peer, some), len(some))
            for who, timing in in_turns(subjects).items():
                found.setdefault(who, {})[name] = timing
    return found


def _speed_cells(times: dict[str, Timing], of_peer: dict[str, Timing]) -> list[str]:
    cells = []
    for name, peers in of_peer.items():
        found = times.get(name)
        cells += [found.ms(), f"{peers.median_s / found.median_s:.1f}x"] if found else ["-", "-"]
    return cells


if __name__ == "__main__":
    typer.run(main)
