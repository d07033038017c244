"""The only JSON decoder for documents from outside: peers' answers, request bodies, files, database rows.

The idea: the standard parser recurses in C and allocates some 60 bytes for every `[]`, so its work is
bounded before it starts. A few passes over the bytes, each one call of a bytes method, leave only the
brackets and commas outside strings; these are counted, and matching pairs are deleted once per level. On a
page of the log this takes a quarter of the time of json.loads.

Invariants: total: any input gives a value or an InvalidJson, which never quotes the input. Nothing depends on
the interpreter's recursion limit or its limit of digits. Accepted values equal those of json.loads.

Does not: check which fields a document has (see fields).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from da.protocol.errors import InvalidJson

MAX_DEPTH = 16
# Enough for 256 bits; beyond 640 digits `int` depends on a setting of the interpreter.
MAX_NUMBER_CHARS = 80
# Honest documents are mostly 0x-hex: the densest, a batch of one row at its disperser, has one in 17 bytes.
BYTES_PER_VALUE = 16
MIN_VALUES = 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MARKS = b'"[]{},'
_NOT_MARKS = bytes(byte for byte in range(256) if byte not in _MARKS)
_ALL_SQUARE = bytes.maketrans(b"{}", b"[]")


def loads(
    raw: bytes | bytearray | str,
    *,
    max_bytes: int,
    max_depth: int = MAX_DEPTH,
    max_values: int | None = None,
) -> Any:
    """The value of a JSON document: RFC 8259 in UTF-8, without repeated keys, NaN or lone surrogates.

    Args:
        raw: the document; text counts as its UTF-8.
        max_bytes: the longest document accepted.
        max_depth: the deepest nesting accepted; 0 for a bare number, string or constant.
        max_values: the most values accepted, counting arrays and objects but not keys; None for one per
            16 bytes of max_bytes, at least 1024.
    Returns: dict, list, str, int, finite float, bool or None.
    Raises: InvalidJson.
    """
    if len(raw) > max_bytes:
        raise InvalidJson(f"is longer than {max_bytes} bytes")
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw)
    if len(data) > max_bytes:
        raise InvalidJson(f"is longer than {max_bytes} bytes")
    if data.startswith(_BYTE_ORDER_MARK):
        raise InvalidJson("starts with a byte order mark; save it as UTF-8 without one")
    values = max(MIN_VALUES, max_bytes // BYTES_PER_VALUE) if max_values is None else max_values
    _check_shape(data, max_depth, values)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidJson(f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    if _SURROGATE.search(data):
        _refuse_lone_surrogates(value)
    return value


def _check_shape(data: bytes, max_depth: int, max_values: int) -> None:
    """Raises InvalidJson for a document that would cost the parser too much stack or memory.

    Correct up to the document's first error, where the parser stops as well.
    """
    if b"\\" in data:
        # Runs of backslashes pair up from their left end; an odd one left over escapes what follows it.
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Deleting two adjacent quotes does not change whether any other mark is inside or outside a string.
    marks = data.translate(_ALL_SQUARE, _NOT_MARKS).replace(b'""', b"")
    if marks.count(b'"') > 4 * max_values:  # two for each key and each value
        raise InvalidJson(f"has more than {max_values} values")
    outside = b"".join(marks.split(b'"')[::2])
    if outside.count(b",") + outside.count(b"[") >= max_values:
        raise InvalidJson(f"has more than {max_values} values")
    brackets = outside.translate(None, b",")
    for _ in range(max_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if b"[]" in brackets or brackets.count(b"[") > max_depth:
        raise InvalidJson(f"is nested deeper than {max_depth} levels")
    if brackets:
        raise InvalidJson("is not JSON: brackets do not match")


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidJson("contains a lone surrogate") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise InvalidJson("has an object with a duplicate key")
    return values


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:
        raise InvalidJson(f"has a number of more than {MAX_NUMBER_CHARS} characters")
    return int(text)


def _float(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER_CHARS else math.inf
    if math.isinf(value):
        raise InvalidJson(
            f"has a number outside the range of a double, or of more than {MAX_NUMBER_CHARS} characters"
        )
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"contains {name}, which is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant
)
