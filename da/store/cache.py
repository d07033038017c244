"""Two bounded caches: decoded batches, and open batch files.

The idea: a hot read must cost no index query and no open(2), so the layout and descriptor of the batches read
last stay at hand. A file in use is pinned: evicting it only takes it out of the cache, and the last user
closes it.

Invariants: at most `capacity` entries are kept; what was loaded before an invalidation is never kept after
it, so a reader that raced with a writer cannot leave a stale entry behind.

Does not: load anything; the loader is a parameter.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from da.store.batch_file import Layout

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


class OpenFile:
    """An open batch file. Use between HandleCache.acquire and release."""

    __slots__ = ("cached", "fd", "layout", "pins")

    def __init__(self, fd: int, layout: Layout) -> None:
        self.fd = fd
        self.layout = layout
        self.pins = 1
        self.cached = False


class HandleCache:
    """Open files by header hash, the ones used last. `opener` returns a new OpenFile."""

    def __init__(self, capacity: int, opener: Callable[[bytes], OpenFile]) -> None:
        self._capacity = capacity
        self._opener = opener
        self._lock = threading.Lock()
        self._files: OrderedDict[bytes, OpenFile] = OrderedDict()
        self._epoch = 0

    def acquire(self, header_hash: bytes) -> OpenFile:
        """The open file, pinned. Raises what the opener raises."""
        with self._lock:
            file = self._files.get(header_hash)
            if file is not None:
                self._files.move_to_end(header_hash)
                file.pins += 1
                return file
            epoch = self._epoch
        file = self._opener(header_hash)
        with self._lock:
            if epoch == self._epoch and header_hash not in self._files:
                file.cached = True
                self._files[header_hash] = file
                if len(self._files) > self._capacity:
                    self._evict(next(iter(self._files)))
        return file

    def release(self, file: OpenFile) -> None:
        """Unpins; closes a file that is no longer in the cache when its last user is done."""
        with self._lock:
            file.pins -= 1
            if file.pins == 0 and not file.cached:
                os.close(file.fd)

    def invalidate(self, header_hash: bytes) -> None:
        """Takes a file out, and what is being opened just now."""
        with self._lock:
            self._epoch += 1
            if header_hash in self._files:
                self._evict(header_hash)

    def clear(self) -> None:
        """Takes all files out."""
        with self._lock:
            self._epoch += 1
            for header_hash in list(self._files):
                self._evict(header_hash)

    def __len__(self) -> int:
        return len(self._files)

    def _evict(self, header_hash: bytes) -> None:
        file = self._files.pop(header_hash)
        file.cached = False
        if file.pins == 0:
            os.close(file.fd)
