"""The peer of the engines: ckzg called directly, one row at a time, as its Python binding offers it.

In one process for one core; its binding holds the GIL, so all cores are one process each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Final

import ckzg

from kzg import trusted_setup

PRECOMPUTE: Final = 8
Verification = tuple[list[bytes], list[int], list[bytes], list[bytes]]
"""Commitments, indices, cells and proofs, one of each to a cell."""
Recovery = tuple[list[int], list[bytes]]
"""Indices and cells of what is known of a row."""

_setup: Any = None


def load_setup(precompute: int) -> None:
    """The trusted setup, for all calls of this process."""
    global _setup
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(trusted_setup.load().to_text())
        file.flush()
        _setup = ckzg.load_trusted_setup(file.name, precompute)


def commit(blob: bytes) -> bytes:
    return bytes(ckzg.blob_to_kzg_commitment(blob, _setup))


def extend(blob: bytes) -> bytes:
    return b"".join(ckzg.compute_cells(blob, _setup))


def prove_row(blob: bytes) -> tuple[bytes, bytes]:
    cells, proofs = ckzg.compute_cells_and_kzg_proofs(blob, _setup)
    return b"".join(cells), b"".join(proofs)


def verify(task: Verification) -> bool:
    return bool(ckzg.verify_cell_kzg_proof_batch(*task, _setup))


def recover(task: Recovery) -> tuple[bytes, bytes]:
    cells, proofs = ckzg.recover_cells_and_kzg_proofs(*task, _setup)
    return b"".join(cells), b"".join(proofs)


def each(function: Callable[[Any], object], inputs: list[Any]) -> None:
    """Calls a function of this module with each input; the answers stay in this process."""
    for one in inputs:
        function(one)


class Processes:
    """One process a core, each with the setup."""

    def __init__(self) -> None:
        self.count = len(os.sched_getaffinity(0))
        self._pool = ProcessPoolExecutor(
            self.count, get_context("spawn"), initializer=load_setup, initargs=(PRECOMPUTE,)
        )

    def run(self, function: Callable[[Any], object], inputs: list[Any]) -> None:
        """Deals the inputs out, as evenly as they go, and waits for all."""
        parts = [inputs[i :: self.count] for i in range(self.count)]
        list(self._pool.map(partial(each, function), filter(None, parts)))

    def close(self) -> None:
        self._pool.shutdown()
