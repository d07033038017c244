"""Data-availability sampling: how many cells, which ones, and what the answers mean.

Pure: no I/O, no clock, and the source of chance is an argument.
"""

from sampling.asking import Answer, Attempts, Request, SampleState, Verdict
from sampling.coverage import clients_needed, rebuild_failure_bound
from sampling.errors import (
    InvalidConfidence,
    InvalidEvent,
    InvalidHolders,
    InvalidRows,
    InvalidSampleCount,
    SamplingError,
)
from sampling.folds import FoldSampler
from sampling.sampler import Sampler
from sampling.selection import Coordinates, extend_cells, select_cells
from sampling.soundness import (
    confidence_of,
    failure_probability,
    fold_failure_probability,
    folds_needed,
    miss_probability,
    parse_confidence,
    samples_needed,
    total_cells,
    unrecoverable_threshold,
)

__all__ = [
    "Answer",
    "Attempts",
    "Coordinates",
    "FoldSampler",
    "InvalidConfidence",
    "InvalidEvent",
    "InvalidHolders",
    "InvalidRows",
    "InvalidSampleCount",
    "Request",
    "SampleState",
    "Sampler",
    "SamplingError",
    "Verdict",
    "clients_needed",
    "confidence_of",
    "extend_cells",
    "failure_probability",
    "fold_failure_probability",
    "folds_needed",
    "miss_probability",
    "parse_confidence",
    "rebuild_failure_bound",
    "samples_needed",
    "select_cells",
    "total_cells",
    "unrecoverable_threshold",
]
