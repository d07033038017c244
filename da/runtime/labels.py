"""Labels of metrics whose values come from closed sets, so that nobody can make the metrics page grow.

Each label of a metric is declared with all values that it can have; any other value is counted as OTHER. So
the number of series is bounded by the product of the sets' sizes, whatever peers and clients send.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)

OTHER = "other"


class Labelled(Generic[M]):
    """A metric with labels; `values` are for each of them, in their order, all that it can be."""

    def __init__(self, metric: M, *values: Iterable[str]) -> None:
        self._metric: M = metric
        self._values = tuple(frozenset(allowed) for allowed in values)

    def labels(self, *values: str) -> M:
        """The series of these values, one for each label."""
        known = (
            value if value in allowed else OTHER for value, allowed in zip(values, self._values, strict=True)
        )
        return self._metric.labels(*known)
