"""A peer for the devnet's figures: the rows of a payload, proved by plain c-kzg calls on all cores.

What a disperser cannot do without, made of plain parts and nothing else: no HTTP, no disk, no members.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.peer import PRECOMPUTE, load_setup, prove_row
from erasure.packing import pack


def prove_s(payloads: list[bytes]) -> list[float]:
    """Seconds that plain c-kzg takes for cells and proofs of each payload's rows."""
    cores = len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(cores, get_context("spawn"), initializer=load_setup, initargs=(PRECOMPUTE,))
    taken = []
    with pool:
        list(pool.map(prove_row, [pack(b"warm-up").tobytes()] * cores))
        for payload in payloads:
            rows = [row.tobytes() for row in pack(payload)]
            started = time.perf_counter()
            list(pool.map(prove_row, rows))
            taken.append(time.perf_counter() - started)
    return taken
