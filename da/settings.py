"""Settings of a node: one frozen class, one TOML file, environment variables on top.

Every limit, timeout and path of the node process is a field here, with its unit in its name and its meaning
in its description; docs/reference/settings.md lists them all and a test compares the two. Sources, strongest
first: arguments of `load` (the command line), environment variables `DA_<FIELD>`, the TOML file, defaults.

Invariants: unknown keys are refused and the nearest known one is named; relative paths in a file count from
that file's directory; no secret is a field (the keystore's password is read from a file or asked for).
Does not: open any of the files it names, nor check that they exist (da/bootstrap.py does, with advice).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_PREFIX = "DA_"
# Environment variables of the client commands, which share the prefix and are no settings of a node.
CLIENT_ENVIRONMENT = frozenset({"DA_NODE_URL", "DA_API_TOKEN", "DA_CONFIG"})

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

Role = Literal["member", "disperser"]


class SettingsError(ValueError):
    """The settings of a node cannot be used; the message says which, why, and what to do."""

    def __init__(self, message: str, *, keys: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.keys = keys


class TokenSettings(BaseModel):
    """One API token: who may post, under which namespaces, how fast. `da token new` prints such a block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64, description="Who holds the token; shown in logs.")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the token's text, hex. The token itself is never stored.",
    )
    namespaces: tuple[str, ...] = Field(
        min_length=1,
        description='Namespaces it may post under: exact labels (or 0x-hex), or a prefix ending in "*".',
    )
    bytes_per_second: int = Field(
        default=1 * MIB, ge=1, description="Payload bytes per second it may post in the long run."
    )
    burst_bytes: int = Field(
        default=64 * MIB, ge=1, description="Payload bytes it may post at once after a quiet time."
    )


