"""The demo: one payload end to end, first with an honest committee, then with one that withholds data.

Flow:
- a committee of node processes is started, and an L1 chain in this process with the settlement contract
- a payload is posted over HTTP; the disperser's metrics give the duration of each step
- the `light-client` program samples the batch, and its report gives the verdict
- the certificate is handed to the contract, which starts the sampling delay
- an available batch settles after the delay; an unavailable one the guardian vetoes, and `settle` is refused
- for the second run every node is restarted to sign and then withhold 65 of the 128 columns: the fewest
  that make the data unrecoverable

The outcome is right only if each verdict, each settlement status and the payload read back between the two
runs are as expected.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from da import outgoing
from da.client import BatchDocument, CellarClient, ClientError, PayloadInfo, StillWaiting
from da.demo.narrator import Narrator
from da.devnet.committee import Devnet
from da.protocol import strict_json
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.settlement.contract import Settlement, SettlementContract, SettlementStatus
from da.settlement.evm import Chain, fast_precompiles
from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB

NAMESPACE = "demo"
WITHHELD_COLUMNS = CELLS_PER_EXT_BLOB - CELLS_PER_BLOB + 1
POST_TIMEOUT_S = 300.0
WATCH_INTERVAL_S = 1.0
SAMPLING_DELAY_S = 60  # of the contract; the demo moves the chain's clock to its end
_REPORT_BYTES_MAX = 16 * 2**20
SETTLE_S = 0.2  # from a broken connection until the process that broke it has exited


class DemoError(Exception):
    """A step of the demo failed; the message says which."""


@dataclass
class Run:
    """The results of one payload."""

    payload_id: str = ""
    length: int = 0
    rows: int = 0
    height: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    signers: int = 0
    verdict: str = ""
    confidence: float | None = None
    samples: int = 0
    withheld: int = 0
    settlement: str = ""
    settlement_gas: int = 0


@dataclass
class Outcome:
    """Both runs, and whether they ended as expected."""

    honest: Run = field(default_factory=Run)
    attacked: Run = field(default_factory=Run)
    read_back: bool = False

    @property
    def right(self) -> bool:
        return (
            (self.honest.verdict, self.honest.settlement) == ("available", SettlementStatus.OK.name)
            and (self.attacked.verdict, self.attacked.settlement)
            == ("unavailable", SettlementStatus.VETOED.name)
            and self.read_back
        )


class Demo:
    """One demo; `run` does it all and leaves no process behind."""

    def __init__(self, payload: bytes, *, nodes: int, narrator: Narrator) -> None:
        self._payload = payload
        self._nodes = nodes
        self._narrator = narrator
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Do both runs.

        Raises:
            DemoError, DevnetError: a step failed, or a node exited.
        """
        with (
            tempfile.TemporaryDirectory(prefix="cellar-demo-") as state,
            Devnet(self._nodes) as devnet,
            fast_precompiles(),
        ):
            self._state = Path(state)
            try:
                self._start(devnet)
                self._narrator.title("One payload end to end, with an honest committee")
                self._run_payload(devnet, self._payload, self._outcome.honest)
                self._attack(devnet)
            except (ClientError, httpx.HTTPError) as error:
                devnet.check(
                    settle_s=SETTLE_S
                )  # a node that exited explains the failure better than its client
                raise DemoError(str(error)) from error
        return self._outcome

    # -- the stage --------------------------------------------------------------------------------------

    def _start(self, devnet: Devnet) -> None:
        self._narrator.title(f"A committee of {self._nodes} nodes, one process each")
        with self._narrator.step("nodes") as step:
            devnet.start()
            devnet.wait_ready(on_ready=lambda node: self._narrator.note(f"{node.name} serves {node.url}"))
            step.done(f"{self._nodes} nodes ready")
        committee = Committee.load(devnet.committee_file)
        with self._narrator.step("L1 contract") as step:
            chain = Chain()
            self._guardian = chain.accounts[1]
            self._contract = SettlementContract.deploy(
                chain, committee, guardians=(self._guardian,), sampling_delay_s=SAMPLING_DELAY_S
            )
            chain.set_time(int(time.time()))
            cost = self._contract.cost
            step.done(
                f"deployed at {self._contract.address[:10]}.., {len(committee.members)} keys registered, "
                f"{cost.create + cost.register + cost.seal:,} gas"
            )

    def _attack(self, devnet: Devnet) -> None:
        self._narrator.title(f"An attack: {WITHHELD_COLUMNS} of 128 columns withheld after signing")
        height = self._outcome.honest.height
        lies = ("--withhold", f"0-{WITHHELD_COLUMNS - 1}", "--from-height", str(height + 1))
        with self._narrator.step("restart") as step:
            devnet.stop()
            for node in range(self._nodes):
                devnet.restart_node(node, adversary=lies, wait=False)
            devnet.wait_ready()
            step.done(f"all {self._nodes} nodes sign as before, but serve no cell of columns {lies[1]}")
        with self._narrator.step("read back") as step, self._client(devnet, devnet.nodes[-1].url) as client:
            self._outcome.read_back = (
                client.payload(bytes.fromhex(self._outcome.honest.payload_id[2:])) == self._payload
            )
            step.done(
                "the first payload is unchanged after the restart"
                if self._outcome.read_back
                else "WRONG: the bytes differ from those posted",
                good=self._outcome.read_back,
            )
        # The same bytes would be the same payload; replacing the end with a digest makes a new one.
        second = self._payload[: -hashlib.sha256().digest_size] + hashlib.sha256(self._payload).digest()
        self._run_payload(devnet, second, self._outcome.attacked)

    def _client(self, devnet: Devnet, url: str) -> CellarClient:
        return CellarClient(url, token=devnet.token, timeout_s=POST_TIMEOUT_S)

    # -- one payload ------------------------------------------------------------------------------------

    def _run_payload(self, devnet: Devnet, payload: bytes, run: Run) -> None:
        before = _metrics(devnet.disperser.url)
        with self._client(devnet, devnet.disperser.url) as client:
            info = self._post(client, payload, run)
            batch = self._certify(client, devnet, info, before, run)
        assert batch.certificate is not None, "_certify has seen it"
        index = batch.payload_list.index_of(bytes.fromhex(run.payload_id[2:]))
        if index is None:
            raise DemoError(f"the batch at height {run.height} does not list payload {run.payload_id}")
        self._present(batch.certificate, batch, index)
        self._sample(devnet, run)
        self._settle(batch.certificate, batch, index, run)

    def _post(self, client: CellarClient, payload: bytes, run: Run) -> PayloadInfo:
        with self._narrator.step("posted") as step:
            info = client.post(NAMESPACE, payload)
            run.payload_id, run.length, run.rows = "0x" + info.payload_id.hex(), info.length, info.rows
            run.seconds["post"] = step.elapsed_s
            step.done(f"{info.length:,} bytes, durable in the disperser's outbox")
        self._narrator.fact(
            "rows committed",
            f"{info.rows} rows of 4,096 field elements, {48 * info.rows} bytes of KZG commitments; "
            f"payload {run.payload_id[:18]}..",
        )
        return info

    def _certify(
        self, client: CellarClient, devnet: Devnet, info: PayloadInfo, before: dict[str, float], run: Run
    ) -> BatchDocument:
        with self._narrator.step("certifying") as step:
            final = wait_certified(client, devnet, info.payload_id)
            if final.batch_height is None:
                raise DemoError(f"payload {run.payload_id} is certified, but has no batch height")
            batch = client.batch(final.batch_height)
            run.seconds["certified"] = step.elapsed_s
            step.drop()
        run.height = final.batch_height
        if batch.certificate is None:
            raise DemoError(f"the batch at height {run.height} has no certificate")
        self._print_dispersal(before, _metrics(devnet.disperser.url), batch, run)
        return batch

    def _print_dispersal(
        self, before: dict[str, float], after: dict[str, float], batch: BatchDocument, run: Run
    ) -> None:
        took = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in after}
        rows = batch.header.row_count
        run.seconds["encode"] = took.get("cellar_encode_seconds_sum", 0.0)
        run.seconds["certify"] = took.get("cellar_certify_seconds_sum", 0.0)
        certificate = batch.certificate
        assert certificate is not None, "checked when the batch was read"
        run.signers = len(certificate.signers)
        self._narrator.fact(
            "matrix extended",
            f"{rows} x 128 cells with {rows * 128:,} KZG proofs, {rows * 128 * 2096:,} bytes; "
            f"plus {rows} parity rows that are never stored",
            run.seconds["encode"],
        )
        self._narrator.fact(
            "columns dispersed", f"batch {run.height} to {self._nodes} nodes, verified and fsynced there"
        )
        self._narrator.fact(
            "signatures gathered",
            f"{run.signers} of {self._nodes} members were enough: stake and slot bound hold",
            run.seconds["certify"],
        )
        self._narrator.fact(
            "certificate",
            f"{len(certificate.encode())} bytes, one aggregated BLS signature; payload to certificate:",
            run.seconds["post"] + run.seconds["certified"],
        )

    def _sample(self, devnet: Devnet, run: Run) -> None:
        """Run the `light-client` program: it prints for the user, and records its verdict."""
        program = Path(sys.executable).with_name("light-client")
        state = ("--state", str(self._state))
        self._narrator.note("")
        shown = subprocess.run(
            [program, "sample", str(run.height), "--committee", devnet.committee_file, *state],
            stdout=self._narrator.stream,
            check=False,
        )
        last = subprocess.run(
            [program, "history", "--limit", "1", "--json", *state], check=True, capture_output=True, text=True
        )
        report = strict_json.loads(last.stdout, max_bytes=_REPORT_BYTES_MAX)
        if report["exit_code"] != shown.returncode or report["batch"]["height"] != run.height:
            raise DemoError("the light client's recorded verdict differs from its exit code")
        run.verdict = report["verdict"]
        run.confidence = report["sampling"]["confidence"]
        run.samples, run.withheld = report["sampling"]["samples"], report["sampling"]["withheld"]
        self._evidence = hashlib.sha256(json.dumps(report, sort_keys=True).encode()).digest()

    def _present(self, certificate: Certificate, batch: BatchDocument, index: int) -> None:
        """The first `settle` of a batch starts its sampling delay."""
        with self._narrator.step("presented") as step:
            # The chain's clock follows this machine's, as an L1's would.
            self._contract.chain.set_time(int(time.time()))
            result = self._contract.settle(certificate, batch.payload_list, index)
            if result.status is not SettlementStatus.TOO_EARLY:
                raise DemoError(f"the contract answered {result.status.name} when the batch was presented")
            step.done(
                f"certificate verified on L1; it settles after {SAMPLING_DELAY_S} s unless vetoed; "
                f"{result.gas_used:,} gas"
            )

    def _settle(self, certificate: Certificate, batch: BatchDocument, index: int, run: Run) -> None:
        if run.verdict != "available":
            with self._narrator.step("veto") as step:
                gas = self._contract.veto(batch.header.hash, self._evidence, guardian=self._guardian)
                step.done(f"the rollup's light client vetoes batch {run.height}; {gas:,} gas")
        payloads = batch.payload_list
        presented_s = self._contract.presented(batch.header.hash)
        assert presented_s is not None, "_present has seen to it"
        with self._narrator.step("settlement") as step:
            # The chain's clock moves to the end of the delay, so the demo need not wait for it.
            self._contract.chain.set_time(max(int(time.time()), presented_s + SAMPLING_DELAY_S))
            result: Settlement = self._contract.settle(certificate, payloads, index)
            run.settlement, run.settlement_gas = result.status.name, result.gas_used
            recorded = self._contract.settled(*payloads.entries[index].key) is not None
            if recorded != (result.status is SettlementStatus.OK):
                raise DemoError(f"the contract answered {result.status.name}, but its record disagrees")
            step.done(
                f"payload recorded on L1; {result.gas_used:,} gas"
                if recorded
                else f"refused by the contract: {result.status.name}; nothing recorded",
                good=recorded == (run.verdict == "available"),
            )


def wait_certified(client: CellarClient, devnet: Devnet, payload_id: bytes) -> PayloadInfo:
    """The payload's status once it is certified. Raises ClientError, and DevnetError when a node exits."""
    until_s = time.monotonic() + POST_TIMEOUT_S
    while True:
        try:
            return client.wait(payload_id, timeout_s=WATCH_INTERVAL_S)
        except StillWaiting:
            devnet.check()
            if time.monotonic() > until_s:
                raise


def _metrics(url: str) -> dict[str, float]:
    """The node's samples without labels, by name."""
    with outgoing.client(trust_env=False, timeout_s=10.0) as http:
        text = http.get(f"{url}/metrics").raise_for_status().text
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }
