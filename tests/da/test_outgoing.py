"""Every program that makes HTTP requests, against one server that means harm.

Whatever it answers, the next request to an honest server is byte for byte what it would have been, its words
come out as one clean line, and nothing is followed, unpacked or kept.
"""

from __future__ import annotations

import ast
import asyncio
import gzip
import io
import json
import logging
import random
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import da
import light_client
from da import bls, outgoing
from da.client import AsyncCellarClient, CellarClient, ClientError
from da.console.logs import JsonFormatter, TextFormatter
from da.devnet.committee import why_not_ready
from da.errors import PeerError
from da.pool import FIELD_BYTES_MAX, HEADERS_MAX
from da.protocol.committee import Member
from da.transport.http import HttpTransport
from da.wire import payloads
from light_client.errors import PeerError as LightPeerError
from light_client.peers import MemberClient, aiohttp_transports

SECRET = bytes(31) + b"\5"
HASH = bytes(range(32))
ID = bytes(32)
# What every program here reads: a node's description and a payload's status in one.
BODY = json.dumps(
    {"time_ms": 1, **payloads.encode(payloads.PayloadInfo(ID, bytes(32), "queued", 1, 1))}
).encode()
HONEST = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
FORGED = "no\n2026-11-30 00:00:00,000 ERROR   cellar.node: FORGED\x1b[31m\x9b2J\u202e\u2028[bold]"


class Server:
    """Answers each request with the bytes of a function, and keeps the heads it saw. On loopback."""

    def __init__(self, answer: Callable[[], bytes]) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.asked = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        # By name, since some cookie jars take nothing from a bare address.
        self.url = f"http://localhost:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        waiting = b""
        try:
            while part := connection.recv(65536):
                waiting += part
                while b"\r\n\r\n" in waiting:
                    head, _, waiting = waiting.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    self.asked.release()
                    connection.sendall(self.answer())
        except OSError:
            pass
        connection.close()

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def member(url: str) -> Member:
    return Member(
        name="peer",
        url=url,
        public_key=bls.public_key(SECRET),
        proof_of_possession=bls.prove_possession(SECRET),
        stake=1,
    )


Ask = Callable[[str], str | None]
"""One request to the server at a URL, always with the same client; what the program would show or log."""


@contextmanager
def node_transport() -> Iterator[Ask]:
    with asyncio.Runner() as runner:
        transport = runner.run(_made(HttpTransport))

        def ask(url: str) -> str | None:
            try:
                runner.run(transport.get_time(member(url), 5.0))
            except PeerError as error:
                return str(error)
            return None

        yield ask
        runner.run(transport.aclose())


@contextmanager
def light_client_members() -> Iterator[Ask]:
    with asyncio.Runner() as runner:
        transports, clients = aiohttp_transports(), dict[str, MemberClient]()

        async def exchange(url: str) -> None:
            if url not in clients:
                clients[url] = MemberClient(0, member(url), transports(member(url)))
            await clients[url].batch_of_payload(ID, 5.0)

        def ask(url: str) -> str | None:
            try:
                runner.run(exchange(url))
            except LightPeerError as error:
                return str(error)
            return None

        yield ask
        for each in clients.values():
            runner.run(each.close())


@contextmanager
def blocking_client() -> Iterator[Ask]:
    with CellarClient(timeout_s=0.1) as client:

        def ask(url: str) -> str | None:
            client._session.url = url
            try:
                client.node()
            except ClientError as error:
                return str(error)
            return None

        yield ask


@contextmanager
def async_client() -> Iterator[Ask]:
    with asyncio.Runner() as runner:
        client = AsyncCellarClient(timeout_s=0.1)

        def ask(url: str) -> str | None:
            client._session.url = url
            try:
                runner.run(client.node())
            except ClientError as error:
                return str(error)
            return None

        yield ask
        runner.run(client.aclose())


@contextmanager
def devnet() -> Iterator[Ask]:
    with outgoing.client(trust_env=False, timeout_s=2.0) as http:
        yield lambda url: why_not_ready(url, http)


async def _made(factory: Callable[[], Any]) -> Any:
    return factory()


