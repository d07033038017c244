"""Inputs of the erasure tests: seeded blobs, blobs with a structure, and c-kzg as the outside oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ckzg
import numpy as np
import pytest

from da.interpreter import recursion_limit_kept
from erasure.constants import (
    BLS_MODULUS,
    BYTES_PER_BLOB,
    BYTES_PER_FIELD_ELEMENT,
    FIELD_ELEMENTS_PER_BLOB,
)
from erasure.field import Bytes, elements_to_array

with recursion_limit_kept():
    import eth_account

RandomBlobs = Callable[[int, int], Bytes]


def _random_blobs(count: int, seed: int) -> Bytes:
    """u8[count, 131072] of elements that are uniform below 0x73 * 2**248, which is below the modulus."""
    rng = np.random.default_rng(seed)
    elements = rng.integers(0, 256, (count, FIELD_ELEMENTS_PER_BLOB, BYTES_PER_FIELD_ELEMENT), dtype=np.uint8)
    elements[..., 0] = rng.integers(0, 0x73, elements.shape[:2], dtype=np.uint8)
    return elements.reshape(count, BYTES_PER_BLOB)


@pytest.fixture(scope="session")
def random_blobs() -> RandomBlobs:
    return _random_blobs


@pytest.fixture(scope="session")
def structured_blobs() -> Bytes:
    """Rows at the edges: zero, all r - 1, constant, one element, alternating, ascending, powers of two."""
    n, top = FIELD_ELEMENTS_PER_BLOB, BLS_MODULUS - 1
    rows = [
        [0] * n,
        [top] * n,
        [1] * n,
        [1] + [0] * (n - 1),
        [0] * (n - 1) + [top],
        [0, top] * (n // 2),
        list(range(n)),
        [2 ** (index % 255) % BLS_MODULUS for index in range(n)],
        [top - index for index in range(n)],
    ]
    return np.stack([elements_to_array(row).reshape(-1) for row in rows])


@pytest.fixture(scope="session")
def trusted_setup() -> Any:
    """The ceremony's setup for c-kzg; cells do not depend on it, but its interface asks for one."""
    folder = Path(eth_account.__file__).parent / "typed_transactions" / "blob_transactions"
    return ckzg.load_trusted_setup(str(folder / "kzg_trusted_setup.txt"), 0)


@pytest.fixture(scope="session")
def ckzg_extend(trusted_setup: Any) -> Callable[[Bytes], Bytes]:
    """`compute_cells` of c-kzg over rows: u8[n, 131072] -> u8[n, 128, 2048]."""

    def extend(blobs: Bytes) -> Bytes:
        rows = [b"".join(ckzg.compute_cells(blob.tobytes(), trusted_setup)) for blob in blobs]
        return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(blobs), 128, 2048)

    return extend
