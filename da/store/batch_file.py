"""The batch file: one immutable object a batch, read in ranges. Pure functions over bytes and offsets.

The idea: a head of everything but cells (prefix, header, disperser signature, payload list, commitments,
column table), then for each held column, ascending, its R records of cell || proof || crc32. The head's size
follows from the prefix and every record's place from the head, so a reader needs one range for the head and
one for any record, and an object store can serve the same bytes.

Invariants: every part ends with a CRC-32 over it. The CRC starts from the batch and the part or record it
belongs to, so a right record in a wrong place is found too. The head's size does not depend on which columns
follow, so a writer may stream columns first and write the head, whose magic makes the file valid, at last.
All integers are big-endian. docs/reference/storage.md has the table.

Does not: touch files; decode headers and payload lists, which stay bytes here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from da.protocol.push import RECORD_BYTES
from da.store.base import Bytes8
from da.store.errors import CorruptBatch, CorruptRecord
from erasure.constants import CELLS_PER_EXT_BLOB, MAX_ROWS
from kzg.constants import BYTES_PER_COMMITMENT

MAGIC = b"CELLARB\x00"
VERSION = 1
CRC_BYTES = 4
STORED_RECORD_BYTES = RECORD_BYTES + CRC_BYTES
SIGNATURE_BYTES = 96
HASH_BYTES = 32
TABLE_BYTES = CELLS_PER_EXT_BLOB // 8
MAX_HEADER_BYTES = 2**12
MAX_PAYLOAD_LIST_BYTES = 2**20

# magic, version, row_count, column_count, header bytes, payload list bytes, received_ms, header hash, crc
_PREFIX = struct.Struct(">8sHHHHIQ32s")
_CRC = struct.Struct(">I")
PREFIX_BYTES = _PREFIX.size + CRC_BYTES

# A CRC-32 as stored; faster than int.to_bytes, for the checksum of every record read.
pack_crc = _CRC.pack


@dataclass(frozen=True, slots=True)
class Prefix:
    """The fixed-size front of a batch file."""

    row_count: int
    column_count: int
    header_length: int
    payload_list_length: int
    received_ms: int
    header_hash: bytes

    @property
    def head_bytes(self) -> int:
        """Size of the head; the first record starts there."""
        parts = (self.header_length, SIGNATURE_BYTES, self.payload_list_length)
        tail = (self.row_count * BYTES_PER_COMMITMENT, TABLE_BYTES)
        return PREFIX_BYTES + sum(length + CRC_BYTES for length in parts + tail)


@dataclass(frozen=True, slots=True)
class HeadParts:
    """What a head carries: encodings, and commitments as R x 48 bytes."""

    header_hash: bytes
    header: bytes
    disperser_signature: bytes
    payload_list: bytes
    commitments: bytes

    @property
    def row_count(self) -> int:
        """Data rows R."""
        return len(self.commitments) // BYTES_PER_COMMITMENT


@dataclass(frozen=True, slots=True)
class Layout:
    """Where records lie. `positions[column]` is the column's place among those held, -1 when it is not."""

    header_hash: bytes
    row_count: int
    columns: tuple[int, ...]
    positions: tuple[int, ...]
    data_offset: int
    seed: int

    def column_offset(self, column: int) -> int:
        """Offset of the first record of a held column."""
        return self.data_offset + self.positions[column] * self.row_count * STORED_RECORD_BYTES

    @property
    def column_bytes(self) -> int:
        """Size of one stored column."""
        return self.row_count * STORED_RECORD_BYTES

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        return self.data_offset + len(self.columns) * self.column_bytes


@dataclass(frozen=True, slots=True)
class Head:
    """A decoded head."""

    parts: HeadParts
    received_ms: int
    layout: Layout


def layout_of(parts: HeadParts, columns: Sequence[int]) -> Layout:
    """The layout of a file with these parts and columns (ascending)."""
    held = tuple(columns)
    positions = [-1] * CELLS_PER_EXT_BLOB
    for position, column in enumerate(held):
        positions[column] = position
    return Layout(
        header_hash=parts.header_hash,
        row_count=parts.row_count,
        columns=held,
        positions=tuple(positions),
        data_offset=_prefix_of(parts, held, 0).head_bytes,
        seed=crc32(parts.header_hash),
    )


def encode_head(parts: HeadParts, columns: Sequence[int], received_ms: int) -> bytes:
    """The head of a file that holds `columns`. The caller has checked the parts' sizes."""
    prefix = _prefix_of(parts, columns, received_ms)
    front = _PREFIX.pack(
        MAGIC,
        VERSION,
        prefix.row_count,
        prefix.column_count,
        prefix.header_length,
        prefix.payload_list_length,
        received_ms,
        parts.header_hash,
    )
    table = sum(1 << column for column in columns).to_bytes(TABLE_BYTES, "big")
    body = (parts.header, parts.disperser_signature, parts.payload_list, parts.commitments, table)
    seed = crc32(parts.header_hash)
    sealed = [front, _CRC.pack(crc32(front))]
    for number, part in enumerate(body):
        sealed += (part, _CRC.pack(crc32(part, seed ^ number)))
    return b"".join(sealed)


