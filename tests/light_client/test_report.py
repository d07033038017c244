"""The report's JSON is a contract: it round-trips, its fields are documented, and its text is harmless."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from rich.console import Console

import light_client
from light_client import Fault, LightClientSettings, Report, RoundReport
from light_client.cli import app
from light_client.display import print_history, print_report, print_round
from light_client.report import EXIT_CODES, AccusationReport, CostReport, SilenceReport, Status, exit_code
from light_client.settings import ENV_PREFIX
from sampling import Verdict

from .conftest import NOW_MS, World, run

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_REFERENCE = (_DOCS / "reference" / "light-client.md").read_text(encoding="utf-8")


def _report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "reference": "1",
        "verdict": Verdict.UNDECIDED,
        "status": Status.UNDECIDED,
        "reason": "why",
        "exit_code": 3,
        "batch": None,
        "sampling": None,
        "accusations": (),
        "silences": (),
        "equivocations": (),
        "previous": (),
        "contribution": None,
        "cost": CostReport(requests=1, bytes_received=2, elapsed_s=0.5),
        "finished_ms": NOW_MS,
    }
    return Report(**(facts | changes))


def _text(print_it: Any, *values: Any) -> str:
    stream = io.StringIO()
    print_it(Console(file=stream, width=100), *values)
    return stream.getvalue()


def test_a_full_report_round_trips_and_prints(world: World, tmp_path: Path) -> None:
    world.chain(1)
    for member in world.members:
        member.withheld = lambda cell: cell[1] < 65
    world.members[0].record = lambda batch, cell: bytes(2096)

    async def work() -> tuple[Report, str]:
        async with world.client(tmp_path) as client:
            report = await client.sample("latest")
            return report, _text(print_history, client.log.verdicts())

    report, history = run(work())
    document = json.loads(report.to_json())
    assert document["schema"] == "cellar/light-client/report/v2"
    assert Report.model_validate_json(report.to_json()) == report
    text = _text(print_report, report)
    assert text.startswith("UNAVAILABLE")
    for word in ("accused", "sha256", "slot margin", "x", "none of their holders"):
        assert word in text
    assert document["batch"]["header_hash"] in history


def test_text_of_members_is_never_markup() -> None:
    name, reason = "[bold]m[/]", "[link=http://evil.test]x[/link] \x1b[31m"
    accusation = AccusationReport(
        member=name, member_id="0x", url="http://a.test", fault="invalid-cell", reason=reason,
        row=1, column=2, sent_bytes=3, sent_sha256="ab", evidence="/x/[red]y",
    )  # fmt: skip
    silence = SilenceReport(member=name, url="http://a.test", times=1, reason=reason)
    report = _report(accusations=(accusation,), silences=(silence,), reason=reason)
    seen = RoundReport(
        disperser=name, head=1, new_headers=((1, "0x12"),), reports=(report,), accusations=(accusation,),
        silences=(silence,), equivocations=(),
    )  # fmt: skip
    for text in (_text(print_report, report), _text(print_round, seen)):
        assert "[bold]m[/]" in text
        assert "[link=http://evil.test]x[/link]" in text
        assert "\x1b" not in text


def test_long_lines_break_between_words_on_a_terminal_and_never_in_a_pipe() -> None:
    report = _report(reason=" ".join(["none of their holders answered without a valid cell"] * 3))
    broken, whole = io.StringIO(), io.StringIO()
    print_report(Console(file=broken, width=80, force_terminal=True, color_system=None), report)
    print_report(Console(file=whole, width=80, force_terminal=False), report)
    lines = broken.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert report.reason in " ".join(line.strip() for line in lines)
    assert whole.getvalue().splitlines()[0].endswith(report.reason)


def _models(model: type[BaseModel], seen: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    seen[model.__name__] = model
    for info in model.model_fields.values():
        for kind in (info.annotation, *_nested(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ not in seen:
                _models(kind, seen)
    return seen


def _nested(annotation: Any) -> list[Any]:
    return [inner for each in get_args(annotation) for inner in (each, *_nested(each))]


def test_every_field_of_the_json_is_documented() -> None:
    models = _models(RoundReport, _models(Report, {}))
    assert len(models) == 15
    documented = set(re.findall(r"^\| `(\w+)` \|", _REFERENCE, re.MULTILINE))
    fields = {info.alias or name for model in models.values() for name, info in model.model_fields.items()}
    assert fields - documented == set()


def test_every_setting_is_documented_with_its_default() -> None:
    for name, info in LightClientSettings.model_fields.items():
        row = re.search(rf"^\| `{ENV_PREFIX}{name.upper()}` \| `?([^|`]+)`? \|", _REFERENCE, re.MULTILINE)
        assert row, f"{name} is not in docs/reference/light-client.md"
        assert row[1].strip() == ("none" if info.default is None else str(info.default))


def test_every_command_and_option_is_documented() -> None:
    import typer.main

    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    assert set(commands) == {"sample", "watch", "history", "show"}
    for name, command in commands.items():
        section = re.search(
            rf"^### `light-client {name}.*?(?=^###? |\Z)", _REFERENCE, re.MULTILINE | re.DOTALL
        )
        assert section, f"{name} is not documented"
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in section[0], f"{name} {option} is not documented"


def test_every_error_and_fault_is_documented() -> None:
    for fault in light_client.Fault:
        assert f"`{fault}`" in _REFERENCE
    for status in Status:
        assert f"`{status}`" in _REFERENCE


def test_the_package_exports_what_it_says() -> None:
    assert len(set(light_client.__all__)) == len(light_client.__all__)
    for name in light_client.__all__:
        assert getattr(light_client, name) is not None


def _accusation(fault: Fault) -> AccusationReport:
    return AccusationReport(
        member="a",
        member_id="0x",
        url="http://a",
        fault=fault,
        reason="",
        row=None,
        column=None,
        sent_bytes=0,
        sent_sha256="",
        evidence=None,
    )


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("fault", list(Fault))
def test_a_contradiction_is_no_exit_code_to_settle_on(verdict: Verdict, fault: Fault) -> None:
    contradicted = fault in (Fault.EQUIVOCATION, Fault.BROKEN_CHAIN)
    accusations = (_accusation(fault),)
    assert exit_code([verdict], accusations, ()) == (1 if contradicted else EXIT_CODES[verdict])
    report = _report(verdict=verdict, exit_code=EXIT_CODES[verdict], accusations=accusations)
    seen = RoundReport(
        disperser="a",
        head=1,
        new_headers=(),
        reports=(report,),
        accusations=(),
        silences=(),
        equivocations=(),
    )
    assert seen.exit_code == (1 if contradicted else EXIT_CODES[verdict])


@pytest.mark.parametrize("reports", [(), (_report(),)])
def test_a_rounds_exit_code_is_that_of_its_worst(reports: tuple[Report, ...]) -> None:
    seen = RoundReport(
        disperser="a", head=1, new_headers=(), reports=reports, accusations=(), silences=(), equivocations=()
    )
    assert seen.exit_code == (3 if reports else 0)
    bad = _report(verdict=Verdict.UNAVAILABLE, status=Status.UNAVAILABLE, exit_code=1)
    assert seen.model_copy(update={"reports": (*reports, bad)}).exit_code == 1
