"""Data-availability sampling: how many cells, which ones, and what the answers mean.

Pure: no I/O, no clock, and the source of chance is an argument.
"""

from sampling.coverage import clients_needed, rebuild_failure_bound
from sampling.errors import (
    InvalidConfidence,
    InvalidEvent,
    InvalidHolders,
    InvalidRows,
    InvalidSampleCount,
    SamplingError,
)
from sampling.sampler import Answer, Attempts, CellState, Request, Sampler, Verdict
from sampling.selection import Coordinates, extend_cells, select_cells
from sampling.soundness import (
    confidence_of,
    failure_probability,
    miss_probability,
    parse_confidence,
    samples_needed,
    total_cells,
    unrecoverable_threshold,
)

__all__ = [
    "Answer",
    "Attempts",
    "CellState",
    "Coordinates",
    "InvalidConfidence",
    "InvalidEvent",
    "InvalidHolders",
    "InvalidRows",
    "InvalidSampleCount",
    "Request",
    "Sampler",
    "SamplingError",
    "Verdict",
    "clients_needed",
    "confidence_of",
    "extend_cells",
    "failure_probability",
    "miss_probability",
    "parse_confidence",
    "rebuild_failure_bound",
    "samples_needed",
    "select_cells",
    "total_cells",
    "unrecoverable_threshold",
]
