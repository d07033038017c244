"""erasure: the code. Rows and columns of cells over Fr, payload packing, repair; no KZG, no I/O."""

from erasure.backup import Backup, decode_backup, encode_backup
from erasure.columns import parity_cell, parity_cells, parity_weight_row, parity_weights, recover_columns
from erasure.errors import (
    ErasureError,
    InvalidBackup,
    InvalidCellIndices,
    InvalidFieldElement,
    InvalidPacking,
    InvalidPayload,
    InvalidShape,
    NotEnoughCells,
    UnrecoverableMatrix,
)
from erasure.matrix import repair_matrix
from erasure.packing import capacity, pack, rows_for, unpack
from erasure.rows import extend_rows, recover_rows

__all__ = [
    "Backup",
    "ErasureError",
    "InvalidBackup",
    "InvalidCellIndices",
    "InvalidFieldElement",
    "InvalidPacking",
    "InvalidPayload",
    "InvalidShape",
    "NotEnoughCells",
    "UnrecoverableMatrix",
    "capacity",
    "decode_backup",
    "encode_backup",
    "extend_rows",
    "pack",
    "parity_cell",
    "parity_cells",
    "parity_weight_row",
    "parity_weights",
    "recover_columns",
    "recover_rows",
    "repair_matrix",
    "rows_for",
    "unpack",
]
