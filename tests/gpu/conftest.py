"""The host library where it can run, the kernels compiled for this machine, and rows that c-kzg proved."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import ckzg
import numpy as np
import pytest

from gpu.host import library as host_library
from kzg import trusted_setup
from kzg.types import Bytes
from tests.gpu.host_device import Kernels, compile_kernels
from tests.kzg.conftest import structured_blobs


@pytest.fixture(scope="session")
def library() -> ctypes.CDLL:
    """The loaded library with its probes; skips, with the reason, where the host engine cannot run."""
    reason = host_library.available()
    if reason is not None:
        pytest.skip(f"no host engine here: {reason}")
    return host_library.load()


@pytest.fixture(scope="session")
def field_op(library: ctypes.CDLL) -> Callable[..., list[int]]:
    """field_op(field, op, a, b, c): an operation on stored values, given and returned as integers."""

    def run(field: str, op: int, *operands: list[int]) -> list[int]:
        limbs = {"Fp": 8, "Fr": 5}[field]
        count = len(operands[0])
        size = -(-count // 8) * 8
        arrays = [
            np.array(
                [
                    [value >> 52 * i & (1 << 52) - 1 for i in range(limbs)]
                    for value in operand + [0] * (size - count)
                ],
                dtype=np.uint64,
            )
            for operand in (*operands, *[operands[0]] * (3 - len(operands)))
        ]
        out = np.zeros((size, limbs), dtype=np.uint64)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, out)]
        assert library.cellar_probe_field(int(field == "Fp"), op, *pointers, size) == 1
        assert (out >> 52 == 0).all(), "limbs are not normalised"
        return [sum(int(limb) << 52 * i for i, limb in enumerate(row)) for row in out[:count]]

    return run


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """The CUDA kernels as functions of this machine, over plain words."""
    return compile_kernels(tmp_path_factory.mktemp("kernels"))


@dataclass(frozen=True)
class Batch:
    """Nine rows of every kind, as c-kzg proves them."""

    blobs: Bytes
    commitments: Bytes
    cells: Bytes
    proofs: Bytes


@pytest.fixture(scope="session")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    path = tmp_path_factory.mktemp("setup") / "setup.txt"
    path.write_bytes(trusted_setup.load().to_text())
    setup = ckzg.load_trusted_setup(str(path), 0)

    def prove(blob: Bytes) -> tuple[Bytes, Bytes, Bytes]:
        commitment = ckzg.blob_to_kzg_commitment(blob.tobytes(), setup)
        cells, proofs = ckzg.compute_cells_and_kzg_proofs(blob.tobytes(), setup)
        parts = (commitment, b"".join(cells), b"".join(proofs))
        commitment_u8, cells_u8, proofs_u8 = (np.frombuffer(part, dtype=np.uint8) for part in parts)
        return commitment_u8, cells_u8.reshape(128, 2048), proofs_u8.reshape(128, 48)

    blobs = np.stack(list(structured_blobs().values()))
    commitments, cells, proofs = (np.stack(arrays) for arrays in zip(*map(prove, blobs), strict=True))
    return Batch(blobs, commitments, cells, proofs)
