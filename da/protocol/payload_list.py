"""The payload list of a batch: which payloads it carries, where, and proofs about it.

The idea: one entry a payload (namespace, payload_id, first_row, row_count, length), sorted by (namespace,
payload_id), and the payloads' rows lie in the batch in that same order without gaps. A Merkle root over the
entries is in the header. Entries of one namespace are adjacent, so their range together with the
entry before and the entry after proves that none is omitted, even when there are none.

Invariants: 1..256 entries, strictly ascending, rows contiguous from 0, row_count as the length requires;
so a list has one encoding, and a root binds the number of entries.

Does not: check payload ids against commitments (see proposal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from da.protocol import merkle
from da.protocol.codec import HASH_BYTES, Reader, u16, u32
from da.protocol.errors import InvalidPayloadList, InvalidProof
from da.protocol.namespace import NAMESPACE_BYTES
from erasure.constants import MAX_PAYLOAD_BYTES, MAX_ROWS
from erasure.packing import rows_for

ENTRY_BYTES = 72
MAX_ENTRIES = MAX_ROWS


@dataclass(frozen=True, slots=True)
class PayloadEntry:
    """One payload in a batch. Raises InvalidPayloadList (index None) when a field is out of range.

    namespace, payload_id bytes[32]; first_row 0..255; row_count 1..256; length in bytes, 1..16 MiB.
    """

    namespace: bytes
    payload_id: bytes
    first_row: int
    row_count: int
    length: int

    def __post_init__(self) -> None:
        if len(self.namespace) != NAMESPACE_BYTES or len(self.payload_id) != HASH_BYTES:
            raise InvalidPayloadList(None, "namespace and payload_id must be 32 bytes each")
        if not 1 <= self.length <= MAX_PAYLOAD_BYTES:
            raise InvalidPayloadList(None, f"length must be in 1..{MAX_PAYLOAD_BYTES}; got {self.length}")
        if self.row_count != rows_for(self.length):
            raise InvalidPayloadList(
                None,
                f"row_count must be {rows_for(self.length)} for {self.length} bytes; got {self.row_count}",
            )
        if not 0 <= self.first_row <= MAX_ROWS - self.row_count:
            raise InvalidPayloadList(
                None, f"rows from {self.first_row} exceed the {MAX_ROWS} rows of a batch"
            )

    @property
    def key(self) -> tuple[bytes, bytes]:
        """The sort key of entries."""
        return self.namespace, self.payload_id

    @property
    def end_row(self) -> int:
        """The row after the payload's last."""
        return self.first_row + self.row_count

    def encode(self) -> bytes:
        """The 72 bytes of docs/reference/wire-formats.md; also the entry's Merkle leaf."""
        return self.namespace + self.payload_id + u16(self.first_row) + u16(self.row_count) + u32(self.length)

    @classmethod
    def decode(cls, entry_bytes: bytes | bytearray | memoryview) -> PayloadEntry:
        """The entry of exactly 72 bytes. Raises DecodeError or InvalidPayloadList."""
        reader = Reader(entry_bytes)
        entry = cls.read(reader)
        reader.finish("entry")
        return entry

    @classmethod
    def read(cls, reader: Reader) -> PayloadEntry:
        """The entry at the front of `reader`."""
        return cls(
            namespace=reader.fixed(NAMESPACE_BYTES, "namespace"),
            payload_id=reader.fixed(HASH_BYTES, "payload_id"),
            first_row=reader.u16("first_row"),
            row_count=reader.u16("row_count"),
            length=reader.u32("length"),
        )


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That `entry` is the one at `index` of the `count` in a list; `siblings` from the leaf upwards."""

    entry: PayloadEntry
    index: int
    count: int
    siblings: tuple[bytes, ...]

    def encode(self) -> bytes:
        """entry | index u16 | count u16 | siblings; their number follows from index and count."""
        return self.entry.encode() + u16(self.index) + u16(self.count) + b"".join(self.siblings)

    @classmethod
    def decode(cls, proof_bytes: bytes | bytearray | memoryview) -> InclusionProof:
        """Raises DecodeError, InvalidPayloadList (the entry) or InvalidProof (the positions)."""
        reader = Reader(proof_bytes)
        entry = PayloadEntry.read(reader)
        index, count = reader.u16("index"), reader.u16("count")
        _check_count(count)
        path = merkle.inclusion_path(index, count)
        siblings = tuple(reader.fixed(HASH_BYTES, "siblings") for _ in path)
        reader.finish("proof")
        return cls(entry, index, count, siblings)


@dataclass(frozen=True, slots=True)
class NamespaceProof:
    """That the entries of `namespace` in a list of `count` are exactly `matches`, perhaps none.

    `entries` are the list's entries first, first+1, ...: the matches, with one entry of a smaller namespace
    before them unless they begin the list, and one of a greater after them unless they end it.
    """

    namespace: bytes
    count: int
    first: int
    entries: tuple[PayloadEntry, ...]
    siblings: tuple[bytes, ...]

    @property
    def matches(self) -> tuple[PayloadEntry, ...]:
        """The entries of the namespace."""
        return tuple(entry for entry in self.entries if entry.namespace == self.namespace)

    def encode(self) -> bytes:
        """namespace | count u16 | first u16 | number of entries u16 | entries | siblings."""
        head = self.namespace + u16(self.count) + u16(self.first) + u16(len(self.entries))
        return head + b"".join(entry.encode() for entry in self.entries) + b"".join(self.siblings)

    @classmethod
    def decode(cls, proof_bytes: bytes | bytearray | memoryview) -> NamespaceProof:
        """Raises DecodeError, InvalidPayloadList (an entry) or InvalidProof (the positions)."""
        reader = Reader(proof_bytes)
        namespace = reader.fixed(NAMESPACE_BYTES, "namespace")
        count, first, shown = reader.u16("count"), reader.u16("first"), reader.u16("entries")
        _check_count(count)
        outside = tuple(merkle.outside_ranges(first, first + shown, count))
        entries = tuple(PayloadEntry.read(reader) for _ in range(shown))
        siblings = tuple(reader.fixed(HASH_BYTES, "siblings") for _ in outside)
        reader.finish("proof")
        return cls(namespace, count, first, entries, siblings)


@dataclass(frozen=True)
class PayloadList:
    """The entries of a batch. Raises InvalidPayloadList when they are out of order or leave a gap."""

    entries: tuple[PayloadEntry, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        if not 1 <= len(self.entries) <= MAX_ENTRIES:
            raise InvalidPayloadList(None, f"{len(self.entries)} entries are not 1 to {MAX_ENTRIES}")
        for index, (before, entry) in enumerate(pairwise(self.entries), start=1):
            if before.key >= entry.key:
                raise InvalidPayloadList(index, "is not after the entry before it by (namespace, payload_id)")
        next_row = 0
        for index, entry in enumerate(self.entries):
            if entry.first_row != next_row:
                raise InvalidPayloadList(index, f"starts at row {entry.first_row}, not {next_row}")
            next_row = entry.end_row

    @property
    def row_count(self) -> int:
        """Data rows R of the batch."""
        return self.entries[-1].end_row

    @cached_property
    def root(self) -> bytes:
        """The Merkle root over the entries, bytes[32]; the header's payloads_root."""
        return merkle.root(self._leaves)

    @cached_property
    def _leaves(self) -> tuple[bytes, ...]:
        return tuple(entry.encode() for entry in self.entries)

    def encode(self) -> bytes:
        """count u16 | entries of 72 bytes."""
        return u16(len(self.entries)) + b"".join(self._leaves)

    @classmethod
    def decode(cls, list_bytes: bytes | bytearray | memoryview) -> PayloadList:
        """Raises DecodeError (length) or InvalidPayloadList (an entry, the order)."""
        reader = Reader(list_bytes)
        payload_list = cls.read(reader)
        reader.finish("payload list")
        return payload_list

    @classmethod
    def read(cls, reader: Reader) -> PayloadList:
        """The list at the front of `reader`."""
        count = reader.u16("count")
        if not 1 <= count <= MAX_ENTRIES:
            raise InvalidPayloadList(None, f"list must have 1 to {MAX_ENTRIES} entries; got {count}")
        return cls(tuple(PayloadEntry.read(reader) for _ in range(count)))

    def index_of(self, payload_id: bytes, namespace: bytes | None = None) -> int | None:
        """The index of the payload (in that namespace, if one is given); None if it is not in the list."""
        for index, entry in enumerate(self.entries):
            if entry.payload_id == payload_id and namespace in (None, entry.namespace):
                return index
        return None

    def prove(self, index: int) -> InclusionProof:
        """Prove that the entry at `index` is in the list. Raises InvalidProof if there is none."""
        siblings = merkle.prove_inclusion(self._leaves, index)
        return InclusionProof(self.entries[index], index, len(self.entries), siblings)

    def prove_namespace(self, namespace: bytes) -> NamespaceProof:
        """All entries of the namespace, with the proof that there are no others."""
        count = len(self.entries)
        smaller = sum(entry.namespace < namespace for entry in self.entries)
        not_greater = sum(entry.namespace <= namespace for entry in self.entries)
        first, stop = max(0, smaller - 1), min(count, not_greater + 1)
        siblings = merkle.prove_range(self._leaves, first, stop)
        return NamespaceProof(namespace, count, first, self.entries[first:stop], siblings)