PROGRAMS = [node_transport, light_client_members, blocking_client, async_client, devnet]


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.__name__)
def program(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return request.param


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[], bytes]], Server]]:
    with ExitStack() as stack:

        def make(answer: Callable[[], bytes]) -> Server:
            server = Server(answer)
            stack.callback(server.close)
            return server

        yield make


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Harm:
    """Answers of each kind; a new one each time."""

    def __init__(self, elsewhere: str) -> None:
        self._elsewhere = elsewhere
        self._rng = random.Random(3)
        self._count = 0

    def cookies(self) -> bytes:
        self._count += 1
        names = [f"c{self._count}x{i}" for i in range(40)]
        lines = [f"Set-Cookie: {name}={'x' * 1000}; Path=/" for name in names]
        return answer(
            "200 OK", b"{}", *lines, "Set-Cookie: wide=1; Domain=localhost; Path=/; Max-Age=9999999"
        )

    def cookies_of_an_error(self) -> bytes:
        self._count += 1
        lines = [f"Set-Cookie: e{self._count}x{i}={'x' * 1000}; Path=/" for i in range(40)]
        return answer("429 Too Many Requests", b'{"error":"QueueFull","message":"no"}', *lines)

    def cookie_flood(self) -> bytes:
        return answer(
            "429 Too Many Requests", b"{}", *(f"Set-Cookie: f{i}={'x' * 7000}; Path=/" for i in range(60))
        )

    def long_header(self) -> bytes:
        return answer("200 OK", b"{}", "X-Long: " + "x" * 300_000)

    def many_headers(self) -> bytes:
        return answer("200 OK", b"{}", *(f"X-{i}: x" for i in range(50_000)))

    def redirect(self) -> bytes:
        self._count += 1
        status = (301, 302, 303, 307, 308)[self._count % 5]
        return answer(f"{status} Elsewhere", BODY, f"Location: {self._elsewhere}/internal")

    def gzip_bomb(self) -> bytes:
        return answer("200 OK", BOMB, "Content-Encoding: gzip")

    def bomb_of_an_error(self) -> bytes:
        return answer("503 Service Unavailable", BOMB, "Content-Encoding: gzip")

    def forged_lines(self) -> bytes:
        body = {"error": "Foo" + FORGED, "message": FORGED * 50, "reason": FORGED, FORGED: FORGED}
        return answer("409 Conflict", json.dumps(body).encode())

    def forged_text(self) -> bytes:
        return answer("503 " + FORGED.splitlines()[0], FORGED.encode())

    def random_names(self) -> bytes:
        name = self._rng.randbytes(10_000).hex()
        return answer("409 Conflict", json.dumps({"error": name, "message": "m", name: name}).encode())

    def many_fields(self) -> bytes:
        body = {"error": "X", "message": "m"} | {f"f{i}": [i] * 3 for i in range(5000)}
        return answer("409 Conflict", json.dumps(body).encode()[:60_000])


