"""Settings of a node: one frozen class of sections, one TOML file, environment variables on top.

Each package has its own section class (da/section.py); this module combines them, one TOML table each.
docs/reference/settings.md lists every field and a test compares the two. Sources, strongest first: arguments
of `load` (the command line), environment variables `DA_<FIELD>` and `DA_<SECTION>__<FIELD>`, the TOML file,
defaults.

Invariants: unknown keys are refused with a suggestion, keys of flat files with their new name; relative paths
in a file are relative to that file's directory; no field is a secret (the keystore's password is read from a
file or prompted for).
Does not: open any of the files it names, or check that they exist (da/bootstrap.py does).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from da.api.config import ApiConfig
from da.console.logs import LogConfig
from da.runtime.config import (
    DisperserConfig,
    EngineConfig,
    MemberConfig,
    NodeConfig,
    ReadingConfig,
    RescueConfig,
    ThreadsConfig,
)
from da.section import MIB, Section, words
from da.store.config import StoreConfig
from da.tokens import TokenConfig

ENV_PREFIX = "DA_"
ENV_NESTING = "__"
# Environment variables of the client commands: they share the prefix but are not node settings.
CLIENT_ENVIRONMENT = frozenset({"DA_NODE_URL", "DA_API_TOKEN", "DA_CONFIG"})

Role = Literal["member", "disperser"]


class SettingsError(ValueError):
    """The settings of a node are invalid; the message says which one, why, and what to do."""

    def __init__(self, message: str, *, keys: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.keys = keys


class Settings(BaseSettings):
    """The configuration of a node process. Frozen; see the module's docstring for the sources."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTING,
        frozen=True,
        extra="forbid",
        validate_default=True,
    )

    data_dir: Path = Field(description="Directory for everything the node stores: batches, index, outbox.")
    committee_file: Path = Field(
        description="Committee JSON (see `da committee`); every member has the same one."
    )
    chain_file: Path | None = Field(
        default=None,
        description="Chain of committees JSON (`da committee rotate`), which has the committee of "
        "committee_file and the ones before it; unset: that committee alone.",
    )
    keystore_file: Path = Field(
        description="EIP-2335 keystore with the node's BLS secret key (`da key new`)."
    )
    password_file: Path | None = Field(
        default=None,
        description="File, mode 0600, whose first line is the keystore's password; unset: prompt on the "
        "terminal.",
    )
    roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        default=("member",),
        description='Roles of the node: "member" stores, signs and serves; "disperser" accepts payloads.',
    )
    http: ApiConfig = Field(default=ApiConfig(), description="The HTTP server.")
    disperser: DisperserConfig = Field(
        default=DisperserConfig(), description="Posting, batching and dispersal."
    )
    member: MemberConfig = Field(
        default=MemberConfig(), description="Receiving columns, following logs, repair."
    )
    reading: ReadingConfig = Field(default=ReadingConfig(), description="Serving and rebuilding data.")
    rescue: RescueConfig = Field(
        default=RescueConfig(), description="Folds and cells that clients contribute."
    )
    engine: EngineConfig = Field(default=EngineConfig(), description="The engine.")
    store: StoreConfig = Field(default=StoreConfig(), description="Storage.")
    threads: ThreadsConfig = Field(default=ThreadsConfig(), description="Threads.")
    log: LogConfig = Field(default=LogConfig(), description="Logging.")
    tokens: tuple[TokenConfig, ...] = Field(
        default=(), description="API tokens for posting, `[[tokens]]` tables; see `da token new`."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the arguments: `load` reads the environment itself, after refusing unknown settings."""
        return (init_settings,)

    @property
    def node(self) -> NodeConfig:
        """The sections that the packages of a node share."""
        return NodeConfig(
            disperses="disperser" in self.roles,
            disperser=self.disperser,
            member=self.member,
            reading=self.reading,
            rescue=self.rescue,
            threads=self.threads,
        )

    @field_validator("roles", mode="before")
    @classmethod
    def _words_from_text(cls, value: Any) -> Any:
        return words(value)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.roles:
            raise ValueError("roles: must name at least one of member, disperser")
        digests = [token.sha256 for token in self.tokens]
        if len(set(digests)) != len(digests):
            raise ValueError("tokens: two entries have the same sha256")
        if self.http.post_inflight_bytes_max < 2 * self.disperser.payload_bytes_max:
            raise ValueError(
                "http.post_inflight_bytes_max: must be at least twice disperser.payload_bytes_max"
            )
        for name in (
            "read_inflight_bytes_max",
            "read_inflight_bytes_per_address_max",
        ):
            if getattr(self.http, name) < self.disperser.payload_bytes_max:
                raise ValueError(f"http.{name}: must be at least disperser.payload_bytes_max")
        return self


def sections() -> dict[str, type[Section]]:
    """The section classes, by the name of their TOML table."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _known() -> tuple[str, ...]:
    """Every setting's dotted name."""
    inner = [f"{name}.{field}" for name, section in sections().items() for field in section.model_fields]
    return (*(name for name in Settings.model_fields if name not in sections()), *inner)


# Keys of flat config files, each with its present name.
MOVED = {
    **{name.partition(".")[2]: name for name in _known() if "." in name},
    "engine": "engine.name",
    "engine_table": "engine.table",
    "engine_fallback": "engine.fallback",
    "engine_workers": "engine.workers",
    "log_level": "log.level",
    "log_json": "log.format",
}

MAX_CONFIG_BYTES = MIB
MAX_CONFIG_DEPTH = 8  # the deepest setting, a namespace of a token, is at 4
_PATHS = ("data_dir", "committee_file", "chain_file", "keystore_file", "password_file")


def load(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings of a node.

    Args:
        config: TOML file, or None for environment and overrides alone.
        overrides: values by dotted name ("http.port") that win over everything (the command line); None
            values are left out.
    Raises:
        SettingsError: the file is missing or not TOML, a key is unknown, or a value is invalid.
    """
    values = {} if config is None else _read_file(config)
    _refuse_unknown(values, where=str(config))
    _refuse_moved_environment(os.environ)
    try:
        merged = _merged(values, _environment(), _nested(overrides or {}))
        return Settings(**merged)
    except ValidationError as error:
        raise _readable(error, config) from None


def unknown_environment(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables with the prefix that are not settings, each with the nearest name, for a warning."""
    names = os.environ if environ is None else environ
    known = [_variable(name) for name in _known()]
    notes = []
    for name in sorted(names):
        if name.startswith(ENV_PREFIX) and name not in CLIENT_ENVIRONMENT and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            notes.append(name + (f" (did you mean {nearest[0]}?)" if nearest else ""))
    return notes


def _variable(name: str) -> str:
    """The environment variable of a dotted name."""
    return ENV_PREFIX + name.replace(".", ENV_NESTING).upper()


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except ValueError as error:  # pydantic-settings' SettingsError: a section's variable that is not JSON
        raise SettingsError(
            f"environment: {error}; set fields one by one, such as {_variable('http.port')}"
        ) from None


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in overrides.items():
        if value is None:
            continue
        section, _, field = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[field] = value
    return nested


def _merged(*sources: dict[str, Any]) -> dict[str, Any]:
    """Merge the sources field by field within sections; later sources win."""
    merged: dict[str, Any] = {}
    for source in sources:
        for name, value in source.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = {**merged[name], **value} if both else value
    return merged


def _read_file(config: Path) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise SettingsError(
            f"{config}: no such file; create one with: da config example > {config}"
        ) from None
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_CONFIG_BYTES:
        raise SettingsError(f"{config}: larger than {MAX_CONFIG_BYTES} bytes; is it a config file?")
    values = _parse_toml(config, content)
    for key in _PATHS:
        if isinstance(values.get(key), str):
            values[key] = config.resolve().parent / Path(values[key]).expanduser()
    return values


def _parse_toml(config: Path, content: bytes) -> dict[str, Any]:
    too_deep = SettingsError(f"{config}: nested deeper than {MAX_CONFIG_DEPTH} levels")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        # tomllib recurses in Python only, which uses no C stack: this is raised whatever the limit is.
        raise too_deep from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, integers of thousands of digits
        raise SettingsError(f"{config}: not valid TOML: {error}") from None
    if _is_deep(values):  # long dotted keys; `repr` in a message would recurse in C
        raise too_deep
    return values


def _is_deep(value: Any) -> bool:
    layer = [value]
    for _ in range(MAX_CONFIG_DEPTH):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(layer)


def _refuse_unknown(values: dict[str, Any], where: str) -> None:
    """Refuse unknown keys with a suggestion, before pydantic lists them without one."""
    tables = sections()
    unknown: dict[str, str] = {}
    for key, value in values.items():
        if key in tables and isinstance(value, dict):
            for field in value:
                if field not in tables[key].model_fields:
                    unknown[f"{key}.{field}"] = _nearest(f"{key}.{field}")
        elif key in MOVED and not isinstance(value, dict):
            section, _, field = MOVED[key].partition(".")
            unknown[key] = f" (it is now {MOVED[key]}: set {field} in the table [{section}])"
        elif key not in Settings.model_fields:
            unknown[key] = _nearest(key)
    if unknown:
        notes = ", ".join(f'"{key}"{note}' for key, note in unknown.items())
        raise SettingsError(f"{where}: unknown setting {notes}", keys=tuple(unknown))


def _nearest(name: str) -> str:
    nearest = difflib.get_close_matches(name, [*_known(), *sections(), *MOVED], n=1)
    return f' (did you mean "{MOVED.get(nearest[0], nearest[0])}"?)' if nearest else ""


def _refuse_moved_environment(environ: Mapping[str, str]) -> None:
    """Refuse variables of flat names, which would otherwise be ignored silently."""
    for name in sorted(environ):
        moved = MOVED.get(name.removeprefix(ENV_PREFIX).lower()) if name.startswith(ENV_PREFIX) else None
        if moved is not None:
            raise SettingsError(
                f"environment: {name} was renamed; set {_variable(moved)} instead", keys=(name,)
            )


def _readable(error: ValidationError, config: Path | None) -> SettingsError:
    lines, keys = [], []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        keys.append(place)
        if item["type"] == "missing" and len(item["loc"]) == 1:
            lines.append(f"{place}: required; set it in {config or 'a config file'} or as {_variable(place)}")
            continue
        given = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
        lines.append((f"{place}: " if place else "") + item["msg"].removeprefix("Value error, ") + given)
    return SettingsError("; ".join(lines), keys=tuple(keys))
