"""Members that are slow, dead or lying, each a real process: nobody else notices more than he must."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from benchmarks.chaos import wait_for_custody
from benchmarks.observe import Metrics
from da.client import CellarClient, StillWaiting
from da.devnet import Devnet, NodeProcess
from light_client.witness import EVIDENCE_PER_MEMBER_MAX

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

WAIT_S = 60.0
# Long enough for five answers and far below the 30 s for which a push to a silent member is held.
UNHINDERED_S = 15.0
LIAR = 3


@contextmanager
def frozen(node: NodeProcess) -> Iterator[None]:
    """The process and its workers do nothing, but the kernel still takes connections for them."""
    assert node.pid is not None
    os.killpg(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(node.pid, signal.SIGCONT)


def test_a_frozen_member_stalls_nobody_and_catches_up(devnet: Devnet) -> None:
    payload = random.Random(1).randbytes(300_000)
    slow = devnet.nodes[4]
    poster = CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=UNHINDERED_S)
    with poster, frozen(slow):
        infos = [poster.post_and_wait("conformance", payload + bytes([i])) for i in range(3)]
        assert [info.status for info in infos] == ["certified"] * 3
        behind = Metrics.of(devnet.disperser.url).by_label("cellar_member_behind", "member")
        assert behind[slow.name] > 0
    with CellarClient(slow.url, timeout_s=WAIT_S) as reader:
        for i, info in enumerate(infos):
            assert reader.payload(info.payload_id) == payload + bytes([i])


def test_two_silent_members_of_six_are_too_many_until_one_is_back(devnet: Devnet) -> None:
    """Five of six must sign: with four there is no certificate, however long one waits."""
    payload = random.Random(2).randbytes(1000)
    with (
        CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=WAIT_S) as client,
        ExitStack() as stack,
    ):
        first = stack.enter_context(ExitStack())
        first.enter_context(frozen(devnet.nodes[1]))
        stack.enter_context(frozen(devnet.nodes[2]))
        with pytest.raises(StillWaiting) as caught:
            client.post_and_wait("conformance", payload, timeout_s=3.0)
        assert caught.value.status.status == "dispersing"
        first.close()
        assert client.wait(caught.value.status.payload_id).status == "certified"


def test_a_dead_member_stalls_nobody(devnet: Devnet) -> None:
    payload = random.Random(3).randbytes(300_000)
    devnet.kill_node(5)
    with CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=UNHINDERED_S) as client:
        info = client.post_and_wait("conformance", payload)
    assert info.status == "certified"
    devnet.restart_node(5)
    with CellarClient(devnet.nodes[5].url, timeout_s=WAIT_S) as reader:
        assert reader.payload(info.payload_id) == payload


def test_a_lying_member_is_named_and_the_verdict_stands(devnet: Devnet, tmp_path: Path) -> None:
    payload = random.Random(4).randbytes(400_000)
    devnet.restart_node(LIAR, adversary=("--corrupt", "0-127"))
    with CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=WAIT_S) as client:
        info = client.post_and_wait("conformance", payload)
    assert info.header_hash is not None
    with CellarClient(devnet.nodes[LIAR].url, timeout_s=WAIT_S) as client:
        wait_for_custody(client, info.header_hash, WAIT_S)
    # So many samples that the liar, who holds two thirds of the columns, is certain to be asked.
    report = _sample(devnet, tmp_path, info.batch_height, "0.999999999")
    assert report["verdict"] == "available"
    assert report["sampling"]["valid"] == report["sampling"]["samples"]
    accused = {accusation["member"] for accusation in report["accusations"]}
    assert accused == {devnet.nodes[LIAR].name}
    for accusation in report["accusations"]:
        assert accusation["sent_bytes"] > 0
    kept = [accusation for accusation in report["accusations"] if accusation["evidence"] is not None]
    assert len(kept) == min(len(report["accusations"]), EVIDENCE_PER_MEMBER_MAX)
    for accusation in kept:
        assert Path(accusation["evidence"]).stat().st_size == accusation["sent_bytes"]
    # Nor does the lie reach anybody who reads the payload from a node that needs the liar's columns.
    with CellarClient(devnet.nodes[1].url, timeout_s=WAIT_S) as reader:
        assert reader.payload(info.payload_id) == payload

    # Honest again, it is accused no more.
    devnet.restart_node(LIAR)
    report = _sample(devnet, tmp_path / "second", info.batch_height, "0.9999")
    assert report["verdict"] == "available"
    assert report["accusations"] == []


def _sample(devnet: Devnet, state: Path, height: int | None, confidence: str) -> dict[str, object]:
    """The report of the `light-client` program, run as anybody would."""
    command = [sys.executable, "-m", "light_client", "sample", str(height), "--json"]
    options = ["--committee", str(devnet.committee_file), "--state", str(state), "--confidence", confidence]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
