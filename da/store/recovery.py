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

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from da.protocol.errors import ProtocolError
from da.protocol.header import Header
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.store import sqlite
from da.store.base import FindingKind, ScrubFinding
from da.store.batch_file import Head
from da.store.errors import CorruptBatch
from da.store.files import BucketListing, StoreFiles, decode_contents, read_head
from da.store.index import Index, IndexRow
from da.store.tombstones import Tombstone, decode_pruned, decode_tombstones


def open_index(files: StoreFiles) -> tuple[Index, list[ScrubFinding]]:
    """A verified index; a new and empty one, and a finding, when the one there cannot be trusted.

    Raises sqlite3.Error for the machine's failures (no room, no access).
    """
    try:
        return _verified(files.index), []
    except sqlite.FAILURES as error:
        if not sqlite.is_damage(error):
            raise
        reason = str(error)
    finding = ScrubFinding("index", files.relative(files.index), f"made anew from the files: {reason}")
    for suffix in sqlite.FILE_SUFFIXES:
        path = files.index.with_name(files.index.name + suffix)
        if path.exists():
            files.quarantine(path)
    return _verified(files.index), [finding]


def swap_index(files: StoreFiles, fresh: Path) -> None:
    """Puts a new, closed index in the place of the old one, durably."""
    for suffix in sqlite.FILE_SUFFIXES[1:]:
        files.fs.unlink(files.index.with_name(files.index.name + suffix))
    files.fs.rename(fresh, files.index)
    files.fs.sync_directory(files.directory)


def reconcile(files: StoreFiles, index: Index, rebuilding: bool = False) -> list[ScrubFinding]:
    """Makes the index agree with the files; what differed. `rebuilding`: a file with no row is no finding."""
    findings = [ScrubFinding("stray", files.relative(path), "not the store's own") for path in files.strays()]
    for bucket in files.tombstoned():
        findings += _finish_expiry(files, index, bucket.name)
    findings += _load_pruned(files, index)
    names = sorted({bucket.name for bucket in files.buckets()} | set(index.buckets()))
    for name in names:
        for finding in _reconcile_bucket(files, index, name):
            if not (rebuilding and finding.kind == "unindexed"):
                findings.append(finding)
    return findings


def keep_missing(old: Index, fresh: Index) -> None:
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


def _verified(path: Path) -> Index:
    index = Index(path)
    try:
        index.verify()
    except BaseException:
        index.close()
        raise
    return index


def _finish_expiry(files: StoreFiles, index: Index, bucket: str) -> Iterator[ScrubFinding]:
    path = files.tombstones_path(bucket)
    tombstones, problems = decode_tombstones(path.read_bytes())
    with index.transaction():
        for tombstone in tombstones:
            row = _tombstone_row(tombstone, bucket)
            if row is None:
                problems.append("a tombstone holds no header")
            elif (known := index.get(row[0].header_hash)) is None or known.state != "expired":
                holder = index.at_height(row[0].disperser_id, row[0].height)
                if holder is None or holder.header_hash == row[0].header_hash:
                    index.put(*row)
    for problem in problems:
        yield ScrubFinding("tombstone", files.relative(path), problem)
    if not problems:  # else the batches stay, and the next expiry writes the tombstones again
        doomed = files.detach_bucket(bucket)
        if doomed is not None:
            files.fs.remove_tree(doomed)


def _tombstone_row(tombstone: Tombstone, bucket: str) -> tuple[IndexRow, list[PayloadEntry]] | None:
    try:
        header = Header.decode(tombstone.header)
        entries = list(PayloadList.decode(tombstone.payload_list).entries)
    except ProtocolError:
        return None
    row = IndexRow(
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


def _load_pruned(files: StoreFiles, index: Index) -> Iterator[ScrubFinding]:
    if not files.pruned.exists():
        return
    try:
        heights = decode_pruned(files.pruned.read_bytes())
    except CorruptBatch as error:
        yield ScrubFinding("tombstone", files.relative(files.pruned), str(error))
        return
    with index.transaction():
        for disperser_id, height in heights.items():
            if height > index.pruned_height(disperser_id):
                index.set_pruned(disperser_id, height)


def _reconcile_bucket(files: StoreFiles, index: Index, bucket: str) -> Iterator[ScrubFinding]:
    listing = files.list_bucket(bucket)
    for name in listing.strays:
        yield ScrubFinding("stray", f"buckets/{bucket}/{name}", "not the store's own")
    rows = {row.header_hash: row for row in index.in_bucket(bucket)}
    with index.transaction():
        for row in rows.values():
            if row.state != "expired":
                yield from _match_row(files, index, row, listing)
        for header_hash in sorted(listing.batches - rows.keys()):
            yield from _index_file(files, index, bucket, header_hash, header_hash in listing.certificates)
    for header_hash in sorted(listing.certificates - listing.batches - rows.keys()):
        path = files.certificate_path(bucket, header_hash)
        yield ScrubFinding("stray", files.relative(path), "a certificate of no batch", header_hash)


def _match_row(
    files: StoreFiles, index: Index, row: IndexRow, listing: BucketListing
) -> Iterator[ScrubFinding]:
    path = files.relative(files.batch_path(row.bucket, row.header_hash))
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
        where = files.relative(files.certificate_path(row.bucket, row.header_hash))
        yield ScrubFinding(kind, where, detail, row.header_hash)
    if (state, certified) != (row.state, row.certified):
        index.put(replace(row, state=state, certified=certified))


def _index_file(
    files: StoreFiles, index: Index, bucket: str, header_hash: bytes, certified: bool
) -> Iterator[ScrubFinding]:
    path = files.batch_path(bucket, header_hash)
    try:
        header, head, payload_list = _read_file(path, header_hash)
    except CorruptBatch as error:
        files.quarantine(path)
        yield ScrubFinding("head", files.relative(path), f"moved to quarantine: {error}", header_hash)
        return
    elsewhere = index.get(header_hash)
    if elsewhere is not None and files.batch_path(elsewhere.bucket, header_hash).exists():
        yield ScrubFinding("stray", files.relative(path), "the batch lies in another bucket too", header_hash)
        return
    row = IndexRow(
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
        index.put(row, payload_list.entries)
    except sqlite3.IntegrityError:
        files.quarantine(path)
        detail = f"another header stands at height {header.height}; moved to quarantine"
        yield ScrubFinding("equivocation", files.relative(path), detail, header_hash)
        return
    yield ScrubFinding("unindexed", files.relative(path), "the index did not know it", header_hash)


def _read_file(path: Path, header_hash: bytes) -> tuple[Header, Head, PayloadList]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = read_head(fd)
    finally:
        os.close(fd)
    header, payload_list = decode_contents(head, header_hash)
    return header, head, payload_list
