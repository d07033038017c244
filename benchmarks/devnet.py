"""Payload to certificate on a devnet of six real processes, and where the time goes.

Payloads of four sizes are posted one after the other with `wait=certified`, then several at once. The
disperser's /metrics tell what its steps took; memory is each process's high-water mark after everything.

Peer: the bare work that cannot be left out, cells and proofs of the same rows by plain c-kzg on all cores.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks import plain
from benchmarks.measure import Table, quantile
from benchmarks.observe import Metrics, process_memory
from da.client import CellarClient
from da.devnet import Devnet
from erasure.packing import rows_for

KIB, MIB = 2**10, 2**20
NODES = 6
SIZES = ((KIB, 20), (128 * KIB, 20), (MIB, 10), (16 * MIB, 3))  # bytes of a payload, posts
POSTERS = 4
TOGETHER = (MIB, 16)  # bytes of a payload, posts, by all posters together
BATCH_INTERVAL_MS = 200
POST_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Run:
    """Posts of one size: seconds of each, and what all nodes counted meanwhile, the disperser first."""

    size: int
    latencies_s: tuple[float, ...]
    counted: tuple[Metrics, ...]

    @property
    def median_s(self) -> float:
        return quantile(self.latencies_s, 0.5)


def run(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Table]:
    """Latency, steps, memory and responsiveness."""
    rng = random.Random(2024)
    with Devnet(NODES, batch_interval_ms=BATCH_INTERVAL_MS) as devnet:
        devnet.start()
        devnet.wait_ready()
        _post(devnet, [rng.randbytes(KIB)])
        runs = [_in_sequence(devnet, size, count, rng) for size, count in sizes]
        together_s = _together(devnet, rng)
        memory = _memory(devnet)
        with CellarClient(devnet.disperser.url) as client:
            engine = str(client.node()["engine"]["engine"])
    peers_s = plain.prove_s([rng.randbytes(size) for size, _ in sizes])
    return [_latency(runs, peers_s, together_s, engine), _steps(runs), memory, _lag(runs)]


def _post(devnet: Devnet, payloads: list[bytes]) -> list[float]:
    taken = []
    with CellarClient(devnet.disperser.url, token=devnet.token, timeout_s=POST_TIMEOUT_S) as client:
        for payload in payloads:
            started = time.perf_counter()
            info = client.post_and_wait("bench", payload)
            taken.append(time.perf_counter() - started)
            assert info.status == "certified"
    return taken


def _in_sequence(devnet: Devnet, size: int, count: int, rng: random.Random) -> Run:
    payloads = [rng.randbytes(size) for _ in range(count)]
    before = [Metrics.of(node.url) for node in devnet.nodes]
    latencies_s = _post(devnet, payloads)
    counted = tuple(
        Metrics.of(node.url) - earlier for node, earlier in zip(devnet.nodes, before, strict=True)
    )
    return Run(size, tuple(latencies_s), counted)


def _together(devnet: Devnet, rng: random.Random) -> float:
    size, count = TOGETHER
    payloads = [rng.randbytes(size) for _ in range(count)]
    started = time.perf_counter()
    with ThreadPoolExecutor(POSTERS) as posters:
        list(posters.map(lambda i: _post(devnet, payloads[i::POSTERS]), range(POSTERS)))
    return time.perf_counter() - started


def _size(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def _latency(runs: list[Run], peers_s: list[float], together_s: float, engine: str) -> Table:
    rows = [
        (
            _size(each.size),
            str(rows_for(each.size)),
            str(len(each.latencies_s)),
            f"{each.median_s:.3g}",
            f"{quantile(each.latencies_s, 0.95):.3g}",
            f"{min(each.latencies_s):.3g}-{max(each.latencies_s):.3g}",
            f"{each.size / MIB / each.median_s:.3g}",
            f"{peer_s:.3g}",
            f"{each.median_s / peer_s:.2f}",
        )
        for each, peer_s in zip(runs, peers_s, strict=True)
    ]
    size, count = TOGETHER
    return Table(
        f"Payload to certificate, {NODES} nodes",
        ("payload", "rows", "posts", "p50 s", "p95 s", "range s", "MiB/s", "c-kzg alone s", "ratio"),
        rows,
        f"One poster, `wait=certified`, batch interval {BATCH_INTERVAL_MS} ms (part of every latency);"
        f" engine `{engine}`. With few posts p95 is the slowest. c-kzg alone: cells and proofs of the same"
        f" rows by plain c-kzg calls on all cores, with no network, disk or verification. {POSTERS}"
        f" posters together, {count} payloads of {_size(size)}: {count * size / MIB / together_s:.3g}"
        " MiB/s.",
    )


def _steps(runs: list[Run]) -> Table:
    rows = []
    for each in runs:
        disperser = each.counted[0]
        members = sorted(disperser.by_label("cellar_push_seconds_count", "member"))
        pushes_s = [disperser.mean_s("cellar_push_seconds", member=name) for name in members]
        encode_s = disperser.mean_s("cellar_encode_seconds")
        certify_s = disperser.mean_s("cellar_certify_seconds")
        mean_s = sum(each.latencies_s) / len(each.latencies_s)
        rest_s = mean_s - encode_s - certify_s - BATCH_INTERVAL_MS / 1000
        rows.append(
            (
                _size(each.size),
                f"{mean_s:.3g}",
                f"{encode_s:.3g}",
                f"{certify_s:.3g}",
                f"{min(pushes_s):.3g}-{max(pushes_s):.3g}",
                f"{rest_s:.3g}",
            )
        )
    return Table(
        "Where the time goes",
        ("payload", "mean s", "encode s", "certify s", "one push s", "rest s"),
        rows,
        "Means. encode: extend and prove all rows, check two columns; certify: header to certificate,"
        " that is five members receiving, verifying and fsyncing their columns; one push: the fastest and"
        " the slowest member's mean; rest: body, packing, commitments, outbox, store of the disperser,"
        " waiting for the answer. All six nodes share the cores, so pushes that would run side by side on"
        " six machines take turns here.",
    )


def _memory(devnet: Devnet) -> Table:
    rows = []
    for node in devnet.nodes:
        first, *workers = process_memory(node)
        rows.append(
            (
                node.name + (", disperser" if node is devnet.disperser else ""),
                f"{first.peak_bytes / MIB:.0f}",
                ", ".join(f"{worker.peak_bytes / MIB:.0f}" for worker in workers) or "-",
            )
        )
    return Table(
        "Peak resident memory of each process, MiB",
        ("node", "node process", "engine workers"),
        rows,
        "VmHWM after all of the posts above, 16 MiB ones included.",
    )


def _lag(runs: list[Run]) -> Table:
    name = "cellar_event_loop_lag_seconds"
    rows = []
    for each in runs:
        p99_s = [counted.quantile_s(name, 0.99) for counted in each.counted]
        worst_s = [counted.quantile_s(name, 1.0) for counted in each.counted]
        rows.append(
            (
                _size(each.size),
                f"{p99_s[0] * 1000:.0f}",
                f"{max(p99_s[1:]) * 1000:.0f}",
                f"{max(worst_s) * 1000:.0f}",
            )
        )
    return Table(
        "Event loop lag meanwhile, ms",
        ("payload", "disperser p99 <=", "worst member p99 <=", "any node, longest <="),
        rows,
        "How late a timer fires on a node's event loop, measured four times a second; ends of histogram"
        " buckets.",
    )
