"""The client against a scripted node: what it sends, how it reads, how often it asks again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from da.client import (
    AsyncCellarClient,
    CellarClient,
    ClientError,
    Conflict,
    Gone,
    InvalidAnswer,
    InvalidInput,
    InvalidOption,
    NodeUnreachable,
    NotAllowed,
    NotKnown,
    NotNow,
    Refused,
    StillWaiting,
)
from da.protocol.header import ZERO_HASH, Header
from da.protocol.merkle import commitments_root
from da.protocol.payload import payload_id
from da.protocol.payload_list import PayloadEntry, PayloadList
from da.protocol.push import RECORD_BYTES
from da.wire import batches
from da.wire.batches import LiveBatch
from da.wire.cells import CORRUPT, NOT_HELD, CellAnswer, Record, decode_query, encode_answer

ID = bytes(range(32))
INFO = {
    "payload_id": "0x" + ID.hex(),
    "namespace": "0x" + "61" + "00" * 31,
    "namespace_label": "a",
    "status": "queued",
    "length": 3,
    "rows": 1,
    "created": True,
}


class Node:
    """Answers from a script, in order; the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        stream = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)


class Time:
    """A clock and a sleep that share one time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []
        monkeypatch.setattr("da.client.blocking.time.sleep", self.sleep)

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Time that passes only by sleeping."""
    return Time(monkeypatch)


@pytest.fixture
def client_of(clock: Time) -> Callable[..., CellarClient]:
    """A client of a scripted node."""

    def make(node: Node, **options: Any) -> CellarClient:
        transport = httpx.MockTransport(node)
        return CellarClient("http://node/", transport=transport, clock=clock, rng=random.Random(1), **options)

    return make


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(
        status, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def error(status: int, name: str, **fields: Any) -> httpx.Response:
    return answer(status, {"error": name, "message": "because", **fields})


def test_a_post_carries_token_bytes_and_namespace(client_of: Callable[..., CellarClient]) -> None:
    node = Node(answer(202, INFO))
    info = client_of(node, token="secret").post("a", b"abc")
    (request,) = node.seen
    assert (request.method, request.url.path) == ("POST", "/v1/payloads")
    assert dict(request.url.params) == {"namespace": "a"}
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.content == b"abc"
    assert (info.payload_id, info.status, info.created, info.certificate) == (ID, "queued", True, None)


def test_a_lost_connection_and_a_busy_node_are_asked_again(
    client_of: Callable[..., CellarClient], clock: Time
) -> None:
    node = Node(
        httpx.ConnectError("refused"),
        answer(503, {"error": "Overloaded", "message": "busy"}, retry_after="3"),
        httpx.ReadTimeout("slow"),
        error(429, "QueueFull"),
        answer(202, INFO),
    )
    assert client_of(node).post("a", b"abc").status == "queued"
    assert len(node.seen) == 5
    assert clock.slept[1] == 3.0, "the node names the time"
    assert all(0.1 <= pause_s <= 2.0 for pause_s in (clock.slept[0], *clock.slept[2:]))
    assert all(request.content == b"abc" for request in node.seen)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotKnown),
        (409, Conflict),
        (410, Gone),
        (413, InvalidInput),
        (415, InvalidInput),
        (422, InvalidInput),
        (500, Refused),
    ],
)
def test_definite_answers_are_not_asked_again(
    client_of: Callable[..., CellarClient], clock: Time, status: int, kind: type[Refused]
) -> None:
    node = Node(error(status, "SomeName", height=7))
    with pytest.raises(kind) as caught:
        client_of(node).status(ID)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.error, caught.value.message) == (status, "SomeName", "because")
    assert caught.value.fields == {"height": 7}
    assert len(node.seen) == 1
    assert clock.slept == []


def test_patience_ends(client_of: Callable[..., CellarClient], clock: Time) -> None:
    with pytest.raises(NodeUnreachable, match="refused"):
        client_of(Node(httpx.ConnectError("refused")), timeout_s=10.0).status(ID)
    assert 5.0 < clock.now_s < 10.0
    with pytest.raises(NotNow):
        client_of(Node(error(503, "ReadOnly")), timeout_s=10.0).status(ID)


