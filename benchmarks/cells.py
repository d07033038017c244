"""Cell reads of one node: single GETs, many in one POST, whole columns.

A devnet of one node holds a batch of a 600 KiB payload (5 rows); the load comes from a second process over
loopback, bounded in time and number. Requests go through the batch's 128 columns in a fixed random order, so
files and caches are warm after the first round, as on a node that serves light clients.

Peer: uvicorn and Starlette alone, answering the same number of bytes from memory.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

from benchmarks.measure import Table, quantile
from da.client import CellarClient
from da.devnet import Devnet
from da.devnet.files import free_ports
from erasure.constants import CELLS_PER_EXT_BLOB

PAYLOAD_BYTES = 600 * 2**10
CONNECTIONS = 8
SECONDS = 3.0
REQUESTS_MAX = 100_000
RUNS = 5
CELLS_AT_ONCE = 64

Figures = dict[str, float]


def run() -> list[Table]:
    """One table."""
    rng = random.Random(4)
    with Devnet(1) as devnet, _bare_server() as bare_port:
        devnet.start()
        devnet.wait_ready()
        with CellarClient(devnet.disperser.url, token=devnet.token) as client:
            info = client.post_and_wait("bench", rng.randbytes(PAYLOAD_BYTES))
        assert info.header_hash is not None
        rows, batch = info.rows, f"/v1/batches/0x{info.header_hash.hex()}"
        data = [(row, column) for row in range(rows) for column in range(CELLS_PER_EXT_BLOB)]
        parity = [(rows + row, column) for row, column in data]
        rng.shuffle(data)
        rng.shuffle(parity)
        port = urlsplit(devnet.disperser.url).port
        assert port is not None
        subjects = {
            "peer: uvicorn alone, 2096 bytes": (bare_port, [_get(f"{batch}/cells/0/0")], 1),
            "GET one data cell": (port, [_get(f"{batch}/cells/{r}/{c}") for r, c in data], 1),
            "GET one parity cell": (port, [_get(f"{batch}/cells/{r}/{c}") for r, c in parity], 1),
            f"POST {CELLS_AT_ONCE} data cells": (
                port,
                [_post(f"{batch}/cells", data[i : i + CELLS_AT_ONCE]) for i in _starts(data)],
                CELLS_AT_ONCE,
            ),
            f"POST {CELLS_AT_ONCE} parity cells": (
                port,
                [_post(f"{batch}/cells", parity[i : i + CELLS_AT_ONCE]) for i in _starts(parity)],
                CELLS_AT_ONCE,
            ),
            f"GET one column, {rows} cells": (
                port,
                [_get(f"{batch}/columns/{column}") for column in range(CELLS_PER_EXT_BLOB)],
                rows,
            ),
        }
        for target, requests, _ in subjects.values():
            _load(target, requests, seconds=60.0, most=len(requests))  # warm-up: everything once
        found: dict[str, list[Figures]] = {name: [] for name in subjects}
        for _ in range(RUNS):
            for name, (target, requests, _) in subjects.items():
                found[name].append(_load(target, requests, seconds=SECONDS, most=REQUESTS_MAX))
    peer = quantile([each["per_second"] for each in next(iter(found.values()))], 0.5)
    lines = [_line(name, found[name], cells, peer) for name, (_, _, cells) in subjects.items()]
    header = ("request", "requests/s", "range", "cells/s", "p50 ms", "p99 ms", "of the peer", "generator CPU")
    note = (
        f"Median of {RUNS} runs of {SECONDS:g} s taken in turns, {CONNECTIONS} connections kept open, one"
        " request at a time on each. Parity cells are derived at the first request (warm-up) and cached."
        " Generator CPU: the part of a core that the load generator took; node and generator share the"
        " machine's cores."
    )
    return [Table(f"Cell reads of one node, batch of {rows} rows", header, lines, note)]


def _line(name: str, runs: list[Figures], cells: int, peer: float) -> tuple[str, ...]:
    rates = [each["per_second"] for each in runs]
    rate = quantile(rates, 0.5)
    return (
        name,
        f"{rate:,.0f}",
        f"{min(rates):,.0f}-{max(rates):,.0f}",
        f"{rate * cells:,.0f}",
        f"{quantile([each['p50_ms'] for each in runs], 0.5):.2f}",
        f"{quantile([each['p99_ms'] for each in runs], 0.5):.2f}",
        f"{rate / peer:.2f}",
        f"{quantile([each['generator_cpu'] for each in runs], 0.5):.2f}",
    )


def _starts(pairs: list[tuple[int, int]]) -> range:
    return range(0, len(pairs) - CELLS_AT_ONCE + 1, CELLS_AT_ONCE)


def _get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def _post(path: str, pairs: list[tuple[int, int]]) -> str:
    body = json.dumps({"cells": [list(pair) for pair in pairs]})
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}"


def _load(port: int, requests: list[str], *, seconds: float, most: int) -> Figures:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", str(port), str(CONNECTIONS), str(seconds), str(most)],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    )
    return dict(json.loads(done.stdout))


@contextmanager
def _bare_server() -> Iterator[int]:
    (port,) = free_ports(1)
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_server", str(port)])
    try:
        transport = httpx.HTTPTransport(retries=8)  # pauses 0.5, 1, 2.. s between its attempts
        with httpx.Client(transport=transport, trust_env=False) as http:
            http.get(f"http://127.0.0.1:{port}/", timeout=30.0).raise_for_status()
        yield port
    finally:
        process.terminate()
        process.wait()
