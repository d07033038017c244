"""Many cells in one exchange: the JSON query, and the binary answer.

The answer has one mark for each cell that was asked for, in order: 0, followed by the record of 2,096 bytes;
1, the member does not hold the cell's column; 2, its copy is damaged.

Does not: verify records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from da.protocol.custody import COLUMNS
from da.protocol.fields import parse_object
from da.protocol.push import RECORD_BYTES
from da.wire.errors import InvalidDocument
from erasure.constants import MAX_ROWS

PAIR_JSON_BYTES = 32  # of one [row, column] in a query, white space included
_PRESENT, _NOT_HELD, _CORRUPT = b"\0", b"\1", b"\2"  # marks


@dataclass(frozen=True, slots=True)
class Record:
    """A cell with its proof, bytes[2096], as the member sent it."""

    content: bytes


@dataclass(frozen=True, slots=True)
class NotHeld:
    """The member does not hold the cell's column."""


@dataclass(frozen=True, slots=True)
class Corrupt:
    """The member holds the column, and its copy of this cell is damaged."""


CellAnswer = Record | NotHeld | Corrupt

NOT_HELD = NotHeld()
CORRUPT = Corrupt()


def answer_bytes_max(count: int) -> int:
    """The longest answer to a query of `count` cells."""
    return count * (1 + RECORD_BYTES)


def query_bytes_max(count: int) -> int:
    """The longest query for `count` cells."""
    return PAIR_JSON_BYTES * (count + 1)


def encode_query(pairs: Iterable[tuple[int, int]]) -> bytes:
    """The JSON query for cells at (row, column) pairs."""
    return json.dumps({"cells": [[row, column] for row, column in pairs]}, separators=(",", ":")).encode()


def decode_query(body: bytes, count_max: int) -> list[tuple[int, int]]:
    """The 1 to `count_max` (row, column) pairs of a query; each lies in the largest batch there can be.

    Raises InvalidDocument.
    """
    # A pair is three values; one pair too many is still read, for an error that says so.
    fields = parse_object(body, query_bytes_max(count_max), InvalidDocument, max_values=3 * (count_max + 2))
    pairs = fields.values("cells", count_max)
    fields.finish()
    if not pairs:
        raise InvalidDocument("cells", f"is empty; ask for 1 to {count_max} cells")
    for index, pair in enumerate(pairs):
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or type(pair[0]) is not int
            or type(pair[1]) is not int
        ):
            raise InvalidDocument(f"cells[{index}]", "is not [row, column]")
        row, column = pair
        if not (0 <= row < 2 * MAX_ROWS and 0 <= column < COLUMNS):
            reason = f"[{row}, {column}] is outside 0..{2 * MAX_ROWS - 1}, 0..{COLUMNS - 1}"
            raise InvalidDocument(f"cells[{index}]", reason)
    return [(row, column) for row, column in pairs]


def encode_answer(answers: Sequence[CellAnswer]) -> bytes:
    """The binary answer."""
    parts: list[bytes] = []
    for answer in answers:
        match answer:
            case Record(content):
                parts += (_PRESENT, content)
            case NotHeld():
                parts.append(_NOT_HELD)
            case Corrupt():
                parts.append(_CORRUPT)
    return b"".join(parts)


def decode_answer(body: bytes, count: int) -> list[CellAnswer]:
    """The answers for `count` cells, to the last byte of `body`. Raises InvalidDocument."""
    answers: list[CellAnswer] = []
    offset = 0
    for index in range(count):
        mark = body[offset : offset + 1]
        offset += 1
        if mark == _PRESENT and offset + RECORD_BYTES <= len(body):
            answers.append(Record(body[offset : offset + RECORD_BYTES]))
            offset += RECORD_BYTES
        elif mark == _NOT_HELD:
            answers.append(NOT_HELD)
        elif mark == _CORRUPT:
            answers.append(CORRUPT)
        elif mark in (b"", _PRESENT):
            raise InvalidDocument(f"cells[{index}]", f"the answer ends after {len(body)} bytes")
        else:
            raise InvalidDocument(f"cells[{index}]", f"has the mark {mark[0]}, which is none of 0, 1, 2")
    if offset != len(body):
        raise InvalidDocument("cells", f"are followed by {len(body) - offset} more bytes")
    return answers
