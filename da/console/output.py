"""Shared by all commands: where output goes, how errors end a command, and the exit codes.

Data goes to standard output (with --json one JSON document), messages to the user to standard error.
Exit codes: 0 success; 1 refused, because of an input or by a node's definite answer; 2 usage error;
3 temporary failure: a node is unreachable or busy, or a timeout expired; the same command may succeed later.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from da.protocol.committee import Committee
from da.protocol.errors import InvalidCommittee
from da.text import block, escaped
from da.wire.hexadecimal import json_ready

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_NOT_NOW = 3

stderr = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Say something to the person: nothing of it is taken for markup or drives the terminal."""
    stderr.print(block(message), markup=False, soft_wrap=True)


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="File, mode 0600, whose first line is the keystore's password; prompts if omitted."),
]


class CommandError(Exception):
    """Ends a command with a message for the user, without a traceback."""

    def __init__(self, message: str, *, code: int = EXIT_REFUSED) -> None:
        super().__init__(message)
        self.code = code


def fail(message: str, *, code: int = EXIT_REFUSED) -> NoReturn:
    """End the command with this message and exit code."""
    raise CommandError(message, code=code)


def emit(data: dict[str, Any], *, as_json: bool) -> None:
    """Print values to standard output: JSON, or aligned `name  value` lines.

    Values and names may be a node's: what is not printable is escaped (JSON escapes it by itself).
    """
    ready = json_ready(data)
    if as_json:
        print(json.dumps(ready, indent=2))
        return
    width = max((len(key) for key in ready), default=0)
    for key, value in ready.items():
        shown = json.dumps(value) if isinstance(value, dict | list) else "-" if value is None else str(value)
        print(f"{escaped(key):<{width}}  {escaped(shown)}")


def emit_bytes(content: bytes, out: Path | None) -> None:
    """Write bytes to a file, or to standard output unless that is a terminal."""
    if out is not None:
        try:
            out.write_bytes(content)
        except OSError as error:
            fail(f"{out}: cannot be written: {error.strerror}")
        say(f"wrote {len(content)} bytes to {out}")
        return
    if sys.stdout.isatty():
        fail(
            f"refusing to write {len(content)} bytes to a terminal; use --out FILE or a pipe", code=EXIT_USAGE
        )
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def read_input(path: Path) -> bytes:
    """The bytes of a file, or of standard input for "-"."""
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")


def write_new(path: Path, text: str, *, force: bool = False) -> None:
    """Write a text file that must not exist yet, unless `force`; replaced in one step."""
    if path.exists() and not force:
        fail(f"{path} exists; remove it, choose another name, or use --force")
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}")


def load_committee(path: Path) -> Committee:
    """Load a committee file and check every proof of possession."""
    try:
        return Committee.load(path)
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}; create one with `da committee new`")
    except InvalidCommittee as error:
        fail(f"{path}: {error}")


def read_secret(path: Path, what: str) -> bytes:
    """The bytes of a file that holds a secret; refuses a file that other users can access.

    The mode of a pipe is not checked.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISREG(status.st_mode) and mode & 0o077:
                fail(f"{path}: mode {mode:04o} lets other users access the {what}; run: chmod 600 {path}")
            return file.read()
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")


def ask_password(path: Path | None, *, confirm: bool = False, hint: str = "use --password-file FILE") -> str:
    """The password from the file's first line, or from the terminal; without either, fails with `hint`."""
    if path is not None:
        try:
            password = read_secret(path, "password").split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            fail(f"{path}: cannot be read: {error}")
        if not password:
            fail(f"{path}: first line is empty; it must contain the password")
        return password
    if not sys.stdin.isatty():
        fail(f"cannot prompt for the password without a terminal; {hint}", code=EXIT_USAGE)
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return str(password)
