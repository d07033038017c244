"""Scrubbing: reads every byte of a batch from the disk and says what is wrong.

The idea: a checksum that nobody reads protects nothing. The caller chooses the pace by scrubbing batch by
batch; a bad record is then repaired with add_columns, a bad head by putting the batch again.

Invariants: changes nothing; drops the file's pages from the page cache first, since what is in memory says
nothing about what is on the disk; a batch that expires meanwhile yields nothing.

Does not: repair (see da.member.repair).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing

from da.store import sqlite
from da.store.base import ScrubFinding
from da.store.batch_file import corrupt_rows
from da.store.batch_object import decode_contents, read_head
from da.store.catalogue import Catalogue, CatalogueRow
from da.store.catalogue_file import INDEX_NAME
from da.store.errors import CorruptBatch
from da.store.inventory import list_bucket, live_buckets, read_certificate, strays, tombstoned_buckets
from da.store.keys import PRUNED, batch_key, certificate_key, tombstones_key
from da.store.objects.port import ObjectMissing, ObjectReader, Objects, read_all
from da.store.tombstones import decode_pruned, decode_tombstones


def scrub_batch(objects: Objects, catalogue: Catalogue, row: CatalogueRow) -> Iterator[ScrubFinding]:
    """What is wrong with a live batch's file and certificate."""
    findings = [*_scrub_batch(objects, row), *_scrub_certificate(objects, row)]
    now = catalogue.get(row.header_hash) if findings else row
    if now is not None and now.state == "live":
        yield from findings


def scrub_store(
    objects: Objects, catalogue: Catalogue, write_lock: AbstractContextManager[object]
) -> Iterator[ScrubFinding]:
    """What is wrong with the index, the tombstones, and names on disk; then with every batch."""
    try:
        catalogue.verify()
    except sqlite.FAILURES as error:
        detail = f"rebuild it, then scrub again: {error}"
        yield ScrubFinding("index", INDEX_NAME, detail)
        return
    for path in strays(objects):
        yield ScrubFinding("stray", path, "not the store's own")
    for bucket in tombstoned_buckets(objects):
        key = tombstones_key(bucket.name)
        try:
            problems = decode_tombstones(read_all(objects, key))[1]
        except ObjectMissing:
            continue  # pruned since it was listed
        for problem in problems:
            yield ScrubFinding("tombstone", str(key), problem)
    try:
        decode_pruned(read_all(objects, PRUNED))
    except ObjectMissing:
        pass  # nothing was pruned yet
    except CorruptBatch as error:
        yield ScrubFinding("tombstone", str(PRUNED), str(error))
    for bucket in live_buckets(objects):
        yield from _scrub_names(objects, catalogue, bucket.name, write_lock)
    for row in catalogue.rows():
        if row.state == "live":
            yield from scrub_batch(objects, catalogue, row)


def _scrub_names(
    objects: Objects, catalogue: Catalogue, bucket: str, write_lock: AbstractContextManager[object]
) -> Iterator[ScrubFinding]:
    listing = list_bucket(objects, bucket)
    for path in listing.strays:
        yield ScrubFinding("stray", path, "not the store's own")
    known = {row.header_hash for row in catalogue.in_bucket(bucket)}
    for header_hash in sorted(listing.batches - known):
        key = batch_key(bucket, header_hash)
        with write_lock:  # a batch being put has its object a moment before its row
            forgotten = catalogue.get(header_hash) is None and objects.exists(key)
        if forgotten:
            detail = "the index does not know it: reopen or rebuild"
            yield ScrubFinding("unindexed", str(key), detail, header_hash)


def _scrub_batch(objects: Objects, row: CatalogueRow) -> Iterator[ScrubFinding]:
    key = batch_key(row.bucket, row.header_hash)
    try:
        with closing(objects.open(key, uncached=True)) as reader:
            yield from _scrub_reader(reader, str(key), row)
    except ObjectMissing:
        yield ScrubFinding("missing", str(key), "it is gone; put the batch again", row.header_hash)


def _scrub_reader(reader: ObjectReader, path: str, row: CatalogueRow) -> Iterator[ScrubFinding]:
    try:
        head = read_head(reader)
        decode_contents(head, row.header_hash)
    except CorruptBatch as error:
        yield ScrubFinding("head", path, str(error), row.header_hash)
        return
    layout = head.layout
    size = reader.size()
    if size != layout.file_bytes:
        yield ScrubFinding("head", path, f"{size} bytes, not {layout.file_bytes}", row.header_hash)
    for column in layout.columns:
        stored = reader.read(layout.column_bytes, layout.column_offset(column))
        for bad in corrupt_rows(layout.seed, column, layout.row_count, stored):
            detail = f"record ({bad}, {column}) fails its checksum"
            yield ScrubFinding("record", path, detail, row.header_hash, bad, column)


def _scrub_certificate(objects: Objects, row: CatalogueRow) -> Iterator[ScrubFinding]:
    if not row.certified:
        return
    try:
        read_certificate(objects, row.bucket, row.header_hash)
    except CorruptBatch as error:
        path = str(certificate_key(row.bucket, row.header_hash))
        yield ScrubFinding("certificate", path, str(error), row.header_hash)
