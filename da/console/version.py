"""The option `--version` of both programs. Imports no node code, so that `light-client` starts fast."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer


def show_version(wanted: bool) -> None:
    """Print the version of the package and exit."""
    if wanted:
        print(version("cellar-da"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
]
