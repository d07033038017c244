"""Expiry: drops buckets whose time is over, and leaves tombstones for a bounded time.

Flow, for each bucket:
- the tombstone file (headers, certificates, payload lists) becomes durable; from here on, a crash is finished
  by the next opening of the store;
- the index marks the bucket's rows expired, in one commit;
- cached descriptors are closed, for an open file keeps its blocks;
- the directory is moved out of sight, and removed when no lock is held any more.

A batch that is to be kept moves to the present bucket first.

Then tombstones older than `tombstone_ms` go, with their rows: first the pruned heights become durable, so
that a forgotten height is never signed for again.

Invariants: a disperser's latest batch, and its latest certified one, keep their tombstones for ever, so that
its log can be continued. When there is no room even for tombstones, the bucket's batch files go first, which
is safe: their time is over, and the tombstones are made from the index.

Does not: decide when (see da.member.retention).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from da.protocol.payload_list import PayloadList
from da.store.bucket import Bucket, parse_bucket
from da.store.errors import CorruptBatch, StoreFull
from da.store.files import StoreFiles
from da.store.index import Index, IndexRow
from da.store.space import SpaceGuard
from da.store.tombstones import Tombstone, encode_pruned, encode_tombstones


def carry(
    files: StoreFiles,
    index: Index,
    space: SpaceGuard,
    present: Bucket,
    forget: Callable[[list[bytes]], None],
    header_hash: bytes,
) -> None:
    """Moves a batch along to the present bucket, if it lies in an older one.

    A crash in between leaves its file in a bucket that the index does not say, which the next opening mends.
    """
    row = index.get(header_hash)
    if row is None or row.state == "expired" or row.bucket >= present.name:
        return
    with space.writing():
        files.make_bucket(present.name)
        try:
            files.move_batch(header_hash, row.bucket, present.name)
            with index.transaction():
                index.put(replace(row, bucket=present.name))
        except BaseException:
            files.move_batch(header_hash, present.name, row.bucket)
            raise
        finally:
            forget([header_hash])


def expire_bucket(
    files: StoreFiles,
    index: Index,
    space: SpaceGuard,
    bucket: Bucket,
    forget: Callable[[list[bytes]], None],
    doomed: list[Path],
) -> int:
    """Drops a bucket; returns how many live batches were in it.

    `forget` empties caches of header hashes; to `doomed` goes the directory that the caller is to remove.
    """
    rows = index.in_bucket(bucket.name)
    hashes = [row.header_hash for row in rows]
    try:
        _bury(files, index, space, bucket, rows)
    except StoreFull:
        with space.writing():
            for row in rows:
                files.fs.unlink(files.batch_path(row.bucket, row.header_hash))
        forget(hashes)
        _bury(files, index, space, bucket, rows)
    forget(hashes)
    with space.writing():
        path = files.detach_bucket(bucket.name)
    if path is not None:
        doomed.append(path)
    return sum(row.state == "live" for row in rows)


def prune(files: StoreFiles, index: Index, space: SpaceGuard, before_ms: int) -> None:
    """Forgets the tombstones of buckets that ended at or before `before_ms`."""
    kept = _latest_hashes(index)
    for name in index.buckets():
        bucket = parse_bucket(name)
        if bucket is None or bucket.end_ms > before_ms:
            continue
        rows = index.in_bucket(name)
        if any(row.state != "expired" or row.header_hash in kept for row in rows):
            continue
        heights = index.pruned_heights()
        for row in rows:
            heights[row.disperser_id] = max(row.height, heights.get(row.disperser_id, 0))
        with space.writing():
            files.write(files.pruned, encode_pruned(heights))
            with index.transaction():
                for disperser_id, height in heights.items():
                    index.set_pruned(disperser_id, height)
                for row in rows:
                    index.forget(row.header_hash)
            files.fs.unlink(files.tombstones_path(name))


def _bury(files: StoreFiles, index: Index, space: SpaceGuard, bucket: Bucket, rows: list[IndexRow]) -> None:
    certificates = [_certificate(files, row) for row in rows]
    tombstones = [
        Tombstone(
            row.header,
            row.received_ms,
            certificate,
            PayloadList(tuple(index.entries(row.header_hash))).encode(),
        )
        for row, certificate in zip(rows, certificates, strict=True)
    ]
    with space.writing():
        files.write(files.tombstones_path(bucket.name), encode_tombstones(tombstones))
        with index.transaction():
            for row, certificate in zip(rows, certificates, strict=True):
                index.bury(row, certificate)


def _certificate(files: StoreFiles, row: IndexRow) -> bytes | None:
    if row.state == "expired" or not row.certified:
        return row.certificate
    try:
        return files.read_certificate(row.bucket, row.header_hash)
    except CorruptBatch:
        return None  # its time is over; a tombstone without it still says "expired"


def _latest_hashes(index: Index) -> set[bytes]:
    ids = index.dispersers()
    rows = [index.latest(disperser_id, certified) for disperser_id in ids for certified in (False, True)]
    return {row.header_hash for row in rows if row is not None}
