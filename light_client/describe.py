"""Converts the objects of a run to the parts of its report: bytes to hex, indices to names.

Does not: decide anything; every figure comes from the sampler, the witness or the log.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    EquivocationReport,
    PayloadReport,
    PreviousReport,
    SamplingReport,
    SilenceReport,
)
from light_client.witness import Accusation, Witness
from sampling import CellState, Sampler, Verdict, confidence_of, failure_probability


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


def describe_sampling(
    sampler: Sampler, rows: int, confidence_wanted: float, committee: Committee, *, resumed: bool
) -> SamplingReport:
    """The sampling part of a report."""
    samples = len(sampler.cells)
    available = sampler.verdict is Verdict.AVAILABLE
    return SamplingReport(
        matrix_rows=2 * rows,
        matrix_columns=CELLS_PER_EXT_BLOB,
        confidence_wanted=confidence_wanted,
        confidence=float(confidence_of(rows, samples)) if available else None,
        failure_probability=float(failure_probability(rows, samples)),
        samples=samples,
        valid=sampler.count(CellState.VALID),
        withheld=sampler.count(CellState.WITHHELD),
        unreached=samples - sampler.count(CellState.VALID) - sampler.count(CellState.WITHHELD),
        resumed=resumed,
        cells=tuple(
            CellReport(
                row=cell.row,
                column=cell.column,
                parity_row=cell.row >= rows,
                state=_final_state(sampler.state(position)),
                asked=tuple(
                    AskedReport(
                        member=committee.members[member].name,
                        times=attempts.asked,
                        answers=tuple(attempts.answers),
                        reason=attempts.reason,
                    )
                    for member, attempts in sampler.attempts(position).items()
                    if attempts.asked
                ),
            )
            for position, cell in enumerate(sampler.cells)
        ),
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
        row=accusation.cell.row if accusation.cell else None,
        column=accusation.cell.column if accusation.cell else None,
        sent_bytes=accusation.sent_bytes,
        sent_sha256=accusation.sent_sha256,
        evidence=str(accusation.evidence) if accusation.evidence else None,
    )


def _final_state(state: CellState) -> str:
    return state if state in (CellState.VALID, CellState.WITHHELD) else CellState.UNREACHED


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
