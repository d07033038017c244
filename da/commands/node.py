"""`da node`: run a node."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from da.commands.configs import ConfigOption, load_settings
from da.console import logs
from da.console.output import ask_password, fail
from da.settings import unknown_environment


def node(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Listen on this address instead of the file's.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port instead of the file's.")] = None,
    engine: Annotated[str | None, typer.Option(help="Use this engine instead of the file's.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    stop_with_stdin: Annotated[
        bool,
        typer.Option("--stop-with-stdin", help="Stop when standard input closes, as when a parent dies."),
    ] = False,
) -> None:
    """Run a node until Ctrl-C or SIGTERM. Settings come from --config, DA_* variables and these options."""
    settings = load_settings(
        config, {"http.host": host, "http.port": port, "engine.name": engine, "log.level": log_level}
    )
    logs.set_up(settings.log)
    for name in unknown_environment():
        logging.getLogger("cellar.settings").warning("environment variable %s is no setting", name)
    password = ask_password(
        settings.password_file, cure="set password_file in the config file, or DA_PASSWORD_FILE"
    )
    from da import bootstrap  # loads the engine and the server, which the other commands do not need

    try:
        bootstrap.run(settings, password, stop_with_stdin=stop_with_stdin)
    except bootstrap.StartupError as error:
        fail(str(error))
