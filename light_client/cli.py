"""The `light-client` command: parses arguments, builds the light client, prints results.

Data goes to standard output, progress and errors to standard error. Exit codes: 0 available, 1 unavailable or
contradicted, 2 not run (arguments, committee file, state directory; no batch yet), 3 undecided.

Does not: contain sampling logic.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

from da.console import logs
from da.console.version import Version
from da.protocol.committee import Committee
from da.protocol.errors import ProtocolError
from da.text import escaped
from gpu import EngineOptions, open_verifier
from kzg.engine import Verifier
from kzg.errors import EngineUnavailable
from light_client.client import LightClient
from light_client.display import LiveDisplay, print_history, print_report, print_round
from light_client.errors import LightClientError, StateError
from light_client.log import HeaderLog, VerdictRecord
from light_client.peers import Members
from light_client.report import EXIT_CODES, EXIT_USAGE, Report, RoundReport
from light_client.settings import ENV_PREFIX, LightClientSettings, SettingsError, load
from light_client.watch import Watcher
from sampling import Verdict

T = TypeVar("T")

_SEVERITY = (1, 3, 0)
"""Exit codes, worst first."""

app = typer.Typer(
    name="light-client",
    help="Check whether batches of a Cellar committee are available by sampling them; trusts no member.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 available, 1 unavailable or the disperser contradicted itself, 2 usage error or no "
    "batch yet, 3 undecided. Settings can also be given as LIGHT_CLIENT_* variables. Each command's --help "
    "has an example.",
)

CommitteeOption = Annotated[
    Path | None,
    typer.Option("--committee", "-c", help="Committee file (JSON); or LIGHT_CLIENT_COMMITTEE_FILE."),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="State directory: headers, coordinates, verdicts and evidence."),
]
ConfidenceOption = Annotated[
    float | None, typer.Option("--confidence", help="Required probability of detecting lost data.")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", help="Seconds after which a run ends with a verdict.")
]
ModeOption = Annotated[
    str | None,
    typer.Option("--mode", help="What is sampled: folds (whole columns, the default) or cells."),
]
ThoroughOption = Annotated[
    bool, typer.Option("--thorough", help="Ask for 64 whole columns: a verdict without chance, 134 KB.")
]
ContributeOption = Annotated[
    bool,
    typer.Option("--contribute", help="Offer what was verified to the members, to rebuild withheld data."),
]
DisperserOption = Annotated[
    str | None,
    typer.Option("--disperser", help="Disperser whose log to use, by name or 0x id, if there are several."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@app.callback()
def _options(_version: Version = False) -> None:
    """Options before the subcommand."""


@app.command(epilog="Example: light-client sample latest --committee committee.json")
def sample(
    batch: Annotated[
        str, typer.Argument(help="A height, a header hash (0x...), a payload id (0x...), or `latest`.")
    ],
    committee: CommitteeOption = None,
    confidence: ConfidenceOption = None,
    mode: ModeOption = None,
    thorough: ThoroughOption = False,
    contribute: ContributeOption = False,
    state: StateOption = None,
    timeout: TimeoutOption = None,
    disperser: DisperserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sample one batch. Exit code 0: available, 1: unavailable or contradicted, 3: undecided."""
    settings = load(
        committee_file=committee,
        confidence=confidence,
        mode=mode,
        thorough=thorough or None,
        contribute=contribute or None,
        state_dir=state,
        deadline_s=timeout,
    )

    async def run(client: LightClient) -> Report:
        with LiveDisplay(Console(stderr=True, highlight=False)) as display:
            return await client.sample(batch, disperser=disperser, observer=display)

    report = _run(settings, run, interrupted=EXIT_CODES[Verdict.UNDECIDED])
    if as_json:
        print(report.to_json())
    else:
        print_report(Console(highlight=False), report)
    raise typer.Exit(report.exit_code)


