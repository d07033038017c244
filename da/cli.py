"""The `da` command.

Flow: typer picks the subcommand; a `CommandError` prints its message on standard error and sets the exit
code; any other exception is a bug and shows its traceback. See da/console/output.py for the exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from da.commands import committees, configs, demo, devnets, keys, node, payloads, tokens
from da.console import logs
from da.console.output import CommandError, say, stderr
from da.console.version import Version

app = typer.Typer(
    name="da",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Cellar: a data-availability layer. Run nodes, post payloads and read them.",
    epilog="To begin, run `da devnet`, and the commands it prints in another terminal. Each command's --help "
    "has an example.\n\nExit codes: 0 success, 1 refused, 2 usage error, 3 temporary failure (retry).",
)


@app.callback()
def _options(_version: Version = False) -> None:
    """Options before the subcommand."""


ID = "0x6d9b0b73..."
for command, example in (
    (node.node, "--config node.toml"),
    (devnets.devnet, "--nodes 4 --dir net"),
    (demo.demo, "batch.bin"),
    (payloads.post, "batch.bin --namespace my-rollup"),
    (payloads.get, f"{ID} --out copy.bin"),
    (payloads.status, f"{ID} --wait"),
    (payloads.certificate, f"{ID} --out certificate.bin"),
    (payloads.proof, f"{ID} --json"),
    (payloads.opening, f"{ID} --index 5000"),
    (payloads.batches, "--from 1 --limit 10"),
):
    name = command.__name__
    app.command(name, epilog=f"Example: da {name} {example}")(command)
app.add_typer(keys.app, name="key")
app.add_typer(committees.app, name="committee")
app.add_typer(tokens.app, name="token")
app.add_typer(configs.app, name="config")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; ends the process with its exit code."""
    logs.set_up_default()
    try:
        app(args=None if arguments is None else list(arguments))
    except CommandError as error:
        stderr.print("[bold red]error:[/]", end=" ")
        say(str(error))
        sys.exit(error.code)


if __name__ == "__main__":
    main()