BOMB = gzip.compress(bytes(50_000_000))
KINDS = [name for name in vars(Harm) if not name.startswith("_")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_changes_nothing_for_others(program: Any, serve: Any, kind: str) -> None:
    elsewhere, honest = serve(lambda: HONEST), serve(lambda: HONEST)
    harmful = serve(getattr(Harm(elsewhere.url), kind))
    with program() as ask:
        expected = ask(honest.url), honest.heads[-1]
    log = io.StringIO()
    with program() as ask, logging_to(log):
        for _ in range(5):
            shown = ask(harmful.url)
            if shown is not None:
                assert shown.isprintable()
                assert len(shown) <= 1000
                logging.getLogger("cellar.test").warning("failed: %s", shown)
            assert (ask(honest.url), honest.heads[-1]) == expected
    assert harmful.heads
    assert not elsewhere.heads, "a redirect was followed"
    assert b"cookie" not in b"".join(harmful.heads + honest.heads).lower()
    for line in log.getvalue().split("\n"):
        assert line.isprintable()
        assert line == "" or line[0] in "2{", "a record, not a part of one"
        assert "FORGED" not in line[:60]


@pytest.mark.parametrize("kind", ["redirect", "gzip_bomb", "bomb_of_an_error", "long_header", "many_headers"])
def test_what_was_not_asked_for_is_no_success(program: Any, serve: Any, kind: str) -> None:
    harmful = serve(getattr(Harm("http://localhost:1"), kind))
    with program() as ask:
        for _ in range(5):
            assert ask(harmful.url) is not None


def test_nothing_is_unpacked(program: Any, serve: Any) -> None:
    harmful = serve(Harm("").gzip_bomb)
    with program() as ask:
        ask(harmful.url)  # what is loaded once does not count
        tracemalloc.start()
        try:
            ask(harmful.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 5_000_000
    assert all(b"accept-encoding: identity" in head.lower() for head in harmful.heads)


def test_an_answer_is_read_up_to_a_limit(program: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for client in ("blocking", "asynchronous"):
        monkeypatch.setattr(f"da.client.{client}.ANSWER_BYTES_MAX", 2**20)
    long = b'{"time_ms": 1, "x": "' + b"x" * 4_000_000 + b'"}'
    endless = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b" " * 2**20 + b"\r\n"
    )
    for body in (answer("200 OK", long), endless * 1 + (b"100000\r\n" + b" " * 2**20 + b"\r\n") * 3):
        harmful = serve(lambda body=body: body)
        with program() as ask:
            assert ask(harmful.url) is not None


@pytest.mark.parametrize("program", [node_transport, light_client_members], ids=["node", "light client"])
def test_bytes_after_an_answer_are_not_the_next_answer(program: Any, serve: Any) -> None:
    harmful = serve(lambda: HONEST + answer("409 Conflict", b'{"error":"Planted","message":"m"}'))
    with program() as ask:
        expected = ask(harmful.url)
        for _ in range(3):
            assert ask(harmful.url) == expected
    assert harmful.connections == 4, "no connection that has said too much is used again"


@pytest.mark.parametrize("program", [node_transport, light_client_members], ids=["node", "light client"])
def test_heads_within_the_limits_are_taken(program: Any, serve: Any) -> None:
    most = [f"X-{i}: {'x' * 1000}" for i in range(HEADERS_MAX - 10)]
    server = serve(lambda: answer("200 OK", BODY, *most, "X: " + "x" * (FIELD_BYTES_MAX - 100)))
    with program() as ask:
        assert ask(server.url) is None


def test_a_peer_that_does_not_answer_takes_no_connection_of_others(serve: Any) -> None:
    honest = serve(lambda: HONEST)
    silent = [serve(lambda: b"") for _ in range(4)]

    def all_were_asked_twice() -> bool:
        return all(server.asked.acquire(timeout=30) for server in silent for _ in range(2))

    async def main() -> None:
        # Of its own, since the loop's default one looks up names.
        with ThreadPoolExecutor(1) as waiter:
            await ask(waiter)

    async def ask(waiter: ThreadPoolExecutor) -> None:
        async with HttpTransport(connections_per_member=2) as transport:
            held = [
                asyncio.create_task(transport.get_time(member(server.url), 60.0))
                for server in silent
                for _ in range(100)
            ]
            waiting = asyncio.get_running_loop().run_in_executor(waiter, all_were_asked_twice)
            assert await waiting
            assert await transport.get_time(member(honest.url), 30.0) == 1
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)
        assert [server.connections for server in silent] == [2] * 4

    asyncio.run(main())


def test_clients_are_made_in_one_place_alone() -> None:
    """A client made elsewhere would keep cookies; one that is passed to the factory is not."""
    makers = {
        "Client",
        "AsyncClient",
        "ClientSession",
        "TCPConnector",
        "AiohttpTransport",
        "HttpxAiohttpClient",
    }
    at_once = {"get", "post", "put", "request", "stream", "head", "delete", "patch", "options"}
    found: dict[str, set[str]] = {}
    for package in (da, light_client):
        root = Path(package.__path__[0])
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                name = called.rpartition(".")[2]
                if name in makers or (called.startswith(("httpx.", "aiohttp.")) and name in at_once):
                    found.setdefault(f"{root.name}/{path.relative_to(root)}", set()).add(name)
    assert found == {
        "da/outgoing.py": {"Client", "AsyncClient"},
        "da/pool.py": {"ClientSession", "TCPConnector", "AiohttpTransport"},
    }


@contextmanager
def logging_to(stream: io.StringIO) -> Iterator[None]:
    """All log records of the process, those of libraries too, as the programs write them."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    handlers: list[logging.Handler] = []
    for formatter in (TextFormatter(), JsonFormatter()):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        handlers.append(handler)
    root.handlers[:] = handlers
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
