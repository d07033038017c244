"""Power cuts at random times: `python -m benchmarks.chaos --rounds 30 --seed 1`.

Flow of a round, on a devnet of real processes:
- some payloads are posted by several threads, and meanwhile a node chosen by the seed (sometimes all of
  them) is killed with SIGKILL, at a time chosen by the seed between the first post and a little after
  the usual time of a certificate;
- while it is down, certified payloads must be readable from the survivors, and none may deny that they exist;
- it starts again; all accepted payloads must become certified, and every node must serve every certificate
  ever returned, and its payload byte for byte;
- the logs of all nodes are compared: one header per height, which never changes, each the parent of the next.
After the last round every node must hold its whole custody again.

A seed determines payloads, victims and times (as fractions of the usual time, so not to the microsecond). A
failure prints seed and round, and keeps the devnet's files. Every step has a time limit.
"""

from __future__ import annotations

import random
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from da.client import CellarClient, ClientError, NotKnown, PayloadInfo
from da.devnet import Devnet, DevnetError, NodeProcess
from da.protocol.certificate import Certificate
from da.protocol.committee import Committee
from da.protocol.errors import ProtocolError
from da.protocol.header import ZERO_HASH
from da.wire.cells import NOT_HELD, Record

NAMESPACES = ("chaos-a", "chaos-b")
PAYLOADS_EACH_ROUND = 4
POSTERS = 2
ALL_DIE_IN = 8  # one round in so many kills the whole committee
CERTIFY_TIMEOUT_S = 120.0
SERVE_TIMEOUT_S = 60.0
SURVIVOR_TIMEOUT_S = 10.0  # for a node that may have no peers then
CUSTODY_TIMEOUT_S = 120.0
CUSTODY_PAUSE_S = 0.2
FIRST_GUESS_S = 1.0  # of the time from a post to its certificate
LATEST_KILL = 1.3  # in units of that time
REREAD_EACH_ROUND = 6  # payloads of earlier rounds that are read again in each
PAGE = 100
# What no node may log while its peers are killed: two headers at one height, or a failed loop.
_FORBIDDEN_LOG = re.compile(r"equivocation|knows another header|loop .* failed|Traceback")


class ChaosError(Exception):
    """A guarantee was broken, or a step timed out; the message says which."""


@dataclass
class Ledger:
    """What the committee answered; shared by the posting threads."""

    payloads: dict[bytes, bytes] = field(default_factory=dict)  # accepted: id -> bytes
    certificates: dict[bytes, bytes] = field(default_factory=dict)  # returned: id -> certificate
    heights: dict[int, bytes] = field(default_factory=dict)  # ever seen in any log: height -> header hash
    latencies_s: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accepted(self, info: PayloadInfo, payload: bytes) -> None:
        with self.lock:
            self.payloads[info.payload_id] = payload

    def certified(self, payload_id: bytes, certificate: bytes) -> None:
        with self.lock:
            known = self.certificates.setdefault(payload_id, certificate)
        if Certificate.decode(known).header != Certificate.decode(certificate).header:
            raise ChaosError(f"payload 0x{payload_id.hex()} has certificates of two headers")

    def usual_s(self) -> float:
        """The usual time from a post to its certificate."""
        with self.lock:
            return statistics.median(self.latencies_s) if self.latencies_s else FIRST_GUESS_S


class Poster(threading.Thread):
    """Posts payloads one after the other, whatever happens to the nodes."""

    def __init__(self, url: str, token: str, jobs: Sequence[tuple[str, bytes, bool]], ledger: Ledger) -> None:
        super().__init__(name="poster", daemon=True)
        self._url, self._token, self._jobs, self._ledger = url, token, jobs, ledger
        self.failure: Exception | None = None

    def run(self) -> None:
        """Post all jobs: (namespace, payload, whether to wait in the post itself)."""
        try:
            with CellarClient(self._url, token=self._token, timeout_s=CERTIFY_TIMEOUT_S) as client:
                for namespace, payload, wait in self._jobs:
                    self._post(client, namespace, payload, wait)
        except Exception as error:  # reported to the thread that joins
            self.failure = error

    def _post(self, client: CellarClient, namespace: str, payload: bytes, wait: bool) -> None:
        started = time.monotonic()
        if wait:
            info = client.post_and_wait(namespace, payload)
            assert info.certificate is not None
            certificate = info.certificate
            self._ledger.accepted(info, payload)
        else:
            info = client.post(namespace, payload)
            self._ledger.accepted(info, payload)
            client.wait(info.payload_id, namespace)
            certificate = client.certificate(info.payload_id, namespace)
        self._ledger.certified(info.payload_id, certificate)
        with self._ledger.lock:
            self._ledger.latencies_s.append(time.monotonic() - started)


