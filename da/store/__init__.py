"""Where a node's batches live: the port, its errors, and the embedded store."""

from da.store.base import (
    BatchRecord,
    BatchStore,
    PayloadLocation,
    ScrubFinding,
    StoreHealth,
)
from da.store.embedded import EmbeddedStore
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
    "EmbeddedStore",
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
