"""The `light-client` command over a real loopback server: output, exit codes, kill -9."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from starlette.requests import Request
from starlette.responses import Response

from gpu import EngineOptions, open_verifier
from kzg.engine import Verifier
from light_client import HeaderLog
from light_client.cli import app, main

from .conftest import World, until_disconnected

_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LIGHT_CLIENT_")}


@pytest.fixture
def committee_file(served: World, tmp_path: Path) -> Path:
    path = tmp_path / "committee.json"
    path.write_text(served.committee.to_json())
    return path


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "light_client", *map(str, arguments)]


@dataclass(frozen=True)
class _Ended:
    returncode: int
    stdout: str
    stderr: str


_LightClient = Callable[..., _Ended]


@pytest.fixture
def light_client(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> _LightClient:
    """Run the command inside this process, as its entry point would."""

    def run(*arguments: object, **environment: str) -> _Ended:
        monkeypatch.setattr(sys, "argv", ["light-client", *map(str, arguments)])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return _Ended(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.mark.process
def test_the_three_verdicts_have_their_exit_codes(
    light_client: _LightClient, served: World, committee_file: Path, tmp_path: Path
) -> None:
    served.chain(1)
    options = ("--committee", committee_file, "--json")
    available = light_client("sample", "latest", *options, "--state", tmp_path / "a")
    assert available.returncode == 0, available.stderr
    report = json.loads(available.stdout)
    assert report["verdict"] == "available"
    assert report["sampling"]["valid"] == report["sampling"]["samples"] == 13

    for member in served.members:
        member.withheld = lambda cell: True
    unavailable = light_client("sample", "1", *options, "--state", tmp_path / "b")
    assert unavailable.returncode == 1, unavailable.stderr
    assert json.loads(unavailable.stdout)["verdict"] == "unavailable"

    undecided = light_client("sample", "7", *options, "--state", tmp_path / "c")
    assert undecided.returncode == 3, undecided.stderr
    assert json.loads(undecided.stdout)["verdict"] == "undecided"


@pytest.mark.process
def test_an_empty_network_is_no_verdict(
    light_client: _LightClient, served: World, committee_file: Path, tmp_path: Path
) -> None:
    options = ("--committee", committee_file, "--state", tmp_path, "--json")
    ended = light_client("sample", "latest", *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "light-client: no batch yet (members asked: 4); post one first\n" in ended.stderr
    assert light_client("history", "--state", tmp_path).stdout == ""
    watched = light_client("watch", "--once", *options)
    assert (watched.returncode, watched.stdout) == (0, "")


@pytest.mark.process
def test_a_batch_of_a_disperser_that_contradicted_itself_is_not_to_settle_on(
    light_client: _LightClient, served: World, committee_file: Path, tmp_path: Path
) -> None:
    served.chain(1)
    options = ("sample", "latest", "--committee", committee_file, "--state", tmp_path)
    assert light_client(*options).returncode == 0
    other = served.make_batch(timestamp_ms=served.members[0].batches[0].header.timestamp_ms + 1)
    for member in served.members:
        member.batches = [other]
    contradicted = light_client(*options)
    assert contradicted.returncode == 1
    assert contradicted.stdout.startswith("AVAILABLE")
    assert "signed two headers at height 1" in contradicted.stdout


@pytest.mark.process
def test_the_engine_is_the_one_that_was_asked_for(
    light_client: _LightClient,
    served: World,
    committee_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served.chain(1)
    opened: list[str] = []

    def noted(options: EngineOptions) -> Verifier:
        opened.append(options.name)
        return open_verifier(options)

    monkeypatch.setattr("light_client.cli.open_verifier", noted)
    options = ("sample", "latest", "--committee", committee_file)
    for chosen in ({}, {"LIGHT_CLIENT_ENGINE": "auto"}):
        ended = light_client(*options, "--state", tmp_path / f"{len(opened)}", **chosen)
        assert ended.returncode == 0, ended.stderr
    assert opened == ["ckzg", "auto"]

    unknown = light_client(*options, "--state", tmp_path / "s", LIGHT_CLIENT_ENGINE="abacus")
    assert unknown.returncode == 2
    assert "engine must be one of auto, cuda, host, ckzg; got 'abacus'" in unknown.stderr


@pytest.mark.process
def test_people_get_text_and_can_look_at_it_again(
    light_client: _LightClient, served: World, committee_file: Path, tmp_path: Path
) -> None:
    served.chain(2)
    environment = {
        "LIGHT_CLIENT_COMMITTEE_FILE": str(committee_file),
        "LIGHT_CLIENT_STATE_DIR": str(tmp_path / "state"),
        "LIGHT_CLIENT_CONFIDENCE": "0.99",
    }
    first = light_client("sample", "2", **environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("AVAILABLE")
    assert "7 of 7 valid" in first.stdout
    watched = light_client("watch", "--once", **environment)
    assert watched.returncode == 0, watched.stderr
    history = light_client("history", **environment)
    assert history.returncode == 0
    assert len(history.stdout.splitlines()) == 1
    shown = light_client("show", "1", **environment)
    assert (shown.returncode, shown.stdout) == (0, first.stdout)
    assert json.loads(light_client("show", "1", "--json").stdout)["reference"] == "2"
    assert light_client("show", "9", **environment).returncode == 2


@pytest.mark.parametrize("damage", ["", "{}", "[" * 100_000, b"\xff", "null"])
def test_a_damaged_report_is_an_error_of_the_state(
    light_client: _LightClient, tmp_path: Path, damage: str | bytes
) -> None:
    with HeaderLog(tmp_path) as log:
        log.put_verdict(bytes(32), 1, "available", "available", 0, damage, keep=1)  # type: ignore[arg-type]
    shown = light_client("show", "1", "--state", tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "the stored report of run 1 is damaged" in shown.stderr


def test_watch_once_reports_the_worst(
    light_client: _LightClient, served: World, committee_file: Path, tmp_path: Path
) -> None:
    served.chain(3)
    for member in served.members:
        member.withheld = lambda cell: cell[1] < 100
    options = ("--committee", committee_file, "--state", tmp_path / "s", "--json", "--once")
    seen = light_client("watch", "--from", "2", *options)
    assert seen.returncode == 1, seen.stderr
    document = json.loads(seen.stdout)
    assert document["schema"] == "cellar/light-client/round/v1"
    assert document["head"] == 3
    assert [report["verdict"] for report in document["reports"]] == ["unavailable", "unavailable"]
    again = light_client("watch", *options)
    assert (again.returncode, again.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "1"), "--committee"),
        (("sample", "nonsense", "--committee", "COMMITTEE"), "neither a height"),
        (
            ("sample", "1", "--committee", "/nowhere/committee.json"),
            "committee.json: cannot be read",
        ),
        (("sample", "1", "--committee", "COMMITTEE", "--confidence", "1"), "confidence"),
        (("sample", "1", "--committee", "COMMITTEE", "--disperser", "nobody"), "dispersers are"),
        (("sample", "1", "--committee", "BAD"), "BAD: document: is not JSON"),
        (("sample", "1", "--committee", "COMMITTEE", "--state", "BAD"), "BAD"),
        (("sample",), "Missing argument"),
        (("fly",), "No such command"),
    ],
)
def test_usage_errors_exit_with_2(
    light_client: _LightClient,
    served: World,
    committee_file: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    served.chain(1)
    (tmp_path / "BAD").write_text("no committee")
    places = {"COMMITTEE": str(committee_file), "BAD": str(tmp_path / "BAD")}
    state = () if "--state" in arguments or arguments[0] == "fly" else ("--state", str(tmp_path / "s"))
    ended = light_client(*(places.get(each, each) for each in arguments), *state)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.process
def test_kill_9_in_the_middle_keeps_the_coordinates(
    light_client: _LightClient, served: World, committee_file: Path, tmp_path: Path
) -> None:
    (batch,) = served.chain(1)
    asked = threading.Event()

    async def hang(request: Request) -> Response | None:
        if request.method == "POST":
            asked.set()
            await until_disconnected(request)
        return None

    for member in served.members:
        member.intercept = hang
    options: tuple[Any, ...] = ("--committee", committee_file, "--state", tmp_path / "s", "--json")
    with subprocess.Popen(_command("sample", "1", *options), env=_ENVIRONMENT) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with HeaderLog(tmp_path / "s") as log:
        assert log.has_draw(batch.header.hash)
        assert log.verdicts() == []
    first = {asked for member in served.members for asked in member.folded}
    for member in served.members:
        member.intercept = None
        member.folded.clear()
    again = light_client("sample", "1", *options)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert report["sampling"]["resumed"]
    second = {asked for member in served.members for asked in member.folded}
    assert first <= second
    assert len(second) == 13


@pytest.mark.process
def test_an_interrupted_sample_is_undecided(served: World, committee_file: Path, tmp_path: Path) -> None:
    served.chain(1)
    asked = threading.Event()

    async def hang(request: Request) -> Response | None:
        if request.method == "POST":
            asked.set()
            await until_disconnected(request)
        return None

    for member in served.members:
        member.intercept = hang
    command = _command("sample", "1", "--committee", committee_file, "--state", tmp_path / "s")
    with subprocess.Popen(command, env=_ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3


@pytest.mark.process
def test_watch_ends_on_sigint(served: World, committee_file: Path, tmp_path: Path) -> None:
    served.chain(1)
    command = _command("watch", "--committee", committee_file, "--state", tmp_path / "s", "--json")
    with subprocess.Popen(command, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["head"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_the_version_and_examples(light_client: _LightClient) -> None:
    ended = light_client("--version")
    assert (ended.returncode, ended.stdout) == (0, version("cellar-da") + "\n")
    assert "Exit codes: 0 available" in light_client("--help").stdout
    group = typer.main.get_command(app)
    assert hasattr(group, "commands")
    for name, command in group.commands.items():
        example = (command.epilog or "").removeprefix("Example: ")
        assert example.startswith(f"light-client {name} "), name
        command.make_context(name, shlex.split(example)[2:])
