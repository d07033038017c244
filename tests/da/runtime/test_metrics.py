"""Labels have closed sets of values: the metrics page does not grow with what others send."""

from __future__ import annotations

import random
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from da import errors, tokens
from da.api import errors as api_errors
from da.api.app import STATUS
from da.api.instrumentation import HttpMetrics
from da.runtime.labels import OTHER, Labelled
from da.runtime.metrics import API_ERRORS, ERROR_NAMES, LOOPS, NodeMetrics, delivery_loop

MEMBERS = ["node-0", "node-1"]


def both() -> list[Any]:
    node = NodeMetrics(MEMBERS)
    return [node, HttpMetrics(node.registry, ["/v1/node"])]


def labelled(owner: Any) -> dict[str, Labelled[Any]]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, Labelled)}


def test_every_metric_with_labels_declares_their_values() -> None:
    for owner in both():
        for name, metric in vars(owner).items():
            if isinstance(metric, MetricWrapperBase):
                assert not metric._labelnames, f"{name}: wrap it in Labelled"
        assert labelled(owner)


def test_hostile_words_add_a_bounded_number_of_series() -> None:
    rng = random.Random(1)
    owners = both()
    node = owners[0]
    before = len(node.exposition())
    for owner in owners:
        for metric in labelled(owner).values():
            for _ in range(200):
                word = rng.randbytes(1000).hex()
                metric.labels(*[word] * len(metric._values))
            wrapped = metric._metric
            assert list(wrapped._metrics) == [(OTHER,) * len(metric._values)]
    assert len(node.exposition()) < before + 10_000


def test_words_of_the_sets_are_kept() -> None:
    metrics = NodeMetrics(MEMBERS)
    metrics.push_failures.labels("node-1", "HeightGap").inc()
    metrics.push_failures.labels("node-1", "x" * 40_000).inc()
    metrics.loop_failures.labels(delivery_loop("node-1")).inc()

    def count(name: str, **values: str) -> float | None:
        return metrics.registry.get_sample_value(name, values)

    assert count("cellar_push_failures_total", member="node-1", reason="HeightGap") == 1
    assert count("cellar_push_failures_total", member="node-1", reason=OTHER) == 1
    assert count("cellar_loop_failures_total", loop="delivery to node-1") == 1


def test_a_wrong_number_of_labels_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="argument"):
        NodeMetrics(MEMBERS).push_failures.labels("node-1")


def test_every_error_that_a_peer_can_name_has_its_word() -> None:
    of_posting = {error.__name__ for error in STATUS if error.__module__ == tokens.__name__}
    assert {error.__name__ for error in STATUS} - of_posting <= ERROR_NAMES, "no peer posts payloads"
    defined = {name for name, value in vars(api_errors).items() if isinstance(value, type)}
    assert API_ERRORS - defined == {"HeadTooLarge", "InternalError"}, "given without a class"
    assert {"PeerUnreachable", "PeerMisbehaved", "PeerRejected"} <= ERROR_NAMES
    assert OTHER not in ERROR_NAMES | LOOPS | set(vars(errors))
