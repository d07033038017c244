"""The port of the objects: immutable byte strings under a bucket and a name.

The idea: the store keeps a batch in one object, and everything that it knows of where bytes lie is a key. An
object is written once, as a stream, and becomes visible whole; it is read in ranges; a bucket is dropped at
once. So a directory, the memory of a process, or an object store on the network can hold the same bytes.

Invariants of every implementation:
- an object is visible whole or not at all, whenever the process or the machine stops;
- put, publish, move, drop and quarantine return only when the result would survive a power cut;
- a reader returns bytes of the one object that it opened, even when the key was written again meanwhile;
- all methods may be called from many threads at once; an Upload and its calls belong to one thread.

A bucket is a path of names with "/" between them, such as "buckets/20261122T000000Z-86400s", and need not be
made: it exists while something is in it (a directory keeps an empty one too).

Every method may raise OSError when the medium fails, with errno ENOSPC or EDQUOT when there is no room.

Does not: check the bytes (every format of the store has checksums of its own); lock out another process; know
batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from da.store.errors import StoreError

# Where quarantined objects are listed and read, as "<name>.<number>". Nothing in it is ever dropped.
QUARANTINE = "quarantine"

Buffer = bytes | bytearray | memoryview


class ObjectMissing(StoreError):
    """No object has that key, or the one being read was dropped meanwhile."""

    def __init__(self, key: Key) -> None:
        super().__init__(f"no object {key}")
        self.key = key


class Key(NamedTuple):
    """The bucket and the name of an object. Shown as "bucket/name"."""

    bucket: str
    name: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies directly in a bucket: names of objects, and last parts of the names of buckets in it."""

    objects: frozenset[str] = frozenset()
    buckets: frozenset[str] = frozenset()


class ObjectReader(Protocol):
    """One object, open for reading from any thread. Ends by close()."""

    def read(self, size: int, offset: int, /) -> bytes:
        """`size` bytes from `offset`; fewer where the object ends, none beyond. Raises ObjectMissing."""
        ...

    def size(self) -> int:
        """Bytes of the object."""
        ...

    def close(self) -> None:
        """Releases what the reader holds. Called once, when nobody reads any more."""
        ...


class Upload(Protocol):
    """An object being written, visible to nobody. Ends by publish() or discard()."""

    def append(self, data: Buffer) -> None:
        """Adds bytes at the end. The caller may change `data` after."""
        ...

    def seal(self, front: bytes = b"") -> None:
        """Ends the stream: writes `front` into the bytes reserved for it, and makes all bytes durable."""
        ...

    def publish(self, key: Key) -> None:
        """Gives the sealed object its key, durably, in place of an object that has it."""
        ...

    def discard(self) -> None:
        """Removes what was written; does nothing after publish(). Does not raise."""
        ...


class Objects(Protocol):
    """See the module docstring for the invariants."""

    def put(self, key: Key, chunks: Iterable[Buffer]) -> None:
        """Stores the chunks as one object, durably, in place of an object that has the key.

        Raises whatever `chunks` raises, with nothing stored.
        """
        upload = self.upload()
        try:
            for chunk in chunks:
                upload.append(chunk)
            upload.seal()
            upload.publish(key)
        finally:
            upload.discard()

    def upload(self, front_bytes: int = 0) -> Upload:
        """Begins an object. Its first `front_bytes` are reserved for what is known when the stream ends."""
        ...

    def open(self, key: Key, *, uncached: bool = False) -> ObjectReader:
        """A reader of the object. `uncached`: bytes come from the medium, not from a cache in memory.

        Raises: ObjectMissing.
        """
        ...

    def exists(self, key: Key) -> bool:
        """Whether an object has the key."""
        ...

    def list(self, bucket: str) -> Listing:
        """What lies in a bucket, foreign objects too; nothing for a bucket that does not exist."""
        ...

    def move(self, names: Sequence[str], source: str, target: str) -> None:
        """Moves objects to another bucket, in this order, durably; names that do not exist are skipped."""
        ...

    def delete(self, key: Key) -> None:
        """Removes an object, unless it is gone already. A power cut may bring it back."""
        ...

    def drop(self, bucket: str) -> None:
        """Removes a bucket with all that is in it, durably and at once; its room is freed by reclaim()."""
        ...

    def reclaim(self) -> None:
        """Frees the room of dropped buckets. Takes as long as they are large."""
        ...

    def quarantine(self, key: Key) -> None:
        """Moves an object into QUARANTINE, durably, where it replaces nothing and its bytes are kept.

        Raises: ObjectMissing.
        """
        ...


def read_all(objects: Objects, key: Key, limit: int | None = None) -> bytes:
    """The bytes of an object, at most `limit` of them. Raises ObjectMissing."""
    reader = objects.open(key)
    try:
        size = reader.size()
        return reader.read(size if limit is None else min(size, limit), 0)
    finally:
        reader.close()
