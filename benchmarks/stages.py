"""Where the time of the host engine goes, stage by stage, on one core.

The engine carries no timers. A copy of its library is built with frame pointers and debugging information, in
a temporary folder, and a child process (`python -m benchmarks.stages LIBRARY SAMPLER`) runs it while a
timer notes the call stack a thousand times a second. A stage is a set of functions, and its share is that of
the samples.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from benchmarks.matrix import KEPT, Matrix
from benchmarks.measure import Table, short
from gpu.host import library as host_library
from gpu.host.engine import HostEngine

ROOT: Final = Path(__file__).parents[1]
ROWS: Final = 64
SECONDS: Final = 4.0
PERIOD_US: Final = 997  # no divisor of anything that happens at round times
DEPTH: Final = 16  # of sampler.cpp

ELSEWHERE: Final = "elsewhere in the library"
OUTSIDE: Final = "Python"

Rule = tuple[str, tuple[str, ...]]
_ROWS: Final[tuple[Rule, ...]] = (
    ("bytes to elements", ("from_cell",)),
    ("elements to bytes", ("to_cell",)),
    ("transforms of the row", ("Domain::extend",)),
    ("recovery's equations", ("Recovery::run",)),
)
_PROOFS: Final[tuple[Rule, ...]] = (
    ("fixed-base sums: additions", ("add_windows",)),
    ("fixed-base sums: Horner's rule", ("sum_positions",)),
    ("scalars to comb digits", ("set_bits",)),
    ("convolution: additions by tap", ("add_taps",)),
    ("convolution: Horner's rule", ("sum_digits",)),
    ("convolution: multiples", ("odd_multiples",)),
    ("convolution: split and join", ("Convolution::run",)),
    ("to affine, blinding, compression", ("Prover::convolve",)),
)
_VERIFICATION: Final[tuple[Rule, ...]] = (
    ("decompression", ("Verifier::read",)),
    ("subgroup check", ("find_outsiders",)),
    ("subgroup check", ("random_sums_are_members",)),
    ("cells: interpolation", ("add_column",)),
    ("commitment to the interpolant", ("Verifier::commit",)),
    ("pairing", ("Pairing::",)),
    ("proofs and commitments: sums", ("Verifier::run",)),
)
STAGES: Final[dict[str, tuple[Rule, ...]]] = {
    "prove": (*_ROWS, *_PROOFS),
    "commit": (
        ("additions", ("add_windows",)),
        ("Horner's rule", ("sum_positions",)),
        ("scalars to comb digits", ("Prover::commit",)),
    ),
    "extend": _ROWS,
    "recover cells": _ROWS,
    "verify 128 cells": _VERIFICATION,
    f"verify a column of {ROWS}": _VERIFICATION,
}
"""Of each operation, its stages: a sample is in the first whose functions are all on its stack."""

Stack = Sequence[str]
"""Functions of the library, innermost first, inlined ones, too."""


def stage_of(stack: Stack, rules: Iterable[Rule]) -> str:
    """The stage that a sample belongs to."""
    if not stack:
        return OUTSIDE
    for stage, names in rules:
        if all(any(name in function for function in stack) for name in names):
            return stage
    return ELSEWHERE


def table() -> Table:
    """One line for each stage of each operation."""
    title = "Where the time goes"
    header = ("operation", "stage", "share", "ms")
    missing = [tool for tool in ("cmake", _compiler(), "addr2line") if shutil.which(tool) is None]
    reason = host_library.available() or (f"{', '.join(missing)} not found" if missing else None)
    if reason is not None:
        return Table(title, header, [], f"Not measured: {reason}.")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        library, sampler = _build(folder)
        command = [sys.executable, "-m", "benchmarks.stages", str(library), str(sampler)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        measured = json.loads(answer.stdout.splitlines()[-1])
        names = _names(library, {address for found in measured.values() for address in _addresses(found)})
    rows = []
    raw = {}
    for operation, found in measured.items():
        rules = STAGES[operation]
        stages: Counter[str] = Counter()
        for stack in found["stacks"]:
            stages[stage_of([name for address in stack for name in names[address]], rules)] += 1
        order = dict.fromkeys([*(stage for stage, _ in rules), ELSEWHERE, OUTSIDE])
        for stage in filter(stages.get, order):
            share = stages[stage] / stages.total()
            rows.append((operation, stage, f"{share:.1%}", short(share * found["ms"])))
        rows.append((operation, "all", "100%", short(found["ms"])))
        raw[operation] = {"ms": found["ms"], "samples": dict(stages)}
    note = (
        f"`host` on one core, medium table, {ROWS} rows a call; milliseconds a row, or for the whole column."
    )
    return Table(title, header, rows, note, raw)


def _addresses(found: dict[str, Any]) -> Iterator[int]:
    for stack in found["stacks"]:
        yield from stack


def _compiler() -> str:
    return os.environ.get("CXX", "c++")


def _build(folder: Path) -> tuple[Path, Path]:
    """The engine's library as it is installed, but for frame pointers and names; and the sampler."""
    flags = "-DCMAKE_CXX_FLAGS=-g -fno-omit-frame-pointer"
    sampler = folder / "sampler.so"
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(folder), flags, f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", str(folder), "--target", "cellar_host"],
        [_compiler(), "-O2", "-shared", "-fPIC", "-o", str(sampler), str(ROOT / "benchmarks/sampler.cpp")],
    ):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return folder / "cellar_host.so", sampler


