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
    host: Annotated[str | None, typer.Option(help="Address to listen on; overrides the config file.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; overrides the config file.")] = None,
    engine: Annotated[str | None, typer.Option(help="Engine to use; overrides the config file.")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Log level: debug, info, warning or error; overrides the config file.")
    ] = None,
    stop_with_stdin: Annotated[
        bool,
        typer.Option(
            "--stop-with-stdin",
            help="Stop when standard input closes, for example when the parent process exits.",
        ),
    ] = False,
) -> None:
    """Run a node until Ctrl-C or SIGTERM. Settings come from --config, DA_* variables and these options."""
    settings = load_settings(
        config, {"http.host": host, "http.port": port, "engine.name": engine, "log.level": log_level}
    )
    logs.set_up(settings.log)
    for name in unknown_environment():
        logging.getLogger("cellar.settings").warning(
            "environment variable %s is not a setting; ignored", name
        )
    password = ask_password(
        settings.password_file, hint="set password_file in the config file, or DA_PASSWORD_FILE"
    )
    from da import bootstrap  # loads the engine and the server, which the other commands do not need

    try:
        bootstrap.run(settings, password, stop_with_stdin=stop_with_stdin)
    except bootstrap.StartupError as error:
        fail(str(error))