def decode_prefix(data: bytes) -> Prefix:
    """The prefix at the front of `data`. Raises CorruptBatch for any other bytes."""
    if len(data) < PREFIX_BYTES:
        raise CorruptBatch("prefix", f"{len(data)} bytes, not {PREFIX_BYTES}")
    magic, version, rows, columns, header, payloads, received_ms, header_hash = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise CorruptBatch("prefix", "no batch file: wrong magic")
    if _CRC.unpack_from(data, _PREFIX.size)[0] != crc32(data[: _PREFIX.size]):
        raise CorruptBatch("prefix", "wrong checksum")
    if version != VERSION:
        raise CorruptBatch("prefix", f"version {version}, this program knows {VERSION}")
    sizes_ok = 1 <= rows <= MAX_ROWS and columns <= CELLS_PER_EXT_BLOB
    if not sizes_ok or header > MAX_HEADER_BYTES or payloads > MAX_PAYLOAD_LIST_BYTES:
        raise CorruptBatch("prefix", "a size is out of range")
    return Prefix(rows, columns, header, payloads, received_ms, header_hash)


def decode_head(data: bytes) -> Head:
    """The head at the front of `data`, every part checked. Raises CorruptBatch for any other bytes."""
    prefix = decode_prefix(data)
    if len(data) < prefix.head_bytes:
        raise CorruptBatch("head", f"{len(data)} bytes, not {prefix.head_bytes}", prefix.header_hash)
    seed = crc32(prefix.header_hash)
    lengths = {
        "header": prefix.header_length,
        "signature": SIGNATURE_BYTES,
        "payload list": prefix.payload_list_length,
        "commitments": prefix.row_count * BYTES_PER_COMMITMENT,
        "column table": TABLE_BYTES,
    }
    parts: list[bytes] = []
    offset = PREFIX_BYTES
    for number, (name, length) in enumerate(lengths.items()):
        part = data[offset : offset + length]
        if _CRC.unpack_from(data, offset + length)[0] != crc32(part, seed ^ number):
            raise CorruptBatch(name, "wrong checksum", prefix.header_hash)
        parts.append(part)
        offset += length + CRC_BYTES
    header, signature, payload_list, commitments, table = parts
    bitmap = int.from_bytes(table, "big")
    columns = tuple(column for column in range(CELLS_PER_EXT_BLOB) if bitmap >> column & 1)
    if len(columns) != prefix.column_count:
        raise CorruptBatch("column table", "does not match the prefix", prefix.header_hash)
    head_parts = HeadParts(prefix.header_hash, header, signature, payload_list, commitments)
    return Head(head_parts, prefix.received_ms, layout_of(head_parts, columns))


def seal_column(seed: int, column: int, records: Bytes8) -> Bytes8:
    """Records u8[R,2096] of a column as stored, u8[R,2100]."""
    stored = np.empty((len(records), STORED_RECORD_BYTES), np.uint8)
    stored[:, :RECORD_BYTES] = records
    base = seed ^ column << 16
    flat = stored.reshape(-1).data
    starts = range(0, stored.size, STORED_RECORD_BYTES)
    sums = [crc32(flat[start : start + RECORD_BYTES], base ^ row) for row, start in enumerate(starts)]
    stored[:, RECORD_BYTES:] = np.array(sums, ">u4").view(np.uint8).reshape(-1, CRC_BYTES)
    return stored


def open_record(seed: int, row: int, column: int, stored: bytes) -> bytes:
    """The 2096 bytes of one stored record. Raises CorruptRecord."""
    record = stored[:RECORD_BYTES]
    if stored[RECORD_BYTES:] != pack_crc(crc32(record, seed ^ column << 16 ^ row)):
        raise CorruptRecord(row, column)
    return record


def open_column(seed: int, column: int, row_count: int, stored: bytes) -> Bytes8:
    """Records u8[R,2096] of a stored column. Raises CorruptRecord for the first bad one."""
    bad = next(corrupt_rows(seed, column, row_count, stored), None)
    if bad is not None:
        raise CorruptRecord(bad, column)
    matrix = np.frombuffer(stored, np.uint8).reshape(row_count, STORED_RECORD_BYTES)
    return np.ascontiguousarray(matrix[:, :RECORD_BYTES])


def corrupt_rows(seed: int, column: int, row_count: int, stored: bytes) -> Iterator[int]:
    """The rows of a stored column whose record fails its checksum or is cut off."""
    view = memoryview(stored)
    base = seed ^ column << 16
    for row in range(row_count):
        start = row * STORED_RECORD_BYTES
        end = start + RECORD_BYTES
        if view[end : end + CRC_BYTES] != pack_crc(crc32(view[start:end], base ^ row)):
            yield row


def _prefix_of(parts: HeadParts, columns: Sequence[int], received_ms: int) -> Prefix:
    return Prefix(
        row_count=parts.row_count,
        column_count=len(columns),
        header_length=len(parts.header),
        payload_list_length=len(parts.payload_list),
        received_ms=received_ms,
        header_hash=parts.header_hash,
    )
