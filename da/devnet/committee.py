"""Starting, watching and stopping the processes of a devnet.

Flow:
- files.make creates a directory for every node; `start` runs one process per node, each with its standard
  input on a pipe that only this process holds, so that the nodes stop when it exits for any reason;
- `wait_ready` polls /readyz until all nodes are ready, or fails with the log of a node that has exited;
- `stop` sends SIGTERM, then SIGKILL; `kill` is a power cut for one node; `restart` starts it again.

Invariants: each node leads its own process group, so its engine's workers are killed with it, and a Ctrl-C
on the terminal reaches only this process. Listens on loopback only. A directory has one devnet at a time.
Does not: use the network beyond loopback, or leave processes behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from da import outgoing
from da.devnet import files
from da.devnet.files import NodeFiles
from da.protocol.committee import Committee
from da.protocol.custody import finality
from da.store.errors import StoreLocked
from da.store.lock import DirectoryLock
from da.text import block, printable

READY_TIMEOUT_S = 120.0
READY_PAUSE_S = 0.1
READY_BYTES_MAX = 64 * 1024
READY_CHARS_MAX = 1000
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 15
NODE_MODULE = ("da", "node")
ADVERSARY_MODULE = ("da.devnet.adversary",)


class DevnetError(Exception):
    """A devnet operation failed; the message quotes the node's log where that explains it."""


class NodeProcess:
    """One node of a devnet, running or not."""

    def __init__(self, node: NodeFiles) -> None:
        self.files = node
        self.name = node.name
        self.url = node.url
        self.arguments: tuple[str, ...] = NODE_MODULE
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_requested = False

    @property
    def pid(self) -> int | None:
        """The process id; None when it is not running."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def died(self) -> bool:
        """Whether the process has exited without a request of this object."""
        return self._process is not None and not self.running and not self._stop_requested

    def exit_report(self) -> str:
        """How the process exited, and the end of its log."""
        code = self._process.poll() if self._process else None
        how = (
            f"killed by {signal.Signals(-code).name}"
            if code is not None and code < 0
            else f"exit code {code}"
        )
        return f"{self.name} exited ({how}); end of {self.files.log}:\n{self.log_tail()}"

    def start(self) -> None:
        """Start the process; does not wait until it is ready."""
        if self.running:
            raise DevnetError(f"{self.name} is already running")
        self._stop_requested = False
        command = [
            sys.executable,
            "-m",
            *self.arguments,
            "--config",
            str(self.files.config),
            "--stop-with-stdin",
        ]
        with self.files.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the node finishes its running requests."""
        self._stop_requested = self._stop_requested or self.running
        self._signal(signal.SIGTERM, whole_group=False)

    def kill(self) -> None:
        """Send SIGKILL to the node and its engine's workers: for its files, the same as a power cut."""
        self._stop_requested = self._stop_requested or self.running
        self._signal(signal.SIGKILL, whole_group=True)
        self.wait_stopped(STOP_TIMEOUT_S)

    def wait_stopped(self, timeout_s: float) -> bool:
        """Wait until the process has exited, and reap it; False when it is still running."""
        process = self._process
        if process is None:
            return True
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        if process.stdin is not None:
            process.stdin.close()
        return True

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines of the node's log."""
        try:
            return block("\n".join(self.files.log.read_text("utf-8", "replace").splitlines()[-lines:]))
        except OSError:
            return ""

    def _signal(self, number: signal.Signals, *, whole_group: bool) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if whole_group:
                os.killpg(self._process.pid, number)
            elif self.running:
                self._process.send_signal(number)


def why_not_ready(url: str, http: httpx.Client) -> str | None:
    """What a node says on /readyz in one line, None when it is ready."""
    try:
        with http.stream("GET", f"{url}/readyz") as response:
            body = outgoing.Body(response, READY_BYTES_MAX)
            for part in response.iter_raw():
                body.add(part)
        answer = body.answer()
    except (httpx.TransportError, outgoing.UnwantedAnswer) as error:
        return f"no answer ({type(error).__name__})"
    return None if answer.status_code == 200 else printable(answer.text, READY_CHARS_MAX)