class Chaos:
    """A run of rounds on one devnet, which the caller started."""

    def __init__(
        self,
        devnet: Devnet,
        seed: int,
        *,
        payload_bytes_max: int = 600_000,
        say: Callable[[str], None] = print,
    ) -> None:
        self._devnet = devnet
        self._committee = Committee.load(devnet.committee_file)
        self._rng = random.Random(seed)
        self._payload_bytes_max = payload_bytes_max
        self._say = say
        self._log_ends = {node.name: 0 for node in devnet.nodes}
        self._clients = {
            node.name: CellarClient(node.url, timeout_s=SERVE_TIMEOUT_S) for node in devnet.nodes
        }
        self._hasty = {
            node.name: CellarClient(node.url, timeout_s=SURVIVOR_TIMEOUT_S) for node in devnet.nodes
        }
        self.ledger = Ledger()

    def run(self, rounds: int) -> None:
        """Do all rounds and the final checks. Raises ChaosError, ClientError, DevnetError."""
        for number in range(1, rounds + 1):
            started = time.monotonic()
            try:
                result = self.round()
            except (ChaosError, ClientError, DevnetError, ProtocolError) as error:
                raise ChaosError(f"round {number}: {error}") from error
            self._say(f"round {number:3}: {result}, {time.monotonic() - started:.1f} s")
        self.check_served(list(self.ledger.payloads))
        self.check_custody()

    def round(self, victims: Sequence[int] | None = None) -> str:
        """Do one round; returns a summary. `victims` overrides the seed's choice."""
        rng = self._rng
        jobs = [self._job() for _ in range(PAYLOADS_EACH_ROUND)]
        chosen = self._victims() if victims is None else list(victims)
        fraction = rng.uniform(0.0, LATEST_KILL)
        before = set(self.ledger.payloads)
        posters = [
            Poster(self._devnet.disperser.url, self._devnet.token, jobs[i::POSTERS], self.ledger)
            for i in range(POSTERS)
        ]
        for poster in posters:
            poster.start()
        time.sleep(fraction * self.ledger.usual_s())
        for index in chosen:
            self._devnet.kill_node(index)
        seen = list(self.ledger.certificates)[-REREAD_EACH_ROUND:]
        if len(chosen) < len(self._devnet.nodes):
            self.check_survivors(seen)
        for index in chosen:
            self._devnet.restart_node(index, wait=False)
        self._devnet.wait_ready()
        for poster in posters:
            poster.join(2 * CERTIFY_TIMEOUT_S)
            if poster.is_alive():
                raise ChaosError(f"a post did not end within {2 * CERTIFY_TIMEOUT_S:.0f} s")
            if poster.failure is not None:
                raise ChaosError(f"a post failed: {poster.failure!r}") from poster.failure
        old = sorted(before)
        again = rng.sample(old, min(REREAD_EACH_ROUND, len(old)))
        self.check_served([*(set(self.ledger.payloads) - before), *again])
        self.check_logs()
        self.check_node_logs()
        names = "all nodes" if len(chosen) == len(self._devnet.nodes) else f"node {chosen[0]}"
        return (
            f"killed {names} at {fraction:.2f} of {self.ledger.usual_s():.2f} s;"
            f" {len(self.ledger.certificates)} certificates, {len(self.ledger.heights)} heights"
        )

    def _job(self) -> tuple[str, bytes, bool]:
        rng = self._rng
        size = int(self._payload_bytes_max ** rng.uniform(0.0, 1.0))
        return rng.choice(NAMESPACES), rng.randbytes(max(1, size)), rng.random() < 0.5

    def _victims(self) -> list[int]:
        count = len(self._devnet.nodes)
        if self._rng.randrange(ALL_DIE_IN) == 0:
            return list(range(count))
        # The disperser has the most state to lose: every third cut hits it.
        return [0] if self._rng.randrange(3) == 0 else [self._rng.randrange(count)]

    # -- the guarantees -------------------------------------------------------------------------------------

    def check_survivors(self, payload_ids: Sequence[bytes]) -> None:
        """No surviving node denies a certified payload, and at least one serves it."""
        living = [node for node in self._devnet.nodes if node.running]
        for payload_id in payload_ids:
            served = [self._serves(node, payload_id, self._hasty) for node in living]
            if not any(served):
                raise ChaosError(f"no survivor serves payload 0x{payload_id.hex()}, which is certified")

    def check_served(self, payload_ids: Sequence[bytes]) -> None:
        """Every node serves every one of these payloads and its certificate."""
        for payload_id in payload_ids:
            for node in self._devnet.nodes:
                if not self._serves(node, payload_id, self._clients):
                    raise ChaosError(f"{node.name} does not serve payload 0x{payload_id.hex()}")
                client = self._clients[node.name]
                client.wait(payload_id)
                certificate = client.certificate(payload_id)
                Certificate.decode(certificate).verify(self._committee)
                self.ledger.certified(payload_id, certificate)

    def _serves(self, node: NodeProcess, payload_id: bytes, clients: dict[str, CellarClient]) -> bool:
        """Whether the node gives the payload's bytes. Raises ChaosError for a wrong answer."""
        try:
            payload = clients[node.name].payload(payload_id)
        except NotKnown as error:
            raise ChaosError(
                f"{node.name} denies payload 0x{payload_id.hex()}, which is certified: {error}"
            ) from error
        except ClientError:
            return False
        if payload != self.ledger.payloads[payload_id]:
            raise ChaosError(f"{node.name} serves wrong bytes for payload 0x{payload_id.hex()}")
        return True

    def check_logs(self) -> None:
        """All nodes agree with each other and with earlier rounds; each header's parent is the one before."""
        for node in self._devnet.nodes:
            parent, height = ZERO_HASH, 0
            while page := self._clients[node.name].batches(height + 1, PAGE):
                for batch in page:
                    header = batch.header
                    if (header.height, header.parent) != (height + 1, parent):
                        raise ChaosError(f"{node.name}: height {header.height} does not follow {height}")
                    known = self.ledger.heights.setdefault(header.height, header.hash)
                    if known != header.hash:
                        raise ChaosError(f"{node.name}: a second header at height {header.height}")
                    parent, height = header.hash, header.height

    def check_node_logs(self) -> None:
        """No node has logged a forbidden line."""
        for node in self._devnet.nodes:
            text = node.files.log.read_bytes()[self._log_ends[node.name] :]
            self._log_ends[node.name] += len(text)
            found = _FORBIDDEN_LOG.search(text.decode("utf-8", "replace"))
            if found:
                raise ChaosError(f"{node.name} logged {found[0]!r}; see {node.files.log}")

    def check_custody(self) -> None:
        """Every node holds a cell of each of its columns of each batch, within the timeout."""
        deadline_s = time.monotonic() + CUSTODY_TIMEOUT_S
        for node in self._devnet.nodes:
            for header_hash in self.ledger.heights.values():
                wait_for_custody(self._clients[node.name], header_hash, deadline_s - time.monotonic())

    def close(self) -> None:
        """Close connections."""
        for client in (*self._clients.values(), *self._hasty.values()):
            client.close()


