"""What lies in the objects: time buckets, batches, certificates, tombstones, and what is not the store's.

Invariant: an object whose name the store does not make is a stray: it is named, and nothing else is done.

Does not: read objects, except certificates; know the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from da.store.bucket import Bucket, parse_bucket
from da.store.errors import CorruptBatch
from da.store.keys import (
    BUCKETS,
    PRUNED,
    TOMBSTONES,
    batch_key,
    bucket_path,
    certificate_key,
    parse_batch_name,
    parse_certificate_name,
    parse_tombstones_name,
)
from da.store.objects.port import Key, ObjectMissing, Objects, read_all
from da.store.sidecar import MAX_SIDECAR_BYTES, decode_sidecar


@dataclass(slots=True)
class BucketListing:
    """A time bucket: header hashes with a batch, header hashes with a certificate, paths of strays."""

    batches: set[bytes] = field(default_factory=set)
    certificates: set[bytes] = field(default_factory=set)
    strays: list[str] = field(default_factory=list)


def live_buckets(objects: Objects) -> list[Bucket]:
    """The time buckets that exist, oldest first."""
    parsed = (parse_bucket(name) for name in objects.list(BUCKETS).buckets)
    return sorted(bucket for bucket in parsed if bucket is not None)


def tombstoned_buckets(objects: Objects) -> list[Bucket]:
    """The time buckets that have tombstones, oldest first."""
    parsed = (parse_tombstones_name(name) for name in objects.list(TOMBSTONES).objects)
    return sorted(bucket for bucket in parsed if bucket is not None)


def strays(objects: Objects) -> Iterator[str]:
    """The paths beside time buckets and tombstones that are not the store's."""
    listing = objects.list(BUCKETS)
    for name in sorted(listing.objects) + sorted(listing.buckets):
        if name in listing.objects or parse_bucket(name) is None:
            yield f"{BUCKETS}/{name}"
    listing = objects.list(TOMBSTONES)
    for name in sorted(listing.objects) + sorted(listing.buckets):
        known = name == PRUNED.name or parse_tombstones_name(name) is not None
        if name in listing.buckets or not known:
            yield f"{TOMBSTONES}/{name}"


def list_bucket(objects: Objects, bucket: str) -> BucketListing:
    """What lies in a time bucket; empty when it does not exist."""
    found = BucketListing()
    path = bucket_path(bucket)
    listing = objects.list(path)
    for name in listing.objects:
        if (header_hash := parse_batch_name(name)) is not None:
            found.batches.add(header_hash)
        elif (header_hash := parse_certificate_name(name)) is not None:
            found.certificates.add(header_hash)
        else:
            found.strays.append(f"{path}/{name}")
    found.strays = sorted([*found.strays, *(f"{path}/{name}" for name in listing.buckets)])
    return found


def has_batch(objects: Objects, header_hash: bytes) -> bool:
    """Whether any time bucket holds the batch: what a catalogue that lost a row is detected by."""
    return any(objects.exists(batch_key(bucket.name, header_hash)) for bucket in live_buckets(objects))


def read_certificate(objects: Objects, bucket: str, header_hash: bytes) -> bytes:
    """The certificate. Raises CorruptBatch when it is gone or fails its checks."""
    key: Key = certificate_key(bucket, header_hash)
    try:
        data = read_all(objects, key, MAX_SIDECAR_BYTES + 1)
    except ObjectMissing:
        raise CorruptBatch("certificate", "it is gone", header_hash) from None
    return decode_sidecar(data, header_hash)