def _names(library: Path, addresses: set[int]) -> dict[int, list[str]]:
    """The functions at each address of the library, innermost first."""
    ordered = sorted(addresses)
    lines = subprocess.run(
        ["addr2line", "-e", str(library), "-a", "-f", "-C", "-i"],
        input="\n".join(f"{address:#x}" for address in ordered),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    names: dict[int, list[str]] = {}
    functions: list[str] = []
    skip = False
    for line in lines:
        if line.startswith("0x"):
            functions = names.setdefault(int(line, 16), [])
            skip = False
            continue
        if not skip:  # a function, then its file and line
            functions.append(line)
        skip = not skip
    return names


def main(
    library: Annotated[Path, typer.Argument(help="The engine's library, with names.")],
    sampler: Annotated[Path, typer.Argument(help="The sampler's library.")],
) -> None:
    """Sample each operation, and print the addresses that were met, as one line of JSON."""
    host_library.library_path = lambda: library
    sampling = ctypes.CDLL(str(sampler))
    with HostEngine(workers=1) as engine:
        matrix = Matrix.random(ROWS, engine)
        every_row, column, kept = matrix.all_rows(), matrix.column(), matrix.kept()
        operations: dict[str, tuple[Callable[[], object], int]] = {
            "prove": (lambda: engine.prove(matrix.blobs), len(matrix)),
            "commit": (lambda: engine.commit(matrix.blobs), len(matrix)),
            "extend": (lambda: engine.extend(matrix.blobs), len(matrix)),
            "recover cells": (lambda: engine.recover(KEPT, kept), len(matrix)),
            "verify 128 cells": (lambda: engine.verify_cells(*every_row), len(matrix)),
            f"verify a column of {ROWS}": (lambda: engine.verify_cells(*column), 1),
        }
        found = {name: _sample(sampling, library, *operation) for name, operation in operations.items()}
    print(json.dumps(found))


def _sample(
    sampling: ctypes.CDLL, library: Path, work: Callable[[], object], units: int
) -> dict[str, object]:
    """Milliseconds a unit, and the stacks: addresses in the library's file, innermost first."""
    work()
    mapped = _mapped(library)
    if sampling.sampler_start(PERIOD_US):
        raise OSError("the system gives no timer")
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        work()
        calls += 1
    taken = time.perf_counter() - started
    at = ctypes.POINTER(ctypes.c_uint64)()
    count = sampling.sampler_stop(ctypes.byref(at))
    addresses = np.ctypeslib.as_array(at, shape=(count, DEPTH)).astype(np.int64)
    # A return address belongs to the call before it.
    addresses[:, 1:] -= 1
    stacks = [[a - mapped.start for a in stack.tolist() if a in mapped] for stack in addresses]
    return {"ms": 1000 * taken / calls / units, "stacks": stacks}


def _mapped(library: Path) -> range:
    """Where the library is in this process."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(library))]
    ranges = [[int(part, 16) for part in line.split()[0].split("-")] for line in lines]
    return range(min(low for low, _ in ranges), max(high for _, high in ranges))


if __name__ == "__main__":
    typer.run(main)
