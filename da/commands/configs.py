"""`da config`: show a node's settings, or print an example file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from da import settings as node_settings
from da.console.output import AsJson, emit, fail
from da.settings import Settings, SettingsError

app = typer.Typer(no_args_is_help=True, help="Show a node's settings, or print an example file.")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="DA_CONFIG", help="The node's TOML config file.")
]
# Settings without a default.
_EXAMPLES = {"data_dir": "data", "committee_file": "committee.json", "keystore_file": "key.json"}


def load_settings(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load the settings; ends the command with a message if they are invalid."""
    try:
        return node_settings.load(config, overrides)
    except SettingsError as error:
        fail(str(error))


@app.command("show", epilog="Example: da config show --config node.toml")
def show(config: ConfigOption = None, as_json: AsJson = False) -> None:
    """Print the settings a node would use: file, environment and defaults combined."""
    emit(load_settings(config).model_dump(mode="json"), as_json=as_json)


@app.command("example", epilog="Example: da config example > node.toml")
def example() -> None:
    """Print a config file with every setting, its meaning and its default."""
    print("# Settings of a Cellar node: da node --config THIS_FILE")
    tables = node_settings.sections()
    _print_fields({name: field for name, field in Settings.model_fields.items() if name not in tables})
    for name, section in tables.items():
        print(f"\n\n# {Settings.model_fields[name].description}\n[{name}]")
        _print_fields(section.model_fields)
    print("\n\n# [[tokens]] tables come last in the file; `da token new` prints one.")


def _print_fields(fields: Mapping[str, FieldInfo]) -> None:
    for name, field in fields.items():
        if name == "tokens":
            continue
        print(f"\n# {field.description}")
        if name in _EXAMPLES:
            print(f"{name} = {json.dumps(_EXAMPLES[name])}")
        else:
            print(f"# {name} = {_toml(field.get_default())}")


def _toml(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return '""   (unset)'
    return json.dumps(list(value) if isinstance(value, tuple) else value)
