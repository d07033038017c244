"""Where a node's batches live: the port and its errors.

Who opens a store imports it from `da.store.embedded`: the port alone loads no database.
"""

from da.store.base import BatchRecord, BatchStore, PayloadLocation, ScrubFinding, StoreHealth
from da.store.errors import (
    CorruptBatch,
    CorruptIndex,
    CorruptRecord,
    Equivocation,
    ExpiredBatch,
    InvalidBatch,
    OutOfRange,
    PrunedHeight,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    UnknownBatch,
)

__all__ = [
    "BatchRecord",
    "BatchStore",
    "CorruptBatch",
    "CorruptIndex",
    "CorruptRecord",
    "Equivocation",
    "ExpiredBatch",
    "InvalidBatch",
    "OutOfRange",
    "PayloadLocation",
    "PrunedHeight",
    "ScrubFinding",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreHealth",
    "StoreLocked",
    "StoreReadOnly",
    "UnknownBatch",
]
