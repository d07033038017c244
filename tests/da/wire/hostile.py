"""What hostile members put into a document: every place of it replaced by every value here."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    0.0,
    1.0,
    2**63,
    2**64,
    10**70,
    "",
    "0x",
    "0x0",
    "0xzz",
    "0x aa bb\n",
    "0xAA",
    "aa",
    "live",
    "expired",
    "missing",
    "\x1b[31m",
    "\u202e",
    "x" * 10_000,
    "0x" + "00" * 10_000,
    [],
    [[]],
    [None],
    [1, 2],
    ["0x"],
    {},
    {"state": "live"},
)
BODIES: tuple[bytes, ...] = (
    b"",
    b" ",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe",
    b"{}",
    b"[]",
    b"null",
    b"1e999",
    b"NaN",
    b'{"a":1,"a":2}',
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"[" * 7 + b"]" * 7,
    b'{"next":null,"batches":[' + b"[]," * 200_000 + b"[]]}",
    b'"' + b"\\" * 99_999,
    b"<html>502 Bad Gateway</html>",
    b"1" * 100_000,
    b'{"error":"X","message":"\\ud800"}',
)


def changes(document: Any) -> Iterator[tuple[str, Any]]:
    """(where, the document with that place replaced, removed or repeated), for every place and value."""
    for path in list(_paths(document)):
        for value in VALUES:
            changed = copy.deepcopy(document)
            _parent(changed, path)[path[-1]] = value
            yield f"{path} = {value!r:.40}", changed
        removed = copy.deepcopy(document)
        del _parent(removed, path)[path[-1]]
        yield f"{path} removed", removed
        if isinstance(path[-1], int):
            repeated = copy.deepcopy(document)
            parent = _parent(repeated, path)
            parent.insert(path[-1], copy.deepcopy(parent[path[-1]]))
            yield f"{path} repeated", repeated


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _parent(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document
