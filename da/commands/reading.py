"""What the commands that talk to a node share: its address, the token, and errors told to a person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import httpx
import typer

from da.client import (
    CellarClient,
    ClientError,
    InvalidAnswer,
    NodeUnreachable,
    NotAllowed,
    NotNow,
    Refused,
    StillWaiting,
)
from da.client.options import DEFAULT_URL
from da.console.output import EXIT_NOT_NOW, EXIT_USAGE, fail

Url = Annotated[str, typer.Option("--url", envvar="DA_NODE_URL", help="The node to talk to.")]
Token = Annotated[str | None, typer.Option("--token", envvar="DA_API_TOKEN", help="API token for posting.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to keep trying.")]
PayloadId = Annotated[str, typer.Argument(help="The payload's id, 0x and 64 hex digits.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", help="Only this namespace's posting of the payload.")
]


@contextlib.contextmanager
def talking_to(url: str, *, token: str | None = None, timeout_s: float = 60.0) -> Iterator[CellarClient]:
    """A client whose errors end the command with a message and the right exit code."""
    _check_url(url)
    try:
        with CellarClient(url, token=token, timeout_s=timeout_s) as client:
            yield client
    except NodeUnreachable as error:
        fail(f"{error}; is the node running? (--url, DA_NODE_URL)", code=EXIT_NOT_NOW)
    except StillWaiting as error:
        fail(f"{error}; wait on with: da status 0x{error.status.payload_id.hex()} --wait", code=EXIT_NOT_NOW)
    except NotNow as error:
        fail(f"{error}; try again", code=EXIT_NOT_NOW)
    except NotAllowed as error:
        cure = "--url, DA_NODE_URL" if error.error == "NotADisperser" else "--token, DA_API_TOKEN"
        fail(f"{error} ({cure})")
    except (Refused, InvalidAnswer) as error:
        fail(str(error))
    except ClientError as error:
        fail(str(error), code=EXIT_NOT_NOW)


def _check_url(url: str) -> None:
    """Refuse what no request can be sent to, which retries would not mend."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        fail(f"--url (DA_NODE_URL) is http(s)://host[:port], not {url!r}", code=EXIT_USAGE)


def hash32(text: str, name: str) -> bytes:
    """32 bytes out of 0x-hex."""
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        fail(f"{name} is 0x and 64 hex digits, not {text!r}", code=EXIT_USAGE)
    return value


__all__ = ["DEFAULT_URL", "Namespace", "PayloadId", "Timeout", "Token", "Url", "hash32", "talking_to"]
