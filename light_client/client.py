"""The light client: takes a reference, returns a report, and stores everything durably.

Flow:
- The batch is found and verified (lookup.py); its header goes into the log, where a second header at its
  height, or one that does not follow from its neighbours, is evidence.
- As many coordinates as the confidence requires are read from the log, or drawn and stored durably.
- The cells are sampled (sampling_run.py); the report is made and appended to the log.

Invariants: every call returns a report within the deadline, plus one verification; a member's fault is in the
report, never an exception. Exceptions are for the caller's mistakes, disk failures, and a log without a
batch.

Does not: read settings, or files outside the state directory; the program does (cli.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random, SystemRandom

from da.clock import Clock, system_clock
from da.protocol.committee import Committee
from da.protocol.header import Header
from kzg.engine import Verifier
from light_client.batch import VerifiedBatch
from light_client.chain import keep_header
from light_client.committees import Committees
from light_client.describe import (
    describe_accusations,
    describe_equivocations,
    describe_previous,
    describe_sampling,
    describe_silences,
    describe_verified,
)
from light_client.errors import (
    BatchExpired,
    BatchNotFound,
    BatchPending,
    BatchUnreached,
    CommitteesChanged,
    NoBatchYet,
    UnverifiedBatch,
)
from light_client.log import HeaderLog
from light_client.lookup import BatchFinder, Reference, choose_dispersers, parse_reference
from light_client.peers import Members
from light_client.report import CostReport, Report, Status, exit_code
from light_client.sampling_run import Pause, SamplingRun
from light_client.settings import LightClientSettings, SettingsError
from light_client.witness import Witness
from sampling import CellState, Sampler, Verdict, confidence_of, samples_needed


class Observer:
    """Receives the progress of a run and ignores it. A display overrides the methods it needs."""

    def on_status(self, status: Status, detail: str) -> None:
        """The run has entered a new status."""

    def on_progress(self, rows: int, sampler: Sampler) -> None:
        """A cell's state may have changed."""


@dataclass(frozen=True, slots=True)
class _Start:
    """The counters at the start of a run."""

    at_s: float
    requests: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: Verdict
    status: Status
    reason: str


