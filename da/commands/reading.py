"""Shared by the commands that call a node: its address, the token, and error messages for the user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
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
    Undecodable,
)
from da.client.options import DEFAULT_URL
from da.console.output import EXIT_NOT_NOW, EXIT_USAGE, fail
from da.protocol.committee import Committee
from da.protocol.errors import InvalidCommittee

Url = Annotated[str, typer.Option("--url", envvar="DA_NODE_URL", help="URL of the node.")]
Token = Annotated[str | None, typer.Option("--token", envvar="DA_API_TOKEN", help="API token for posting.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds to keep trying before giving up.")
]
PayloadId = Annotated[str, typer.Argument(help="The payload's id: 0x followed by 64 hex digits.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", help="Consider the payload only under this namespace.")
]


@contextlib.contextmanager
def connected(
    url: str,
    *,
    token: str | None = None,
    timeout_s: float = 60.0,
    committee: Committee | None = None,
    others: Sequence[str] = (),
) -> Iterator[CellarClient]:
    """A client whose errors end the command with a message and an exit code."""
    _check_url(url)
    try:
        with CellarClient(
            url, token=token, timeout_s=timeout_s, committee=committee, others=others
        ) as client:
            yield client
    except NodeUnreachable as error:
        fail(f"{error}; is the node running? (--url, DA_NODE_URL)", code=EXIT_NOT_NOW)
    except StillWaiting as error:
        fail(
            f"{error}; keep waiting with: da status 0x{error.status.payload_id.hex()} --wait",
            code=EXIT_NOT_NOW,
        )
    except NotNow as error:
        fail(f"{error}; try again", code=EXIT_NOT_NOW)
    except NotAllowed as error:
        hint = "--url, DA_NODE_URL" if error.error == "NotADisperser" else "--token, DA_API_TOKEN"
        fail(f"{error} ({hint})")
    except Undecodable as error:
        fail(f"{error}; no reader will ever have it: its disperser certified rows that are no payload")
    except (Refused, InvalidAnswer) as error:
        fail(f"{error}{_said(error)}")
    except ClientError as error:
        fail(str(error), code=EXIT_NOT_NOW)


def _said(error: ClientError) -> str:
    """What each member said about a payload that none of them gave."""
    if not error.said:
        return ""
    heard = "; ".join(f"{url}: {text}" for url, text in error.said)
    return f"; asked {len(error.said)} members: {heard}"


def load_committee(path: Path) -> Committee:
    """The committee in a file the user names."""
    try:
        return Committee.load(path)
    except (OSError, InvalidCommittee) as error:
        fail(f"--committee {path}: {error}", code=EXIT_USAGE)


def _check_url(url: str) -> None:
    """Refuse an invalid URL at once; retries would not help."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        fail(f"--url (DA_NODE_URL) must be http(s)://host[:port]; got {url!r}", code=EXIT_USAGE)


def hash32(text: str, name: str) -> bytes:
    """Parse 32 bytes of 0x-hex."""
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        fail(f"{name} must be 0x followed by 64 hex digits; got {text!r}", code=EXIT_USAGE)
    return value


__all__ = [
    "DEFAULT_URL",
    "Namespace",
    "PayloadId",
    "Timeout",
    "Token",
    "Url",
    "connected",
    "hash32",
    "load_committee",
]
