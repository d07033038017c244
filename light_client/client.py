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
from typing import TypeVar

from da.clock import Clock, system_clock
from da.protocol.committee import Committee
from da.protocol.custody import holders_of
from da.protocol.header import Header
from da.wire.contributions import Contribution
from kzg.engine import Verifier
from light_client.asking_run import AskingRun, Parts, Pause
from light_client.batch import VerifiedBatch
from light_client.chain import keep_header
from light_client.committees import Committees
from light_client.contribution import of_cells, of_folds, offer
from light_client.describe import (
    describe_accusations,
    describe_cells,
    describe_equivocations,
    describe_folds,
    describe_previous,
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
from light_client.report import CostReport, Report, SamplingReport, Status, exit_code
from light_client.sampling_run import CellRun, FoldRun
from light_client.settings import LightClientSettings, SettingsError
from light_client.witness import Witness
from sampling import (
    FoldSampler,
    Sampler,
    SampleState,
    Verdict,
    confidence_of,
    fold_failure_probability,
    folds_needed,
    samples_needed,
)
from sampling.asking import Asking
from sampling.folds import NEEDED

T = TypeVar("T")


class Observer:
    """Receives the progress of a run and ignores it. A display overrides the methods it needs."""

    def on_status(self, status: Status, detail: str) -> None:
        """The run has entered a new status."""

    def on_progress(self, rows: int, sampler: Asking[T]) -> None:
        """The state of an item may have changed."""


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


@dataclass(frozen=True, slots=True)
class _Sampled:
    outcome: _Outcome
    report: SamplingReport
    verified: list[Contribution]


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
        committee = self.committees.of(batch.header)
        witness = witness.under(committee)
        keep_header(self.log, committee, self.clock, batch.signed_header(), witness)
        previous = self.log.verdicts(header_hash=batch.header_hash)
        # Who failed to convince once is not asked for the same coordinates alone: it may have learnt them.
        fresh = bool(previous) and previous[0].verdict != Verdict.AVAILABLE
        if self.settings.mode == "folds":
            sampled = await self._sample_folds(batch, committee, witness, observer, start, fresh)
        else:
            sampled = await self._sample_cells(batch, committee, witness, observer, start, fresh)
        contribution = None
        if self.settings.contribute and sampled.verified:
            members = self.committees.members_of(committee)
            contribution = await offer(
                sampled.verified, batch.header_hash, members, self.rng, self.settings.answer_timeout_s
            )
        report = self._report(
            reference,
            sampled.outcome,
            start,
            witness,
            batch=describe_verified(batch, committee),
            sampling=sampled.report,
            previous=describe_previous(previous),
            contribution=contribution,
        )
        self.record(batch.header_hash, batch.header.height, report)
        observer.on_status(report.status, report.reason)
        return report

    async def _sample_folds(
        self,
        batch: VerifiedBatch,
        committee: Committee,
        witness: Witness,
        observer: Observer,
        start: _Start,
        fresh: bool,
    ) -> _Sampled:
        """Every draw that was made for the batch must convince, or 64 folds of one of them."""
        rows, header_hash, settings = batch.header.row_count, batch.header_hash, self.settings
        resumed = self.log.has_draw(header_hash)
        draws = self.log.fold_draws(header_hash, self.rng, self.clock(), fresh=fresh)
        disperser = committee.member_index(batch.header.disperser_id)
        runs: list[FoldRun] = []
        outcome: _Outcome | None = None
        for number, draw in enumerate(draws, 1):
            holders = [holders_of(committee, column) for column in draw.columns]
            sampler = FoldSampler(
                draw.columns,
                folds_needed(settings.confidence),
                holders,
                self.rng,
                thorough=settings.thorough,
                others=[() if disperser is None or disperser in each else (disperser,) for each in holders],
                refusals_max=min(settings.refusals_max, settings.attempts_max),
                attempts_max=settings.attempts_max,
                retention_over=self.retention_over(batch.header),
            )
            run = FoldRun(self._parts(batch, committee, sampler, witness, observer), sampler, draw.seed)
            runs.append(run)
            count = NEEDED if settings.thorough else sampler.samples
            of = f", draw {number} of {len(draws)}" if len(draws) > 1 else ""
            observer.on_status(Status.SAMPLING, f"height {batch.header.height}: {count} columns{of}")
            outcome = await self._run(run, start) or _judge_folds(run, witness)
            if outcome.verdict is not Verdict.AVAILABLE or sampler.by_knowledge:
                break
        assert outcome is not None, "there is a draw"
        described = describe_folds(runs, rows, settings.confidence, committee, resumed=resumed)
        return _Sampled(outcome, described, of_folds(runs))

    async def _sample_cells(
        self,
        batch: VerifiedBatch,
        committee: Committee,
        witness: Witness,
        observer: Observer,
        start: _Start,
        fresh: bool,
    ) -> _Sampled:
        rows, header_hash, settings = batch.header.row_count, batch.header_hash, self.settings
        samples = samples_needed(rows, settings.confidence)
        if samples > settings.samples_max:
            raise SettingsError(
                f"confidence {settings.confidence} needs {samples} cells of this batch, but samples_max "
                f"is {settings.samples_max}; lower the confidence or raise samples_max"
            )
        resumed = self.log.has_plan(header_hash)
        cells = self.log.plan(header_hash, rows, samples, self.rng, self.clock(), fresh=fresh)
        sampler = Sampler(
            cells,
            [holders_of(committee, cell.column) for cell in cells],
            self.rng,
            refusals_max=min(settings.refusals_max, settings.attempts_max),
            attempts_max=settings.attempts_max,
            retention_over=self.retention_over(batch.header),
        )
        run = CellRun(self._parts(batch, committee, sampler, witness, observer))
        observer.on_status(Status.SAMPLING, f"height {batch.header.height}: {len(cells)} cells")
        outcome = await self._run(run, start) or _judge_cells(run, witness)
        described = describe_cells(run, rows, settings.confidence, committee, resumed=resumed)
        return _Sampled(outcome, described, of_cells(run))

    def _parts(
        self,
        batch: VerifiedBatch,
        committee: Committee,
        sampler: Asking[T],
        witness: Witness,
        observer: Observer,
    ) -> Parts[T]:
        """What both kinds of run are made of."""
        return Parts(
            batch,
            sampler,
            self.committees.members_of(committee),
            witness,
            self.settings,
            self.verifier,
            self.rng,
            self.pause,
            lambda: observer.on_progress(batch.header.row_count, sampler),
        )

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

    async def _run(self, run: AskingRun[T], start: _Start) -> _Outcome | None:
        """Sample until it is finished or the deadline; an outcome only where no sample can be valid."""
        left_s = max(start.at_s + self.settings.deadline_s - self._monotonic(), 0.0)
        try:
            await run.run(left_s)
        except UnverifiedBatch as error:
            return _Outcome(
                Verdict.UNAVAILABLE,
                Status.UNAVAILABLE,
                f"no cell can be valid, because of the certified {error}",
            )
        return None

    def _start(self) -> _Start:
        return _Start(self._monotonic(), self.members.requests_sent, self.members.bytes_received)

    def _report(
        self, reference: str, outcome: _Outcome, start: _Start, witness: Witness, **parts: object
    ) -> Report:
        facts: dict[str, object] = {"batch": None, "sampling": None, "previous": (), "contribution": None}
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


def _judge_cells(run: CellRun, witness: Witness) -> _Outcome:
    """The verdict on cells and its reason."""
    sampler = run.sampler
    samples, rows = len(sampler.items), run.batch.header.row_count
    if sampler.verdict is Verdict.AVAILABLE:
        missed = float(1 - confidence_of(rows, samples))
        return _available(f"all {samples} cells are valid; {_chance(missed)}")
    if sampler.verdict is Verdict.UNAVAILABLE:
        withheld = sampler.count(SampleState.WITHHELD)
        reason = f"{withheld} of {samples} cells are withheld: none of their holders served a valid cell"
        return _Outcome(Verdict.UNAVAILABLE, Status.UNAVAILABLE, reason)
    open_cells = samples - sampler.count(SampleState.VALID)
    return _undecided(sampler, witness, f"{open_cells} of {samples} cells are open")


def _judge_folds(run: FoldRun, witness: Witness) -> _Outcome:
    """The verdict on folds and its reason."""
    sampler = run.folds
    valid, withheld = sampler.count(SampleState.VALID), sampler.count(SampleState.WITHHELD)
    if sampler.by_knowledge:
        missing = f"; {withheld} others are withheld" if withheld else ""
        return _available(f"{valid} whole columns are there, and 64 are enough{missing}")
    if sampler.verdict is Verdict.AVAILABLE:
        missed = float(fold_failure_probability(sampler.samples))
        return _available(f"all {sampler.samples} sampled columns are there; {_chance(missed)}")
    if sampler.verdict is Verdict.UNAVAILABLE:
        reason = f"{withheld} of 128 columns are withheld by all their holders, so no 64 can be had"
        return _Outcome(Verdict.UNAVAILABLE, Status.UNAVAILABLE, reason)
    return _undecided(
        sampler,
        witness,
        f"{valid} columns are there and {withheld} withheld, of 64 that are needed",
    )


def _chance(missed: float) -> str:
    """The figure with its condition."""
    return (
        "chance of missing lost data, if what is withheld was fixed without knowing this client's samples: "
        f"{100 * missed:.2g} %"
    )


def _available(reason: str) -> _Outcome:
    return _Outcome(Verdict.AVAILABLE, Status.AVAILABLE, reason)


def _undecided(sampler: Asking[T], witness: Witness, found: str) -> _Outcome:
    if sampler.expired:
        return _Outcome(
            Verdict.UNDECIDED, Status.EXPIRED, "the members deleted it after the retention period"
        )
    silent = ", ".join(sorted(member.name for member in witness.silences))
    cause = f"unreachable members: {silent}" if silent else "no member is left to request them from"
    return _Outcome(Verdict.UNDECIDED, Status.UNDECIDED, f"{found}; {cause}")