def test_a_node_that_asks_for_more_time_than_there_is_ends_it(
    client_of: Callable[..., CellarClient], clock: Time
) -> None:
    busy = answer(
        429, {"error": "RateExceeded", "message": "slow down", "retry_after_s": 60}, retry_after="60"
    )
    with pytest.raises(NotNow) as caught:
        client_of(Node(busy), timeout_s=10.0).post("a", b"abc")
    assert caught.value.fields["retry_after_s"] == 60
    assert clock.slept == []


def test_posting_and_waiting_in_one_call(client_of: Callable[..., CellarClient]) -> None:
    node = Node(answer(200, {**INFO, "status": "certified", "certificate": "0x1234", "batch_height": 5}))
    info = client_of(node).post_and_wait("a", b"abc")
    assert (info.certificate, info.batch_height) == (b"\x12\x34", 5)
    assert node.seen[0].url.params["wait"] == "certified"


def test_a_long_wait_goes_on_by_status_and_posts_once(client_of: Callable[..., CellarClient]) -> None:
    node = Node(
        answer(202, {**INFO, "status": "encoding"}),
        answer(200, {**INFO, "status": "dispersing"}),
        answer(200, {**INFO, "status": "certified", "created": None, "batch_height": 5}),
        answer(200, b"certificate"),
    )
    info = client_of(node).post_and_wait("a", b"abc")
    assert (info.status, info.certificate, info.batch_height, info.created) == (
        "certified",
        b"certificate",
        5,
        True,
    )
    assert [request.method for request in node.seen] == ["POST", "GET", "GET", "GET"]
    assert node.seen[3].url.path.endswith("/certificate")


def test_a_wait_that_is_over_says_where_the_payload_is(
    client_of: Callable[..., CellarClient], clock: Time
) -> None:
    waiting = {**INFO, "status": "dispersing"}
    node = Node(answer(202, waiting), answer(200, waiting))
    with pytest.raises(StillWaiting) as caught:
        client_of(node).post_and_wait("a", b"abc", timeout_s=30.0)
    assert (caught.value.status.status, caught.value.status.payload_id) == ("dispersing", ID)
    assert clock.now_s <= 30.0


@pytest.mark.parametrize(("status", "kind"), [("failed", Conflict), ("expired", Gone)])
def test_a_payload_that_ended_otherwise_is_told(
    client_of: Callable[..., CellarClient], status: str, kind: type[Refused]
) -> None:
    with pytest.raises(kind, match=status):
        client_of(Node(answer(200, {**INFO, "status": status, "reason": "no quorum"}))).wait(ID)


def live_batch() -> dict[str, Any]:
    """A batch of one row, as the API encodes it."""
    commitments = np.full((1, 48), 9, dtype=np.uint8)
    entry = PayloadEntry(b"a".ljust(32, b"\0"), payload_id(100, commitments), 0, 1, 100)
    header = Header(
        chain_id=7,
        disperser_id=bytes(32),
        height=1,
        timestamp_ms=1,
        parent=ZERO_HASH,
        committee_hash=bytes(32),
        row_count=1,
        payloads_root=PayloadList((entry,)).root,
        commitments_root=commitments_root(commitments),
    )
    return batches.encode(
        "live",
        header,
        PayloadList((entry,)),
        certificate=None,
        disperser_signature=bytes(96),
        commitments=commitments,
    )


def test_a_batch_is_checked_against_its_header(client_of: Callable[..., CellarClient]) -> None:
    document = live_batch()
    found = client_of(Node(answer(200, document))).batch(1)
    assert isinstance(found, LiveBatch)
    assert found.header.height == 1
    assert "0x" + found.header.hash.hex() == document["header_hash"]
    assert found.payload_list.entries[0].length == 100
    page = batches.encode_page([document], None)
    (listed,) = client_of(Node(answer(200, page))).batches()
    assert listed.header == found.header


@pytest.mark.parametrize("commitments", [[], ["0x" + "11" * 48]])
@pytest.mark.parametrize("method", ["batch", "batches"])
def test_a_batch_that_does_not_fit_its_header_is_refused(
    client_of: Callable[..., CellarClient], method: str, commitments: list[str]
) -> None:
    document = {**live_batch(), "commitments": commitments}
    body = document if method == "batch" else batches.encode_page([document], None)
    with pytest.raises(InvalidAnswer, match="does not fit its header"):
        getattr(client_of(Node(answer(200, body))), method)(1)


