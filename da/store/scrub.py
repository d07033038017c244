"""Scrubbing: reads every byte of a batch from the disk and says what is wrong.

The idea: a checksum that nobody reads protects nothing. The caller chooses the pace by scrubbing batch by
batch; a bad record is then repaired with add_columns, a bad head by putting the batch again.

Invariants: changes nothing; drops the file's pages from the page cache first, since what is in memory says
nothing about what is on the disk; a batch that expires meanwhile yields nothing.

Does not: repair (see da.member.repair).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

from da.store import sqlite
from da.store.base import ScrubFinding
from da.store.batch_file import corrupt_rows
from da.store.errors import CorruptBatch
from da.store.files import StoreFiles, decode_contents, read_head
from da.store.index import Index, IndexRow
from da.store.tombstones import decode_pruned, decode_tombstones


def scrub_batch(files: StoreFiles, index: Index, row: IndexRow) -> Iterator[ScrubFinding]:
    """What is wrong with a live batch's file and certificate."""
    findings = [*_scrub_file(files, row), *_scrub_certificate(files, row)]
    now = index.get(row.header_hash) if findings else row
    if now is not None and now.state == "live":
        yield from findings


def scrub_store(
    files: StoreFiles, index: Index, write_lock: AbstractContextManager[object]
) -> Iterator[ScrubFinding]:
    """What is wrong with the index, the tombstones, and names on disk; then with every batch."""
    try:
        index.verify()
    except sqlite.FAILURES as error:
        detail = f"rebuild it, then scrub again: {error}"
        yield ScrubFinding("index", files.relative(files.index), detail)
        return
    for path in files.strays():
        yield ScrubFinding("stray", files.relative(path), "not the store's own")
    for bucket in files.tombstoned():
        path = files.tombstones_path(bucket.name)
        for problem in decode_tombstones(path.read_bytes())[1]:
            yield ScrubFinding("tombstone", files.relative(path), problem)
    if files.pruned.exists():
        try:
            decode_pruned(files.pruned.read_bytes())
        except CorruptBatch as error:
            yield ScrubFinding("tombstone", files.relative(files.pruned), str(error))
    for bucket in files.buckets():
        yield from _scrub_names(files, index, bucket.name, write_lock)
    for row in index.rows():
        if row.state == "live":
            yield from scrub_batch(files, index, row)


def _scrub_names(
    files: StoreFiles, index: Index, bucket: str, write_lock: AbstractContextManager[object]
) -> Iterator[ScrubFinding]:
    listing = files.list_bucket(bucket)
    for name in listing.strays:
        yield ScrubFinding("stray", f"buckets/{bucket}/{name}", "not the store's own")
    known = {row.header_hash for row in index.in_bucket(bucket)}
    for header_hash in sorted(listing.batches - known):
        path = files.batch_path(bucket, header_hash)
        with write_lock:  # a batch being put has its file a moment before its row
            forgotten = index.get(header_hash) is None and path.exists()
        if forgotten:
            detail = "the index does not know it: reopen or rebuild"
            yield ScrubFinding("unindexed", files.relative(path), detail, header_hash)


def _scrub_file(files: StoreFiles, row: IndexRow) -> Iterator[ScrubFinding]:
    path = files.batch_path(row.bucket, row.header_hash)
    name = files.relative(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield ScrubFinding("missing", name, "the file is gone; put the batch again", row.header_hash)
        return
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            head = read_head(fd)
            decode_contents(head, row.header_hash)
        except CorruptBatch as error:
            yield ScrubFinding("head", name, str(error), row.header_hash)
            return
        layout = head.layout
        size = os.fstat(fd).st_size
        if size != layout.file_bytes:
            yield ScrubFinding("head", name, f"{size} bytes, not {layout.file_bytes}", row.header_hash)
        for column in layout.columns:
            stored = os.pread(fd, layout.column_bytes, layout.column_offset(column))
            for bad in corrupt_rows(layout.seed, column, layout.row_count, stored):
                detail = f"record ({bad}, {column}) fails its checksum"
                yield ScrubFinding("record", name, detail, row.header_hash, bad, column)
    finally:
        os.close(fd)


def _scrub_certificate(files: StoreFiles, row: IndexRow) -> Iterator[ScrubFinding]:
    if not row.certified:
        return
    try:
        files.read_certificate(row.bucket, row.header_hash)
    except CorruptBatch as error:
        path = files.relative(files.certificate_path(row.bucket, row.header_hash))
        yield ScrubFinding("certificate", path, str(error), row.header_hash)
