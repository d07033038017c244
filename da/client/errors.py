"""Errors of the client, drawn as a tree.

ClientError
+-- InvalidOption                    the url or the token cannot be sent
+-- NodeUnreachable                  no answer within the time
+-- InvalidAnswer                    an answer that no node gives
+-- StillWaiting(status)             not certified within the time; posted all the same
+-- Refused(status, error, fields)   the node's typed error, by its HTTP status:
    +-- InvalidInput                 400, 413, 415, 422
    +-- NotAllowed                   401, 403
    +-- NotKnown                     404, for certain
    +-- Gone                         410, expired
    +-- Conflict                     409
    +-- Undecodable                  406, certified rows that are no payload
    +-- NotNow                       408, 429, 502, 503
"""

from __future__ import annotations

from typing import Any

from da.text import printable
from da.wire.payloads import PayloadInfo

MESSAGE_CHARS_MAX = 500
NAME_CHARS_MAX = 64


class ClientError(Exception):
    """Base of the client's errors; the text may quote the node, and is one clean line of bounded length."""

    # What each member said about a payload that none of those asked has: (url, text).
    said: tuple[tuple[str, str], ...] = ()

    def __init__(self, text: str) -> None:
        super().__init__(printable(text, MESSAGE_CHARS_MAX))


class InvalidOption(ClientError):
    """The client was made with a url or a token that no request can carry."""


class NodeUnreachable(ClientError):
    """No answer from the node within the time."""


class InvalidAnswer(ClientError):
    """The answer is none that a node of this version gives."""


class StillWaiting(ClientError):
    """The payload is posted and not certified yet; waiting again is possible."""

    def __init__(self, status: PayloadInfo) -> None:
        super().__init__(f"payload 0x{status.payload_id.hex()} is still {status.status}")
        self.status = status


class Refused(ClientError):
    """The node's typed error: `error` is its name there, `fields` what it says besides."""

    def __init__(self, status: int, error: str, message: str, fields: dict[str, Any]) -> None:
        self.status = status
        self.error = printable(error, NAME_CHARS_MAX)
        self.message = printable(message, MESSAGE_CHARS_MAX)
        super().__init__(f"{self.error}: {self.message}")
        self.fields = fields


class InvalidInput(Refused):
    """The request cannot be meant as it stands."""


class NotAllowed(Refused):
    """The token is missing, unknown or without this right."""


class NotKnown(Refused):
    """Unknown, for certain."""


class Gone(Refused):
    """Known once, expired."""


class Conflict(Refused):
    """The thing is in another state than the request needs."""


class Undecodable(Refused):
    """The rows that the id binds are no payload of its length: nobody will ever read it."""


class NotNow(Refused):
    """The same request may succeed later."""


BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidInput,
    413: InvalidInput,
    415: InvalidInput,
    422: InvalidInput,
    401: NotAllowed,
    403: NotAllowed,
    404: NotKnown,
    410: Gone,
    409: Conflict,
    406: Undecodable,
    408: NotNow,
    429: NotNow,
    502: NotNow,
    503: NotNow,
}
