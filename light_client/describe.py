"""Converts the objects of a run to the parts of its report: bytes to hex, indices to names.

Does not: decide anything; every figure comes from the sampler, the witness or the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, TypeVar

from da.protocol import namespace as namespaces
from da.protocol.committee import Committee
from da.protocol.committee_chain import CommitteeChain
from erasure.constants import CELLS_PER_EXT_BLOB
from light_client.batch import SignedHeader, VerifiedBatch
from light_client.log import VerdictRecord
from light_client.report import (
    AccusationReport,
    AskedReport,
    BatchReport,
    CellReport,
    ColumnReport,
    DrawReport,
    EquivocationReport,
    PayloadReport,
    PreviousReport,
    SamplingReport,
    SilenceReport,
)
from light_client.sampling_run import CellRun, FoldRun
from light_client.witness import Accusation, Witness
from sampling import SampleState, Verdict, failure_probability, fold_failure_probability
from sampling.asking import Asking

T = TypeVar("T")
NOT_ASKED = "not-asked"


def describe_verified(batch: VerifiedBatch, committee: Committee) -> BatchReport:
    """The batch's part of a report."""
    header = batch.header
    disperser = committee.member(header.disperser_id)
    return BatchReport(
        header_hash=_hex(batch.header_hash),
        chain_id=header.chain_id,
        disperser=disperser.name if disperser else "",
        disperser_id=_hex(header.disperser_id),
        height=header.height,
        timestamp_ms=header.timestamp_ms,
        parent=_hex(header.parent),
        row_count=header.row_count,
        payloads=tuple(
            PayloadReport(
                payload_id=_hex(entry.payload_id),
                namespace=namespaces.label(entry.namespace),
                first_row=entry.first_row,
                row_count=entry.row_count,
                length=entry.length,
            )
            for entry in batch.payload_list.entries
        ),
        signers=tuple(committee.members[index].name for index in batch.certificate.signers),
        signed_stake=batch.finality.signed_stake,
        total_stake=batch.finality.total_stake,
        slot_margin=batch.finality.margin,
    )


def describe_cells(
    run: CellRun, rows: int, confidence_wanted: float, committee: Committee, *, resumed: bool
) -> SamplingReport:
    """The sampling part of a report on cells."""
    sampler = run.sampler
    samples = len(sampler.items)
    cells = tuple(
        CellReport(
            row=cell.row,
            column=cell.column,
            parity_row=cell.row >= rows,
            state=_final_state(sampler, position),
            asked=_asked(sampler, position, committee),
        )
        for position, cell in enumerate(sampler.items)
    )
    failure = failure_probability(rows, samples)
    return _sampling(
        sampler, rows, confidence_wanted, failure, resumed=resumed, mode="cells", samples=samples, cells=cells
    )


def describe_folds(
    runs: Sequence[FoldRun], rows: int, confidence_wanted: float, committee: Committee, *, resumed: bool
) -> SamplingReport:
    """The sampling part of a report on folds: of the last run, with all draws."""
    sampler = runs[-1].folds
    columns = tuple(
        ColumnReport(
            column=sampler.items[position],
            state=_final_state(sampler, position),
            asked=_asked(sampler, position, committee),
        )
        for position in sorted(range(len(sampler.items)), key=lambda position: sampler.items[position])
    )
    draws = tuple(
        DrawReport(seed=_hex(run.seed), samples=run.folds.samples, verdict=run.folds.verdict) for run in runs
    )
    failure = Fraction(0) if sampler.by_knowledge else fold_failure_probability(sampler.samples)
    return _sampling(
        sampler,
        rows,
        confidence_wanted,
        failure,
        resumed=resumed,
        mode="folds",
        samples=sum(bool(column.asked) for column in columns),
        by_knowledge=sampler.by_knowledge,
        draws=draws,
        columns=columns,
    )


