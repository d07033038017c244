"""The engines beside plain c-kzg: extend, commit, prove, verify, recover, per row.

Peer: ckzg called directly with precompute 8, in this process for one core, and in one process a core for all
cores (its Python binding holds the GIL). The same rows, and every result compared before anything is timed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import ckzg
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Table, in_turns
from erasure.constants import BYTES_PER_BLOB, BYTES_PER_CELL, CELLS_PER_EXT_BLOB
from gpu import open_engine
from gpu.select import ENGINE_NAMES, why_not
from kzg import trusted_setup
from kzg.engine import Engine
from kzg.errors import EngineUnavailable

Bytes = NDArray[np.uint8]
PRECOMPUTE = 8
COLUMN_ROWS = 64
NOTE = (
    "Milliseconds a row: median (fastest-slowest). `host` and `ckzg` are the engines as a node opens"
    " them, on all cores and on one; best ratio is c-kzg on one core over the fastest column. `cuda`: not"
    " measured, no GPU here."
)
_setup: Any = None


def load_setup(precompute: int) -> None:
    global _setup
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(trusted_setup.load().to_text())
        file.flush()
        _setup = ckzg.load_trusted_setup(file.name, precompute)


def _commit(blob: bytes) -> bytes:
    return bytes(ckzg.blob_to_kzg_commitment(blob, _setup))


def _extend(blob: bytes) -> bytes:
    return b"".join(ckzg.compute_cells(blob, _setup))


def prove_row(blob: bytes) -> tuple[bytes, bytes]:
    cells, proofs = ckzg.compute_cells_and_kzg_proofs(blob, _setup)
    return b"".join(cells), b"".join(proofs)


def _verify(task: tuple[list[bytes], list[int], list[bytes], list[bytes]]) -> bool:
    return bool(ckzg.verify_cell_kzg_proof_batch(*task, _setup))


def _recover(task: tuple[list[int], list[bytes]]) -> tuple[bytes, bytes]:
    cells, proofs = ckzg.recover_cells_and_kzg_proofs(*task, _setup)
    return b"".join(cells), b"".join(proofs)


@dataclass(frozen=True)
class Matrix:
    """Random rows with everything that the operations take."""

    blobs: Bytes
    commitments: Bytes
    cells: Bytes
    proofs: Bytes

    @classmethod
    def random(cls, rows: int, engine: Engine) -> Matrix:
        rng = np.random.default_rng(7594)
        blobs = rng.integers(0, 256, (rows, BYTES_PER_BLOB), dtype=np.uint8)
        blobs.reshape(rows, -1, 32)[:, :, 0] &= 0x3F
        return cls(blobs, engine.commit(blobs), *engine.prove(blobs))

    def head(self, rows: int) -> Matrix:
        return Matrix(self.blobs[:rows], self.commitments[:rows], self.cells[:rows], self.proofs[:rows])


KEPT = np.arange(0, CELLS_PER_EXT_BLOB, 2)


def _row_verification(m: Matrix, row: int) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    commitments = np.repeat(m.commitments[row : row + 1], CELLS_PER_EXT_BLOB, axis=0)
    return commitments, np.arange(CELLS_PER_EXT_BLOB), m.cells[row], m.proofs[row]


def _column_verification(m: Matrix) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    column = np.full(len(m.cells), 77)
    return m.commitments, column, np.ascontiguousarray(m.cells[:, 77]), np.ascontiguousarray(m.proofs[:, 77])


def _as_lists(
    task: tuple[Bytes, Bytes, Bytes, Bytes],
) -> tuple[list[bytes], list[int], list[bytes], list[bytes]]:
    commitments, indices, cells, proofs = task
    return (
        [bytes(c) for c in commitments],
        [int(i) for i in indices],
        [bytes(c) for c in cells],
        [bytes(p) for p in proofs],
    )


def _check(engine: Engine, m: Matrix) -> None:
    """Every operation of `engine` against plain ckzg on the same rows."""
    blob = m.blobs[0].tobytes()
    cells, proofs = prove_row(blob)
    assert m.commitments[0].tobytes() == _commit(blob), engine.name
    assert (m.cells[0].tobytes(), m.proofs[0].tobytes()) == (cells, proofs), engine.name
    assert engine.extend(m.blobs[:1]).tobytes() == cells == _extend(blob), engine.name
    assert engine.commit(m.blobs[:1]).tobytes() == _commit(blob), engine.name
    ours = engine.prove(m.blobs[:1])
    assert (ours[0].tobytes(), ours[1].tobytes()) == (cells, proofs), engine.name
    kept = np.ascontiguousarray(m.cells[:1, KEPT])
    assert engine.recover(KEPT, kept).tobytes() == cells, engine.name
    assert engine.recover_with_proofs(KEPT, kept)[1].tobytes() == proofs, engine.name
    task = _row_verification(m, 0)
    assert engine.verify_cells(*task), engine.name
    assert _verify(_as_lists(task))
    wrong = task[2].copy()
    wrong[3, BYTES_PER_CELL - 1] ^= 1
    assert not engine.verify_cells(task[0], task[1], wrong, task[3]), engine.name


@contextmanager
def _engines() -> Iterator[dict[str, Engine]]:
    opened: dict[str, Engine] = {}
    try:
        for name in ENGINE_NAMES[1:]:
            if name != "ckzg" and why_not(name) is not None:
                continue
            try:
                opened[name] = open_engine(name)
                opened[f"{name}, 1 core"] = open_engine(name, workers=1)
            except EngineUnavailable as error:
                print(f"{name}: {error}")
        yield opened
    finally:
        for engine in opened.values():
            engine.close()


def run(batches: tuple[int, ...] = (1, 16)) -> list[Table]:
    """One table."""
    cores = len(os.sched_getaffinity(0))
    load_setup(PRECOMPUTE)
    pool = ProcessPoolExecutor(cores, get_context("spawn"), initializer=load_setup, initargs=(PRECOMPUTE,))
    rows: list[tuple[str, ...]] = []
    with pool, _engines() as engines:
        matrix = Matrix.random(max(*batches, COLUMN_ROWS), next(iter(engines.values())))
        for engine in engines.values():
            _check(engine, matrix)
        for count in batches:
            rows += _measure(matrix.head(count), engines, pool)
        rows.append(_measure_column(matrix.head(COLUMN_ROWS), engines))
    names = list(engines)
    header = ("operation, ms a row", "rows", "c-kzg, 1 core", f"c-kzg, {cores} cores", *names, "best ratio")
    return [Table("Engines", header, rows, NOTE)]


def _measure(m: Matrix, engines: dict[str, Engine], pool: ProcessPoolExecutor) -> list[tuple[str, ...]]:
    count = len(m.blobs)
    blobs = [blob.tobytes() for blob in m.blobs]
    kept = np.ascontiguousarray(m.cells[:, KEPT])
    recoveries = [([int(i) for i in KEPT], [bytes(c) for c in row]) for row in kept]
    checks = [_row_verification(m, row) for row in range(count)]
    merged = tuple(np.concatenate([check[i] for check in checks]) for i in range(4))
    operations: dict[str, tuple[Callable[[Any], object], list[Any], Callable[[Engine], object]]] = {
        "extend": (_extend, blobs, lambda e: e.extend(m.blobs)),
        "commit": (_commit, blobs, lambda e: e.commit(m.blobs)),
        "prove": (prove_row, blobs, lambda e: e.prove(m.blobs)),
        "verify 128 cells": (_verify, [_as_lists(c) for c in checks], lambda e: e.verify_cells(*merged)),
        "recover cells": (_recover, recoveries, lambda e: e.recover(KEPT, kept)),
        "recover cells and proofs": (_recover, recoveries, lambda e: e.recover_with_proofs(KEPT, kept)),
    }
    out = []
    for name, (peer, tasks, ours) in operations.items():
        # A peer row costs the same each time: a few of many rows are enough for its median on one core.
        sample = tasks[: min(count, 4)]
        subjects: dict[str, Callable[[], object]] = {
            "peer": lambda peer=peer, sample=sample: [peer(task) for task in sample],
            "peer, all": lambda peer=peer, tasks=tasks: list(pool.map(peer, tasks)),
            **{label: lambda e=engine, ours=ours: ours(e) for label, engine in engines.items()},
        }
        times = in_turns(subjects)
        per_row = {
            label: t.median_s / (len(sample) if label == "peer" else count) for label, t in times.items()
        }
        best = max(per_row["peer"] / per_row[label] for label in engines)
        figures = [times[label].each_ms(count) for label in ("peer, all", *engines)]
        out.append((name, str(count), times["peer"].each_ms(len(sample)), *figures, f"{best:.1f}x"))
    return out


def _measure_column(m: Matrix, engines: dict[str, Engine]) -> tuple[str, ...]:
    task = _column_verification(m)
    lists = _as_lists(task)
    assert _verify(lists)
    subjects: dict[str, Callable[[], object]] = {
        "peer": lambda: _verify(lists),
        **{label: lambda e=engine: e.verify_cells(*task) for label, engine in engines.items()},
    }
    times = in_turns(subjects, runs=9)
    best = max(times["peer"].median_s / times[label].median_s for label in engines)
    figures = [times[label].each_ms() for label in engines]
    return (
        f"verify a column of {len(m.blobs)}, whole",
        "1",
        times["peer"].each_ms(),
        "-",
        *figures,
        f"{best:.1f}x",
    )
