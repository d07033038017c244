"""A payload in the outbox: its entry, its errors, and the file that holds its bytes.

Payload file, big-endian: magic, version u16, namespace bytes[32], payload_id bytes[32], created_ms u64, rows
u16, length u32, commitments 48 x rows, the bytes, crc32 over all before.

Invariants: the queued entry can be rebuilt from the file alone; decoding is total.

    OutboxError
    +-- UnknownPayload(key)             no such (namespace, payload id) is here
    +-- PayloadGone(key)                the entry is here, its bytes were removed
    +-- CorruptPayload(key, reason)     the stored bytes fail their checksum
    +-- OutboxReadOnly(reason)          also a StoreReadOnly: no room, or the disk failed
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt

from da.store.errors import StoreReadOnly
from kzg.constants import BYTES_PER_COMMITMENT

Key = tuple[bytes, bytes]

MAGIC = b"CELLARO\x00"
VERSION = 1

_FRONT = struct.Struct(">8sH32s32sQHI")
_CRC = struct.Struct(">I")


class State(StrEnum):
    """Where a payload is on its way; the last two are the ends."""

    QUEUED = "queued"
    ENCODING = "encoding"
    DISPERSING = "dispersing"
    CERTIFIED = "certified"
    FAILED = "failed"


FINISHED = (State.CERTIFIED, State.FAILED)


class OutboxError(Exception):
    """Root of the outbox's errors."""


class UnknownPayload(OutboxError):
    """No such (namespace, payload id) is here."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"unknown payload 0x{key[1].hex()}")
        self.key = key


class PayloadGone(OutboxError):
    """The entry is here, its bytes were removed."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"the bytes of payload 0x{key[1].hex()} are gone")
        self.key = key


class CorruptPayload(OutboxError):
    """The stored bytes fail their checksum."""

    def __init__(self, key: Key, reason: str) -> None:
        super().__init__(f"the bytes of payload 0x{key[1].hex()} are damaged: {reason}")
        self.key = key
        self.reason = reason


class OutboxReadOnly(OutboxError, StoreReadOnly):
    """No room, or the disk failed; nothing of the write is stored. The cause is the store's own error."""


@dataclass(frozen=True, slots=True, eq=False)
class OutboxEntry:
    """What is known of a payload: commitments u8[rows,48], length in bytes, times in Unix milliseconds."""

    namespace: bytes
    payload_id: bytes
    state: State
    length: int
    commitments: npt.NDArray[np.uint8]
    header_hash: bytes | None
    reason: str | None
    has_payload: bool
    created_ms: int
    updated_ms: int

    @property
    def key(self) -> Key:
        """(namespace, payload id)."""
        return self.namespace, self.payload_id


def queued_entry(key: Key, length: int, commitments: npt.NDArray[np.uint8], created_ms: int) -> OutboxEntry:
    """The entry of a payload that was accepted at that time."""
    return OutboxEntry(
        namespace=key[0],
        payload_id=key[1],
        state=State.QUEUED,
        length=length,
        commitments=commitments,
        header_hash=None,
        reason=None,
        has_payload=True,
        created_ms=created_ms,
        updated_ms=created_ms,
    )


def encode_payload_file(
    key: Key, payload: bytes | bytearray, commitments: npt.NDArray[np.uint8], created_ms: int
) -> bytes:
    """The file of a payload of these commitments, u8[rows,48]."""
    front = _FRONT.pack(MAGIC, VERSION, *key, created_ms, len(commitments), len(payload))
    head = front + commitments.tobytes()
    return b"".join((head, payload, _CRC.pack(crc32(payload, crc32(head)))))


def decode_payload_file(data: bytes, key: Key) -> tuple[OutboxEntry, bytes]:
    """The queued entry and the bytes of a payload file. Raises CorruptPayload for any other bytes."""
    body = memoryview(data)[: -_CRC.size]
    if len(body) < _FRONT.size or _CRC.unpack(data[-_CRC.size :])[0] != crc32(body):
        raise CorruptPayload(key, "wrong checksum")
    magic, version, namespace, payload_id, created_ms, rows, length = _FRONT.unpack_from(body)
    start = _FRONT.size + rows * BYTES_PER_COMMITMENT
    if (magic, version) != (MAGIC, VERSION) or (namespace, payload_id) != key or start + length != len(body):
        raise CorruptPayload(key, "the head is not that of this payload and version")
    commitments = np.frombuffer(body[_FRONT.size : start], np.uint8).reshape(rows, BYTES_PER_COMMITMENT)
    entry = queued_entry(key, length, commitments.copy(), created_ms)
    return entry, bytes(body[start:])


def created_ms(path: Path) -> int:
    """The time in a payload file's head, its checksum not verified: good enough to sort by."""
    with path.open("rb") as file:
        front = file.read(_FRONT.size)
    time_ms: int = _FRONT.unpack(front)[4] if len(front) == _FRONT.size else 0
    return time_ms
