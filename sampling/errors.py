"""Errors of this package.

SamplingError(ValueError)
├── InvalidRows(rows)                    a batch has 1..MAX_ROWS rows
├── InvalidConfidence(confidence)        a confidence lies strictly between 0 and 1
├── InvalidSampleCount(samples, total)   more cells than the matrix has, or fewer than one
├── InvalidHolders(position)             a cell without a holder
└── InvalidEvent(position, reason)       an event for a request that the sampler never made
"""

from __future__ import annotations


class SamplingError(ValueError):
    """Base of every error that this package raises for a caller's argument."""


class InvalidRows(SamplingError):
    """The number of data rows is outside 1..MAX_ROWS."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"a batch cannot have {rows} rows")
        self.rows = rows


class InvalidConfidence(SamplingError):
    """A confidence that is not strictly between 0 and 1."""

    def __init__(self, confidence: object) -> None:
        super().__init__(f"confidence {confidence} is not strictly between 0 and 1")
        self.confidence = confidence


class InvalidSampleCount(SamplingError):
    """A number of samples that cannot be drawn from the matrix without replacement."""

    def __init__(self, samples: int, total: int) -> None:
        super().__init__(f"cannot draw {samples} distinct cells of {total}")
        self.samples = samples
        self.total = total


class InvalidHolders(SamplingError):
    """A sampled cell without a holder: a committee assigns every column to a member."""

    def __init__(self, position: int) -> None:
        super().__init__(f"sampled cell {position} has no holder")
        self.position = position


class InvalidEvent(SamplingError):
    """An event that does not answer a request which the sampler has in flight."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"sampled cell {position}: {reason}")
        self.position = position
        self.reason = reason
