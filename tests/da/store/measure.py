"""Measures the embedded store: `python -m tests.da.store.measure DIRECTORY`. No test; figures go to the docs.

Each figure is the median of `n` after a warm-up, and what was read or written is checked. The directory
should lie on the disk that matters; it is removed at the end.
"""

from __future__ import annotations

import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from da.protocol.push import RECORD_BYTES
from da.store.base import Bytes8
from da.store.embedded import EmbeddedStore
from tests.da.store.support import DISPERSER, Batch, make_batch


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _put(store: EmbeddedStore, batch: Batch, matrix: Bytes8) -> None:
    columns = ((column, matrix[column]) for column in range(128))
    store.put_batch(batch.proposal, columns)


def measure_puts(store: EmbeddedStore, rows: int, n: int) -> Batch:
    """Prints the time of putting all 128 columns; the last batch."""
    matrix = np.random.default_rng(1).integers(0, 256, (128, rows, RECORD_BYTES), dtype=np.uint8)
    latest = store.latest(DISPERSER)
    first = 1 if latest is None else latest.header.height + 1
    batches = [make_batch(first + number, rows) for number in range(n + 1)]
    times = [_timed(lambda batch=batch: _put(store, batch, matrix)) for batch in batches][1:]
    last = batches[-1]
    assert np.array_equal(store.read_column(last.hash, 77), matrix[77])
    megabytes = matrix.nbytes / 1e6
    print(
        f"put_batch {megabytes:.1f} MB ({rows} rows x 128 columns), n={n}: "
        f"{median(times) * 1e3:.1f} ms median, {max(times) * 1e3:.1f} ms max, "
        f"{megabytes / median(times):.0f} MB/s"
    )
    return last


def measure_reads(store: EmbeddedStore, batch: Batch, threads: int, at_once: int) -> None:
    """Prints records a second at random places, from the page cache."""
    rng = np.random.default_rng(2)
    rows = batch.header.row_count
    pairs = [(int(row), int(column)) for row, column in rng.integers(0, (rows, 128), (20_000, 2))]
    calls = [pairs[start : start + at_once] for start in range(0, len(pairs), at_once)]

    def read() -> None:
        for call in calls:
            assert None not in store.read_records(batch.hash, call)

    def read_all() -> None:
        workers = [threading.Thread(target=read) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    read()
    rates = [threads * len(pairs) / _timed(read_all) for _ in range(5)]
    print(f"read_records, {threads} thread(s), {at_once} a call, n=5: {median(rates):,.0f} records/s")


def measure_opening(directory: Path, batches: int) -> None:
    """Prints the time to open a store of many small batches, and to rebuild its index."""
    store = EmbeddedStore(directory, reserve_bytes=0)
    for height in range(1, batches + 1):
        make_batch(height, 1).put(store, (0,))
    store.close()
    opened: list[EmbeddedStore] = []

    def open_it() -> None:
        opened.append(EmbeddedStore(directory, reserve_bytes=0))

    elapsed = _timed(open_it)
    assert opened[0].findings == ()
    rebuilding = _timed(opened[0].rebuild_index)
    opened[0].close()
    print(f"{batches} batches: opened in {elapsed * 1e3:.0f} ms, index rebuilt in {rebuilding * 1e3:.0f} ms")


def main() -> None:
    root = Path(sys.argv[1])
    print(
        f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}"
    )
    try:
        store = EmbeddedStore(root / "store", reserve_bytes=0)
        measure_puts(store, 8, 100)
        batch = measure_puts(store, 250, 9)
        for threads, at_once in ((1, 1), (1, 32), (2, 1)):
            measure_reads(store, batch, threads, at_once)
        store.close()
        measure_opening(root / "many", 5000)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
