"""A process that writes batches until it is killed; what it says on stdout was promised to be durable.

Usage: crash_writer.py DIRECTORY FIRST_HEIGHT. Lines: "put H", "certificate H", "columns H".
"""

from __future__ import annotations

import sys
from itertools import count

from da.store.embedded import EmbeddedStore
from tests.da.store.support import certificate_of, make_batch


def main() -> None:
    store = EmbeddedStore(sys.argv[1], reserve_bytes=0)
    for height in count(int(sys.argv[2])):
        batch = make_batch(height)
        batch.put(store)
        print(f"put {height}", flush=True)
        store.put_certificate(batch.hash, certificate_of(batch))
        print(f"certificate {height}", flush=True)
        store.add_columns(batch.hash, batch.columns((64,)))
        print(f"columns {height}", flush=True)


if __name__ == "__main__":
    main()