class LightClient:
    """Samples batches of a committee and of those that follow it.

    Args:
        committee, settings: the committee that the user trusts, and the limits and timeouts.
        log: the state directory, opened; closed by the caller.
        members: clients of its members; closed by the caller.
        verifier: verifies cells; closed by the caller.
        rng: draws coordinates, order and jitter; default: the system's generator.
        clock: Unix milliseconds. monotonic: seconds. pause: waits.
    """

    def __init__(
        self,
        committee: Committee,
        settings: LightClientSettings,
        log: HeaderLog,
        members: Members,
        verifier: Verifier,
        *,
        rng: Random | None = None,
        clock: Clock = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self.committees = Committees(committee, log, members)
        self.settings = settings
        self.log = log
        self.members = members
        self.verifier = verifier
        self.clock = clock
        self.rng = rng or SystemRandom()
        self.pause = pause
        self._monotonic = monotonic

    @property
    def committee(self) -> Committee:
        """The last committee that is known."""
        return self.committees.latest

    async def sample(
        self, reference: str, *, disperser: str | None = None, observer: Observer | None = None
    ) -> Report:
        """Find, verify and sample the batch with this height, hash or payload id, or the `latest`.

        Raises:
            InvalidReference, UnknownDisperser, SettingsError: the caller's mistake.
            NoBatchYet: `latest` was requested, but nothing has been posted yet.
            StateError: the state directory cannot be used.
        """
        wanted = parse_reference(reference)
        choose_dispersers(self.committees.chain, disperser)
        observer = observer or Observer()
        start, witness = self._start(), self.witness()

        observer.on_status(Status.VERIFYING_CERTIFICATE, f"requesting {wanted} from members")
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                batch = await self.find(wanted, disperser, witness)
        except NoBatchYet:
            raise
        except (BatchNotFound, BatchPending, BatchExpired, BatchUnreached) as error:
            status = {BatchPending: Status.PENDING, BatchExpired: Status.EXPIRED}
            outcome = _Outcome(Verdict.UNDECIDED, status.get(type(error), Status.UNDECIDED), str(error))
            return self._report(reference, outcome, start, witness)
        except TimeoutError:
            reason = f"no member served {wanted} within {self.settings.deadline_s:g} s"
            outcome = _Outcome(Verdict.UNDECIDED, Status.UNDECIDED, reason)
            return self._report(reference, outcome, start, witness)
        return await self.sample_batch(batch, reference, observer=observer, witness=witness, start=start)

    async def find(self, wanted: Reference, disperser: str | None, witness: Witness) -> VerifiedBatch:
        """The batch that the reference means, following changes of committee as members show them.

        Raises as BatchFinder.find, other than CommitteesChanged.
        """
        while True:
            dispersers = choose_dispersers(self.committees.chain, disperser)
            heads = ((each, self.log.head(self.committee.chain_id, each)) for each in dispersers)
            known_heights = {each: head.header.height for each, head in heads if head is not None}
            finder = BatchFinder(self.committees, witness, self.settings, self.rng)
            with contextlib.suppress(CommitteesChanged):
                return await finder.find(wanted, dispersers, known_heights)

    async def sample_batch(
        self,
        batch: VerifiedBatch,
        reference: str,
        *,
        observer: Observer | None = None,
        witness: Witness | None = None,
        start: _Start | None = None,
    ) -> Report:
        """Sample a verified batch. Raises as `sample`."""
        observer, start, witness = observer or Observer(), start or self._start(), witness or self.witness()
        rows = batch.header.row_count
        samples = samples_needed(rows, self.settings.confidence)
        if samples > self.settings.samples_max:
            raise SettingsError(
                f"confidence {self.settings.confidence} needs {samples} cells of this batch, but samples_max "
                f"is {self.settings.samples_max}; lower the confidence or raise samples_max"
            )

        committee = self.committees.of(batch.header)
        witness = witness.under(committee)
        keep_header(self.log, committee, self.clock, batch.signed_header(), witness)
        previous = self.log.verdicts(header_hash=batch.header_hash)
        chosen_before = self.log.has_plan(batch.header_hash)
        cells = self.log.plan(batch.header_hash, rows, samples, self.rng, self.clock())
        run = SamplingRun(
            batch,
            cells,
            self.committees.members_of(committee),
            witness,
            self.settings,
            self.verifier,
            self.rng,
            retention_over=self.retention_over(batch.header),
            pause=self.pause,
            on_change=lambda sampler: observer.on_progress(rows, sampler),
        )
        observer.on_status(Status.SAMPLING, f"height {batch.header.height}: {len(cells)} cells")
        outcome = await self._run(run, start, witness)
        report = self._report(
            reference,
            outcome,
            start,
            witness,
            batch=describe_verified(batch, committee),
            sampling=describe_sampling(
                run.sampler, rows, self.settings.confidence, committee, resumed=chosen_before
            ),
            previous=describe_previous(previous),
        )
        self.record(batch.header_hash, batch.header.height, report)
        observer.on_status(report.status, report.reason)
        return report

    def record(self, header_hash: bytes, height: int, report: Report) -> None:
        """Append a report to the log."""
        self.log.put_verdict(
            header_hash,
            height,
            report.verdict,
            report.status,
            report.finished_ms,
            report.to_json(),
            keep=self.settings.reports_max,
        )

    def witness(self) -> Witness:
        """A witness for one run."""
        return Witness(self.committee, self.log.directory / "evidence")

    def retention_over(self, header: Header) -> bool:
        """Whether members may have deleted the batch of a verified header."""
        return self.clock() > header.timestamp_ms + self.committees.of(header).retention_s * 1000

    async def _run(self, run: SamplingRun, start: _Start, witness: Witness) -> _Outcome:
        left_s = max(start.at_s + self.settings.deadline_s - self._monotonic(), 0.0)
        try:
            await run.run(left_s)
        except UnverifiedBatch as error:
            return _Outcome(
                Verdict.UNAVAILABLE,
                Status.UNAVAILABLE,
                f"no cell can be valid, because of the certified {error}",
            )
        return _judge(run, witness)

    def _start(self) -> _Start:
        return _Start(self._monotonic(), self.members.requests_sent, self.members.bytes_received)

    def _report(
        self, reference: str, outcome: _Outcome, start: _Start, witness: Witness, **parts: object
    ) -> Report:
        facts: dict[str, object] = {"batch": None, "sampling": None, "previous": ()}
        accusations = describe_accusations(witness)
        equivocations = describe_equivocations(witness.equivocations, self.committees.chain)
        return Report.model_validate(
            {
                **facts,
                **parts,
                "reference": reference,
                "verdict": outcome.verdict,
                "status": outcome.status,
                "reason": outcome.reason,
                "exit_code": exit_code([outcome.verdict], accusations, equivocations),
                "accusations": accusations,
                "silences": describe_silences(witness),
                "equivocations": equivocations,
                "cost": CostReport(
                    requests=self.members.requests_sent - start.requests,
                    bytes_received=self.members.bytes_received - start.bytes_received,
                    elapsed_s=round(self._monotonic() - start.at_s, 6),
                ),
                "finished_ms": self.clock(),
            }
        )


def _judge(run: SamplingRun, witness: Witness) -> _Outcome:
    """The verdict and its reason."""
    sampler = run.sampler
    samples, rows = len(sampler.cells), run.batch.header.row_count
    if sampler.verdict is Verdict.AVAILABLE:
        missed = float(1 - confidence_of(rows, samples))
        reason = f"all {samples} cells are valid; chance of missing lost data: {100 * missed:.2g} %"
        return _Outcome(Verdict.AVAILABLE, Status.AVAILABLE, reason)
    if sampler.verdict is Verdict.UNAVAILABLE:
        withheld = sampler.count(CellState.WITHHELD)
        reason = f"{withheld} of {samples} cells are withheld: none of their holders served a valid cell"
        return _Outcome(Verdict.UNAVAILABLE, Status.UNAVAILABLE, reason)
    if sampler.expired:
        return _Outcome(
            Verdict.UNDECIDED, Status.EXPIRED, "the members deleted it after the retention period"
        )
    silent = ", ".join(sorted(member.name for member in witness.silences))
    open_cells = samples - sampler.count(CellState.VALID)
    reason = f"{open_cells} of {samples} cells are open; " + (
        f"unreachable members: {silent}" if silent else "no member is left to request them from"
    )
    return _Outcome(Verdict.UNDECIDED, Status.UNDECIDED, reason)
