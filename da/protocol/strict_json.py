"""Reading JSON of known shape without lenience: what a committee's file goes through.

The idea: parse once with every loose end of JSON closed (size, repeated keys, NaN, depth), then take named
fields with a type each; a field that nobody took is unknown and refused.

Invariants: total; every failure is an InvalidCommittee whose field is the path, as in members[3].stake.

Does not: know which fields there are (see committee).
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from da.protocol.errors import InvalidCommittee

# A committee needs four levels. The parser's own guard is the interpreter's recursion limit, which other
# packages of a process raise past what its stack can take.
MAX_DEPTH = 16

_HEX = re.compile(r"0x[0-9a-f]*", re.ASCII)
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def parse_object(text: bytes | str, max_bytes: int) -> Fields:
    """The object that the document is. Raises InvalidCommittee."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if len(raw) > max_bytes:
        raise InvalidCommittee("document", f"is over {max_bytes} bytes")
    if _is_deep(raw):
        raise InvalidCommittee("document", f"is nested deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except InvalidCommittee:
        raise
    except ValueError as error:
        # ValueError covers bad UTF-8, bad JSON and integers of thousands of digits.
        raise InvalidCommittee("document", f"is not JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise InvalidCommittee("document", "is not an object")
    return Fields(value, "")


def _is_deep(raw: bytes) -> bool:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in b"]}":
            depth -= 1
    return False


class Fields:
    """The fields of one object, each taken once; `path` is where the object is in the document."""

    def __init__(self, values: dict[str, Any], path: str) -> None:
        self._values = dict(values)
        self.path = path

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer; not true, not 1.0."""
        value = self._take(name, default)
        if type(value) is not int:
            self._refuse(name, "is not an integer")
        return value

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """true or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            self._refuse(name, "is not true or false")
        return value

    def string(self, name: str) -> str:
        """A string."""
        value = self._take(name, None)
        if not isinstance(value, str):
            self._refuse(name, "is not a string")
        return value

    def hex(self, name: str, size: int) -> bytes:
        """0x and lower-case hex of exactly `size` bytes."""
        text = self.string(name)
        if len(text) != 2 + 2 * size or not _HEX.fullmatch(text):
            self._refuse(name, f"is not 0x and {2 * size} lower-case hex digits")
        return bytes.fromhex(text[2:])

    def object(self, name: str, default: dict[str, Any] | None = None) -> Fields:
        """An object."""
        value = self._take(name, default)
        if not isinstance(value, dict):
            self._refuse(name, "is not an object")
        return Fields(value, self._at(name))

    def objects(self, name: str, max_count: int) -> list[Fields]:
        """A list of at most `max_count` objects."""
        values = self._take(name, None)
        if not isinstance(values, list) or len(values) > max_count:
            self._refuse(name, f"is not a list of at most {max_count}")
        if not all(isinstance(value, dict) for value in values):
            self._refuse(name, "is not a list of objects")
        return [Fields(value, f"{self._at(name)}[{index}]") for index, value in enumerate(values)]

    def finish(self) -> None:
        """Raises InvalidCommittee when a field is left over."""
        for name in self._values:
            self._refuse(name[:40], "is an unknown field")

    def _take(self, name: str, default: Any) -> Any:
        if name not in self._values and default is None:
            self._refuse(name, "is missing")
        return self._values.pop(name, default)

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _refuse(self, name: str, reason: str) -> NoReturn:
        raise InvalidCommittee(self._at(name), reason)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise InvalidCommittee("document", "has an object with a repeated key")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidCommittee("document", f"holds {name}, which is not JSON")
