"""Tombstones: what stays of a bucket when its batches are dropped. Pure functions over bytes.

The idea: before a bucket goes, one file names the batches that were in it (header, time, certificate, payload
list), so that a rebuilt index still tells "expired" from "unknown" and still knows which heights are taken.
When that file too goes, the greatest pruned height of each disperser stays, in a file of its own.

Tombstone file: magic, version, count u32, crc; then per batch: u32 length, body, crc32 over both. Body:
received_ms u64, header length u16, header, certificate length u32 (0: none), certificate, payload list.
Pruned file: magic, version, count u32, then disperser_id bytes[32] and height u64 each; crc over all.
Integers are big-endian.

Invariants: decoders are total: a value or CorruptBatch. A tombstone is checked by itself, so one bad one does
not hide the others.

Does not: touch files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

from da.store.errors import CorruptBatch

TOMBSTONES_MAGIC = b"CELLART\x00"
PRUNED_MAGIC = b"CELLARP\x00"
VERSION = 1

_FRONT = struct.Struct(">8sHI")
_LENGTH = struct.Struct(">I")
_CRC = struct.Struct(">I")
_BODY = struct.Struct(">QH")
_PRUNED = struct.Struct(">32sQ")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One dropped batch; encodings as bytes."""

    header: bytes
    received_ms: int
    certificate: bytes | None
    payload_list: bytes


def encode_tombstones(tombstones: Iterable[Tombstone]) -> bytes:
    """The file of a bucket's tombstones."""
    bodies = [_encode_body(tombstone) for tombstone in tombstones]
    front = _FRONT.pack(TOMBSTONES_MAGIC, VERSION, len(bodies))
    out = [front, _CRC.pack(crc32(front))]
    for body in bodies:
        sealed = _LENGTH.pack(len(body)) + body
        out += (sealed, _CRC.pack(crc32(sealed)))
    return b"".join(out)


def decode_tombstones(data: bytes) -> tuple[list[Tombstone], list[str]]:
    """The sound tombstones of a file, and what is wrong with it. Never raises."""
    if len(data) < _FRONT.size + _CRC.size or _FRONT.unpack_from(data)[:2] != (TOMBSTONES_MAGIC, VERSION):
        return [], ["no tombstone file of this version"]
    problems: list[str] = []
    if _CRC.unpack_from(data, _FRONT.size)[0] != crc32(data[: _FRONT.size]):
        problems.append("the front fails its checksum")
    count = _FRONT.unpack_from(data)[2]
    found: list[Tombstone] = []
    offset, number = _FRONT.size + _CRC.size, 0
    while offset < len(data):
        end = offset + _LENGTH.size
        end += _LENGTH.unpack_from(data, offset)[0] if end <= len(data) else 0
        if end + _CRC.size > len(data):
            problems.append(f"cut off after {number} tombstones")
            break
        tombstone = None
        if _CRC.unpack_from(data, end)[0] == crc32(data[offset:end]):
            tombstone = _decode_body(data[offset + _LENGTH.size : end])
        if tombstone is None:
            problems.append(f"tombstone {number} fails its checksum")
        else:
            found.append(tombstone)
        offset, number = end + _CRC.size, number + 1
    if number != count and not problems:
        problems.append(f"{number} tombstones, not {count}")
    return found, problems


def encode_pruned(heights: Mapping[bytes, int]) -> bytes:
    """The file of the greatest pruned height of each disperser id (bytes[32])."""
    body = _FRONT.pack(PRUNED_MAGIC, VERSION, len(heights))
    body += b"".join(_PRUNED.pack(disperser_id, heights[disperser_id]) for disperser_id in sorted(heights))
    return body + _CRC.pack(crc32(body))


def decode_pruned(data: bytes) -> dict[bytes, int]:
    """The greatest pruned heights. Raises CorruptBatch for any other bytes."""
    body = data[: -_CRC.size]
    sized = len(body) >= _FRONT.size and (len(body) - _FRONT.size) % _PRUNED.size == 0
    if not sized or _CRC.unpack(data[-_CRC.size :])[0] != crc32(body):
        raise CorruptBatch("pruned heights", "wrong checksum")
    magic, version, count = _FRONT.unpack_from(body)
    heights: dict[bytes, int] = dict(_PRUNED.iter_unpack(body[_FRONT.size :]))
    if (magic, version, count) != (PRUNED_MAGIC, VERSION, len(heights)):
        raise CorruptBatch("pruned heights", "no such file of this version")
    return heights


def _encode_body(tombstone: Tombstone) -> bytes:
    certificate = tombstone.certificate or b""
    front = _BODY.pack(tombstone.received_ms, len(tombstone.header)) + tombstone.header
    return front + _LENGTH.pack(len(certificate)) + certificate + tombstone.payload_list


def _decode_body(body: bytes) -> Tombstone | None:
    try:
        received_ms, header_length = _BODY.unpack_from(body)
        start = _BODY.size + header_length
        certificate_length = _LENGTH.unpack_from(body, start)[0]
    except struct.error:
        return None
    middle = start + _LENGTH.size
    end = middle + certificate_length
    if end > len(body):
        return None
    return Tombstone(body[_BODY.size : start], received_ms, body[middle:end] or None, body[end:])
