"""`da demo` as a person runs it: real processes, both verdicts, the exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from da.client import PayloadInfo, StillWaiting
from da.demo.scenario import Outcome, Run, wait_certified
from da.devnet import DevnetError

DA = Path(sys.executable).with_name("da")


def run(*arguments: str, temporary: Path, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run(
        [DA, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
    )


@pytest.mark.process
def test_both_verdicts_and_no_process_left(tmp_path: Path) -> None:
    payload = tmp_path / "payload.bin"
    payload.write_bytes(os.urandom(150_000))
    ended = run("demo", str(payload), "--nodes", "4", "--json", temporary=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcome = json.loads(ended.stdout)
    assert outcome["right"]
    assert outcome["read_back"]
    assert outcome["honest"]["verdict"] == "available"
    assert outcome["honest"]["settlement"] == "OK"
    assert outcome["honest"]["rows"] == 2
    assert outcome["honest"]["signers"] >= 3
    assert outcome["honest"]["withheld"] == 0
    assert outcome["attacked"]["verdict"] == "unavailable"
    assert outcome["attacked"]["settlement"] == "VETOED"
    assert outcome["attacked"]["withheld"] > 0
    assert outcome["attacked"]["payload_id"] != outcome["honest"]["payload_id"]
    assert outcome["attacked"]["confidence"] is None
    assert "UNAVAILABLE" in ended.stderr  # the light client's own words
    assert not _processes_of(tmp_path)


@pytest.mark.parametrize(
    ("changed", "right"),
    [
        ({}, True),
        ({"verdict": "undecided"}, False),
        ({"settlement": "BAD_SIGNATURE"}, False),
    ],
)
def test_an_outcome_is_right_only_if_the_honest_run_is(changed: dict[str, str], right: bool) -> None:
    honest = Run(**{"verdict": "available", "settlement": "OK", **changed})
    attacked = Run(verdict="unavailable", settlement="VETOED")
    assert Outcome(honest, attacked, read_back=True).right is right
    assert not Outcome(honest, attacked, read_back=False).right


def test_an_attack_that_passes_is_not_right() -> None:
    honest = Run(verdict="available", settlement="OK")
    assert not Outcome(honest, Run(verdict="available", settlement="OK"), read_back=True).right
    assert not Outcome(honest, Run(verdict="unavailable", settlement="OK"), read_back=True).right


def test_a_payload_that_is_too_short_or_absent(tmp_path: Path) -> None:
    short = tmp_path / "short.bin"
    short.write_bytes(b"x" * 63)
    ended = run("demo", str(short), temporary=tmp_path)
    assert ended.returncode == 1
    assert "64 to" in ended.stderr
    ended = run("demo", str(tmp_path / "absent.bin"), temporary=tmp_path)
    assert ended.returncode == 1
    assert "absent.bin" in ended.stderr


@pytest.mark.process
def test_an_interrupted_demonstration_leaves_nothing_running(tmp_path: Path) -> None:
    payload = tmp_path / "payload.bin"
    payload.write_bytes(os.urandom(1_000))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [DA, "demo", str(payload), "--nodes", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "serves http" in line:  # a node is up
                break
        assert _processes_of(tmp_path)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
    assert not _processes_of(tmp_path)
    assert not list(tmp_path.glob("cellar-devnet-*"))


@pytest.mark.process
def test_a_node_that_dies_ends_the_demo_with_the_end_of_its_log(tmp_path: Path) -> None:
    payload = tmp_path / "payload.bin"
    payload.write_bytes(os.urandom(1_000))
    with subprocess.Popen(
        [DA, "demo", str(payload), "--nodes", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "node-0 serves http" in line:
                break
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            command = path.read_bytes() if path.parent.exists() else b""
            if str(tmp_path).encode() in command and b"node-0/node.toml" in command:
                os.kill(int(path.parent.name), signal.SIGKILL)
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "node-0 exited (killed by SIGKILL)" in rest
    assert "Traceback" not in rest
    assert not _processes_of(tmp_path)


def test_members_that_die_end_the_wait_for_a_certificate() -> None:
    class Waiting:
        def wait(self, payload_id: bytes, timeout_s: float) -> PayloadInfo:
            raise StillWaiting(PayloadInfo(payload_id, bytes(32), "dispersing", 3, 1))

    class Dying:
        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks == 3:
                raise DevnetError("node-3 exited")

    with pytest.raises(DevnetError, match="node-3"):
        wait_certified(Waiting(), Dying(), bytes(32))  # type: ignore[arg-type]


def _processes_of(directory: Path) -> list[str]:
    """Command lines of running processes that name a file under `directory`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(directory) in command:
            found.append(command)
    return found
