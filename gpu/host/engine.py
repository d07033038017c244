"""The `host` engine: the kernels in the CPU's vector lanes (AVX-512 IFMA), from a shared library beside this
module.

The library is built when the package is installed on an x86-64 machine with a C++ compiler; `available()`
says whether it is there and whether this processor can run it. Calls go through ctypes, which releases
the GIL; the library spreads rows over threads that live as long as the call, and where there are fewer rows
than threads, the proofs of a row. Rows come in groups of 8 where there are that many, each in a lane of its
own: the tables are then read once for all of them. Tables are made when the engine opens, from the trusted
setup.

Invariants: the same bytes as every engine (`kzg.engine`); nothing but checked, C-contiguous arrays
crosses into the library. Constant time is no goal: all data here is public.

Blinding scalars come from `secrets` when the engine opens, and the factors of a verification at each
call; see `host/prover.hpp` and `host/verifier.hpp` for what they protect.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from py_arkworks_bls12381 import G2Point

import gpu.host
from erasure.columns import parity_weight_row
from erasure.constants import (
    BLS_MODULUS,
    BYTES_PER_BLOB,
    BYTES_PER_CELL,
    BYTES_PER_FIELD_ELEMENT,
    CELLS_PER_EXT_BLOB,
)
from gpu.convolution import proof_transform, root_digits
from gpu.factors import distinct, random_factors, sums_of_factors
from gpu.host.folding import matrix_digits
from gpu.host.pairing import frobenius_bytes, line_bytes
from kzg import trusted_setup
from kzg.checks import (
    check_blobs,
    check_bytes,
    check_cell_indices,
    check_cells,
    check_columns,
    check_matrix_verification,
    check_parity_rows,
    check_points,
    check_recovery,
)
from kzg.constants import BYTES_PER_COMMITMENT, BYTES_PER_PROOF
from kzg.engine import Closing
from kzg.errors import (
    EngineClosed,
    EngineFailed,
    EngineUnavailable,
    InvalidPoint,
    LengthMismatch,
)
from kzg.memory import fails_without_memory
from kzg.types import Bytes, IndexArray, Indices

TABLES: Final = {"small": (128, 8, 8), "medium": (64, 10, 10), "large": (64, 11, 11)}
"""Comb positions and window of the proofs' table, and window of the commitments': 18, 90 and 153 MiB."""

MAX_WORKERS: Final = 256

_LIBRARY_NAME: Final = "cellar_host.so"
_OK, _INVALID, _STOPPED, _NO_MEMORY, _COLLISION, _BAD_COMMITMENT, _BAD_PROOF = range(7)
_NO_MEMORY_FOR_TABLES: Final = "there is not enough memory for its tables"
_NOISE_PER_POINT: Final = 48
_POINTS_WORTH_A_THREAD: Final = 128
"""Points to verify for each thread at least: fewer are done before another has started (0.3 ms in all)."""

Pointer = ctypes.c_void_p


class _Setup(ctypes.Structure):
    """`EngineSetup` of host/engine.hpp."""

    _fields_ = (
        ("lagrange", Pointer),
        ("monomial", Pointer),
        ("matrix_digits", Pointer),
        ("root_digits", Pointer),
        ("blinding", Pointer),
        ("blinding_image", Pointer),
        ("random", Pointer),
        ("lines", Pointer),
        ("frobenius", Pointer),
        ("t", ctypes.c_int),
        ("b", ctypes.c_int),
        ("commitment_b", ctypes.c_int),
    )


class _CellBatch(ctypes.Structure):
    """`CellBatch` of host/verifier.hpp."""

    _fields_ = (
        ("commitments", Pointer),
        ("weights", Pointer),
        ("commitment_count", ctypes.c_int),
        ("columns", Pointer),
        ("cells", Pointer),
        ("proofs", Pointer),
        ("factors", Pointer),
        ("noise", ctypes.c_char_p),
        ("count", ctypes.c_int),
    )


def available() -> str | None:
    """None when the engine can run here, else the reason why it cannot."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"it is made for x86-64, not {platform.machine()}"
    if _library_path() is None:
        return "it was not built: the package was installed without a C++17 compiler that knows AVX-512"
    try:
        library = _library()
    except (OSError, AttributeError) as error:
        return f"its library cannot be loaded, install the package again: {error}"
    sources = _digest_of_sources()
    if sources is not None and library.cellar_sources().decode() != sources:
        return "its library was made of other sources than these: pip install -e . makes it anew"
    missing = library.cellar_missing_feature()
    return f"the processor or the system lacks {missing.decode()}" if missing else None


