"""A payload's whole road, walked twice: once with an honest committee, once with one that withholds.

Flow:
- a committee of node processes is started, and an L1 chain in this process with the settlement contract
- a payload is posted over HTTP; the disperser's metrics tell what each step of its road took
- the `light-client` program samples the batch, as anybody could, and its report gives the verdict
- an available batch settles; for an unavailable one the guardian vetoes, and settling is tried and refused
- the second time every node is restarted as one that signs and then withholds half of the columns and one
  more: the fewest that make the data unrecoverable

The outcome counts as right only if each verdict, each settlement status and the payload read back between
the two are what they should be.
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
_REPORT_BYTES_MAX = 16 * 2**20
SETTLE_S = 0.2  # from a broken connection to the end of the process that broke it


class DemoError(Exception):
    """A step of the demonstration could not be taken; the message says which."""


@dataclass
class Walk:
    """What happened to one payload."""

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
    """Both walks, and whether all went as it should."""

    honest: Walk = field(default_factory=Walk)
    attacked: Walk = field(default_factory=Walk)
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
    """One demonstration; `run` does it all and leaves no process behind."""

    def __init__(self, payload: bytes, *, nodes: int, narrator: Narrator) -> None:
        self._payload = payload
        self._nodes = nodes
        self._tell = narrator
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Both walks.

        Raises:
            DemoError, DevnetError: a step could not be taken at all, or a node died.
        """
        with (
            tempfile.TemporaryDirectory(prefix="cellar-demo-") as state,
            Devnet(self._nodes) as devnet,
            fast_precompiles(),
        ):
            self._state = Path(state)
            try:
                self._start(devnet)
                self._tell.title("A payload's road, with an honest committee")
                self._walk(devnet, self._payload, self._outcome.honest)
                self._attack(devnet)
            except (ClientError, httpx.HTTPError) as error:
                devnet.check(settle_s=SETTLE_S)  # a node that died says why better than who missed it
                raise DemoError(str(error)) from error
        return self._outcome

    # -- the stage --------------------------------------------------------------------------------------

    def _start(self, devnet: Devnet) -> None:
        self._tell.title(f"A committee of {self._nodes} nodes, each a process of its own")
        with self._tell.step("nodes") as step:
            devnet.start()
            devnet.wait_ready(on_ready=lambda node: self._tell.note(f"{node.name} serves {node.url}"))
            step.done(f"{self._nodes} nodes ready")
        committee = Committee.load(devnet.committee_file)
        with self._tell.step("L1 contract") as step:
            chain = Chain()
            self._contract = SettlementContract.deploy(chain, committee, guardian=chain.accounts[1])
            chain.set_time(int(time.time()))
            cost = self._contract.cost
            step.done(
                f"deployed at {self._contract.address[:10]}.., {len(committee.members)} keys registered, "
                f"{cost.create + cost.register + cost.seal:,} gas"
            )

    def _attack(self, devnet: Devnet) -> None:
        self._tell.title(f"An attack: {WITHHELD_COLUMNS} of 128 columns withheld after signing")
        height = self._outcome.honest.height
        lies = ("--withhold", f"0-{WITHHELD_COLUMNS - 1}", "--from-height", str(height + 1))
        with self._tell.step("restart") as step:
            devnet.stop()
            for node in range(self._nodes):
                devnet.restart_node(node, adversary=lies, wait=False)
            devnet.wait_ready()
            step.done(f"all {self._nodes} nodes sign as before, and then serve no cell of columns {lies[1]}")
        with self._tell.step("read back") as step, self._client(devnet, devnet.nodes[-1].url) as client:
            self._outcome.read_back = (
                client.payload(bytes.fromhex(self._outcome.honest.payload_id[2:])) == self._payload
            )
            step.done(
                "the first payload survived the restart, byte for byte"
                if self._outcome.read_back
                else "WRONG: other bytes than posted",
                good=self._outcome.read_back,
            )
        # The same bytes would be the same payload; its digest behind it makes the second one new.
        second = self._payload[: -hashlib.sha256().digest_size] + hashlib.sha256(self._payload).digest()
        self._walk(devnet, second, self._outcome.attacked)

    def _client(self, devnet: Devnet, url: str) -> CellarClient:
        return CellarClient(url, token=devnet.token, timeout_s=POST_TIMEOUT_S)

    # -- one payload ------------------------------------------------------------------------------------

    def _walk(self, devnet: Devnet, payload: bytes, walk: Walk) -> None:
        before = _metrics(devnet.disperser.url)
        with self._client(devnet, devnet.disperser.url) as client:
            info = self._post(client, payload, walk)
            batch = self._certify(client, devnet, info, before, walk)
        assert batch.certificate is not None, "_certify has seen it"
        self._sample(devnet, walk)
        self._settle(batch.certificate, batch, bytes.fromhex(walk.payload_id[2:]), walk)

    def _post(self, client: CellarClient, payload: bytes, walk: Walk) -> PayloadInfo:
        with self._tell.step("posted") as step:
            info = client.post(NAMESPACE, payload)
            walk.payload_id, walk.length, walk.rows = "0x" + info.payload_id.hex(), info.length, info.rows
            walk.seconds["post"] = step.elapsed_s
            step.done(f"{info.length:,} bytes, durable in the disperser's outbox")
        self._tell.fact(
            "rows committed",
            f"{info.rows} rows of 4,096 field elements, {48 * info.rows} bytes of KZG commitments; "
            f"payload {walk.payload_id[:18]}..",
        )
        return info

    def _certify(
        self, client: CellarClient, devnet: Devnet, info: PayloadInfo, before: dict[str, float], walk: Walk
    ) -> BatchDocument:
        with self._tell.step("certifying") as step:
            final = wait_certified(client, devnet, info.payload_id)
            if final.batch_height is None:
                raise DemoError(f"payload {walk.payload_id} is certified, but in no batch")
            batch = client.batch(final.batch_height)
            walk.seconds["certified"] = step.elapsed_s
            step.drop()
        walk.height = final.batch_height
        if batch.certificate is None:
            raise DemoError(f"the batch at height {walk.height} has no certificate")
        self._tell_dispersal(before, _metrics(devnet.disperser.url), batch, walk)
        return batch

    def _tell_dispersal(
        self, before: dict[str, float], after: dict[str, float], batch: BatchDocument, walk: Walk
    ) -> None:
        took = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in after}
        rows = batch.header.row_count
        walk.seconds["encode"] = took.get("cellar_encode_seconds_sum", 0.0)
        walk.seconds["certify"] = took.get("cellar_certify_seconds_sum", 0.0)
        certificate = batch.certificate
        assert certificate is not None, "checked when the batch was read"
        walk.signers = len(certificate.signers)
        self._tell.fact(
            "matrix extended",
            f"{rows} x 128 cells with {rows * 128:,} KZG proofs, {rows * 128 * 2096:,} bytes; "
            f"{rows} parity rows below it, never stored",
            walk.seconds["encode"],
        )
        self._tell.fact(
            "columns dispersed", f"batch {walk.height} to {self._nodes} nodes, verified and fsynced there"
        )
        self._tell.fact(
            "signatures gathered",
            f"{walk.signers} of {self._nodes} members were enough: stake and slot bound hold",
            walk.seconds["certify"],
        )
        self._tell.fact(
            "certificate",
            f"{len(certificate.encode())} bytes, one aggregated BLS signature; payload to certificate:",
            walk.seconds["post"] + walk.seconds["certified"],
        )

    def _sample(self, devnet: Devnet, walk: Walk) -> None:
        """Run the light client as anybody would: it draws for the person, and records its verdict."""
        program = Path(sys.executable).with_name("light-client")
        state = ("--state", str(self._state))
        self._tell.note("")
        shown = subprocess.run(
            [program, "sample", str(walk.height), "--committee", devnet.committee_file, *state],
            stdout=self._tell.stream,
            check=False,
        )
        last = subprocess.run(
            [program, "history", "--limit", "1", "--json", *state], check=True, capture_output=True, text=True
        )
        report = strict_json.loads(last.stdout, max_bytes=_REPORT_BYTES_MAX)
        if report["exit_code"] != shown.returncode or report["batch"]["height"] != walk.height:
            raise DemoError("the light client's record does not fit what it just said")
        walk.verdict = report["verdict"]
        walk.confidence = report["sampling"]["confidence"]
        walk.samples, walk.withheld = report["sampling"]["samples"], report["sampling"]["withheld"]
        self._evidence = hashlib.sha256(json.dumps(report, sort_keys=True).encode()).digest()

    def _settle(self, certificate: Certificate, batch: BatchDocument, payload_id: bytes, walk: Walk) -> None:
        if walk.verdict != "available":
            with self._tell.step("veto") as step:
                gas = self._contract.veto(batch.header.hash, self._evidence)
                step.done(f"the rollup's light client vetoes batch {walk.height}; {gas:,} gas")
        payloads = batch.payload_list
        index = [entry.payload_id for entry in payloads.entries].index(payload_id)
        with self._tell.step("settlement") as step:
            # The chain's clock follows ours, as an L1's would.
            self._contract.chain.set_time(int(time.time()))
            result: Settlement = self._contract.settle(certificate, payloads, index)
            walk.settlement, walk.settlement_gas = result.status.name, result.gas_used
            recorded = self._contract.settled(*payloads.entries[index].key) is not None
            if recorded != (result.status is SettlementStatus.OK):
                raise DemoError(f"the contract said {result.status.name}, but its record says otherwise")
            step.done(
                f"certificate verified on L1 and payload recorded; {result.gas_used:,} gas"
                if recorded
                else f"refused by the contract: {result.status.name}; nothing recorded",
                good=recorded == (walk.verdict == "available"),
            )


def wait_certified(client: CellarClient, devnet: Devnet, payload_id: bytes) -> PayloadInfo:
    """The payload's status once it is certified. Raises ClientError, and DevnetError when a node dies."""
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