def test_cells_come_in_the_order_asked_for(client_of: Callable[..., CellarClient]) -> None:
    record = Record(b"\x05" * RECORD_BYTES)
    answers: list[CellAnswer] = [record, NOT_HELD, CORRUPT, record]
    node = Node(answer(200, encode_answer(answers)))
    pairs = [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert client_of(node).cells(3, pairs) == answers
    (request,) = node.seen
    assert decode_query(request.content, 4) == pairs
    assert request.headers["content-type"] == "application/json"


def test_the_addresses_are_those_of_the_api(client_of: Callable[..., CellarClient]) -> None:
    node = Node(answer(200, {"batches": [], "next": None}))
    client = client_of(node)
    client.proof(ID, "a")
    client.opening(ID, index=4)
    client.opening(ID, z=bytes(32), row=2)
    client.batches(3, 9, bytes(32))
    client.node()
    client.payload(ID, verify=False)
    client.certificate(ID)
    base = "/v1/payloads/0x" + ID.hex()
    assert [request.url.raw_path.decode() for request in node.seen] == [
        base + "/proof?namespace=a",
        base + "/opening?index=4&row=0",
        base + f"/opening?z=0x{'00' * 32}&row=2",
        f"/v1/batches?from=3&limit=9&disperser=0x{'00' * 32}",
        "/v1/node",
        base,
        base + "/certificate",
    ]


def test_both_clients_have_the_same_methods() -> None:
    def methods(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")} - {"close", "aclose"}

    assert methods(CellarClient) == methods(AsyncCellarClient)


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    from da.client import errors

    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, ClientError):
            assert cls.__name__ in (errors.__doc__ or "")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.mark.anyio
async def test_the_asyncio_client_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)

    monkeypatch.setattr("da.client.asynchronous.asyncio.sleep", sleep)
    node = Node(
        httpx.ConnectError("refused"),
        answer(202, {**INFO, "status": "encoding"}),
        answer(200, {**INFO, "status": "dispersing"}),
        answer(200, {**INFO, "status": "certified"}),
        answer(200, b"certificate"),
        answer(404, {"error": "NotFound", "message": "no"}),
    )
    transport = httpx.MockTransport(node)
    async with AsyncCellarClient(
        "http://node", transport=transport, clock=clock, rng=random.Random(1)
    ) as client:
        info = await client.post_and_wait("a", b"abc")
        assert (info.status, info.certificate) == ("certified", b"certificate")
        with pytest.raises(NotKnown):
            await client.payload(ID, verify=False)
    assert [request.method for request in node.seen] == ["POST", "POST", "GET", "GET", "GET", "GET"]


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 304])
def test_only_the_statuses_of_a_call_are_its_value(
    client_of: Callable[..., CellarClient], status: int
) -> None:
    """A proxy's redirect page is no payload."""
    node = Node(answer(status, b"<html>moved</html>", location="http://elsewhere/"))
    with pytest.raises(InvalidAnswer, match=f"status {status}, expected 200"):
        client_of(node).payload(ID, verify=False)
    assert len(node.seen) == 1


@pytest.mark.parametrize(
    "url", ["", "node:4560", "ftp://node", "http://", "http://node/?x=1", "http://node/#a", "http://[::1"]
)
def test_a_url_that_no_request_can_use_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidOption, match="url must"):
        CellarClient(url)


@pytest.mark.parametrize("token", ["", "top secret", "secret\n", "secr\u00e9t", "\x00"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        CellarClient("http://node", token=token)
    assert not token.strip() or token.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.LocalProtocolError("illegal header"), InvalidOption),
        (httpx.UnsupportedProtocol("gopher"), InvalidOption),
        (httpx.DecodingError("bad gzip"), InvalidAnswer),
    ],
)
def test_what_another_attempt_cannot_mend_is_not_retried(
    client_of: Callable[..., CellarClient], failure: Exception, kind: type[ClientError]
) -> None:
    node = Node(failure)
    with pytest.raises(kind):
        client_of(node).payload(ID, verify=False)
    assert len(node.seen) == 1