@app.command(epilog="Example: light-client watch --committee committee.json --from 1")
def watch(
    committee: CommitteeOption = None,
    confidence: ConfidenceOption = None,
    mode: ModeOption = None,
    thorough: ThoroughOption = False,
    contribute: ContributeOption = False,
    state: StateOption = None,
    timeout: TimeoutOption = None,
    disperser: DisperserOption = None,
    from_height: Annotated[
        int | None,
        typer.Option(
            "--from", min=1, help="First height to follow in a log that is not in the state directory yet."
        ),
    ] = None,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Store headers without sampling.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Poll once, then exit with the code of the worst verdict.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the log: store its headers, sample its batches, report contradictions. Stop with Ctrl-C."""
    settings = load(
        committee_file=committee,
        confidence=confidence,
        mode=mode,
        thorough=thorough or None,
        contribute=contribute or None,
        state_dir=state,
        deadline_s=timeout,
    )

    async def run(client: LightClient) -> int:
        watcher = Watcher(client, disperser=disperser, from_height=from_height, sample=not headers_only)
        worst = 0
        async for seen in _rounds(watcher, settings.poll_interval_s, once=once):
            worst = min(worst, seen.exit_code, key=_SEVERITY.index)
            if seen.is_news and as_json:
                print(seen.to_json(), flush=True)
            elif seen.is_news:
                print_round(Console(highlight=False), seen)
        return worst if once else 0

    raise typer.Exit(_run(settings, run, interrupted=0))


@app.command(epilog="Example: light-client history --limit 5")
def history(
    state: StateOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of runs, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List earlier runs and their verdicts."""
    with _log(state) as log:
        records = log.verdicts(limit=limit)
    if as_json:
        for record in records:
            print(record.report)
    else:
        print_history(Console(highlight=False), records)


@app.command(epilog="Example: light-client show 3 --json")
def show(
    run: Annotated[int, typer.Argument(min=1, help="Number of a run, from `history`.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the report of an earlier run."""
    with _log(state) as log:
        record = log.verdict(run)
    if record is None:
        _fail(f"run {run} not found; list the runs with: light-client history")
    if as_json:
        print(record.report)
    else:
        print_report(Console(highlight=False), _read_report(record))


def main() -> None:
    """Entry point of the `light-client` command."""
    logs.set_up_default()
    try:
        app()
    except (LightClientError, ProtocolError, OSError) as error:
        print(f"light-client: {escaped(str(error))}", file=sys.stderr)
        sys.exit(EXIT_USAGE)


async def _rounds(watcher: Watcher, interval_s: float, *, once: bool) -> AsyncIterator[RoundReport]:
    """Poll each log in turn, indefinitely or once."""
    while True:
        for disperser_id in watcher.dispersers:
            yield await watcher.look(disperser_id)
        if once:
            return
        await asyncio.sleep(interval_s)


def _run(
    settings: LightClientSettings, work: Callable[[LightClient], Coroutine[Any, Any, T]], *, interrupted: int
) -> T:
    """Run `work` with a client built from the settings; `interrupted` is the exit code of Ctrl-C."""
    if settings.committee_file is None:
        raise SettingsError(f"no committee file; set --committee or {ENV_PREFIX}COMMITTEE_FILE")
    try:
        committee = Committee.load(settings.committee_file)
    except OSError as error:
        raise SettingsError(
            f"{settings.committee_file}: cannot be read: {error.strerror}; get the committee file "
            "from the network's coordinator (`da devnet` prints the path of its file)"
        ) from None
    except ProtocolError as error:
        raise SettingsError(f"{settings.committee_file}: {error}") from None

    async def build_and_work() -> T:
        _cancel_on_signals()
        async with Members(committee) as members:
            with HeaderLog(settings.state_dir) as log, _verifier(settings) as verifier:
                return await work(LightClient(committee, settings, log, members, verifier))

    try:
        return asyncio.run(build_and_work())
    except asyncio.CancelledError:
        raise typer.Exit(interrupted) from None


def _verifier(settings: LightClientSettings) -> Verifier:
    """What verifies cells: for some dozens of cells one core is enough."""
    try:
        return open_verifier(EngineOptions(settings.engine, workers=1))
    except (EngineUnavailable, ValueError) as error:
        raise SettingsError(f"engine: {error}") from None


def _cancel_on_signals() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)


def _log(state: Path | None) -> HeaderLog:
    return HeaderLog(load(state_dir=state).state_dir)


def _read_report(record: VerdictRecord) -> Report:
    try:
        return Report.from_json(record.report)
    except (ValueError, TypeError):
        raise StateError(
            f"the stored report of run {record.id} is damaged or of an earlier version; "
            "sample the batch again"
        ) from None


def _fail(message: str) -> NoReturn:
    print(f"light-client: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_USAGE)
