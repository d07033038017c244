"""Continuing with another engine when the first breaks down while it runs.

A device can disappear in the middle of a batch. By itself that fails the batch, and every one after it,
clearly. A program that would rather be slow than stopped names the engine to continue with: the batch that
failed is computed again there, and so is everything after it, until the program restarts. The change is
logged, counted, and reported by `describe`.

Invariants: results are those of either engine, which are the same bytes; only EngineFailed changes the
engine, never bad input. Does not: try the first engine again, or hide that it failed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from kzg.engine import Closing, Engine, Verifier
from kzg.errors import EngineClosed, EngineFailed
from kzg.types import Bytes, Indices

logger = logging.getLogger("cellar.engine")
T = TypeVar("T")
V = TypeVar("V", bound=Verifier)


class _Fallback(Closing, Generic[V]):
    """`first` until it fails, then what `open_second` opens. Both are closed with it."""

    def __init__(self, first: V, open_second: Callable[[], V]) -> None:
        self._first = first
        self._open_second = open_second
        self._process = os.getpid()
        self._second: V | None = None
        self._reason = ""
        self._closed = False
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The engine that works now."""
        return (self._second or self._first).name

    @property
    def fallbacks(self) -> int:
        """How often the engine changed: 0 or 1."""
        return int(self._second is not None)

    def describe(self) -> dict[str, object]:
        if self._second is None:
            return self._first.describe()
        return {**self._second.describe(), "fallback_from": self._first.name, "fallback_reason": self._reason}

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        return self._run(lambda engine: engine.verify_cells(commitments, cell_indices, cells, proofs))

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        return self._run(lambda engine: engine.recover(cell_indices, cells))

    def recover_proofs(self, cell_indices: Indices, proofs: Bytes, wanted: Indices) -> Bytes:
        return self._run(lambda engine: engine.recover_proofs(cell_indices, proofs, wanted))

    def parity_cells(self, cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
        return self._run(lambda engine: engine.parity_cells(cells, parity_rows))

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        return self._run(lambda engine: engine.parity_proofs(proofs, parity_rows))

    def verify_matrix_cells(
        self, commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
    ) -> bool:
        return self._run(
            lambda engine: engine.verify_matrix_cells(commitments, row_indices, cell_indices, cells, proofs)
        )

    def fold_columns(self, cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
        return self._run(lambda engine: engine.fold_columns(cells, proofs, scalars))

    def fold_commitments(self, commitments: Bytes, scalars: Bytes) -> Bytes:
        return self._run(lambda engine: engine.fold_commitments(commitments, scalars))

    def close(self) -> None:
        if self._process != os.getpid():
            return  # a fork's copy: the engines are not its own, and the lock may be held permanently
        with self._lock:
            self._closed = True
            second = self._second
        self._first.close()
        if second is not None:
            second.close()

    def _run(self, call: Callable[[V], T]) -> T:
        engine = self._second or self._first
        try:
            return call(engine)
        except EngineFailed as error:
            if engine is not self._first:
                raise
            return call(self._fall_back(error))

    def _fall_back(self, error: EngineFailed) -> V:
        """The second engine, opened by whichever call fails first."""
        if self._process != os.getpid():
            raise EngineClosed("the engine belongs to another process") from error
        with self._lock:
            if self._closed:
                raise EngineClosed("the engine was closed") from error
            if self._second is None:
                second = self._open_second()
                self._reason = str(error)
                self._second = second
                logger.error(
                    "engine %s failed (%s); continuing with %s until the program restarts",
                    self._first.name,
                    error,
                    second.name,
                )
            return self._second


class FallbackVerifier(_Fallback[Verifier]):
    """A verifier that continues with another when it fails; see `kzg.engine.Verifier`."""


class FallbackEngine(_Fallback[Engine]):
    """An engine that continues with another when it fails; see `kzg.engine.Engine`."""

    def commit(self, blobs: Bytes) -> Bytes:
        return self._run(lambda engine: engine.commit(blobs))

    def extend(self, blobs: Bytes) -> Bytes:
        return self._run(lambda engine: engine.extend(blobs))

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        return self._run(lambda engine: engine.prove(blobs))

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        return self._run(lambda engine: engine.recover_with_proofs(cell_indices, cells))
