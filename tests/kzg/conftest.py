"""The engines under test, one oracle (ckzg in this process), and rows that are hard in different ways."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ckzg
import numpy as np
import pytest

import gpu
from erasure.columns import parity_cells
from erasure.constants import BLS_MODULUS, FIELD_ELEMENTS_PER_BLOB
from gpu.select import why_not
from kzg import trusted_setup
from kzg.ckzg_engine import CkzgEngine
from kzg.engine import Engine, Verifier
from kzg.types import Bytes


def _engine_params() -> list[object]:
    """Every engine that can run here; the same test bodies for all."""
    marks = {"cuda": [pytest.mark.gpu], "host": []}
    here = [name for name in marks if why_not(name) is None]
    return [pytest.param("ckzg"), *(pytest.param(name, marks=marks[name]) for name in here)]


@pytest.fixture(scope="session", params=_engine_params())
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of two workers; ckzg without its table, which takes longer to build than the tests save."""
    with opened_engine(request.param, workers=2) as opened:
        yield opened


@pytest.fixture(scope="session", params=_engine_params())
def verifier(request: pytest.FixtureRequest) -> Iterator[Verifier]:
    """The verifying half of an engine, of two workers."""
    with gpu.open_verifier(gpu.EngineOptions(request.param, workers=2)) as opened:
        yield opened


def opened_engine(name: str, workers: int) -> Engine:
    """An engine with the smallest tables it can have."""
    if name == "ckzg":
        return CkzgEngine(workers=workers, precompute=0)
    return gpu.open_engine(gpu.EngineOptions(name, workers=workers, table="small"))


@pytest.fixture(scope="session")
def setup() -> object:
    """c-kzg's own settings, in this process: the oracle."""
    with tempfile.NamedTemporaryFile() as text:
        text.write(trusted_setup.load().to_text())
        text.flush()
        return ckzg.load_trusted_setup(text.name, 0)


def blob_of(elements: list[int]) -> Bytes:
    """u8[131072] of 4096 integers."""
    return np.frombuffer(b"".join(element.to_bytes(32, "big") for element in elements), dtype=np.uint8)


def structured_blobs() -> dict[str, Bytes]:
    """Rows at which shortcuts fail: points at infinity, equal points, edges of the field."""
    n = FIELD_ELEMENTS_PER_BLOB
    rng = np.random.default_rng(7594)
    random = [int.from_bytes(rng.bytes(40), "big") % BLS_MODULUS for _ in range(n)]
    elements = {
        "zero": [0] * n,
        "constant": [5] * n,
        "largest": [BLS_MODULUS - 1] * n,
        "one": [1] + [0] * (n - 1),
        "last": [0] * (n - 1) + [BLS_MODULUS - 1],
        "sparse": [random[i] if i % 97 == 0 else 0 for i in range(n)],
        "alternating": [BLS_MODULUS - 1 if i % 2 else 0 for i in range(n)],
        "repeated": random[:64] * (n // 64),
        "random": random,
    }
    return {name: blob_of(values) for name, values in elements.items()}


@pytest.fixture(scope="session")
def structured() -> dict[str, Bytes]:
    return structured_blobs()


@dataclass(frozen=True)
class Matrix:
    """Three rows and their three parity rows, proved by the oracle.

    blobs u8[6, 131072], commitments u8[6, 48], cells u8[6, 128, 2048], proofs u8[6, 128, 48].
    """

    blobs: Bytes
    commitments: Bytes
    cells: Bytes
    proofs: Bytes

    rows = 3

    @property
    def data_commitments(self) -> Bytes:
        return self.commitments[: self.rows]

    def at(self, rows: object, columns: object) -> tuple[Bytes, Bytes]:
        """Copies of the cells and proofs at some coordinates."""
        return self.cells[rows, columns].copy(), self.proofs[rows, columns].copy()


@pytest.fixture(scope="session")
def prove_row(setup: object) -> Callable[[Bytes], tuple[Bytes, Bytes, Bytes]]:
    """The oracle: a blob u8[131072] to its commitment, cells and proofs."""

    def prove(blob: Bytes) -> tuple[Bytes, Bytes, Bytes]:
        commitment = ckzg.blob_to_kzg_commitment(blob.tobytes(), setup)
        cells, proofs = ckzg.compute_cells_and_kzg_proofs(blob.tobytes(), setup)
        joined = (commitment, b"".join(cells), b"".join(proofs))
        commitment_u8, cells_u8, proofs_u8 = (np.frombuffer(part, dtype=np.uint8) for part in joined)
        return commitment_u8, cells_u8.reshape(128, 2048), proofs_u8.reshape(128, 48)

    return prove


@pytest.fixture(scope="session")
def matrix(structured: dict[str, Bytes], prove_row: Callable[[Bytes], tuple[Bytes, Bytes, Bytes]]) -> Matrix:
    blobs = np.stack([structured[name] for name in ("random", "sparse", "repeated")])
    data = [prove_row(blob) for blob in blobs]
    parity_blobs = parity_cells(np.stack([cells for _, cells, _ in data]))[:, :64].reshape(3, -1)
    both = data + [prove_row(blob) for blob in parity_blobs]
    commitments, cells, proofs = (np.stack(column) for column in zip(*both, strict=True))
    return Matrix(np.concatenate([blobs, parity_blobs]), commitments, cells, proofs)
