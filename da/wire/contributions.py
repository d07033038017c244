"""What a client or a member contributes to a batch: equations in the cells of its columns.

    folds   01 | seed[32] | count u8 | count x (column u8 | folded cell and proof, 2,096 bytes)
    cells   02 | count u8 | count x (row u16 | column u8 | cell and proof, 2,096 bytes)

Integers are big-endian; columns of folds, and (row, column) pairs, are distinct; rows from R on are parity
rows. The answer is JSON, `{"taken": 3, "wanted": [4, 17]}`: how many equations were new and are stored, and
which columns the member still lacks.

Invariants: a decoded contribution has 1 to 128 equations; encode and decode are inverse to each other.

Does not: verify equations, or know how many rows the batch has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da.protocol.codec import Reader, u8, u16
from da.protocol.custody import COLUMNS
from da.protocol.errors import DecodeError
from da.protocol.fields import parse_object
from da.protocol.push import RECORD_BYTES
from da.wire.errors import InvalidDocument
from erasure.constants import MAX_ROWS
from kzg.constants import FOLD_SEED_BYTES

EQUATIONS_MAX = 128
CONTRIBUTION_BYTES_MAX = 1 + FOLD_SEED_BYTES + 1 + EQUATIONS_MAX * (3 + RECORD_BYTES)
ANSWER_BYTES_MAX = 4096

_FOLDS, _CELLS = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Folds of columns under one seed: seed bytes[32]; records u8[k,2096] of the k columns."""

    seed: bytes
    columns: tuple[int, ...]
    records: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells at (row, column) pairs: records u8[k,2096]."""

    pairs: tuple[tuple[int, int], ...]
    records: NDArray[np.uint8]


Contribution = Folds | Cells


@dataclass(frozen=True, slots=True)
class ContributionAnswer:
    """What a member did with a contribution: equations stored now, and the columns it lacks, ascending."""

    taken: int
    wanted: tuple[int, ...]


def encode(contribution: Contribution) -> bytes:
    """The body of the request."""
    records = [record.tobytes() for record in contribution.records]
    if isinstance(contribution, Folds):
        head = u8(_FOLDS) + contribution.seed + u8(len(contribution.columns))
        places = [u8(column) for column in contribution.columns]
    else:
        head = u8(_CELLS) + u8(len(contribution.pairs))
        places = [u16(row) + u8(column) for row, column in contribution.pairs]
    return head + b"".join(place + record for place, record in zip(places, records, strict=True))


def decode(body: bytes | bytearray | memoryview) -> Contribution:
    """The contribution of a request's body, nothing verified. Raises InvalidDocument."""
    reader = Reader(body)
    try:
        kind = reader.u8("kind")
        if kind not in (_FOLDS, _CELLS):
            raise InvalidDocument("kind", f"is {kind}, which is neither 1 (folds) nor 2 (cells)")
        seed = reader.fixed(FOLD_SEED_BYTES, "seed") if kind == _FOLDS else b""
        count = reader.u8("count")
        if not 1 <= count <= EQUATIONS_MAX:
            raise InvalidDocument("count", f"is {count}; 1 to {EQUATIONS_MAX} equations are taken")
        rows, columns, records = [], [], []
        for index in range(count):
            rows.append(reader.u16(f"row[{index}]") if kind == _CELLS else 0)
            columns.append(reader.u8(f"column[{index}]"))
            records.append(reader.fixed(RECORD_BYTES, f"record[{index}]"))
        reader.finish("contribution")
    except DecodeError as error:
        raise InvalidDocument("contribution", str(error)) from None
    pairs = tuple(zip(rows, columns, strict=True))
    _check(pairs)
    joined = np.frombuffer(b"".join(records), dtype=np.uint8).reshape(count, RECORD_BYTES)
    return Folds(seed, tuple(columns), joined) if kind == _FOLDS else Cells(pairs, joined)


def decode_answer(body: bytes) -> ContributionAnswer:
    """The member's answer. Raises InvalidDocument."""
    fields = parse_object(body, ANSWER_BYTES_MAX, InvalidDocument, max_values=COLUMNS + 8)
    taken = fields.integer("taken")
    wanted = fields.values("wanted", COLUMNS)
    fields.finish()
    if not 0 <= taken <= EQUATIONS_MAX:
        raise InvalidDocument("taken", f"is {taken}, outside 0..{EQUATIONS_MAX}")
    columns: list[int] = []
    for index, column in enumerate(wanted):
        if type(column) is not int or not (columns[-1] if columns else -1) < column < COLUMNS:
            raise InvalidDocument(f"wanted[{index}]", "is not the next of ascending columns in 0..127")
        columns.append(column)
    return ContributionAnswer(taken, tuple(columns))


def answer_document(answer: ContributionAnswer) -> dict[str, object]:
    """The answer's JSON."""
    return {"taken": answer.taken, "wanted": list(answer.wanted)}


def _check(pairs: Sequence[tuple[int, int]]) -> None:
    for index, (row, column) in enumerate(pairs):
        if row >= 2 * MAX_ROWS or column >= COLUMNS:
            raise InvalidDocument(f"equation[{index}]", f"is for cell ({row}, {column}), which no batch has")
    if len(set(pairs)) != len(pairs):
        raise InvalidDocument("contribution", "has two equations for one place")
