"""Devnets of real processes for the conformance tests, and a watch on whether they answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx
import pytest

from da.devnet import Devnet, NodeProcess

NODES = 6


class HealthWatch:
    """Asks all nodes for /healthz over and over, and keeps the longest answer of each and its failures."""

    def __init__(self, nodes: list[NodeProcess], timeout_s: float) -> None:
        self._nodes = nodes
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(node,), daemon=True) for node in nodes]
        self.longest_s = {node.name: 0.0 for node in nodes}
        self.answers = {node.name: 0 for node in nodes}
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * self._timeout_s)

    def _watch(self, node: NodeProcess) -> None:
        with httpx.Client(timeout=self._timeout_s, trust_env=False) as http:
            while True:
                started = time.monotonic()
                try:
                    http.get(f"{node.url}/healthz").raise_for_status()
                    self.answers[node.name] += 1
                except httpx.HTTPError as error:
                    self.failures.append(f"{node.name}: {error!r}")
                self.longest_s[node.name] = max(self.longest_s[node.name], time.monotonic() - started)
                if self._stop.wait(0.1):
                    return


@pytest.fixture
def devnet(tmp_path) -> Iterator[Devnet]:
    """Six nodes, ready; their files stay in tmp_path for a look after a failure."""
    with Devnet(NODES, directory=tmp_path / "devnet") as net:
        net.start()
        net.wait_ready()
        yield net
