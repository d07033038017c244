"""Folds of columns in one exchange: the JSON query; the binary answer is that of cells (da/wire/cells.py).

    {"seed": "0x...", "columns": [3, 70]}

The answer has one mark for each column that was asked for, in order; a present one is followed by the folded
cell and proof, 2,096 bytes.

Does not: verify folds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from da.protocol.custody import COLUMNS
from da.protocol.fields import parse_object
from da.wire import hexadecimal
from da.wire.errors import InvalidDocument
from kzg.constants import FOLD_SEED_BYTES

QUERY_BYTES_MAX = 2048  # 128 columns, the seed, white space


@dataclass(frozen=True, slots=True)
class FoldsQuery:
    """Folds of these distinct columns under a seed, bytes[32]."""

    seed: bytes
    columns: tuple[int, ...]


def encode_query(seed: bytes, columns: Sequence[int]) -> bytes:
    """The JSON query."""
    document = {"seed": hexadecimal.encode(seed), "columns": list(columns)}
    return json.dumps(document, separators=(",", ":")).encode()


def decode_query(body: bytes, count_max: int = COLUMNS) -> FoldsQuery:
    """The seed and the 1 to `count_max` distinct columns of a query. Raises InvalidDocument."""
    fields = parse_object(body, QUERY_BYTES_MAX, InvalidDocument, max_values=COLUMNS + 8)
    seed = fields.hex("seed", FOLD_SEED_BYTES)
    columns = fields.values("columns", count_max)
    fields.finish()
    if not columns:
        raise InvalidDocument("columns", f"is empty; ask for 1 to {count_max} columns")
    for index, column in enumerate(columns):
        if type(column) is not int or not 0 <= column < COLUMNS:
            raise InvalidDocument(f"columns[{index}]", f"is not a column in 0..{COLUMNS - 1}")
    if len(set(columns)) != len(columns):
        raise InvalidDocument("columns", "names a column twice")
    return FoldsQuery(seed, tuple(columns))
