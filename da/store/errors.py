"""Errors of the store: what a read can find, what a write can meet, who may open it.

    StoreError
    +-- InvalidBatch(reason)                    shapes or order of what was given to a write
    +-- OutOfRange(row, column, row_count)      no such record in a batch of that size
    +-- UnknownBatch(header_hash)               never stored here, for certain
    +-- ExpiredBatch(record)                    stored once, its time is over; `record` has no cells
    +-- Equivocation(existing_hash)             another header already stands at that height
    +-- PrunedHeight(height, pruned_height)     that height is so old that its memory is gone: never again
    +-- CorruptRecord(row, column)              one record fails its checksum; the others are served
    +-- CorruptBatch(header_hash, part, reason) the head of a batch file cannot be trusted
    +-- CorruptIndex(reason)                    an index row fails its checksum: rebuild_index()
    +-- StoreReadOnly(reason)                   writes are refused until the store is reopened
    |   +-- StoreFull(reason)                   no room; writes resume by themselves when there is
    +-- StoreLocked(path, pid)                  another process owns the directory
    +-- StoreClosed                             used after close()

Invariant: an error on a write means that nothing of that write is visible, now or after a restart, or (for an
I/O error on the way to the commit point) that it is visible whole.
"""

from __future__ import annotations

from pathlib import Path

from da.store.base import BatchRecord


class StoreError(Exception):
    """Root of the store's errors."""


class InvalidBatch(StoreError):
    """What was given to a write has the wrong shape, type or order."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutOfRange(StoreError):
    """Outside the batch: rows are 0..row_count-1 (parity rows are not stored), columns 0..127."""

    def __init__(self, row: int, column: int, row_count: int) -> None:
        super().__init__(f"no record ({row}, {column}) in a batch of {row_count} rows")
        self.row = row
        self.column = column
        self.row_count = row_count


class UnknownBatch(StoreError):
    """No batch of that header hash is stored here."""

    def __init__(self, header_hash: bytes) -> None:
        super().__init__(f"unknown batch 0x{header_hash.hex()}")
        self.header_hash = header_hash


class ExpiredBatch(StoreError):
    """The batch was stored and its time is over; `record.state` is "expired" and it has no cells."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__(f"expired batch 0x{record.header.hash.hex()}")
        self.record = record


class Equivocation(StoreError):
    """Another header of the same disperser stands at that height; its hash is `existing_hash`."""

    def __init__(self, existing_hash: bytes) -> None:
        super().__init__(f"another header stands at that height: 0x{existing_hash.hex()}")
        self.existing_hash = existing_hash


class PrunedHeight(StoreError):
    """The height lies at or below `pruned_height`, where it is no longer known which header stood."""

    def __init__(self, height: int, pruned_height: int) -> None:
        super().__init__(f"height {height} is at or below the pruned height {pruned_height}")
        self.height = height
        self.pruned_height = pruned_height


class CorruptRecord(StoreError):
    """The record (cell and proof) at (row, column) fails its checksum."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(f"corrupt record ({row}, {column})")
        self.row = row
        self.column = column


class CorruptBatch(StoreError):
    """A part of a batch file other than a record fails its checksum or makes no sense.

    `header_hash` is None where the bytes alone were looked at.
    """

    def __init__(self, part: str, reason: str, header_hash: bytes | None = None) -> None:
        name = "" if header_hash is None else f" of batch 0x{header_hash.hex()}"
        super().__init__(f"corrupt {part}{name}: {reason}")
        self.part = part
        self.reason = reason
        self.header_hash = header_hash


class CorruptIndex(StoreError):
    """The index cannot be trusted; rebuild_index() makes it anew from the files."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"corrupt index: {reason}")
        self.reason = reason


class StoreReadOnly(StoreError):
    """Writes are refused; reads go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StoreFull(StoreReadOnly):
    """There is no room. Writes resume by themselves when there is."""


class StoreLocked(StoreError):
    """Another owner has the directory open; `pid` is None when it could not be read."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is in use by process {'?' if pid is None else pid}")
        self.path = path
        self.pid = pid


class StoreClosed(StoreError):
    """The store was used after close()."""

    def __init__(self) -> None:
        super().__init__("the store is closed")
