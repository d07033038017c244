"""Two bounded caches: decoded batches, and open ones.

The idea: a hot read must cost no query of the catalogue and no opening of an object, so the layout and the
reader of the batches read last are kept. A batch in use is pinned: evicting it only takes it out of the
cache, and the last user closes it.

Invariants: at most `capacity` entries are kept; what was loaded before an invalidation is never kept after
it, so a reader that raced with a writer cannot leave a stale entry behind.

Does not: load anything; the loader is a parameter.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from da.store.batch_file import Layout
from da.store.objects.port import ObjectReader

V = TypeVar("V")


class LruCache(Generic[V]):
    """Values by header hash, the ones used last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._values: OrderedDict[bytes, V] = OrderedDict()
        self._epoch = 0

    def get(self, key: bytes, load: Callable[[bytes], V]) -> V:
        """The value, loaded when it is not there. Raises what `load` raises."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
                return value
            epoch = self._epoch
        value = load(key)
        with self._lock:
            if epoch == self._epoch:
                self._values[key] = value
                if len(self._values) > self._capacity:
                    self._values.popitem(last=False)
        return value

    def invalidate(self, key: bytes) -> None:
        """Forgets a value, and what is being loaded just now."""
        with self._lock:
            self._epoch += 1
            self._values.pop(key, None)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._epoch += 1
            self._values.clear()


class OpenBatch:
    """An open batch. Use between HandleCache.acquire and release."""

    __slots__ = ("cached", "layout", "pins", "reader")

    def __init__(self, reader: ObjectReader, layout: Layout) -> None:
        self.reader = reader
        self.layout = layout
        self.pins = 1
        self.cached = False


class HandleCache:
    """Open batches by header hash, the ones used last. `opener` returns a new OpenBatch."""

    def __init__(self, capacity: int, opener: Callable[[bytes], OpenBatch]) -> None:
        self._capacity = capacity
        self._opener = opener
        self._lock = threading.Lock()
        self._batches: OrderedDict[bytes, OpenBatch] = OrderedDict()
        self._epoch = 0

    def acquire(self, header_hash: bytes) -> OpenBatch:
        """The open batch, pinned. Raises what the opener raises."""
        with self._lock:
            batch = self._batches.get(header_hash)
            if batch is not None:
                self._batches.move_to_end(header_hash)
                batch.pins += 1
                return batch
            epoch = self._epoch
        batch = self._opener(header_hash)
        with self._lock:
            if epoch == self._epoch and header_hash not in self._batches:
                batch.cached = True
                self._batches[header_hash] = batch
                if len(self._batches) > self._capacity:
                    self._evict(next(iter(self._batches)))
        return batch

    def release(self, batch: OpenBatch) -> None:
        """Unpins; closes a batch that is no longer in the cache when its last user is done."""
        with self._lock:
            batch.pins -= 1
            if batch.pins == 0 and not batch.cached:
                batch.reader.close()

    def invalidate(self, header_hash: bytes) -> None:
        """Takes a batch out, and what is being opened just now."""
        with self._lock:
            self._epoch += 1
            if header_hash in self._batches:
                self._evict(header_hash)

    def clear(self) -> None:
        """Takes all batches out."""
        with self._lock:
            self._epoch += 1
            for header_hash in list(self._batches):
                self._evict(header_hash)

    def __len__(self) -> int:
        return len(self._batches)

    def _evict(self, header_hash: bytes) -> None:
        batch = self._batches.pop(header_hash)
        batch.cached = False
        if batch.pins == 0:
            batch.reader.close()