def _library_path() -> Path | None:
    """Where the library is: beside this module, or, of an editable install, elsewhere; the newest one."""
    candidates = [Path(directory) / _LIBRARY_NAME for directory in gpu.host.__path__]
    return max(filter(Path.is_file, candidates), key=lambda path: path.stat().st_mtime, default=None)


def _digest_of_sources() -> str | None:
    """What the library says of itself if it is made of these sources; None where they are not installed."""
    root = Path(__file__).parents[2]
    if not (root / "gpu" / "host" / "api.cpp").is_file():
        return None
    sources = [
        *root.glob("gpu/host/*.[ch]pp"),
        *root.glob("gpu/kernels/*.cuh"),
        root / "gpu" / "constants.py",
        root / "erasure" / "constants.py",
    ]
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(sources, key=str))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_library_path()))
    c_int = ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "cellar_sources": (ctypes.c_char_p, []),
        "cellar_missing_feature": (ctypes.c_char_p, []),
        "cellar_open": (Pointer, [ctypes.POINTER(_Setup), c_int]),
        "cellar_stop": (None, [Pointer]),
        "cellar_close": (None, [Pointer]),
        "cellar_table_bytes": (ctypes.c_uint64, [Pointer]),
        "cellar_rows_redone": (ctypes.c_uint64, [Pointer]),
        "cellar_commit": (c_int, [Pointer, Pointer, c_int, Pointer, c_int]),
        "cellar_extend": (c_int, [Pointer, Pointer, c_int, Pointer, c_int]),
        "cellar_prove": (c_int, [Pointer, Pointer, c_int, Pointer, Pointer, c_int]),
        "cellar_recover": (c_int, [Pointer, Pointer, c_int, Pointer, c_int, Pointer, Pointer, c_int]),
        "cellar_verify": (
            c_int,
            [Pointer, ctypes.POINTER(_CellBatch), ctypes.POINTER(c_int), ctypes.POINTER(c_int), c_int],
        ),
        "cellar_combine": (
            c_int,
            [Pointer, Pointer, c_int, Pointer, c_int, ctypes.c_char_p, Pointer, ctypes.POINTER(c_int), c_int],
        ),
        "cellar_parity": (c_int, [Pointer, Pointer, c_int, ctypes.c_uint64, Pointer, c_int]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@fails_without_memory
class HostEngine(Closing):
    """The vector lanes of all cores; see `kzg.engine.Engine` for what each method does.

    Args:
        workers: threads to a call, 1..256; None means one for each core this process may use.
        table: "small", "medium" or "large": memory for speed, see TABLES.

    Raises:
        EngineUnavailable: it cannot run here.
    """

    name: Final = "host"

    def __init__(self, *, workers: int | None = None, table: str = "medium") -> None:
        reason = available()
        if reason is not None:
            raise EngineUnavailable(self.name, reason)
        if workers is None:
            workers = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
        if not 1 <= workers <= MAX_WORKERS:
            raise ValueError(f"workers must be in 1..{MAX_WORKERS}, got {workers}")
        if table not in TABLES:
            raise ValueError(f"table must be one of {', '.join(TABLES)}; got {table!r}")
        self._workers = workers
        self._table = table
        self._process = os.getpid()
        self._idle = threading.Condition()
        self._calls: set[object] = set()
        self._closed = False
        self._library = _library()
        try:
            self._handle = self._open()
        except MemoryError as error:
            raise EngineUnavailable(self.name, _NO_MEMORY_FOR_TABLES) from error

    def _open(self) -> int:
        setup = trusted_setup.load()
        blinding = _blinding_scalars()
        t, b, commitment_b = TABLES[self._table]
        arrays = (
            np.ascontiguousarray(setup.g1_lagrange_brp),
            np.ascontiguousarray(setup.g1_monomial),
            np.ascontiguousarray(matrix_digits()),
            np.ascontiguousarray(root_digits()),
            _in_column_order(blinding),
            _in_column_order(proof_transform(blinding)),
            _scalars([secrets.randbelow(BLS_MODULUS) for _ in range(8)]),
            line_bytes(G2Point.from_compressed_bytes(setup.g2_monomial[64].tobytes()), G2Point()),
            frobenius_bytes(),
        )
        arguments = _Setup(*(array.ctypes.data for array in arrays), t, b, commitment_b)
        handle = self._library.cellar_open(ctypes.byref(arguments), self._workers)
        if not handle:
            raise EngineUnavailable(self.name, _NO_MEMORY_FOR_TABLES)
        return int(handle)

    def describe(self) -> dict[str, object]:
        with self._call() as handle:
            return {
                "engine": self.name,
                "workers": self._workers,
                "table": self._table,
                "table_bytes": int(self._library.cellar_table_bytes(handle)),
                "rows_redone": int(self._library.cellar_rows_redone(handle)),
            }

    def commit(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        commitments = np.empty((len(blobs), BYTES_PER_COMMITMENT), dtype=np.uint8)
        with self._call() as handle:
            status = self._library.cellar_commit(
                handle, _at(blobs), len(blobs), _at(commitments), self._workers
            )
        self._check_blobs(status, blobs)
        return commitments

    def extend(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells = _empty_cells(len(blobs))
        with self._call() as handle:
            status = self._library.cellar_extend(handle, _at(blobs), len(blobs), _at(cells), self._workers)
        self._check_blobs(status, blobs)
        return cells

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells, proofs = _empty_cells(len(blobs)), _empty_proofs(len(blobs))
        with self._call() as handle:
            status = self._library.cellar_prove(
                handle, _at(blobs), len(blobs), _at(cells), _at(proofs), self._workers
            )
        self._check_blobs(status, blobs)
        return cells, proofs

    def recover(self, cell_indices: Indices, cells: Bytes) -> Bytes:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells = _empty_cells(len(cells))
        self._recover(indices, cells, all_cells, None)
        return all_cells

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells, proofs = _empty_cells(len(cells)), _empty_proofs(len(cells))
        self._recover(indices, cells, all_cells, proofs)
        return all_cells, proofs

    def _recover(self, indices: IndexArray, cells: Bytes, all_cells: Bytes, proofs: Bytes | None) -> None:
        known = indices.astype(np.int32)
        with self._call() as handle:
            status = self._library.cellar_recover(
                handle,
                _at(known),
                len(known),
                _at(cells),
                len(cells),
                _at(all_cells),
                None if proofs is None else _at(proofs),
                self._workers,
            )
        self._check(status)

    def verify_cells(self, commitments: Bytes, cell_indices: Indices, cells: Bytes, proofs: Bytes) -> bool:
        commitments = check_bytes("commitments", commitments, (None, BYTES_PER_COMMITMENT))
        columns = check_cell_indices(cell_indices)
        cells = check_bytes("cells", cells, (None, BYTES_PER_CELL))
        proofs = check_bytes("proofs", proofs, (None, BYTES_PER_PROOF))
        for name, actual in (("commitments", commitments), ("cells", cells), ("proofs", proofs)):
            if len(actual) != len(columns):
                raise LengthMismatch(name, len(actual), len(columns))
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
        """The equation of host/verifier.hpp: weights[c] of commitment c, factors[k] of cell k."""
        weights_bytes = _scalars([weight % BLS_MODULUS for weight in weights])
        columns32 = columns.astype(np.int32)
        batch = _CellBatch(
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
        if status == _BAD_COMMITMENT:
            raise InvalidPoint("commitment", position.value)
        if status == _BAD_PROOF:
            raise InvalidPoint("proof", position.value)
        if status == _INVALID:
            check_cells(cells)
        self._check(status)
        return bool(valid.value)

    def parity_cells(self, cells: Bytes, parity_rows: Indices | None = None) -> Bytes:
        cells = check_columns(cells)
        height, width = cells.shape[:2]
        rows = check_parity_rows(parity_rows, height)
        out = np.empty_like(cells)
        with self._call() as handle:
            status = _OK
            if cells.size:
                status = self._library.cellar_parity(
                    handle, _at(cells), height, width * BYTES_PER_CELL, _at(out), self._workers
                )
        if status == _INVALID:
            check_cells(cells.reshape(-1, BYTES_PER_CELL))
        self._check(status)
        # All of them are made at once, by transforms: a single one would cost as much.
        return out if parity_rows is None else out[rows]

    def parity_proofs(self, proofs: Bytes, parity_rows: Indices | None = None) -> Bytes:
        proofs = check_points("proofs", proofs)
        count = len(proofs)
        rows = check_parity_rows(parity_rows, count)
        sums = np.empty((len(rows), BYTES_PER_PROOF), dtype=np.uint8)
        if not len(rows):
            with self._call():
                return sums
        weights = _scalars([weight for row in rows.tolist() for weight in parity_weight_row(count, row)])
        position = ctypes.c_int(0)
        with self._call() as handle:
            status = self._library.cellar_combine(
                handle,
                _at(proofs),
                count,
                _at(weights),
                len(rows),
                _noise(count),
                _at(sums),
                ctypes.byref(position),
                self._workers,
            )
        if status == _BAD_PROOF:
            raise InvalidPoint("proof", position.value)
        self._check(status)
        return sums

    def close(self) -> None:
        if self._process != os.getpid():
            return  # a fork's copy: its tables go with the process, and its lock may be held for ever
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

    def _check_blobs(self, status: int, blobs: Bytes) -> None:
        if status == _INVALID:
            check_blobs(blobs)
        self._check(status)

    def _check(self, status: int) -> None:
        """Raises what a status other than OK means, once invalid input is ruled out."""
        if status == _STOPPED:
            raise EngineClosed("the engine was closed during this call")
        if status == _NO_MEMORY:
            raise EngineFailed("there is not enough memory for this call")
        if status == _COLLISION:
            raise EngineFailed("two points met that never should; try again")
        if status != _OK:
            raise EngineFailed("the input changed during this call")


def _at(array: np.ndarray[Any, Any]) -> int:
    assert array.flags.c_contiguous
    return int(array.ctypes.data)


def _empty_cells(rows: int) -> Bytes:
    return np.empty((rows, CELLS_PER_EXT_BLOB, BYTES_PER_CELL), dtype=np.uint8)


def _empty_proofs(rows: int) -> Bytes:
    return np.empty((rows, CELLS_PER_EXT_BLOB, BYTES_PER_PROOF), dtype=np.uint8)


def _blinding_scalars() -> list[int]:
    return [secrets.randbelow(BLS_MODULUS) for _ in range(CELLS_PER_EXT_BLOB)]


def _scalars(values: list[int]) -> Bytes:
    """u8[n, 32], big-endian."""
    joined = b"".join(value.to_bytes(BYTES_PER_FIELD_ELEMENT, "big") for value in values)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, BYTES_PER_FIELD_ELEMENT).copy()


def _in_column_order(values: list[int]) -> Bytes:
    """Scalars of the 128 roots as the library orders columns: even powers first."""
    return _scalars(values[::2] + values[1::2])


def _noise(*counts: int) -> bytes:
    """Random bytes for the membership test of lists of points, each filled up to whole vectors."""
    return secrets.token_bytes(_NOISE_PER_POINT * sum(-(-count // 8) * 8 for count in counts))
