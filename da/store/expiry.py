"""Expiry: drops buckets whose time is over, and leaves tombstones for a bounded time.

Flow, for each bucket:
- the tombstone file (headers, certificates, payload lists) becomes durable; from here on, a crash is finished
  by the next opening of the store;
- the index marks the bucket's rows expired, in one commit;
- cached readers are closed, for an open file keeps its blocks;
- the bucket is dropped, and its room is freed when no lock is held any more.

A batch that is to be kept moves to the present bucket first.

Then tombstones older than `tombstone_ms` go, with their rows: first the pruned heights become durable, so
that a forgotten height is never signed for again.

Invariants: a disperser's latest batch, and its latest certified one, keep their tombstones for ever, so that
its log can be continued. When there is no room even for tombstones, the bucket's batch files go first, which
is safe: their time is over, and the tombstones are made from the catalogue.

Does not: decide when (see da.member.retention).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from da.protocol.payload_list import PayloadList
from da.store.bucket import Bucket, parse_bucket
from da.store.catalogue import Catalogue, CatalogueRow
from da.store.errors import CorruptBatch, StoreFull
from da.store.inventory import read_certificate
from da.store.keys import (
    PRUNED,
    batch_key,
    batch_name,
    bucket_path,
    certificate_name,
    tombstones_key,
)
from da.store.objects.port import Objects
from da.store.space import SpaceGuard
from da.store.tombstones import Tombstone, encode_pruned, encode_tombstones


def carry(
    objects: Objects,
    catalogue: Catalogue,
    space: SpaceGuard,
    present: Bucket,
    forget: Callable[[list[bytes]], None],
    header_hash: bytes,
) -> None:
    """Moves a batch along to the present bucket, if it lies in an older one.

    A crash in between leaves its file in a bucket that the index does not say, which the next opening mends.
    """
    row = catalogue.get(header_hash)
    if row is None or row.state == "expired" or row.bucket >= present.name:
        return
    with space.writing():
        names = [certificate_name(header_hash), batch_name(header_hash)]
        source, target = bucket_path(row.bucket), bucket_path(present.name)
        try:
            objects.move(names, source, target)
            with catalogue.transaction():
                catalogue.put(replace(row, bucket=present.name))
        except BaseException:
            objects.move(names, target, source)
            raise
        finally:
            forget([header_hash])


def expire_bucket(
    objects: Objects,
    catalogue: Catalogue,
    space: SpaceGuard,
    bucket: Bucket,
    forget: Callable[[list[bytes]], None],
) -> int:
    """Drops a bucket; returns how many live batches were in it.

    `forget` empties caches of header hashes. The caller frees the room, with Objects.reclaim.
    """
    rows = catalogue.in_bucket(bucket.name)
    hashes = [row.header_hash for row in rows]
    try:
        _bury(objects, catalogue, space, bucket, rows)
    except StoreFull:
        with space.writing():
            for row in rows:
                objects.delete(batch_key(row.bucket, row.header_hash))
        forget(hashes)
        _bury(objects, catalogue, space, bucket, rows)
    forget(hashes)
    with space.writing():
        objects.drop(bucket_path(bucket.name))
    return sum(row.state == "live" for row in rows)


def prune(objects: Objects, catalogue: Catalogue, space: SpaceGuard, before_ms: int) -> None:
    """Forgets the tombstones of buckets that ended at or before `before_ms`."""
    kept = _latest_hashes(catalogue)
    for name in catalogue.buckets():
        bucket = parse_bucket(name)
        if bucket is None or bucket.end_ms > before_ms:
            continue
        rows = catalogue.in_bucket(name)
        if any(row.state != "expired" or row.header_hash in kept for row in rows):
            continue
        heights = catalogue.pruned_heights()
        for row in rows:
            heights[row.disperser_id] = max(row.height, heights.get(row.disperser_id, 0))
        with space.writing():
            objects.put(PRUNED, [encode_pruned(heights)])
            with catalogue.transaction():
                for disperser_id, height in heights.items():
                    catalogue.set_pruned(disperser_id, height)
                for row in rows:
                    catalogue.forget(row.header_hash)
            objects.delete(tombstones_key(name))


def _bury(
    objects: Objects, catalogue: Catalogue, space: SpaceGuard, bucket: Bucket, rows: list[CatalogueRow]
) -> None:
    certificates = [_certificate(objects, row) for row in rows]
    tombstones = [
        Tombstone(
            row.header,
            row.received_ms,
            certificate,
            PayloadList(tuple(catalogue.entries(row.header_hash))).encode(),
        )
        for row, certificate in zip(rows, certificates, strict=True)
    ]
    with space.writing():
        objects.put(tombstones_key(bucket.name), [encode_tombstones(tombstones)])
        with catalogue.transaction():
            for row, certificate in zip(rows, certificates, strict=True):
                catalogue.bury(row, certificate)


def _certificate(objects: Objects, row: CatalogueRow) -> bytes | None:
    if row.state == "expired" or not row.certified:
        return row.certificate
    try:
        return read_certificate(objects, row.bucket, row.header_hash)
    except CorruptBatch:
        return None  # its time is over; a tombstone without it still says "expired"


def _latest_hashes(catalogue: Catalogue) -> set[bytes]:
    ids = catalogue.dispersers()
    rows = [catalogue.latest(disperser_id, certified) for disperser_id in ids for certified in (False, True)]
    return {row.header_hash for row in rows if row is not None}
