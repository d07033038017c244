"""Certificates' files, tombstones, pruned heights, bucket names: round trips, and total decoders."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from da.store.bucket import Bucket, bucket_at, parse_bucket
from da.store.errors import CorruptBatch
from da.store.sidecar import decode_sidecar, encode_sidecar
from da.store.tombstones import (
    Tombstone,
    decode_pruned,
    decode_tombstones,
    encode_pruned,
    encode_tombstones,
)

HASH = b"\x07" * 32
_TOMBSTONES = [Tombstone(b"header", 5, b"certificate", b"list"), Tombstone(b"other", 2**63, None, b"")]
_tombstones = st.builds(
    Tombstone,
    st.binary(max_size=300),
    st.integers(0, 2**64 - 1),
    st.one_of(st.none(), st.binary(min_size=1, max_size=50)),
    st.binary(max_size=50),
)


@given(st.binary(min_size=1, max_size=300))
def test_certificate_round_trips(certificate: bytes) -> None:
    assert decode_sidecar(encode_sidecar(HASH, certificate), HASH) == certificate


def test_every_flipped_byte_or_cut_of_a_certificate_is_found() -> None:
    data = encode_sidecar(HASH, b"certificate")
    for position in range(len(data)):
        for changed in (
            data[:position],
            data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :],
        ):
            with pytest.raises(CorruptBatch):
                decode_sidecar(changed, HASH)


def test_a_certificate_of_another_batch_is_refused() -> None:
    with pytest.raises(CorruptBatch, match="belongs elsewhere"):
        decode_sidecar(encode_sidecar(HASH, b"certificate"), bytes(32))


@given(st.lists(_tombstones, max_size=5))
def test_tombstones_round_trip(tombstones: list[Tombstone]) -> None:
    assert decode_tombstones(encode_tombstones(tombstones)) == (tombstones, [])


def test_every_flipped_byte_or_cut_of_tombstones_is_told() -> None:
    data = encode_tombstones(_TOMBSTONES)
    for position in range(len(data)):
        for changed in (
            data[:position],
            data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :],
        ):
            found, problems = decode_tombstones(changed)
            assert problems
            assert all(tombstone in _TOMBSTONES for tombstone in found)


def test_one_bad_tombstone_does_not_hide_the_others() -> None:
    data = bytearray(encode_tombstones([*_TOMBSTONES, _TOMBSTONES[0]]))
    data[data.index(b"other")] ^= 1
    found, problems = decode_tombstones(bytes(data))
    assert found == [_TOMBSTONES[0], _TOMBSTONES[0]]
    assert problems == ["tombstone 1 fails its checksum"]


@given(st.binary(max_size=200), st.integers(0, 40))
def test_any_bytes_decode_to_tombstones_or_problems(data: bytes, kept: int) -> None:
    decode_tombstones(data)
    decode_tombstones(encode_tombstones(_TOMBSTONES)[:kept] + data)


@given(st.dictionaries(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), max_size=4))
def test_pruned_heights_round_trip(heights: dict[bytes, int]) -> None:
    assert decode_pruned(encode_pruned(heights)) == heights


def test_every_flipped_byte_or_cut_of_pruned_heights_is_found() -> None:
    data = encode_pruned({HASH: 9})
    for position in range(len(data)):
        for changed in (
            data[:position],
            data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :],
        ):
            with pytest.raises(CorruptBatch):
                decode_pruned(changed)


_LAST_S = 253_370_764_799  # of the year 9998


@given(st.integers(0, 2**62), st.integers(1, 10**6))
def test_a_moment_after_the_last_name_lies_in_the_last_bucket(later_s: int, length_s: int) -> None:
    assert bucket_at((_LAST_S + later_s) * 1000, length_s) == bucket_at(_LAST_S * 1000, length_s)


@example(time_s=_LAST_S, length_s=1)
@given(time_s=st.integers(0, _LAST_S), length_s=st.integers(1, 10**6))
def test_bucket_names_round_trip(time_s: int, length_s: int) -> None:
    bucket = bucket_at(time_s * 1000, length_s)
    assert bucket.start_s <= time_s
    assert time_s * 1000 < bucket.end_ms
    assert parse_bucket(bucket.name) == bucket


def test_a_bucket_is_named_after_its_day() -> None:
    assert Bucket(1_795_305_600, 86_400).name == "20261122T000000Z-86400s"


@given(st.text(max_size=30))
@pytest.mark.parametrize(
    "name", ["20261322T000000Z-86400s", "20261122T000000Z-0s", "20261122T000000Z-86400s.tmp"]
)
def test_other_names_are_no_buckets(name: str, text: str) -> None:
    assert parse_bucket(name) is None
    bucket = parse_bucket(text)
    assert bucket is None or bucket.name == text
