"""A load generator in a process of its own: `python -m benchmarks.load PORT CONNECTIONS SECONDS MOST`.

Reads requests (a JSON list of texts, each a whole HTTP/1.1 request) from standard input, sends them over and
over, one at a time on each connection, and prints what came of it as JSON. It does no more for an answer than
to look at its status and count its bytes, so that it needs far less time than the server does.

Does not: speak to any address but the loopback's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import count
from typing import cast

import uvloop

LOOPBACK = "127.0.0.1"


class Connection(asyncio.Protocol):
    """One connection: a request, its whole answer, the next request."""

    def __init__(self, requests: list[bytes], serial: count[int], until_s: float, most: int) -> None:
        self._requests, self._serial, self._until_s, self._most = requests, serial, until_s, most
        self._buffer = bytearray()
        self._sent_s = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies_s: list[float] = []
        self.body_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        # Not at once: a connection that is closed in here would never be reported as made.
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        number = next(self._serial)
        self._sent_s = time.perf_counter()
        if self._sent_s >= self._until_s or number >= self._most:
            self._transport.close()
            return
        self._transport.write(self._requests[number % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            self.done.set_exception(RuntimeError(f"answer {head[:60]!r}"))
            self._transport.close()
            return
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self.latencies_s.append(time.perf_counter() - self._sent_s)
        self.body_bytes += length
        self._buffer.clear()
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def run(
    port: int, connections: int, seconds: float, most: int, requests: list[bytes]
) -> dict[str, object]:
    """Load until the time is over or enough requests were sent."""
    loop = asyncio.get_running_loop()
    serial, started_s, cpu_s = count(), time.perf_counter(), time.process_time()
    made = [
        await loop.create_connection(
            lambda: Connection(requests, serial, started_s + seconds, most), LOOPBACK, port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    elapsed_s = time.perf_counter() - started_s
    latencies_s = sorted(latency for _, protocol in made for latency in protocol.latencies_s)
    return {
        "requests": len(latencies_s),
        "elapsed_s": elapsed_s,
        "per_second": len(latencies_s) / elapsed_s,
        "p50_ms": 1000 * latencies_s[len(latencies_s) // 2],
        "p99_ms": 1000 * latencies_s[len(latencies_s) * 99 // 100],
        "body_bytes": sum(protocol.body_bytes for _, protocol in made),
        "generator_cpu": (time.process_time() - cpu_s) / elapsed_s,
    }


def main() -> None:
    """Read, load, print."""
    port, connections, seconds, most = sys.argv[1:]
    requests = [text.encode() for text in json.load(sys.stdin)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(int(port), int(connections), float(seconds), int(most), requests))))


if __name__ == "__main__":
    main()
