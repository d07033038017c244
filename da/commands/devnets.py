"""`da devnet`: a committee on this machine that runs until Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from da.console.output import AsJson, emit, fail, say, stderr
from da.devnet import Devnet, DevnetError

WATCH_INTERVAL_S = 1.0


def devnet(
    nodes: Annotated[int, typer.Option(min=1, max=64, help="Members of the committee.")] = 6,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep the files in this directory and continue from them next time."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary directory at the end.")] = False,
    base_port: Annotated[
        int | None,
        typer.Option(min=1024, max=65000, help="Node i listens on this port + i; default: free ports."),
    ] = None,
    batch_interval_ms: Annotated[
        int, typer.Option(min=1, help="Milliseconds between two batches of the disperser.")
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """Run a committee of nodes on loopback ports until Ctrl-C, and print commands to try."""
    chosen = directory or Path(tempfile.mkdtemp(prefix="cellar-devnet-"))
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        with Devnet(nodes, directory=chosen, base_port=base_port, batch_interval_ms=batch_interval_ms) as net:
            _start(net, stop)
            if not stop.is_set():
                _present(net, as_json)
            _watch(net, stop)
            say("stopping the nodes")
    except DevnetError as error:
        fail(str(error))
    finally:
        if directory is None and not keep:
            shutil.rmtree(chosen, ignore_errors=True)
        else:
            say(f"files are in {chosen}; continue with: da devnet --dir {chosen}")


def _start(net: Devnet, stop: threading.Event) -> None:
    with stderr.status(f"starting {len(net.nodes)} nodes in {net.directory}"):
        net.start()
        net.wait_ready(on_ready=lambda node: say(f"  {node.name} serves {node.url} (pid {node.pid})"))


def _watch(net: Devnet, stop: threading.Event) -> None:
    """Watch until a signal: report each node that exits once, and continue while payloads can be certified.

    Raises CommandError when they no longer can.
    """
    reported: set[str] = set()
    while not stop.wait(WATCH_INTERVAL_S):
        died = [node for node in net.nodes if node.died and node.name not in reported]
        for node in died:
            reported.add(node.name)
            say(node.exit_report())
        if died and (reason := net.why_no_certificate()) is not None:
            fail(f"{reason}; stopping the devnet")


def _present(net: Devnet, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "directory": str(net.directory.resolve()),
                "committee_file": str(net.committee_file.resolve()),
                "token": net.token,
                "nodes": [{"name": node.name, "url": node.url, "pid": node.pid} for node in net.nodes],
            },
            as_json=True,
        )
        return
    url = net.disperser.url
    print(
        f"""
The committee is running; Ctrl-C stops it. In another terminal:

  export DA_NODE_URL={url} DA_API_TOKEN={net.token}
  da post FILE --namespace my-rollup            post any file, wait for its certificate
  da get 0x... --out copy                       read it by its payload id
  da batches                                    list the log
  light-client sample latest --committee {net.committee_file.resolve()}
  curl {url}/v1/node ; curl {url}/metrics ; open {url}/docs
  kill -9 {net.nodes[-1].pid}                               kill {net.nodes[-1].name}, then post again
""",
        flush=True,
    )
