"""New arrays for the results of an engine, not yet filled."""

from __future__ import annotations

import numpy as np

from erasure.constants import BYTES_PER_CELL, CELLS_PER_EXT_BLOB
from kzg.constants import BYTES_PER_PROOF
from kzg.types import Bytes


def empty_cells(rows: int) -> Bytes:
    """u8[rows, 128, 2048]."""
    return np.empty((rows, CELLS_PER_EXT_BLOB, BYTES_PER_CELL), dtype=np.uint8)


def empty_proofs(rows: int) -> Bytes:
    """u8[rows, 128, 48]."""
    return np.empty((rows, CELLS_PER_EXT_BLOB, BYTES_PER_PROOF), dtype=np.uint8)
