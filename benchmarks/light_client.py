"""A light client's verdicts: samples, bytes and seconds of each, in one process and through the command.

Three payloads of 1, 5 and 133 rows on a devnet of six nodes; every verdict has a state directory of its own,
so its coordinates are new, and connections are new too, as for a client that comes for the first time.

Peer: downloading the payload, which is what a client without sampling has to do to know the same.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from benchmarks.chaos import wait_for_custody
from benchmarks.measure import Table, quantile
from da.client import CellarClient, PayloadInfo
from da.devnet import Devnet
from da.protocol.committee import Committee
from gpu import EngineOptions, open_verifier
from light_client.client import LightClient
from light_client.log import HeaderLog
from light_client.peers import Members
from light_client.report import Report
from light_client.settings import LightClientSettings
from sampling import Verdict

NODES = 6
PAYLOADS_BYTES = (120 * 2**10, 600 * 2**10, 16 * 2**20)
VERDICTS = 20
COMMANDS = 3
CONFIDENCES = (0.9999, 0.999999999)
MODES: tuple[Literal["folds", "cells"], ...] = ("folds", "cells")
POST_TIMEOUT_S = 300.0


def run() -> list[Table]:
    """One table."""
    rng = random.Random(5)
    rows = []
    with Devnet(NODES) as devnet, tempfile.TemporaryDirectory() as states:
        devnet.start()
        devnet.wait_ready()
        committee = Committee.load(devnet.committee_file)
        for size in PAYLOADS_BYTES:
            with CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=POST_TIMEOUT_S) as client:
                info = client.post_and_wait("bench", rng.randbytes(size))
                _settle(devnet, info)
                started = time.perf_counter()
                downloaded = len(client.payload(info.payload_id, verify=False))
                download_s = time.perf_counter() - started
            for confidence in CONFIDENCES:
                # In turns, so that both modes meet the same load of the machine.
                reports: dict[str, list[Report]] = {mode: [] for mode in MODES}
                commands_s: dict[str, list[float]] = {mode: [] for mode in MODES}
                for turn in range(VERDICTS):
                    for mode in MODES:
                        state = Path(states) / f"{size}-{confidence}-{mode}-{turn}"
                        settings = LightClientSettings(confidence=confidence, mode=mode, state_dir=state)
                        reports[mode].append(asyncio.run(_verdict(committee, info, settings)))
                        if turn < COMMANDS:
                            commands_s[mode].append(_command(devnet, info, settings, state / "command"))
                rows += [
                    _line(info, mode, confidence, reports[mode], commands_s[mode], downloaded, download_s)
                    for mode in MODES
                ]
    header = (
        "rows",
        "mode",
        "confidence",
        "samples",
        "requests",
        "KiB a verdict",
        "of the payload",
        "verdict s, p50",
        "p95",
        "samples/s",
        "command s",
        "download s",
    )
    note = (
        f"{VERDICTS} verdicts each (median, p95), all of them `available`; bytes are bodies received, the"
        " batch's header, certificate and commitments included. Command: `light-client sample`, the whole"
        f" process, median of {COMMANDS}. Download: the payload from one node, unverified, for comparison."
    )
    return [Table("Light client", header, rows, note)]


def _settle(devnet: Devnet, info: PayloadInfo) -> None:
    """Wait until every node has all of its columns: late pushes would be measured otherwise."""
    assert info.header_hash is not None
    for node in devnet.nodes:
        with CellarClient(node.url, timeout_s=POST_TIMEOUT_S) as client:
            client.wait(info.payload_id)
            wait_for_custody(client, info.header_hash)


async def _verdict(committee: Committee, info: PayloadInfo, settings: LightClientSettings) -> Report:
    async with Members(committee) as members:
        options = EngineOptions(settings.engine, workers=1)
        with HeaderLog(settings.state_dir) as log, open_verifier(options) as verifier:
            client = LightClient(committee, settings, log, members, verifier)
            report = await client.sample(str(info.batch_height))
    assert report.verdict is Verdict.AVAILABLE, report.reason
    return report


def _command(devnet: Devnet, info: PayloadInfo, settings: LightClientSettings, state: Path) -> float:
    command = [sys.executable, "-m", "light_client", "sample", str(info.batch_height), "--json"]
    options = [
        "--committee",
        str(devnet.committee_file),
        "--state",
        str(state),
        "--confidence",
        str(settings.confidence),
        "--mode",
        settings.mode,
    ]
    started = time.perf_counter()
    done = subprocess.run([*command, *options], capture_output=True, check=True)
    taken = time.perf_counter() - started
    assert json.loads(done.stdout)["verdict"] == Verdict.AVAILABLE
    return taken


def _line(
    info: PayloadInfo,
    mode: str,
    confidence: float,
    reports: list[Report],
    commands_s: list[float],
    downloaded: int,
    download_s: float,
) -> tuple[str, ...]:
    seconds = [report.cost.elapsed_s for report in reports]
    received = quantile([report.cost.bytes_received for report in reports], 0.5)
    samples = quantile([report.sampling.samples for report in reports if report.sampling], 0.5)
    return (
        str(info.rows),
        mode,
        f"1 - {1 - confidence:.0e}",
        f"{samples:.0f}",
        f"{quantile([report.cost.requests for report in reports], 0.5):.0f}",
        f"{received / 1024:.1f}",
        f"{received / downloaded:.2%}",
        f"{quantile(seconds, 0.5):.3f}",
        f"{quantile(seconds, 0.95):.3f}",
        f"{samples / quantile(seconds, 0.5):.0f}",
        f"{quantile(commands_s, 0.5):.2f}",
        f"{download_s:.2f}",
    )