def _sampling(
    sampler: Asking[T],
    rows: int,
    confidence_wanted: float,
    failure: Fraction,
    *,
    resumed: bool,
    mode: Literal["folds", "cells"],
    samples: int,
    by_knowledge: bool = False,
    draws: tuple[DrawReport, ...] = (),
    columns: tuple[ColumnReport, ...] = (),
    cells: tuple[CellReport, ...] = (),
) -> SamplingReport:
    valid, withheld = sampler.count(SampleState.VALID), sampler.count(SampleState.WITHHELD)
    return SamplingReport(
        mode=mode,
        matrix_rows=2 * rows,
        matrix_columns=CELLS_PER_EXT_BLOB,
        confidence_wanted=confidence_wanted,
        confidence=float(1 - failure) if sampler.verdict is Verdict.AVAILABLE else None,
        failure_probability_nonadaptive=float(failure),
        by_knowledge=by_knowledge,
        samples=samples,
        valid=valid,
        withheld=withheld,
        unreached=max(samples - valid - withheld, 0),
        resumed=resumed,
        draws=draws,
        columns=columns,
        cells=cells,
    )


def _asked(sampler: Asking[T], position: int, committee: Committee) -> tuple[AskedReport, ...]:
    return tuple(
        AskedReport(
            member=committee.members[member].name,
            times=attempts.asked,
            answers=tuple(attempts.answers),
            reason=attempts.reason,
        )
        for member, attempts in sampler.attempts(position).items()
        if attempts.asked
    )


def describe_accusations(witness: Witness) -> tuple[AccusationReport, ...]:
    """The accused members."""
    return tuple(_accusation(each) for each in witness.accusations)


def describe_silences(witness: Witness) -> tuple[SilenceReport, ...]:
    """The members that did not answer."""
    return tuple(
        SilenceReport(
            member=member.name,
            url=member.url,
            times=len(reasons),
            reason=reasons[-1],
        )
        for member, reasons in sorted(witness.silences.items(), key=lambda item: item[0].public_key)
    )


def describe_equivocations(
    found: Sequence[tuple[SignedHeader, SignedHeader]], chain: CommitteeChain
) -> tuple[EquivocationReport, ...]:
    """Evidence of equivocation, which anyone can verify with the disperser's public key."""
    names = {disperser.id: disperser.name for disperser in chain.dispersers}
    reports = []
    for first, second in found:
        header = first.header
        reports.append(
            EquivocationReport(
                disperser=names.get(header.disperser_id, ""),
                disperser_id=_hex(header.disperser_id),
                height=header.height,
                first_hash=_hex(header.hash),
                first_header=_hex(header.encode()),
                first_signature=_hex(first.disperser_signature),
                second_hash=_hex(second.header.hash),
                second_header=_hex(second.header.encode()),
                second_signature=_hex(second.disperser_signature),
            )
        )
    return tuple(reports)


def describe_previous(records: Sequence[VerdictRecord]) -> tuple[PreviousReport, ...]:
    """Earlier runs of the batch, newest first."""
    return tuple(
        PreviousReport(verdict=record.verdict, status=record.status, finished_ms=record.finished_ms)
        for record in records
    )


def _accusation(accusation: Accusation) -> AccusationReport:
    member = accusation.member
    return AccusationReport(
        member=member.name,
        member_id=_hex(member.id),
        url=member.url,
        fault=accusation.fault,
        reason=accusation.reason,
        row=accusation.row,
        column=accusation.column,
        sent_bytes=accusation.sent_bytes,
        sent_sha256=accusation.sent_sha256,
        evidence=str(accusation.evidence) if accusation.evidence else None,
    )


def _final_state(sampler: Asking[T], position: int) -> str:
    state = sampler.state(position)
    if state in (SampleState.VALID, SampleState.WITHHELD):
        return state
    asked = any(attempts.asked for attempts in sampler.attempts(position).values())
    return SampleState.UNREACHED if asked else NOT_ASKED


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
