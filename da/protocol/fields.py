"""Typed fields of a JSON document of known shape, read strictly.

The idea: take each field by name and type; a field that is left over is unknown and refused.

Invariants: total; every failure raises the error class that the caller passed, with the path as its field,
such as members[3].stake.

Does not: define which fields exist (see committee).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from da.protocol import strict_json
from da.protocol.errors import InvalidJson, ProtocolError

# Creates the error from a field's path and the reason.
FieldError = Callable[[str, str], ProtocolError]

T = TypeVar("T")

_HEX = re.compile(r"0x[0-9a-f]*", re.ASCII)


def parse_object(
    text: bytes | str, max_bytes: int, error: FieldError, *, max_values: int | None = None
) -> Fields:
    """Parse a document that is an object. Raises `error`, with the field "document".

    The bounds are those of strict_json.loads.
    """
    try:
        value = strict_json.loads(text, max_bytes=max_bytes, max_values=max_values)
    except InvalidJson as fault:
        raise error("document", fault.reason) from None
    if not isinstance(value, dict):
        raise error("document", "must be an object")
    return Fields(value, "", error)


class Fields:
    """The fields of one object, each taken once; `path` is where the object is in the document."""

    def __init__(self, values: dict[str, Any], path: str, error: FieldError) -> None:
        self._values = dict(values)
        self._error = error
        self.path = path

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer; refuses true and 1.0."""
        value = self._take(name, default)
        if type(value) is not int:
            self._refuse(name, "must be an integer")
        return value

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """true or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            self._refuse(name, "must be true or false")
        return value

    def string(self, name: str) -> str:
        """A string."""
        value = self._take(name, None)
        if not isinstance(value, str):
            self._refuse(name, "must be a string")
        return value

    def hex(self, name: str, size: int) -> bytes:
        """0x and lower-case hex of exactly `size` bytes."""
        text = self.string(name)
        if len(text) != 2 + 2 * size or not _HEX.fullmatch(text):
            self._refuse(name, f"must be 0x followed by {2 * size} lower-case hex digits")
        return bytes.fromhex(text[2:])

    def object(self, name: str, default: dict[str, Any] | None = None) -> Fields:
        """An object."""
        value = self._take(name, default)
        if not isinstance(value, dict):
            self._refuse(name, "must be an object")
        return Fields(value, self.at(name), self._error)

    def objects(self, name: str, max_count: int) -> list[Fields]:
        """A list of at most `max_count` objects."""
        values = self._take(name, None)
        if not isinstance(values, list) or len(values) > max_count:
            self._refuse(name, f"must be a list of at most {max_count} objects")
        if not all(isinstance(value, dict) for value in values):
            self._refuse(name, "must be a list of objects")
        return [Fields(value, f"{self.at(name)}[{index}]", self._error) for index, value in enumerate(values)]

    def values(self, name: str, max_count: int) -> list[Any]:
        """A list of at most `max_count` values of any kind."""
        values = self._take(name, None)
        if not isinstance(values, list) or len(values) > max_count:
            self._refuse(name, f"must be a list of at most {max_count}")
        return values

    def take(self, name: str, read: Callable[[Any], T]) -> T:
        """What `read` makes of the field's value, null included; a ValueError of it refuses the field."""
        if name not in self._values:
            self._refuse(name, "is missing")
        try:
            return read(self._values.pop(name))
        except ValueError as error:
            self._refuse(name, str(error))

    def take_optional(self, name: str, read: Callable[[Any], T]) -> T | None:
        """As `take`; None when the field is null or missing."""
        if self._values.get(name) is None:
            self._values.pop(name, None)
            return None
        return self.take(name, read)

    def rest(self) -> dict[str, Any]:
        """What was not taken, unchecked."""
        rest, self._values = self._values, {}
        return rest

    def at(self, name: str) -> str:
        """Where a field of this object is in the document."""
        return f"{self.path}.{name}" if self.path else name

    def finish(self) -> None:
        """Raises the error for unknown fields."""
        for name in self._values:
            self._refuse(name[:40], "is an unknown field")

    def _take(self, name: str, default: Any) -> Any:
        if name not in self._values and default is None:
            self._refuse(name, "is missing")
        return self._values.pop(name, default)

    def _refuse(self, name: str, reason: str) -> NoReturn:
        raise self._error(self.at(name), reason)
