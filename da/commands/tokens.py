"""`da token`: API tokens for posting."""

from __future__ import annotations

from typing import Annotated

import typer

from da import tokens
from da.console.output import EXIT_USAGE, AsJson, emit, fail, stderr
from da.protocol import namespace as namespaces
from da.protocol.errors import InvalidNamespace
from da.section import MIB

app = typer.Typer(no_args_is_help=True, help="Create API tokens for posting.")


@app.command("new", epilog="Example: da token new my-rollup --namespace my-rollup")
def new(
    name: Annotated[str, typer.Argument(help="Owner of the token; appears in the node's logs.")],
    namespace: Annotated[
        list[str],
        typer.Option(help='Namespace the token may post under, or a prefix ending in "*"; repeatable.'),
    ],
    bytes_per_second: Annotated[
        int, typer.Option(min=1, help="Sustained rate limit, in payload bytes per second.")
    ] = MIB,
    burst_bytes: Annotated[int, typer.Option(min=1, help="Burst limit, in payload bytes.")] = 64 * MIB,
    as_json: AsJson = False,
) -> None:
    """Create a token. It is printed once and not stored; the node's config file has only its hash."""
    if not name or len(name) > 64 or '"' in name or "\\" in name or not name.isprintable():
        fail(
            "token name must be 1 to 64 printable characters without quotes and backslashes", code=EXIT_USAGE
        )
    for pattern in namespace:
        _check_pattern(pattern)
    token = tokens.new_token()
    block = tokens.settings_block(token, name, namespace, bytes_per_second, burst_bytes)
    if as_json:
        emit({"token": token, "name": name, "settings": block}, as_json=True)
        return
    stderr.print("Give this token to the rollup (it is shown only once):")
    print(token)
    stderr.print("\nAdd this to the disperser's config file and restart it:\n")
    print(block, end="")


def _check_pattern(pattern: str) -> None:
    # A prefix is checked as a name, with one character appended.
    candidate = pattern[:-1] + "a" if pattern.endswith("*") and len(pattern) <= 32 else pattern
    try:
        namespaces.parse(candidate)
    except InvalidNamespace as error:
        fail(f"--namespace {pattern}: {error}", code=EXIT_USAGE)
