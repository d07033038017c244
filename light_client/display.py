"""Terminal output: live progress, the report, the history.

Invariants: live progress goes to standard error, and only to a terminal; reports go to standard output; text
from members is never interpreted as markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from light_client.client import Observer
from light_client.log import VerdictRecord
from light_client.picture import draw_columns, draw_matrix, legend
from light_client.report import AccusationReport, BatchReport, Report, RoundReport, SamplingReport, Status
from sampling import Coordinates, FoldSampler, Sampler, SampleState, Verdict
from sampling.asking import Asking

T = TypeVar("T")

_STYLES = {Verdict.AVAILABLE: "bold green", Verdict.UNAVAILABLE: "bold red", Verdict.UNDECIDED: "bold yellow"}
_SHOWN = 5


class LiveDisplay(Observer):
    """Shows a run's progress on a terminal; prints nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )
        self._status = Text()
        self._picture: RenderableType = Text()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def on_status(self, status: Status, detail: str) -> None:
        self._status = Text(f"{status}: {detail}")
        self._refresh()

    def on_progress(self, rows: int, sampler: Asking[T]) -> None:
        if not self._live:
            return
        colour = _colour(self._console)
        picture = Text()
        if isinstance(sampler, FoldSampler):
            asked = [
                (c, sampler.state(p)) for p, c in enumerate(sampler.items) if sampler.sender(p) is not None
            ]
            picture = draw_columns(dict(asked), colour=colour)
        elif isinstance(sampler, Sampler):
            states = [(cell, sampler.state(position)) for position, cell in enumerate(sampler.items)]
            picture = draw_matrix(rows, states, colour=colour)
        counts = "  ".join(f"{sampler.count(state)} {state}" for state in SampleState if sampler.count(state))
        self._picture = Group(picture, Text(counts))
        self._refresh()

    def _refresh(self) -> None:
        if self._live:
            self._live.update(Group(self._status, self._picture), refresh=True)


def print_report(console: Console, report: Report) -> None:
    """Print a report as text."""
    _print_words(
        console, Text.assemble((report.verdict.upper(), _STYLES[report.verdict]), "  ", report.reason)
    )
    if report.batch:
        _print_batch(console, report.batch, report.sampling)
    if report.sampling:
        _print_picture(console, report.sampling)
        _print_open(console, report.sampling)
    _print_faults(console, report)
    for earlier in report.previous[:_SHOWN]:
        console.print(Text(f"earlier run: {earlier.verdict}, {_when(earlier.finished_ms)}"))
    if report.contribution:
        offered = report.contribution
        console.print(
            Text(
                f"{offered.offered} samples offered to {offered.members_reached} members, "
                f"{offered.members_taking} took {offered.taken}"
            )
        )
    cost = report.cost
    console.print(
        Text(f"{cost.requests} requests, {cost.bytes_received:,} bytes received, {cost.elapsed_s:.2f} s")
    )


def print_history(console: Console, records: Iterable[VerdictRecord]) -> None:
    """Print verdicts, newest first, one per line."""
    for record in records:
        verdict = Verdict(record.verdict)
        line = Text(f"{record.id:>5}  height {record.height}  {_when(record.finished_ms)}  ")
        line.append(f"{verdict:<11}", style=_STYLES[verdict])
        line.append(f"  0x{record.header_hash.hex()}")
        console.print(line, soft_wrap=True)


def print_round(console: Console, seen: RoundReport) -> None:
    """Print the results of one poll of a log, one line each."""
    for height, header_hash in seen.new_headers:
        console.print(Text(f"{seen.disperser} height {height} {header_hash}"), soft_wrap=True)
    for report in seen.reports:
        which = f"height {report.batch.height}" if report.batch else report.reference
        verdict = (str(report.verdict), _STYLES[report.verdict])
        _print_words(console, Text.assemble(f"{seen.disperser} {which} ", verdict, f": {report.reason}"))
        _print_faults(console, report)
    _print_faults(console, seen)


