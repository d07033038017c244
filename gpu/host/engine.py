"""The `host` engine: both halves in the CPU's vector lanes, with tables for proving.

The library spreads rows over threads that live as long as the call, and where there are fewer rows than
threads, the proofs of a row. Rows come in groups of 8 where there are that many, each in a lane of its own:
the tables are then read once for all of them. The tables are built when the engine opens, from the trusted
setup.

Blinding scalars come from `secrets` when the engine opens; see prover.hpp for what they protect.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np

from erasure.constants import BLS_MODULUS, BYTES_PER_BLOB, CELLS_PER_EXT_BLOB
from gpu.convolution import proof_transform, root_digits
from gpu.host import library
from gpu.host.folding import matrix_digits
from gpu.host.verifier import HostVerifier, at, scalar_bytes
from kzg import trusted_setup
from kzg.arrays import empty_cells, empty_proofs
from kzg.checks import check_blobs, check_bytes, check_recovery
from kzg.constants import BYTES_PER_COMMITMENT
from kzg.memory import fails_without_memory
from kzg.types import Bytes, Indices

TABLES: Final = {"small": (128, 8, 8), "medium": (64, 10, 10), "large": (64, 11, 11)}
"""Comb positions and window of the proofs' table, and window of the commitments': 18, 90 and 153 MiB."""


@fails_without_memory
class HostEngine(HostVerifier):
    """The vector lanes of all cores; see `kzg.engine.Engine` for what each method does.

    Args:
        workers: threads to a call, 1..256; None means one for each core this process may use.
        table: "small", "medium" or "large": memory for speed, see TABLES.

    Raises:
        EngineUnavailable: it cannot run here.
    """

    def __init__(self, *, workers: int | None = None, table: str = "medium") -> None:
        if table not in TABLES:
            raise ValueError(f"table must be one of {', '.join(TABLES)}; got {table!r}")
        self._table = table
        super().__init__(workers=workers)
        self._description["table"] = table

    def _prover_setup(self) -> tuple[library.ProverSetup | None, object]:
        setup = trusted_setup.load()
        blinding = _blinding_scalars()
        arrays = (
            np.ascontiguousarray(setup.g1_lagrange_brp),
            np.ascontiguousarray(setup.g1_monomial),
            np.ascontiguousarray(matrix_digits()),
            np.ascontiguousarray(root_digits()),
            _in_column_order(blinding),
            _in_column_order(proof_transform(blinding)),
        )
        return library.ProverSetup(*(at(array) for array in arrays), *TABLES[self._table]), arrays

    @property
    def rows_redone(self) -> int:
        """How many rows were proved again without blinding, since their points met (a chance of 2^-240)."""
        with self._call() as handle:
            return int(self._library.cellar_rows_redone(handle))

    def commit(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        commitments = np.empty((len(blobs), BYTES_PER_COMMITMENT), dtype=np.uint8)
        with self._call() as handle:
            status = self._library.cellar_commit(
                handle, at(blobs), len(blobs), at(commitments), self._workers
            )
        self._check_blobs(status, blobs)
        return commitments

    def extend(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells = empty_cells(len(blobs))
        with self._call() as handle:
            status = self._library.cellar_extend(handle, at(blobs), len(blobs), at(cells), self._workers)
        self._check_blobs(status, blobs)
        return cells

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells, proofs = empty_cells(len(blobs)), empty_proofs(len(blobs))
        with self._call() as handle:
            status = self._library.cellar_prove(
                handle, at(blobs), len(blobs), at(cells), at(proofs), self._workers
            )
        self._check_blobs(status, blobs)
        return cells, proofs

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells, proofs = empty_cells(len(cells)), empty_proofs(len(cells))
        self._recover(indices, cells, all_cells, proofs)
        return all_cells, proofs

    def _check_blobs(self, status: int, blobs: Bytes) -> None:
        if status == library.INVALID:
            check_blobs(blobs)
        self._check(status)


def _blinding_scalars() -> list[int]:
    return [secrets.randbelow(BLS_MODULUS) for _ in range(CELLS_PER_EXT_BLOB)]


def _in_column_order(values: list[int]) -> Bytes:
    """Scalars of the 128 roots as the library orders columns: even powers first."""
    return scalar_bytes(values[::2] + values[1::2])
