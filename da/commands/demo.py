"""`da demo`: one payload end to end on real processes, and then an attack."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from da.console.output import EXIT_REFUSED, AsJson, emit, fail, read_input
from da.devnet.committee import DevnetError
from erasure.constants import MAX_PAYLOAD_BYTES

MIN_BYTES = 64


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(help="File to post; default: a generated batch of signed transactions."),
    ] = None,
    nodes: Annotated[int, typer.Option(min=4, max=16, help="Members of the committee.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Run a payload end to end on real processes, then an attack. Exit code 0 if both end as expected."""
    try:
        from da.demo.scenario import Demo, DemoError
        from da.demo.transactions import signed_batch
    except ImportError as error:
        fail(
            f"the demo settles on an in-process L1 and needs more packages ({error.name}); "
            "in Cellar's checkout, run: pip install '.[settlement]'"
        )
    from da.demo.narrator import Narrator

    console = Console(stderr=as_json, highlight=False)
    narrator = Narrator(console)
    if file is None:
        with narrator.step("payload") as step:
            payload = signed_batch()
            step.done(f"a batch of signed transactions, {len(payload):,} bytes compressed")
    else:
        payload = read_input(file)
    if not MIN_BYTES <= len(payload) <= MAX_PAYLOAD_BYTES:
        fail(f"payload must have {MIN_BYTES} to {MAX_PAYLOAD_BYTES} bytes; got {len(payload)}")
    try:
        outcome = Demo(payload, nodes=nodes, narrator=narrator).run()
    except (DemoError, DevnetError) as error:
        fail(str(error))
    narrator.title("Both runs ended as expected" if outcome.right else "NOT the expected outcome")
    for name, run in (("honest", outcome.honest), ("attacked", outcome.attacked)):
        narrator.fact(name, f"{run.verdict.upper()}, settlement {run.settlement}")
    if as_json:
        emit({"right": outcome.right, **asdict(outcome)}, as_json=True)
    if not outcome.right:
        raise typer.Exit(EXIT_REFUSED)
