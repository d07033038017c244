"""Objects in memory: the twin of the directory, for tests of the port and of what stands on it.

Invariant: the same contract tests as every other implementation, which only a port that is complete passes.

Does not: outlive its process. What "durable" means here is that it survives the store that used it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import count

from da.store.objects.port import QUARANTINE, Buffer, Key, Listing, ObjectMissing, Objects


class MemoryObjects(Objects):
    """Objects in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[Key, bytes] = {}

    def upload(self, front_bytes: int = 0) -> MemoryUpload:
        """See Objects.upload."""
        return MemoryUpload(self, front_bytes)

    def open(self, key: Key, *, uncached: bool = False) -> MemoryReader:  # nothing is cached
        """See Objects.open."""
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise ObjectMissing(key)
        return MemoryReader(data)

    def exists(self, key: Key) -> bool:
        """See Objects.exists."""
        with self._lock:
            return key in self._objects

    def list(self, bucket: str) -> Listing:
        """See Objects.list."""
        prefix = bucket + "/"
        with self._lock:
            keys = list(self._objects)
        inner = {key.bucket.removeprefix(prefix) for key in keys if key.bucket.startswith(prefix)}
        return Listing(
            frozenset(key.name for key in keys if key.bucket == bucket),
            frozenset(name.split("/")[0] for name in inner),
        )

    def move(self, names: Sequence[str], source: str, target: str) -> None:
        """See Objects.move."""
        with self._lock:
            for name in names:
                if (data := self._objects.pop(Key(source, name), None)) is not None:
                    self._objects[Key(target, name)] = data

    def delete(self, key: Key) -> None:
        """See Objects.delete."""
        with self._lock:
            self._objects.pop(key, None)

    def drop(self, bucket: str) -> None:
        """See Objects.drop."""
        with self._lock:
            for key in list(self._objects):
                if key.bucket == bucket or key.bucket.startswith(bucket + "/"):
                    del self._objects[key]

    def reclaim(self) -> None:
        """See Objects.reclaim: drop frees the room by itself."""

    def quarantine(self, key: Key) -> None:
        """See Objects.quarantine."""
        with self._lock:
            if key not in self._objects:
                raise ObjectMissing(key)
            places = (Key(QUARANTINE, f"{key.name}.{number}") for number in count())
            place = next(place for place in places if place not in self._objects)
            self._objects[place] = self._objects.pop(key)

    def store(self, key: Key, data: bytes) -> None:
        """Makes an object visible: what MemoryUpload.publish does."""
        with self._lock:
            self._objects[key] = data


class MemoryReader:
    """The bytes as they were when the reader was opened."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, offset: int, /) -> bytes:
        """See ObjectReader.read."""
        return self._data[offset : offset + size]

    def size(self) -> int:
        """See ObjectReader.size."""
        return len(self._data)

    def close(self) -> None:
        """See ObjectReader.close."""


class MemoryUpload:
    """Bytes that are not visible yet."""

    def __init__(self, objects: MemoryObjects, front_bytes: int) -> None:
        self._objects = objects
        self._front_bytes = front_bytes
        self._data = bytearray(front_bytes)

    def append(self, data: Buffer) -> None:
        """See Upload.append."""
        self._data += memoryview(data).cast("B")

    def seal(self, front: bytes = b"") -> None:
        """See Upload.seal."""
        assert len(front) == self._front_bytes, "what was reserved is filled"
        self._data[: len(front)] = front

    def publish(self, key: Key) -> None:
        """See Upload.publish."""
        self._objects.store(key, bytes(self._data))

    def discard(self) -> None:
        """See Upload.discard."""
        self._data = bytearray()
