"""The `da` command.

Flow: typer picks the subcommand; a `CommandError` ends it with its message on standard error and its exit
code; anything else is our bug and shows its traceback. See da/commands/output.py for the exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from da.commands import committees, configs, demo, devnets, keys, node, payloads, tokens
from da.commands.output import CommandError, stderr

app = typer.Typer(
    name="da",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Cellar: a data-availability layer. Run nodes, post payloads, read them back.",
    epilog="Exit codes: 0 done, 1 refused, 2 wrong command line, 3 not now (try again).",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("cellar-da"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Options before the subcommand."""


app.command("node")(node.node)
app.command("devnet")(devnets.devnet)
app.command("demo")(demo.demo)
for command in (
    payloads.post,
    payloads.get,
    payloads.status,
    payloads.certificate,
    payloads.proof,
    payloads.opening,
    payloads.batches,
):
    app.command(command.__name__)(command)
app.add_typer(keys.app, name="key")
app.add_typer(committees.app, name="committee")
app.add_typer(tokens.app, name="token")
app.add_typer(configs.app, name="config")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends the process with its exit code."""
    try:
        app(args=None if arguments is None else list(arguments))
    except CommandError as error:
        stderr.print("[bold red]error:[/]", end=" ")
        stderr.print(str(error), soft_wrap=True, markup=False)  # a message may hold brackets
        sys.exit(error.code)


if __name__ == "__main__":
    main()