def verify_inclusion(root: bytes, proof: InclusionProof) -> bool:
    """Whether the proof's entry is in the list with this root, at its index.

    Raises InvalidProof for impossible positions or a wrong number of siblings.
    """
    _check_count(proof.count)
    return merkle.verify_inclusion(root, proof.entry.encode(), proof.index, proof.count, proof.siblings)


def verify_namespace(root: bytes, namespace: bytes, proof: NamespaceProof) -> bool:
    """Whether `proof.matches` are all the entries of `namespace` in the list with this root.

    The proof relies on lists being sorted, which members check before they attest a header.
    Raises InvalidProof for impossible positions or a wrong number of siblings.
    """
    _check_count(proof.count)
    leaves = [entry.encode() for entry in proof.entries]
    return (
        proof.namespace == namespace
        and _is_whole_range(namespace, proof.first, proof.count, proof.entries)
        and merkle.verify_range(root, leaves, proof.first, proof.count, proof.siblings)
    )


def _is_whole_range(namespace: bytes, first: int, count: int, entries: Sequence[PayloadEntry]) -> bool:
    """Whether consecutive entries of a sorted list reach from before the namespace to after it."""
    if any(before.key >= after.key for before, after in pairwise(entries)):
        return False
    smaller = sum(entry.namespace < namespace for entry in entries)
    greater = sum(entry.namespace > namespace for entry in entries)
    starts = smaller == 1 or (smaller == 0 and first == 0)
    ends = greater == 1 or (greater == 0 and first + len(entries) == count)
    return starts and ends


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_ENTRIES:
        raise InvalidProof(f"list must have 1 to {MAX_ENTRIES} entries; got {count}")
