"""Both halves of the port over devices that run the kernels.

Rows in which blinded points met (a chance of 2^-240) are proved again with complete formulas. Blinding
scalars come from `secrets` when the engine opens.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from erasure.constants import BLS_MODULUS, BYTES_PER_BLOB, BYTES_PER_CELL, CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from gpu.cuda import operations
from gpu.cuda.device import Device
from gpu.cuda.kernel_verifier import KernelVerifier, check_result
from gpu.cuda.operations import CommitRows, CompleteRows
from gpu.cuda.workers import Worker, combs_for
from kzg.arrays import empty_cells, empty_proofs
from kzg.checks import check_blobs, check_bytes, check_recovery
from kzg.constants import BYTES_PER_COMMITMENT
from kzg.memory import fails_without_memory
from kzg.types import Bytes, Indices


@fails_without_memory
class KernelEngine(KernelVerifier):
    """See `kzg.engine.Engine` for what each method does.

    Args:
        name: the word for this engine. devices: opened devices, which are closed with the engine. windows: of
        the combs, see `workers.WINDOWS`; None takes the largest whose tables fit in TABLE_SHARE of
            free memory.

    Raises:
        DeviceError: a device has not the memory, or broke down.
    """

    def __init__(
        self, name: str, devices: Sequence[Device], *, windows: tuple[int, int] | None = None
    ) -> None:
        self._windows = windows
        self._blinding = [secrets.randbelow(BLS_MODULUS) for _ in range(CELLS_PER_EXT_BLOB)]
        super().__init__(name, devices)
        tables = self._workers[0].tables.proving
        self._description["windows"] = f"{tables.proof.b}/{tables.commitment.b}"

    def _worker(self, device: Device) -> Worker:
        return Worker(device, self._closed, combs_for(device, self._windows), self._blinding)

    def commit(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        commitments = np.empty((len(blobs), BYTES_PER_COMMITMENT), dtype=np.uint8)
        operation = CommitRows(blobs, commitments)
        self._run(operation, len(blobs), operations.MOST_ROWS)
        if operation.invalid:
            check_blobs(blobs)
        check_result(operation.invalid, operation.impossible)
        return commitments

    def extend(self, blobs: Bytes) -> Bytes:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells = empty_cells(len(blobs))
        self._extend(blobs, cells, None)
        return cells

    def prove(self, blobs: Bytes) -> tuple[Bytes, Bytes]:
        blobs = check_bytes("blobs", blobs, (None, BYTES_PER_BLOB))
        cells, proofs = empty_cells(len(blobs)), empty_proofs(len(blobs))
        self._extend(blobs, cells, proofs)
        return cells, proofs

    def _extend(self, blobs: Bytes, cells: Bytes, proofs: Bytes | None) -> None:
        given = blobs.reshape(-1, CELLS_PER_BLOB, BYTES_PER_CELL)
        if self._complete(CompleteRows(None, given, cells, proofs)):
            check_blobs(blobs)
            check_result(invalid=True, impossible=False)

    def recover_with_proofs(self, cell_indices: Indices, cells: Bytes) -> tuple[Bytes, Bytes]:
        indices, cells = check_recovery(cell_indices, cells)
        all_cells, proofs = empty_cells(len(cells)), empty_proofs(len(cells))
        check_result(self._complete(CompleteRows(indices, cells, all_cells, proofs)), impossible=False)
        return all_cells, proofs
