"""The error body: what every answer of 4xx and 5xx holds.

    {"error": "HeightGap", "message": "...", "expected": 7}

`error` is the class name of the error, `message` a sentence for people, and the error's own fields stand
beside them. A body that does not name its error was not sent by a node: a proxy's page, for example.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from da.protocol.errors import ProtocolError
from da.protocol.fields import parse_object
from da.wire.hexadecimal import json_ready

ERROR_BYTES_MAX = 64 * 1024
MESSAGE_CHARS_MAX = 1000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


class InvalidDocument(ProtocolError):
    """A document or answer that no node of this version sends; `field` is where, as in batches[3].header."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """An error as a node sends it. `fields` is what JSON had there: nothing in it is checked."""

    error: str
    message: str
    fields: dict[str, Any]


def encode(error: str, message: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON-ready body. A field cannot replace the name or the message."""
    return {**json_ready(fields), "error": error, "message": message}


def encode_bytes(error: str, message: str, **fields: Any) -> bytes:
    """The body as JSON bytes."""
    return json.dumps(encode(error, message, fields)).encode()


def decode(body: bytes) -> ErrorDocument:
    """The error in a body of at most ERROR_BYTES_MAX bytes. Raises InvalidDocument."""
    fields = parse_object(body, ERROR_BYTES_MAX, InvalidDocument)
    name = fields.string("error")
    if not _NAME.fullmatch(name):
        raise InvalidDocument("error", "is not the name of an error")
    return ErrorDocument(name, fields.string("message")[:MESSAGE_CHARS_MAX], fields.rest())
