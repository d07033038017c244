"""Verify on read beside commit: a payload's bytes against its commitments, as each reader checks them.

Peer: the engine's `commit` of the same rows on one core in the same run, which is what checking them row by
row would take. One process checks; its first check also decompresses the setup's 4096 points.
"""

from __future__ import annotations

import random
import time

import gpu
from benchmarks.measure import Table
from erasure.packing import pack
from kzg.rows import rows_match

PAYLOADS_BYTES = (120_000, 2**20, 16 * 2**20)
RUNS = 5


def run() -> list[Table]:
    """One table."""
    rng = random.Random(6)
    rows = []
    with gpu.open_engine(gpu.EngineOptions("ckzg", workers=1)) as engine:
        for size in PAYLOADS_BYTES:
            blobs = pack(rng.randbytes(size))
            commit_s, check_s = [], []
            for _ in range(RUNS):
                started = time.perf_counter()
                commitments = engine.commit(blobs)
                commit_s.append(time.perf_counter() - started)
                started = time.perf_counter()
                assert rows_match(blobs, commitments)
                check_s.append(time.perf_counter() - started)
            commit, check = sorted(commit_s)[RUNS // 2], sorted(check_s)[RUNS // 2]
            rows.append(
                (
                    f"{size:,}",
                    str(len(blobs)),
                    f"{1000 * commit:.0f} ms",
                    f"{1000 * check:.0f} ms",
                    f"{commit / check:.1f}",
                )
            )
    header = ("payload bytes", "rows", "commit, ckzg, one core", "check", "commit / check")
    return [Table("Verify on read", header, rows, f"Medians of {RUNS} runs.")]
