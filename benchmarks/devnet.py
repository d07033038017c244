"""Payload to certificate on a devnet of six real processes, before and after, and where the time goes.

Payloads of four sizes are posted one after the other with `wait=certified`: to a devnet whose engines are
forced to `ckzg`, originally the only engine, and to one that chooses its engine itself. Then several are
posted at once. The nodes' /metrics give the duration of the steps; memory is each process's high-water mark
after everything.

Peer: the minimum work, cells and proofs of the same rows by plain c-kzg on all cores.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import plain
from benchmarks.measure import Table, machine, quantile
from benchmarks.observe import Metrics, process_memory
from da.client import CellarClient
from da.devnet import Devnet
from da.settings import ENV_NESTING, ENV_PREFIX
from erasure.packing import rows_for

KIB, MIB = 2**10, 2**20
NODES = 6
Sizes = tuple[tuple[int, int], ...]  # bytes of a payload, posts
SIZES: Sizes = ((KIB, 20), (128 * KIB, 20), (MIB, 10), (16 * MIB, 3))
SIZES_BEFORE: Sizes = ((KIB, 10), (128 * KIB, 5), (MIB, 3), (16 * MIB, 1))
POSTERS = 4
TOGETHER = (MIB, 16)  # bytes of a payload, posts, by all posters together
BATCH_INTERVAL_MS = 200
POST_TIMEOUT_S = 300.0

# What the nodes' /metrics call a step, in order. No other step takes long.
STEPS = ("commit", "accept", "gather", "load", "encode", "propose", "certify")
MEMBER_STEPS = ("verify", "keep")


@dataclass(frozen=True)
class Run:
    """Posts of one size: seconds of each, and what all nodes counted meanwhile, the disperser first."""

    size: int
    latencies_s: tuple[float, ...]
    counted: tuple[Metrics, ...]

    @property
    def median_s(self) -> float:
        return quantile(self.latencies_s, 0.5)

    @property
    def mib_per_s(self) -> float:
        return self.size / MIB / self.median_s


def run(before: Sizes = SIZES_BEFORE, after: Sizes = SIZES) -> list[Table]:
    """Latency with both engines, steps, memory and responsiveness. Sizes of `before` are sizes of `after`."""
    rng, described, load = random.Random(2024), machine(), os.getloadavg()[0]
    with _devnet("ckzg") as devnet:
        runs_before = [_in_sequence(devnet, size, count, rng) for size, count in before]
    with _devnet("auto") as devnet:
        runs = [_in_sequence(devnet, size, count, rng) for size, count in after]
        together_s = _together(devnet, rng)
        memory = _memory(devnet)
        with CellarClient(devnet.disperser.url) as client:
            engine = str(client.node()["engine"]["engine"])
    peers_s = plain.prove_s([rng.randbytes(size) for size, _ in after])
    note = f"{described}. Load average before the run: {load:.2f}, after it: {os.getloadavg()[0]:.2f}."
    return [
        _before_and_after(runs_before, runs, engine, note),
        _beside_peer(runs, peers_s, together_s, engine),
        _steps("Steps of a payload, after, ms", runs),
        _steps("Steps of a payload, before, ms", runs_before),
        memory,
        _lag(runs),
    ]


@contextmanager
def _devnet(engine: str) -> Iterator[Devnet]:
    """A devnet that is ready and warm, all of its nodes with this engine."""
    name = f"{ENV_PREFIX}ENGINE{ENV_NESTING}NAME"
    kept = os.environ.get(name)
    os.environ[name] = engine  # the nodes inherit it
    try:
        with Devnet(NODES, batch_interval_ms=BATCH_INTERVAL_MS) as devnet:
            devnet.start()
            devnet.wait_ready()
            _post(devnet, [engine.encode()])
            yield devnet
    finally:
        del os.environ[name]
        if kept is not None:
            os.environ[name] = kept


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


def _before_and_after(before: list[Run], after: list[Run], engine: str, note: str) -> Table:
    then = {each.size: each for each in before}
    rows = []
    for now in after:
        was = then[now.size]
        rows.append(
            (
                _size(now.size),
                f"{len(was.latencies_s)}, {len(now.latencies_s)}",
                f"{was.median_s:.3g}",
                f"{quantile(was.latencies_s, 0.95):.3g}",
                f"{was.mib_per_s:.3g}",
                f"{now.median_s:.3g}",
                f"{quantile(now.latencies_s, 0.95):.3g}",
                f"{now.mib_per_s:.3g}",
                f"{was.median_s / now.median_s:.1f}x",
            )
        )
    return Table(
        "Payload to certificate, before and after",
        (
            "payload",
            "posts",
            "ckzg p50 s",
            "ckzg p95 s",
            "ckzg MiB/s",
            f"{engine} p50 s",
            f"{engine} p95 s",
            f"{engine} MiB/s",
            "faster",
        ),
        rows,
        note,
    )


def _beside_peer(runs: list[Run], peers_s: list[float], together_s: float, engine: str) -> Table:
    rows = [
        (
            _size(each.size),
            str(rows_for(each.size)),
            str(len(each.latencies_s)),
            f"{each.median_s:.3g}",
            f"{min(each.latencies_s):.3g}-{max(each.latencies_s):.3g}",
            f"{peer_s:.3g}",
            f"{each.median_s / peer_s:.2f}",
        )
        for each, peer_s in zip(runs, peers_s, strict=True)
    ]
    size, count = TOGETHER
    return Table(
        "Payload to certificate, beside bare c-kzg",
        ("payload", "rows", "posts", "p50 s", "range s", "c-kzg alone s", "ratio"),
        rows,
        f"Engine `{engine}`. {POSTERS} posters together, {count} payloads of {_size(size)}:"
        f" {count * size / MIB / together_s:.3g} MiB/s.",
    )


def _steps(title: str, runs: list[Run]) -> Table:
    rows = []
    for each in runs:
        disperser, members = each.counted[0], each.counted[1:]
        mean_s = sum(each.latencies_s) / len(each.latencies_s)
        steps_s = [disperser.mean_s(f"cellar_{step}_seconds") for step in STEPS]
        pushes_s = [
            disperser.mean_s("cellar_push_seconds", member=name)
            for name in disperser.by_label("cellar_push_seconds_count", "member")
        ]
        within_s = [
            sum(member.mean_s(f"cellar_{step}_seconds") for member in members) / len(members)
            for step in MEMBER_STEPS
        ]
        http_s = mean_s - sum(steps_s)
        figures_s = [mean_s, *steps_s, http_s, sum(pushes_s) / len(pushes_s), *within_s]
        rows.append((_size(each.size), *(f"{figure_s * 1000:.0f}" for figure_s in figures_s)))
    return Table(
        title,
        ("payload", "mean", *STEPS, "http", "push", *MEMBER_STEPS),
        rows,
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
    )