def _print_faults(console: Console, faults: Report | RoundReport) -> None:
    """Print accusations, silent members and equivocations."""
    accused: dict[tuple[str, str], list[AccusationReport]] = {}
    for accusation in faults.accusations:
        accused.setdefault((accusation.member, accusation.fault), []).append(accusation)
    for (member, fault), found in accused.items():
        first = found[0]
        where = f"row {first.row} column {first.column} " if first.row is not None else ""
        times = f", {len(found)} times, first" if len(found) > 1 else ""
        sent = f"sent {first.sent_bytes} bytes, sha256 {first.sent_sha256}"
        kept = f", saved in {first.evidence}" if first.evidence else ""
        _print_line(
            console, "red", "accused", f"{member} ({fault}){times}: {where}{first.reason}; {sent}{kept}"
        )
    for silence in faults.silences:
        _print_line(console, "yellow", "silent", f"{silence.member}, {silence.times} times: {silence.reason}")
    for each in faults.equivocations:
        what = f"{each.disperser} signed two headers at height {each.height}"
        _print_line(console, "red", "equivocation", f"{what}: {each.first_hash} and {each.second_hash}")


def _print_line(console: Console, style: str, name: str, value: str) -> None:
    _print_words(console, Text.assemble((f"{name:<12} ", style), value))


def _print_words(console: Console, line: Text) -> None:
    """Print one line; wrapped between words on a narrow terminal, never in a pipe."""
    console.print(line, soft_wrap=not console.is_terminal)


def _print_batch(console: Console, batch: BatchReport, sampling: SamplingReport | None) -> None:
    share = batch.signed_stake / batch.total_stake
    size = sum(payload.length for payload in batch.payloads)
    facts = {
        "batch": f"height {batch.height} of {batch.disperser}, {_when(batch.timestamp_ms)}",
        "header": batch.header_hash,
        "certificate": f"{len(batch.signers)} signers, {share:.1%} of stake, slot margin {batch.slot_margin}",
        "data": f"{size:,} bytes in {batch.row_count} rows, payloads: {len(batch.payloads)}",
    }
    if sampling:
        again = ", chosen in an earlier run" if sampling.resumed else ""
        matrix = f"{sampling.matrix_rows} x {sampling.matrix_columns} cells"
        what = f"whole columns of {sampling.matrix_columns}" if sampling.mode == "folds" else f"of {matrix}"
        facts["samples"] = f"{sampling.valid} of {sampling.samples} valid, {what}{again}"
        confidence = sampling.confidence
        facts["confidence"] = f"{confidence:.6%}" if confidence is not None else "none"
    for name, value in facts.items():
        _print_line(console, "bold", name, value)


def _print_picture(console: Console, sampling: SamplingReport) -> None:
    colour = _colour(console)
    if sampling.mode == "folds":
        known = {each.column: SampleState(each.state) for each in sampling.columns if each.asked}
        console.print(draw_columns(known, colour=colour), end="")
    else:
        cells = [(Coordinates(cell.row, cell.column), SampleState(cell.state)) for cell in sampling.cells]
        console.print(draw_matrix(sampling.matrix_rows // 2, cells, colour=colour), end="")
    console.print(legend(sampling.mode, colour=colour))


def _print_open(console: Console, sampling: SamplingReport) -> None:
    """Print the first items without a valid answer, and each member's answer."""
    found = [(f"row {each.row} column {each.column}", each.state, each.asked) for each in sampling.cells]
    found += [(f"column {each.column}", each.state, each.asked) for each in sampling.columns if each.asked]
    lacking = [each for each in found if each[1] != SampleState.VALID]
    for place, state, asked in lacking[:_SHOWN]:
        said = ", ".join(f"{each.member}: {each.reason or 'no answer'}" for each in asked)
        _print_words(console, Text(f"{place} {state}: {said}"))
    if len(lacking) > _SHOWN:
        console.print(Text(f"... and {len(lacking) - _SHOWN} more"))


def _colour(console: Console) -> bool:
    return console.is_terminal and not console.no_color and console.color_system is not None


def _when(unix_ms: int) -> str:
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{unix_ms} ms"
