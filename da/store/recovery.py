"""Opening a store: makes index and files agree, after whatever happened.

Flow:
- open the index; one that cannot be trusted goes to quarantine and is made anew;
- finish expiries that were cut off: a bucket with a tombstone file is dropped, its rows are marked;
- raise the pruned heights to what the file says;
- for each bucket: a file with no row gets one; a row with no file is marked missing; certificates likewise.

Invariants: everything that was changed or is wrong is a finding, nothing passes in silence. A row whose file
is gone is not deleted but marked "missing": it is no longer served, yet its height stays taken, so that a
lost file never leads to a second signature at one height. Files are never deleted, except those of a
tombstoned bucket.

Does not: check records (see da.store.scrub).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.store import sqlite
from da.store.base import FindingKind, ScrubFinding
from da.store.batch_file import Head
from da.store.batch_object import decode_contents, read_head
from da.store.catalogue import Catalogue, CatalogueRow
from da.store.errors import CorruptBatch
from da.store.inventory import BucketListing, list_bucket, live_buckets, strays, tombstoned_buckets
from da.store.keys import PRUNED, batch_key, bucket_path, certificate_key, tombstones_key
from da.store.objects.port import Key, ObjectMissing, Objects, read_all
from da.store.tombstones import Tombstone, decode_pruned, decode_tombstones


def reconcile(objects: Objects, catalogue: Catalogue, rebuilding: bool = False) -> list[ScrubFinding]:
    """Makes the index agree with the files; what differed. `rebuilding`: a file with no row is no finding."""
    findings = [ScrubFinding("stray", path, "not the store's own") for path in strays(objects)]
    for bucket in tombstoned_buckets(objects):
        findings += _finish_expiry(objects, catalogue, bucket.name)
    findings += _load_pruned(objects, catalogue)
    names = sorted({bucket.name for bucket in live_buckets(objects)} | set(catalogue.buckets()))
    for name in names:
        for finding in _reconcile_bucket(objects, catalogue, name):
            if not (rebuilding and finding.kind == "unindexed"):
                findings.append(finding)
    return findings


def keep_missing(old: Catalogue, fresh: Catalogue) -> None:
    """Takes over the rows of lost files, as far as the old index can be read: their heights stay taken."""
    try:
        missing = old.missing()
    except sqlite.FAILURES as error:
        if not sqlite.is_damage(error):
            raise
        return
    with fresh.transaction():
        for row, entries in missing:
            if fresh.at_height(row.disperser_id, row.height) is None:
                fresh.put(row, entries)


def _finish_expiry(objects: Objects, catalogue: Catalogue, bucket: str) -> Iterator[ScrubFinding]:
    key = tombstones_key(bucket)
    tombstones, problems = decode_tombstones(read_all(objects, key))
    with catalogue.transaction():
        for tombstone in tombstones:
            row = _tombstone_row(tombstone, bucket)
            if row is None:
                problems.append("a tombstone holds no header")
            elif (known := catalogue.get(row[0].header_hash)) is None or known.state != "expired":
                holder = catalogue.at_height(row[0].disperser_id, row[0].height)
                if holder is None or holder.header_hash == row[0].header_hash:
                    catalogue.put(*row)
    for problem in problems:
        yield ScrubFinding("tombstone", str(key), problem)
    if not problems:  # else the batches stay, and the next expiry writes the tombstones again
        objects.drop(bucket_path(bucket))
        objects.reclaim()


def _tombstone_row(tombstone: Tombstone, bucket: str) -> tuple[CatalogueRow, list[PayloadEntry]] | None:
    try:
        header = Header.decode(tombstone.header)
        entries = list(PayloadList.decode(tombstone.payload_list).entries)
    except ProtocolError:
        return None
    row = CatalogueRow(
        header_hash=header.hash,
        disperser_id=header.disperser_id,
        height=header.height,
        bucket=bucket,
        received_ms=tombstone.received_ms,
        state="expired",
        certified=tombstone.certificate is not None,
        header=tombstone.header,
        certificate=tombstone.certificate,
    )
    return row, entries


def _load_pruned(objects: Objects, catalogue: Catalogue) -> Iterator[ScrubFinding]:
    try:
        heights = decode_pruned(read_all(objects, PRUNED))
    except ObjectMissing:
        return
    except CorruptBatch as error:
        yield ScrubFinding("tombstone", str(PRUNED), str(error))
        return
    with catalogue.transaction():
        for disperser_id, height in heights.items():
            if height > catalogue.pruned_height(disperser_id):
                catalogue.set_pruned(disperser_id, height)


def _reconcile_bucket(objects: Objects, catalogue: Catalogue, bucket: str) -> Iterator[ScrubFinding]:
    listing = list_bucket(objects, bucket)
    for path in listing.strays:
        yield ScrubFinding("stray", path, "not the store's own")
    rows = {row.header_hash: row for row in catalogue.in_bucket(bucket)}
    with catalogue.transaction():
        for row in rows.values():
            if row.state != "expired":
                yield from _match_row(catalogue, row, listing)
        for header_hash in sorted(listing.batches - rows.keys()):
            certified = header_hash in listing.certificates
            yield from _index_batch(objects, catalogue, bucket, header_hash, certified)
    for header_hash in sorted(listing.certificates - listing.batches - rows.keys()):
        path = str(certificate_key(bucket, header_hash))
        yield ScrubFinding("stray", path, "a certificate of no batch", header_hash)


def _match_row(catalogue: Catalogue, row: CatalogueRow, listing: BucketListing) -> Iterator[ScrubFinding]:
    path = str(batch_key(row.bucket, row.header_hash))
    certified = row.header_hash in listing.certificates
    state = row.state
    if row.header_hash not in listing.batches:
        if state == "live":
            yield ScrubFinding(
                "missing", path, "the file is gone; not served until it is put again", row.header_hash
            )
        state = "missing"
    elif state == "missing":
        yield ScrubFinding("unindexed", path, "a missing file is back", row.header_hash)
        state = "live"
    if certified != row.certified:
        detail = "the index did not know it" if certified else "the file is gone; put it again"
        kind: FindingKind = "unindexed" if certified else "certificate"
        where = str(certificate_key(row.bucket, row.header_hash))
        yield ScrubFinding(kind, where, detail, row.header_hash)
    if (state, certified) != (row.state, row.certified):
        catalogue.put(replace(row, state=state, certified=certified))


def _index_batch(
    objects: Objects, catalogue: Catalogue, bucket: str, header_hash: bytes, certified: bool
) -> Iterator[ScrubFinding]:
    key = batch_key(bucket, header_hash)
    path = str(key)
    try:
        header, head, payload_list = _read_batch(objects, key, header_hash)
    except CorruptBatch as error:
        objects.quarantine(key)
        yield ScrubFinding("head", path, f"moved to quarantine: {error}", header_hash)
        return
    elsewhere = catalogue.get(header_hash)
    if elsewhere is not None and objects.exists(batch_key(elsewhere.bucket, header_hash)):
        yield ScrubFinding("stray", path, "the batch lies in another bucket too", header_hash)
        return
    row = CatalogueRow(
        header_hash=header_hash,
        disperser_id=header.disperser_id,
        height=header.height,
        bucket=bucket,
        received_ms=head.received_ms,
        state="live",
        certified=certified,
        header=head.parts.header,
    )
    try:
        catalogue.put(row, payload_list.entries)
    except sqlite3.IntegrityError:
        objects.quarantine(key)
        detail = f"another header stands at height {header.height}; moved to quarantine"
        yield ScrubFinding("equivocation", path, detail, header_hash)
        return
    yield ScrubFinding("unindexed", path, "the index did not know it", header_hash)


def _read_batch(objects: Objects, key: Key, header_hash: bytes) -> tuple[Header, Head, PayloadList]:
    with closing(objects.open(key)) as reader:
        head = read_head(reader)
    header, payload_list = decode_contents(head, header_hash)
    return header, head, payload_list
