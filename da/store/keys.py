"""The keys of the store's objects: which bucket and name each batch, certificate and tombstone has. Pure.

    buckets/<time bucket>/<header hash>.batch, .certificate
    tombstones/<time bucket>.tombstones, and tombstones/pruned

Invariant: a name is parsed strictly; None for every name that the functions here do not make.
"""

from __future__ import annotations

from da.store.bucket import Bucket, parse_bucket
from da.store.objects.port import Key

BUCKETS = "buckets"
TOMBSTONES = "tombstones"
PRUNED = Key(TOMBSTONES, "pruned")

BATCH_SUFFIX = ".batch"
CERTIFICATE_SUFFIX = ".certificate"
TOMBSTONES_SUFFIX = ".tombstones"
_HASH_DIGITS = 64


def bucket_path(bucket: str) -> str:
    """The bucket of the objects that a time bucket is kept in."""
    return f"{BUCKETS}/{bucket}"


def batch_name(header_hash: bytes) -> str:
    """The name of a batch in its time bucket."""
    return header_hash.hex() + BATCH_SUFFIX


def certificate_name(header_hash: bytes) -> str:
    """The name of a batch's certificate in the same time bucket."""
    return header_hash.hex() + CERTIFICATE_SUFFIX


def batch_key(bucket: str, header_hash: bytes) -> Key:
    """The key of a batch."""
    return Key(bucket_path(bucket), batch_name(header_hash))


def certificate_key(bucket: str, header_hash: bytes) -> Key:
    """The key of a batch's certificate."""
    return Key(bucket_path(bucket), certificate_name(header_hash))


def tombstones_key(bucket: str) -> Key:
    """The key of a time bucket's tombstones."""
    return Key(TOMBSTONES, bucket + TOMBSTONES_SUFFIX)


def parse_batch_name(name: str) -> bytes | None:
    """The header hash in the name of a batch."""
    return _parse_hash(name, BATCH_SUFFIX)


def parse_certificate_name(name: str) -> bytes | None:
    """The header hash in the name of a certificate."""
    return _parse_hash(name, CERTIFICATE_SUFFIX)


def parse_tombstones_name(name: str) -> Bucket | None:
    """The time bucket in the name of its tombstones."""
    return parse_bucket(name.removesuffix(TOMBSTONES_SUFFIX)) if name.endswith(TOMBSTONES_SUFFIX) else None


def _parse_hash(name: str, suffix: str) -> bytes | None:
    digits = name.removesuffix(suffix)
    if digits == name or len(digits) != _HASH_DIGITS or digits.strip("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)
