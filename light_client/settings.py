"""Settings of the light client: one frozen class, from `LIGHT_CLIENT_*` variables and the command line.

Every limit, timeout and place of the program is a field here, with its unit in its name;
docs/reference/light-client.md lists them and a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from light_client.errors import LightClientError

ENV_PREFIX = "LIGHT_CLIENT_"
KIB, MIB = 1024, 1024 * 1024
DAY_S = 86_400


class SettingsError(LightClientError):
    """A setting that cannot be used; the message says which and why."""


class LightClientSettings(BaseSettings):
    """Everything the light client needs to be told; only the committee must be."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    committee_file: Path | None = Field(
        default=None, description="Committee JSON: the members, their keys, stakes and URLs. No default."
    )
    state_dir: Path = Field(
        default=Path("~/.local/state/cellar-light-client"),
        description="Directory of the header log, the chosen coordinates, the verdicts and the evidence.",
    )

    confidence: float = Field(
        default=0.9999, gt=0, lt=1, description="Probability with which lost data must be noticed."
    )
    samples_max: int = Field(
        default=1024, ge=1, le=1024, description="Cells sampled at most, whatever the confidence asks for."
    )

    engine: str = Field(
        default="ckzg",
        description="What verifies cells: ckzg (ready at once), host, cuda, or auto, the fastest there is.",
    )

    deadline_s: float = Field(default=30.0, gt=0, description="Seconds after which a run gives its verdict.")
    answer_timeout_s: float = Field(
        default=1.0, gt=0, description="Seconds a member has to answer; doubles each time it is asked again."
    )
    attempts_max: int = Field(
        default=4, ge=1, le=16, description="How often a member that gives no answer is asked for a cell."
    )
    refusals_max: int = Field(
        default=2, ge=1, le=16, description="How often a member must say that it has no cell."
    )
    backoff_initial_s: float = Field(
        default=0.2, gt=0, description="Seconds before a member is asked again; doubles, with jitter."
    )
    backoff_max_s: float = Field(default=5.0, gt=0, description="Seconds between two questions at most.")
    hedge_members: int = Field(
        default=2, ge=1, le=16, description="Members asked at once for a batch's header and certificate."
    )
    head_members: int = Field(
        default=4, ge=1, le=64, description="Members asked for the newest batch, and followed by `watch`."
    )
    page_batches: int = Field(
        default=8, ge=1, le=100, description="Batches that `watch` asks for in one request."
    )
    poll_interval_s: float = Field(
        default=2.0, gt=0, description="Seconds between two looks of `watch` at the log."
    )
    resample_interval_s: float = Field(
        default=60.0,
        gt=0,
        le=DAY_S,
        description="Seconds before `watch` samples an undecided batch again; doubles with each such run.",
    )
    resample_interval_max_s: float = Field(
        default=3600.0, gt=0, le=DAY_S, description="Seconds between two runs of an undecided batch at most."
    )
    reports_max: int = Field(
        default=8, ge=1, description="Reports kept of one batch, besides its last of each deciding verdict."
    )


def load(**overrides: Any) -> LightClientSettings:
    """Settings from the environment, with the command line's values (None: not given) on top.

    Raises:
        SettingsError: a value is refused.
    """
    chosen = {name: value for name, value in overrides.items() if value is not None}
    try:
        return LightClientSettings(**chosen)
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise SettingsError(reasons) from None