def _env_words(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


class Settings(BaseSettings):
    """Everything a node process needs to be told. Frozen; see the module's docstring for the sources."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", validate_default=True, env_nested_delimiter=None
    )

    # Identity and places
    data_dir: Path = Field(description="Directory of everything the node stores: batches, index, outbox.")
    committee_file: Path = Field(description="Committee JSON (see `da committee`), the same at every member.")
    keystore_file: Path = Field(
        description="EIP-2335 keystore with the node's BLS secret key (`da key new`)."
    )
    password_file: Path | None = Field(
        default=None,
        description="File, mode 0600, whose first line is the keystore's password; unset: asked for on the "
        "terminal.",
    )
    roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        default=("member",),
        description='What the node does: "member" stores, signs and serves; "disperser" takes payloads.',
    )

    # HTTP server
    host: str = Field(default="127.0.0.1", description="Address the HTTP server listens on.")
    port: int = Field(default=4560, ge=0, le=65535, description="TCP port the HTTP server listens on.")
    requests_max: int = Field(
        default=1024, ge=1, description="Requests in progress at once; more are answered 503."
    )
    connections_per_address_max: int = Field(
        default=256,
        ge=1,
        description="Connections, and requests in progress, of one address (IPv6: one /64); more get 429.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For names the client.",
    )
    keep_alive_s: int = Field(default=30, ge=1, description="Seconds an idle connection is kept open.")
    head_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds a client has to send a request's line and headers."
    )
    shutdown_grace_s: int = Field(
        default=10, ge=0, description="Seconds running requests get to finish when the node stops."
    )

    # Request bodies
    body_timeout_s: float = Field(default=120.0, gt=0, description="Seconds a request body may take in all.")
    body_grace_s: float = Field(
        default=5.0, gt=0, description="Seconds before the minimum rate of a body is enforced."
    )
    body_bytes_per_s_min: int = Field(
        default=8 * KIB,
        ge=1,
        description="Bytes per second below which a sender gets 408, and a reader is disconnected.",
    )
    payload_bytes_max: int = Field(
        default=16 * MIB,
        ge=1,
        le=16 * MIB,
        description="Longest payload taken, in bytes (the network's: 16 MiB).",
    )
    post_inflight_bytes_max: int = Field(
        default=64 * MIB, ge=1, description="Bytes of payload bodies held in memory at once; more posts wait."
    )
    post_wait_s: float = Field(
        default=10.0, ge=0, description="Seconds a post may wait for memory before the answer is 503."
    )
    bodies_waiting_max: int = Field(
        default=64, ge=0, description="Posts, and reads, that may wait for memory; more get 503 at once."
    )

    # Reading
    read_inflight_bytes_max: int = Field(
        default=256 * MIB,
        ge=1,
        description="Bytes of payloads being rebuilt or sent at once; more reads wait.",
    )
    read_inflight_bytes_per_address_max: int = Field(
        default=64 * MIB,
        ge=1,
        description="Of these bytes, those of one address; its further reads wait for the first.",
    )
    read_wait_s: float = Field(
        default=10.0, ge=0, description="Seconds a read may wait for memory before the answer is 503."
    )
    certified_wait_s_max: float = Field(
        default=60.0, gt=0, description="Seconds `wait=certified` holds a request at most before it gets 202."
    )
    records_per_read_max: int = Field(
        default=1024, ge=1, le=65536, description="Cells one POST to /v1/batches/{b}/cells may ask for."
    )
    batches_per_page_max: int = Field(
        default=100, ge=1, le=1000, description="Batches one GET of /v1/batches returns at most."
    )
    stream_clients_max: int = Field(
        default=64, ge=0, description="Clients of /v1/batches/stream at once; more are answered 503."
    )
    streams_per_address_max: int = Field(
        default=16, ge=1, description="Of these clients, those of one address; more get 429."
    )
    stream_ping_s: float = Field(
        default=15.0, gt=0, description="Seconds of silence after which the stream sends a comment line."
    )
    concurrent_reconstructions_max: int = Field(
        default=2, ge=1, description="Payloads rebuilt from peers at once."
    )
    concurrent_fetches_max: int = Field(
        default=16, ge=1, description="Column requests to peers in flight for one rebuilt payload."
    )
    peer_timeout_s: float = Field(default=10.0, gt=0, description="Seconds a peer has to answer a read.")
    hedge_after_s: float = Field(
        default=0.5,
        gt=0,
        description="Seconds after which a second holder is asked when the first is silent.",
    )
    concurrent_openings_max: int = Field(
        default=1, ge=1, description="Point openings made at once, 0.1 s of a core each."
    )
    openings_waiting_max: int = Field(
        default=16, ge=0, description="Openings that may wait for their turn; more get 429 at once."
    )
    opening_wait_s: float = Field(
        default=10.0, gt=0, description="Seconds an opening may wait for its turn before the answer is 429."
    )
    concurrent_derivations_max: int = Field(
        default=2, ge=1, description="Columns whose parity cells are derived at once."
    )
    parity_cache_bytes: int = Field(
        default=64 * MIB, ge=0, description="Bytes of parity records kept in memory after they were derived."
    )

    # Posting rights
    tokens: tuple[TokenSettings, ...] = Field(
        default=(), description="API tokens for posting, `[[tokens]]` tables; see `da token new`."
    )
    open_posting: bool = Field(
        default=False, description="Take posts without a token from anybody. For development networks."
    )

    # Engine
    engine: str = Field(
        default="auto", description='Engine for the heavy mathematics: "auto", "ckzg", "host" or "cuda".'
    )
    engine_table: Literal["small", "medium", "large"] | None = Field(
        default=None,
        description="Tables for proving of a disperser's host engine, memory for speed: about 20, 90 or "
        "150 MiB; unset: medium. Nodes that only verify have none.",
    )
    engine_fallback: str | None = Field(
        default=None,
        description="Engine to continue with when the first breaks down while it runs; unset: the work in "
        "progress fails with 503, and the first is tried again.",
    )
    engine_workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Processes or threads of a CPU engine, devices of the cuda engine; unset: one per core, "
        "all devices.",
    )

    # Posting and batching (dispersers)
    concurrent_posts_max: int = Field(
        default=16, ge=1, description="Posts packed and committed at once; more get 429."
    )
    outbox_bytes_max: int = Field(
        default=256 * MIB, ge=1, description="Payload bytes that wait for their batch; more posts get 429."
    )
    batch_interval_ms: int = Field(
        default=1000,
        ge=1,
        description="Milliseconds from the closing of a batch to that of the next, unless rows_max closes it"
        " before.",
    )
    rows_max: int = Field(default=256, ge=1, le=256, description="Rows of one batch at most.")
    encode_retry_ms: int = Field(
        default=1000,
        ge=1,
        description="Milliseconds the batcher pauses after the engine or the store failed.",
    )

    # Dispersal (dispersers), for each member on its own
    push_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds a push may take, besides the time of its bytes; a member waits as long for one "
        "before it gets the columns from its peers.",
    )
    push_bytes_per_s_min: int = Field(
        default=1 * MIB,
        ge=1,
        description="Bytes per second at which the bytes of a push are expected to flow.",
    )
    certificate_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds a member has to take a certificate."
    )
    backoff_initial_s: float = Field(
        default=0.2, gt=0, description="Seconds before the first retry of a push that failed."
    )
    backoff_max_s: float = Field(default=15.0, gt=0, description="Seconds between retries of a push at most.")

    # Taking columns (members)
    push_inflight_bytes_max: int = Field(
        default=256 * MIB, ge=1, description="Bytes of pushes being read and verified at once; more wait."
    )
    push_wait_s: float = Field(
        default=10.0, gt=0, description="Seconds a push may wait for memory before the answer is 429."
    )
    concurrent_verifications_max: int = Field(default=2, ge=1, description="Pushes verified at once.")
    clock_skew_ms_max: int = Field(
        default=60_000, ge=0, description="Milliseconds a header may be ahead of this node's clock."
    )

    # Following the log, repair, scrub, retention (members)
    follow_interval_s: float = Field(
        default=5.0, gt=0, description="Seconds between two looks at the dispersers' logs."
    )
    follow_page: int = Field(default=32, ge=1, le=1000, description="Batches asked for in one such look.")
    repair_retry_s: float = Field(
        default=30.0, gt=0, description="Seconds before another attempt to rebuild missing columns."
    )
    scrub_interval_s: float = Field(
        default=6 * 3600.0,
        gt=0,
        description="Seconds between two readings of everything stored, to find rot.",
    )
    scrub_rest_s: float = Field(
        default=0.1, ge=0, description="Seconds of rest between two batches of such a reading."
    )
    retention_interval_s: float = Field(
        default=600.0, gt=0, description="Seconds between two looks for batches that have expired."
    )

    # Storage and threads
    reserve_bytes: int = Field(
        default=256 * MIB, ge=0, description="Free disk bytes below which the node turns read-only."
    )
    bucket_s: int = Field(
        default=86_400, ge=60, description="Seconds of batches that share a directory and expire together."
    )
    compute_threads: int = Field(default=6, ge=1, description="Threads that hand work to the engine.")
    io_threads: int = Field(default=4, ge=1, description="Threads that read and write the store.")

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines that are written, to standard error."
    )
    log_json: bool = Field(default=False, description="Write log lines as JSON objects, one a line.")

    @field_validator("roles", "trusted_proxies", mode="before")
    @classmethod
    def _words_from_text(cls, value: Any) -> Any:
        return _env_words(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            ipaddress.ip_network(value)  # a ValueError says what is wrong with it
        return values

    @property
    def trusted_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """`trusted_proxies`, read."""
        return tuple(ipaddress.ip_network(value) for value in self.trusted_proxies)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.roles:
            raise ValueError("roles: name at least one of member, disperser")
        digests = [token.sha256 for token in self.tokens]
        if len(set(digests)) != len(digests):
            raise ValueError("tokens: two entries have the same sha256")
        for name in (
            "post_inflight_bytes_max",
            "read_inflight_bytes_max",
            "read_inflight_bytes_per_address_max",
        ):
            if getattr(self, name) < self.payload_bytes_max:
                raise ValueError(f"{name}: must be at least payload_bytes_max")
        return self


_PATHS = ("data_dir", "committee_file", "keystore_file", "password_file")


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings of a node.

    Args:
        config: TOML file, or None for environment and overrides alone.
        overrides: fields that win over everything (the command line); None values are left out.
    Raises:
        SettingsError: the file is missing or no TOML, a key is unknown, or a value is refused.
    """
    values = {} if config is None else _read_file(config)
    _refuse_unknown(values, where=str(config))
    chosen = {key: value for key, value in overrides.items() if value is not None}
    _refuse_unknown(chosen, where="the command line")

    prefix = ENV_PREFIX.lower()
    in_environment = {
        name.lower().removeprefix(prefix) for name in os.environ if name.lower().startswith(prefix)
    }
    from_file = {key: value for key, value in values.items() if key not in in_environment}
    try:
        return Settings(**{**from_file, **chosen})
    except ValidationError as error:
        raise _readable(error, config) from None


def unknown_environment(environ: dict[str, str] | None = None) -> list[str]:
    """Variables with the prefix that are no setting, each with the nearest name, for a warning."""
    names = os.environ if environ is None else environ
    notes = []
    for name in sorted(names):
        key = name.removeprefix(ENV_PREFIX).lower()
        if (
            name.startswith(ENV_PREFIX)
            and name not in CLIENT_ENVIRONMENT
            and key not in Settings.model_fields
        ):
            nearest = difflib.get_close_matches(key, Settings.model_fields, n=1)
            notes.append(name + (f" (did you mean {ENV_PREFIX}{nearest[0].upper()}?)" if nearest else ""))
    return notes


def _read_file(config: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{config}: no such file; write one, or start from the output of `da config example`"
        ) from None
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config}: not valid TOML: {error}") from None
    for key in _PATHS:
        if isinstance(values.get(key), str):
            values[key] = config.resolve().parent / Path(values[key]).expanduser()
    return values


def _refuse_unknown(values: dict[str, Any], where: str) -> None:
    unknown = tuple(key for key in values if key not in Settings.model_fields)
    if not unknown:
        return
    notes = []
    for key in unknown:
        nearest = difflib.get_close_matches(key, Settings.model_fields, n=1)
        notes.append(f'"{key}"' + (f' (did you mean "{nearest[0]}"?)' if nearest else ""))
    raise SettingsError(f"{where}: unknown setting {', '.join(notes)}", keys=unknown)


def _readable(error: ValidationError, config: Path | None) -> SettingsError:
    lines, keys = [], []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        keys.append(place)
        if item["type"] == "missing" and len(item["loc"]) == 1:
            hint = f"set it in {config or 'a config file'} or as {ENV_PREFIX}{place.upper()}"
            lines.append(f"{place}: is required; {hint}")
            continue
        given = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
        lines.append((f"{place}: " if place else "") + item["msg"].removeprefix("Value error, ") + given)
    return SettingsError("; ".join(lines), keys=tuple(keys))
