"""Settings of the light client: one frozen class, from `LIGHT_CLIENT_*` variables and the command line.

Every limit, timeout and path of the program is a field here, with its unit in its name;
docs/reference/light-client.md lists them and a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from light_client.errors import LightClientError

ENV_PREFIX = "LIGHT_CLIENT_"
KIB, MIB = 1024, 1024 * 1024
DAY_S = 86_400


class SettingsError(LightClientError):
    """An invalid setting; the message says which and why."""


class LightClientSettings(BaseSettings):
    """The configuration of the light client; only the committee file has no default."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    committee_file: Path | None = Field(
        default=None, description="Committee JSON: the members, their keys, stakes and URLs. No default."
    )
    state_dir: Path = Field(
        default=Path("~/.local/state/cellar-light-client"),
        description="State directory: header log, chosen coordinates, verdicts and evidence.",
    )

    confidence: float = Field(
        default=0.9999, gt=0, lt=1, description="Required probability of detecting lost data."
    )
    mode: Literal["folds", "cells"] = Field(
        default="folds",
        description="What is sampled: folds of whole columns, or single EIP-7594 cells.",
    )
    thorough: bool = Field(
        default=False, description="Ask for 64 folds at once: a verdict by knowledge, not by chance."
    )
    contribute: bool = Field(
        default=False,
        description="Offer what was verified to the members, so that they can rebuild the batch.",
    )
    samples_max: int = Field(
        default=1024,
        ge=1,
        le=1024,
        description="Most cells to sample; a confidence that needs more is refused.",
    )

    engine: str = Field(
        default="ckzg",
        description="Engine that verifies cells: ckzg (starts at once), host, cuda, or auto (the fastest).",
    )

    deadline_s: float = Field(
        default=30.0, gt=0, description="Seconds after which a run ends with a verdict."
    )
    answer_timeout_s: float = Field(
        default=1.0,
        gt=0,
        description="Timeout of a request to a member, in seconds; doubles with each retry.",
    )
    attempts_max: int = Field(
        default=4, ge=1, le=16, description="Requests for a cell to a member that does not answer."
    )
    refusals_max: int = Field(
        default=2, ge=1, le=16, description="Times a member must answer that it does not have a cell."
    )
    backoff_initial_s: float = Field(
        default=0.2, gt=0, description="Seconds before the first retry of a request; doubles, with jitter."
    )
    backoff_max_s: float = Field(
        default=5.0, gt=0, description="Longest pause between retries of a request, in seconds."
    )
    hedge_members: int = Field(
        default=2, ge=1, le=16, description="Members queried at once for a batch's header and certificate."
    )
    hedge_after_s: float = Field(
        default=0.3,
        gt=0,
        description="Seconds without an answer after which the others of these members are queried too.",
    )
    head_members: int = Field(
        default=4, ge=1, le=64, description="Members queried for the newest batch, and followed by `watch`."
    )
    page_batches: int = Field(default=8, ge=1, le=100, description="Batches that `watch` requests at once.")
    poll_interval_s: float = Field(
        default=2.0, gt=0, description="Seconds between two polls of the log by `watch`."
    )
    resample_interval_s: float = Field(
        default=60.0,
        gt=0,
        le=DAY_S,
        description="Seconds before `watch` samples an undecided batch again; doubles with each such run.",
    )
    resample_interval_max_s: float = Field(
        default=3600.0,
        gt=0,
        le=DAY_S,
        description="Longest pause between two runs of an undecided batch, in seconds.",
    )
    reports_max: int = Field(
        default=8,
        ge=1,
        description="Reports kept of one batch, in addition to its last available and last unavailable one.",
    )


def load(**overrides: Any) -> LightClientSettings:
    """Settings from the environment, with the command line's values (None: not given) on top.

    Raises:
        SettingsError: a value is invalid.
    """
    chosen = {name: value for name, value in overrides.items() if value is not None}
    try:
        return LightClientSettings(**chosen)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise SettingsError(reasons) from None