def wait_for_custody(client: CellarClient, header_hash: bytes, timeout_s: float = CUSTODY_TIMEOUT_S) -> None:
    """Wait until a node serves a cell of each of its columns of a batch. Raises ChaosError, ClientError."""
    deadline_s = time.monotonic() + timeout_s
    about = client.node()
    columns = about["columns"]
    while True:
        try:
            records = client.cells(header_hash, [(0, column) for column in columns])
        except NotKnown:
            records = [NOT_HELD] * len(columns)
        missing = [
            column for column, record in zip(columns, records, strict=True) if not isinstance(record, Record)
        ]
        if not missing:
            return
        if time.monotonic() > deadline_s:
            raise ChaosError(f"{about['name']} lacks columns {missing} of 0x{header_hash.hex()}")
        time.sleep(CUSTODY_PAUSE_S)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Number of power cuts.")] = 30,
    seed: Annotated[
        int | None, typer.Option(help="Seed of payloads, victims and times; default: a new one.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=4, max=16, help="Members of the committee.")] = 6,
    payload_bytes_max: Annotated[int, typer.Option(min=1, help="Longest payload, in bytes.")] = 600_000,
) -> None:
    """Kill nodes at random times and check that nothing that was acknowledged is lost."""
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"seed {chosen}, {rounds} rounds, {nodes} nodes", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="cellar-chaos-"))
    with Devnet(nodes, directory=directory / "devnet") as devnet:
        devnet.start()
        devnet.wait_ready()
        chaos = Chaos(
            devnet, chosen, payload_bytes_max=payload_bytes_max, say=lambda text: print(text, flush=True)
        )
        try:
            chaos.run(rounds)
        except (ChaosError, ClientError, DevnetError) as error:
            print(f"FAILED with seed {chosen}: {error}\nfiles are kept in {directory}", file=sys.stderr)
            sys.exit(1)
        finally:
            chaos.close()
    shutil.rmtree(directory)
    print(f"{len(chaos.ledger.certificates)} certificates, all served by all {nodes} nodes")


if __name__ == "__main__":
    typer.run(main)
