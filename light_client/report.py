"""The report of a run: the request, the result, the faults found, the cost.

The JSON is for scripts and is a contract: `schema` names its version, docs/reference/light-client.md lists
every field, and a test compares the two. Hashes and keys are 0x-hex, times Unix milliseconds.

Invariants: a report is created from a finished run and never changed; `confidence` is a number only for an
available batch, because the others prove nothing.

Does not: collect the facts (describe.py), or print them (display.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from da.protocol import strict_json
from da.text import escaped
from light_client.witness import Fault
from sampling import Verdict

REPORT_SCHEMA: Final = "cellar/light-client/report/v2"
ROUND_SCHEMA: Final = "cellar/light-client/round/v1"

EXIT_CODES = {Verdict.AVAILABLE: 0, Verdict.UNAVAILABLE: 1, Verdict.UNDECIDED: 3}
EXIT_USAGE = 2
_REPORT_BYTES_MAX = 64 * 2**20
CONTRADICTIONS = frozenset({Fault.EQUIVOCATION, Fault.BROKEN_CHAIN})


class Status(StrEnum):
    """The status of a batch in a light client."""

    PENDING = "pending"
    VERIFYING_CERTIFICATE = "verifying-certificate"
    SAMPLING = "sampling"
    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    UNDECIDED = "undecided"
    EXPIRED = "expired"


PlainText = Annotated[str, AfterValidator(escaped)]
"""Members choose some of it, and terminals obey control characters. Holds for stored reports too."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class PayloadReport(_Model):
    """One payload of the batch."""

    payload_id: str
    namespace: str
    first_row: int
    row_count: int
    length: int


class BatchReport(_Model):
    """The verified batch: its certificate is valid for the committee."""

    header_hash: str
    chain_id: int
    disperser: str
    disperser_id: str
    height: int
    timestamp_ms: int
    parent: str
    row_count: int
    payloads: tuple[PayloadReport, ...]
    signers: tuple[str, ...]
    signed_stake: int
    total_stake: int
    slot_margin: int


class AskedReport(_Model):
    """One member's answers for one cell."""

    member: str
    times: int
    answers: tuple[str, ...]
    reason: PlainText


class CellReport(_Model):
    """One sampled cell. `state`: valid, withheld, or unreached."""

    row: int
    column: int
    parity_row: bool
    state: str
    asked: tuple[AskedReport, ...]


class ColumnReport(_Model):
    """One column. `state`: valid, withheld, unreached, or not-asked."""

    column: int
    state: str
    asked: tuple[AskedReport, ...]


class DrawReport(_Model):
    """One draw of seed and columns: how many of its columns were the sample, and what came of it."""

    seed: str
    samples: int
    verdict: Verdict


class SamplingReport(_Model):
    """What was sampled, and the confidence it gives.

    `failure_probability_nonadaptive` is the chance that all samples are valid although the data is lost, for
    an adversary that fixes what is withheld without knowing this client's coordinates. It is 0 when 64
    columns are known. Against members that together answer only what this client asks, it is 1.
    """

    mode: Literal["folds", "cells"]
    matrix_rows: int
    matrix_columns: int
    confidence_wanted: float
    confidence: float | None
    failure_probability_nonadaptive: float
    by_knowledge: bool
    samples: int
    valid: int
    withheld: int
    unreached: int
    resumed: bool
    draws: tuple[DrawReport, ...]
    columns: tuple[ColumnReport, ...]
    cells: tuple[CellReport, ...]


class AccusationReport(_Model):
    """A member's fault, and what it sent."""

    member: str
    member_id: str
    url: str
    fault: str
    reason: PlainText
    row: int | None
    column: int | None
    sent_bytes: int
    sent_sha256: str
    evidence: str | None


class SilenceReport(_Model):
    """A member that did not answer."""

    member: str
    url: str
    times: int
    reason: PlainText


class EquivocationReport(_Model):
    """Two certified headers of one disperser at one height, each with the disperser's signature."""

    disperser: str
    disperser_id: str
    height: int
    first_hash: str
    first_header: str
    first_signature: str
    second_hash: str
    second_header: str
    second_signature: str


class PreviousReport(_Model):
    """An earlier run on the same coordinates."""

    verdict: str
    status: str
    finished_ms: int


class ContributionReport(_Model):
    """What was offered to the members for a rescue, and what they took."""

    offered: int
    members_reached: int
    members_taking: int
    taken: int


class CostReport(_Model):
    """The cost of the run."""

    requests: int
    bytes_received: int
    elapsed_s: float


class Report(_Model):
    """One run."""

    schema_: Literal["cellar/light-client/report/v2"] = Field(default=REPORT_SCHEMA, alias="schema")
    reference: str
    verdict: Verdict
    status: Status
    reason: PlainText
    exit_code: int
    batch: BatchReport | None
    sampling: SamplingReport | None
    accusations: tuple[AccusationReport, ...]
    silences: tuple[SilenceReport, ...]
    equivocations: tuple[EquivocationReport, ...]
    previous: tuple[PreviousReport, ...]
    contribution: ContributionReport | None
    cost: CostReport
    finished_ms: int

    def to_json(self) -> str:
        """The report as one line of JSON."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that `to_json` wrote. Raises ValueError."""
        return cls.model_validate(strict_json.loads(text, max_bytes=_REPORT_BYTES_MAX))


class RoundReport(_Model):
    """One poll of one log by `light-client watch`. `new_headers` are (height, header hash)."""

    schema_: Literal["cellar/light-client/round/v1"] = Field(default=ROUND_SCHEMA, alias="schema")
    disperser: str
    head: int | None
    new_headers: tuple[tuple[int, str], ...]
    reports: tuple[Report, ...]
    accusations: tuple[AccusationReport, ...]
    silences: tuple[SilenceReport, ...]
    equivocations: tuple[EquivocationReport, ...]

    @property
    def is_news(self) -> bool:
        """Whether the round has anything to report besides silent members."""
        return bool(self.new_headers or self.reports or self.accusations or self.equivocations)

    @property
    def exit_code(self) -> int:
        """1 for a contradiction or an unavailable batch, 3 for an undecided one, else 0."""
        return exit_code(
            [report.verdict for report in self.reports],
            [*self.accusations, *(each for report in self.reports for each in report.accusations)],
            [*self.equivocations, *(each for report in self.reports for each in report.equivocations)],
        )

    def to_json(self) -> str:
        """The round as one line of JSON."""
        return self.model_dump_json(by_alias=True)


def exit_code(
    verdicts: Sequence[Verdict],
    accusations: Sequence[AccusationReport],
    equivocations: Sequence[EquivocationReport],
) -> int:
    """1 if settling would be wrong, else 3 for an undecided batch, else 0.

    A disperser that contradicted itself has two logs, and available data in one of them is no reason to
    settle on it. So a contradiction counts as an unavailable batch.
    """
    contradicted = bool(equivocations) or any(each.fault in CONTRADICTIONS for each in accusations)
    if contradicted or Verdict.UNAVAILABLE in verdicts:
        return EXIT_CODES[Verdict.UNAVAILABLE]
    return EXIT_CODES[Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.AVAILABLE]