class Devnet:
    """A committee of node processes on this machine. Use as a context manager: all nodes stop at its end.

    Args:
        node_count: members; ignored when `directory` already holds a devnet.
        directory: where its files are; None creates a temporary one that is removed at the end.
        base_port: node i listens on base_port + i; None takes free ports.
        batch_interval_ms: time between two batches of the disperser.
    """

    def __init__(
        self,
        node_count: int = 6,
        *,
        directory: Path | None = None,
        base_port: int | None = None,
        batch_interval_ms: int = 200,
    ) -> None:
        if not 1 <= node_count <= 64:
            raise DevnetError(f"a devnet must have 1 to 64 nodes; got {node_count}")
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="cellar-devnet-")) if directory is None else directory
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = DirectoryLock(self.directory)
            made = files.make(
                self.directory, node_count, base_port=base_port, batch_interval_ms=batch_interval_ms
            )
        except StoreLocked as error:
            raise DevnetError(
                f"another devnet is running in {self.directory} (pid {error.pid}); stop it first"
            ) from None
        except OSError as error:
            raise DevnetError(f"{error.filename or self.directory}: {error.strerror}") from error
        self.nodes = [NodeProcess(node) for node in made]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def committee_file(self) -> Path:
        """The committee's JSON file."""
        return self.directory / "committee.json"

    @property
    def token(self) -> str:
        """The API token that may post under any namespace."""
        return (self.directory / "token").read_text(encoding="utf-8").strip()

    @property
    def disperser(self) -> NodeProcess:
        """The node that takes payloads."""
        return self.nodes[files.DISPERSER]

    @property
    def urls(self) -> list[str]:
        """The nodes' addresses, in order."""
        return [node.url for node in self.nodes]

    def start(self) -> None:
        """Start every node that is not running; see `wait_ready`."""
        for node in self.nodes:
            if not node.running:
                node.start()

    def wait_ready(
        self,
        nodes: Sequence[NodeProcess] | None = None,
        *,
        timeout_s: float = READY_TIMEOUT_S,
        on_ready: Callable[[NodeProcess], None] | None = None,
    ) -> None:
        """Wait until all nodes (or these) are ready by /readyz; calls `on_ready` for each.

        Raises:
            DevnetError: a node exited, or the timeout expired.
        """
        waiting = list(self.nodes if nodes is None else nodes)
        reasons = {node.name: "no answer" for node in waiting}
        deadline_s = time.monotonic() + timeout_s
        with outgoing.client(trust_env=False, timeout_s=2.0) as http:
            while waiting:
                for node in list(waiting):
                    reason = self._why_not_ready(node, http)
                    if reason is None:
                        waiting.remove(node)
                        if on_ready is not None:
                            on_ready(node)
                    else:
                        reasons[node.name] = reason
                if waiting and time.monotonic() > deadline_s:
                    details = "; ".join(f"{node.name}: {reasons[node.name]}" for node in waiting)
                    raise DevnetError(f"not ready after {timeout_s:.0f} s: {details}")
                if waiting:
                    time.sleep(READY_PAUSE_S)

    def _why_not_ready(self, node: NodeProcess, http: httpx.Client) -> str | None:
        if not node.running:
            raise DevnetError(node.exit_report())
        return why_not_ready(node.url, http)

    def check(self, *, settle_s: float = 0.0) -> None:
        """Check that no node has exited; waits `settle_s` for a node that is about to exit.

        Raises:
            DevnetError: a node has exited; the message has the end of its log.
        """
        for node in self.nodes:
            if node.running and settle_s:
                node.wait_stopped(settle_s)
            if node.died:
                raise DevnetError(node.exit_report())

    def why_no_certificate(self) -> str | None:
        """Why the running nodes cannot certify another payload; None when they can."""
        committee = Committee.load(self.committee_file)
        running = {node.name for node in self.nodes if node.running}
        if self.disperser.name not in running:
            return f"{self.disperser.name}, the disperser, is not running"
        left = [index for index, member in enumerate(committee.members) if member.name in running]
        if not finality(committee, left).final:
            return f"only {len(left)} of {len(self.nodes)} nodes are running, too few for a certificate"
        return None

    def stop_node(self, index: int, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop one node with SIGTERM, and with SIGKILL after the timeout."""
        self.nodes[index].ask_to_stop()
        if not self.nodes[index].wait_stopped(timeout_s):
            self.nodes[index].kill()

    def kill_node(self, index: int) -> None:
        """Kill one node without warning."""
        self.nodes[index].kill()

    def restart_node(self, index: int, *, adversary: Sequence[str] = (), wait: bool = True) -> None:
        """Stop one node if it runs, and start it again.

        Args:
            adversary: options of `python -m da.devnet.adversary`; none starts the honest node.
        """
        node = self.nodes[index]
        self.stop_node(index)
        node.arguments = (*ADVERSARY_MODULE, *adversary) if adversary else NODE_MODULE
        node.start()
        if wait:
            self.wait_ready([node])

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop all nodes with SIGTERM, and with SIGKILL after the timeout."""
        for node in self.nodes:
            node.ask_to_stop()
        deadline_s = time.monotonic() + timeout_s
        for node in self.nodes:
            if not node.wait_stopped(max(0.1, deadline_s - time.monotonic())):
                node.kill()

    def close(self) -> None:
        """Stop all nodes, unlock the directory, and remove it if it is a temporary one."""
        self.stop()
        self._lock.release()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
