"""The verifying half of the `host` engine: the CPU's vector lanes (AVX-512 IFMA), and no tables for proving.

Invariants: the same bytes as every engine (`kzg.engine`); only checked, C-contiguous arrays are passed to the
library. The factors of a verification come from `secrets` at each call; see verifier.hpp for what they
protect.
Constant time is no goal: all data here is public.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from py_arkworks_bls12381 import G2Point

from erasure.columns import parity_weight_row
from erasure.constants import (
    BLS_MODULUS,
    BYTES_PER_CELL,
    BYTES_PER_FIELD_ELEMENT,
    CELLS_PER_BLOB,
    FIELD_ELEMENTS_PER_CELL,
)
from gpu.factors import distinct, random_factors, sums_of_factors
from gpu.host import library
from gpu.host.pairing import frobenius_bytes, line_bytes
from kzg import trusted_setup
from kzg.arrays import empty_cells
from kzg.checks import (
    check_cells,
    check_columns,
    check_fold_columns,
    check_fold_commitments,
    check_matrix_verification,
    check_parity_rows,
    check_points,
    check_proof_recovery,
    check_recovery,
    check_verification,
)
from kzg.constants import BYTES_PER_PROOF
from kzg.engine import Closing
from kzg.errors import EngineClosed, EngineFailed, EngineUnavailable, InvalidPoint
from kzg.memory import fails_without_memory
from kzg.recovery import column_weights
from kzg.types import Bytes, IndexArray, Indices

MAX_WORKERS: Final = 256

_NO_MEMORY_FOR_TABLES: Final = "not enough memory for its tables"
_NOISE_PER_POINT: Final = 48
_POINTS_WORTH_A_THREAD: Final = 128
"""Points to verify for each thread at least: fewer are done before another has started (0.3 ms in all)."""


@fails_without_memory
class HostVerifier(Closing):
    """The vector lanes of all cores; see `kzg.engine.Verifier` for what each method does.

    Args:
        workers: threads to a call, 1..256; None means one for each core this process may use.

    Raises:
        EngineUnavailable: it cannot run here.
    """

    name: Final = "host"

    def __init__(self, *, workers: int | None = None) -> None:
        reason = library.available()
        if reason is not None:
            raise EngineUnavailable(self.name, reason)
        if workers is None:
            workers = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
        if not 1 <= workers <= MAX_WORKERS:
            raise ValueError(f"workers must be in 1..{MAX_WORKERS}, got {workers}")
        self._workers = workers
        self._process = os.getpid()
        self._idle = threading.Condition()
        self._calls: set[object] = set()
        self._closed = False
        self._library = library.load()
        try:
            self._handle = self._open()
        except MemoryError as error:
            raise EngineUnavailable(self.name, _NO_MEMORY_FOR_TABLES) from error
        self._description: dict[str, object] = {
            "engine": self.name,
            "workers": workers,
            "table_bytes": int(self._library.cellar_table_bytes(self._handle)),
        }

    def _open(self) -> int:
        setup = trusted_setup.load()
        tau64 = G2Point.from_compressed_bytes(setup.g2_monomial[FIELD_ELEMENTS_PER_CELL].tobytes())
        arrays = (
            np.ascontiguousarray(setup.g1_monomial[:FIELD_ELEMENTS_PER_CELL]),
            scalar_bytes([secrets.randbelow(BLS_MODULUS) for _ in range(8)]),
            line_bytes(tau64, G2Point()),
            frobenius_bytes(),
        )
        prover, kept = self._prover_setup()
        arguments = library.EngineSetup(
            *(at(array) for array in arrays), None if prover is None else ctypes.pointer(prover)
        )
        handle = self._library.cellar_open(ctypes.byref(arguments), self._workers)
        del kept  # the arrays that the prover's setup points to
        if not handle:
            raise EngineUnavailable(self.name, _NO_MEMORY_FOR_TABLES)
        return int(handle)

    def _prover_setup(self) -> tuple[library.ProverSetup | None, object]:
        """What a prover's tables are built from, and the arrays that it points to."""
        return None, ()

    def describe(self) -> dict[str, object]:
        return dict(self._description)

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells = empty_cells(len(cells))
        self._recover(indices, cells, all_cells, None)
        return all_cells

    def _recover(self, indices: IndexArray, cells: Bytes, all_cells: Bytes, proofs: Bytes | None) -> None:
        known = indices.astype(np.int32)
        with self._call() as handle:
            status = self._library.cellar_recover(
                handle,
                at(known),
                len(known),
                at(cells),
                len(cells),
                at(all_cells),
                None if proofs is None else at(proofs),
                self._workers,
            )
        self._check(status)

    def recover_proofs(self, cell_indices: Indices, proofs: Bytes, wanted: Indices) -> Bytes:
        indices, proofs, columns = check_proof_recovery(cell_indices, proofs, wanted)
        weights = column_weights(tuple(indices[:CELLS_PER_BLOB].tolist()), tuple(columns.tolist()))
        weights_bytes = scalar_bytes([weight for of_column in weights for weight in of_column])
        recovered = np.empty((len(proofs), len(columns), BYTES_PER_PROOF), dtype=np.uint8)
        with self._call():
            pass  # a closed engine answers nothing, not even for no rows
        for row, of_row in enumerate(proofs):
            known = np.ascontiguousarray(of_row[:CELLS_PER_BLOB])
            position = self._combine(known, weights_bytes, recovered[row])
            if position is not None:
                raise InvalidPoint("proof", row * len(indices) + position)
        return recovered

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        commitments, columns, cells, proofs = check_verification(commitments, cell_indices, cells, proofs)
        if not len(columns):
            with self._call():
                return True

        first, row = distinct(commitments)
        factors = random_factors(len(columns))
        weights = sums_of_factors(factors, row, len(first))
        try:
            return self._verify(
                np.ascontiguousarray(commitments[first]), weights, factors, columns, cells, proofs
            )
        except InvalidPoint as error:
            if error.name != "commitment":
                raise
            raise InvalidPoint(error.name, int(first[error.position])) from None

    def verify_matrix_cells(
        self, commitments: Bytes, row_indices: Indices, cell_indices: Indices, cells: Bytes, proofs: Bytes
    ) -> bool:
        commitments, rows, columns, cells, proofs = check_matrix_verification(
            commitments, row_indices, cell_indices, cells, proofs
        )
        if not len(columns):
            with self._call():
                return True

        count = len(commitments)
        factors = random_factors(len(columns))
        sums = sums_of_factors(factors, rows, 2 * count)
        totals = sums[:count]
        for j in sorted(set(rows[rows >= count].tolist())):
            parity = parity_weight_row(count, j - count)
            totals = [total + sums[j] * weight for total, weight in zip(totals, parity, strict=True)]
        return self._verify(commitments, totals, factors, columns, cells, proofs)

    def _verify(
        self,
        commitments: Bytes,
        weights: list[int],
        factors: np.ndarray[Any, np.dtype[np.uint32]],
        columns: IndexArray,
        cells: Bytes,
        proofs: Bytes,
    ) -> bool:
        """The equation of verifier.hpp: weights[c] of commitment c, factors[k] of cell k."""
        weights_bytes = scalar_bytes([weight % BLS_MODULUS for weight in weights])
        columns32 = columns.astype(np.int32)
        batch = library.CellBatch(
            commitments.ctypes.data,
            weights_bytes.ctypes.data,
            len(commitments),
            columns32.ctypes.data,
            cells.ctypes.data,
            proofs.ctypes.data,
            factors.ctypes.data,
            _noise(len(commitments), len(columns)),
            len(columns),
        )
        valid, position = ctypes.c_int(0), ctypes.c_int(0)
        threads = min(self._workers, max(1, (len(commitments) + len(proofs)) // _POINTS_WORTH_A_THREAD))
        with self._call() as handle:
            status = self._library.cellar_verify(
                handle, ctypes.byref(batch), ctypes.byref(valid), ctypes.byref(position), threads
            )
        if status == library.BAD_COMMITMENT:
            raise InvalidPoint("commitment", position.value)
        if status == library.BAD_PROOF:
            raise InvalidPoint("proof", position.value)
        if status == library.INVALID:
            check_cells(cells)
        self._check(status)
        return bool(valid.value)

    def parity_cells(self, cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
        cells = check_columns(cells)
        height, width = cells.shape[:2]
        rows = check_parity_rows(parity_rows, height)
        out = np.empty_like(cells)
        with self._call() as handle:
            status = library.OK
            if cells.size:
                status = self._library.cellar_parity(
                    handle, at(cells), height, width * BYTES_PER_CELL, at(out), self._workers
                )
        if status == library.INVALID:
            check_cells(cells.reshape(-1, BYTES_PER_CELL))
        self._check(status)
        # All of them are made at once, by transforms: a single one would cost as much.
        return out if parity_rows is None else out[rows]

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        proofs = check_points("proofs", proofs)
        count = len(proofs)
        rows = check_parity_rows(parity_rows, count)
        sums = np.empty((len(rows), BYTES_PER_PROOF), dtype=np.uint8)
        weights = scalar_bytes([weight for row in rows.tolist() for weight in parity_weight_row(count, row)])
        position = self._combine(proofs, weights, sums)
        if position is not None:
            raise InvalidPoint("proof", position)
        return sums

    def fold_columns(self, cells: Bytes, proofs: Bytes, scalars: Bytes) -> tuple[Bytes, Bytes]:
        cells, proofs, scalars = check_fold_columns(cells, proofs, scalars)
        folds, rows = cells.shape[:2]
        folded = np.empty((folds, BYTES_PER_CELL), dtype=np.uint8)
        with self._call() as handle:
            status = self._library.cellar_fold(
                handle, at(cells), at(scalars), rows, folds, at(folded), self._workers
            )
        if status == library.INVALID:
            check_cells(cells.reshape(-1, BYTES_PER_CELL))
        self._check(status)
        sums = np.empty((folds, BYTES_PER_PROOF), dtype=np.uint8)
        for fold, of_column in enumerate(proofs):
            position = self._combine(of_column, scalars[fold], sums[fold : fold + 1])
            if position is not None:
                raise InvalidPoint("proof", fold * proofs.shape[1] + position)
        return folded, sums

    def fold_commitments(self, commitments: Bytes, scalars: Bytes) -> Bytes:
        commitments, scalars = check_fold_commitments(commitments, scalars)
        sums = np.empty((len(scalars), BYTES_PER_PROOF), dtype=np.uint8)
        position = self._combine(commitments, scalars, sums)
        if position is not None:
            raise InvalidPoint("commitment", position)
        return sums

    def _combine(self, points: Bytes, weights: Bytes, sums: Bytes) -> int | None:
        """Fills u8[m, 48] with weighted sums of u8[k, 48]; the position of the first malformed point, if any.

        weights: u8[..., 32] or u8[..., 16], big-endian, a row of k for each sum.
        """
        position = ctypes.c_int(0)
        with self._call() as handle:
            if not len(sums):
                return None
            status = self._library.cellar_combine(
                handle,
                at(points),
                len(points),
                at(weights),
                weights.shape[-1],
                len(sums),
                _noise(len(points)),
                at(sums),
                ctypes.byref(position),
                self._workers,
            )
        if status == library.BAD_PROOF:
            return position.value
        self._check(status)
        return None

    def close(self) -> None:
        if self._process != os.getpid():
            return  # a fork's copy: its tables end with the process, and its lock may be held permanently
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._library.cellar_stop(self._handle)
            self._idle.wait_for(lambda: not self._calls)
        self._library.cellar_close(self._handle)

    @contextlib.contextmanager
    def _call(self) -> Iterator[int]:
        """The handle, which stays valid while the block runs.

        Raises:
            EngineClosed: closed, or this process is a fork of the one that opened it.
        """
        if self._process != os.getpid():
            raise EngineClosed("the engine belongs to another process")
        call = object()
        try:  # a KeyboardInterrupt anywhere in here must not leave a call behind that `close` waits for
            with self._idle:
                if self._closed:
                    raise EngineClosed("the engine is closed")
                self._calls.add(call)
            yield self._handle
        finally:
            with self._idle:
                self._calls.discard(call)
                self._idle.notify_all()

    def _check(self, status: int) -> None:
        """Raises what a status other than OK means, once invalid input is ruled out."""
        if status == library.STOPPED:
            raise EngineClosed("the engine was closed during this call")
        if status == library.NO_MEMORY:
            raise EngineFailed("not enough memory for this call")
        if status == library.COLLISION:
            raise EngineFailed("points coincided that must not (a chance of 2^-240); retry the call")
        if status != library.OK:
            raise EngineFailed("the input changed during this call")


def at(array: np.ndarray[Any, Any]) -> int:
    assert array.flags.c_contiguous
    return int(array.ctypes.data)


def scalar_bytes(values: list[int]) -> Bytes:
    """u8[n, 32], big-endian."""
    joined = b"".join(value.to_bytes(BYTES_PER_FIELD_ELEMENT, "big") for value in values)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, BYTES_PER_FIELD_ELEMENT).copy()


def _noise(*counts: int) -> bytes:
    """Random bytes for the membership test of lists of points, each filled up to whole vectors."""
    return secrets.token_bytes(_NOISE_PER_POINT * sum(-(-count // 8) * 8 for count in counts))
