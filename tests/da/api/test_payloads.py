"""Posting, following and reading payloads over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from da.errors import NotFound
from da.node import Status
from da.protocol import namespace as namespaces
from da.tokens import TokenConfig, new_token, token_digest

pytestmark = pytest.mark.anyio

ID = "0x" + "00" * 32
POST = "/v1/payloads?namespace=rollup-a"


async def test_a_post_is_taken_with_an_address_to_follow_it(node, client: httpx.AsyncClient) -> None:
    answer = await client.post(POST, content=b"abc")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/payloads/{ID}/status?namespace=rollup-a"
    body = answer.json()
    assert body["payload_id"] == ID
    assert (body["status"], body["created"], body["length"]) == ("queued", True, 3)
    assert body["namespace_label"] == "rollup-a"
    assert node.posted == [(namespaces.parse("rollup-a"), b"abc")]
    assert (await client.get(answer.headers["location"])).status_code == 200


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "Application/Octet-Stream; x=y"])
async def test_octets_with_or_without_a_content_type(
    node, client: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await client.post(POST, content=b"abc", headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data", ""])
async def test_other_media_types_are_refused(node, client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post(POST, content=b"abc", headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (415, "UnsupportedMediaType")
    assert node.posted == []


@pytest.mark.parametrize("namespace", ["", "UPPER", "a b", "x" * 33, "0x12", "0x" + "zz" * 32, "é"])
async def test_a_bad_namespace_is_refused(node, client: httpx.AsyncClient, namespace: str) -> None:
    answer = await client.post("/v1/payloads", params={"namespace": namespace}, content=b"abc")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidParameter")
    assert answer.json()["parameter"] == "namespace"
    assert node.posted == []


async def test_a_node_that_is_no_disperser_reads_nothing(
    node, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    """Whatever the rest: a client must learn that it talks to the wrong node, not that its token is bad."""
    node.is_disperser = False
    answer = await make_client(open_posting=False).post(POST, content=b"abc")
    assert (answer.status_code, answer.json()["error"]) == (403, "NotADisperser")
    assert node.posted == []


async def test_who_posted_what_is_logged(
    node, guarded: httpx.AsyncClient, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cellar.api")
    await guarded.post(POST, content=b"abc", headers={"authorization": f"Bearer {token}"})
    assert f"rollup posted 3 bytes under rollup-a: {ID}" in caplog.text
    assert token not in caplog.text


async def test_an_empty_payload_is_refused(node, client: httpx.AsyncClient) -> None:
    answer = await client.post(POST, content=b"")
    assert (answer.status_code, answer.json()["error"]) == (400, "EmptyPayload")
    assert node.posted == []


async def test_the_longest_payload_passes_and_one_byte_more_does_not(
    node, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    client = make_client(payload_bytes_max=100)
    assert (await client.post(POST, content=bytes(100))).status_code == 202
    answer = await client.post(POST, content=bytes(101))
    assert (answer.status_code, answer.json()["error"]) == (413, "BodyTooLarge")
    assert answer.json()["limit_bytes"] == 100
    assert len(node.posted) == 1


async def test_a_chunked_body_is_cut_at_the_limit(
    node, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    client = make_client(payload_bytes_max=100)
    produced = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(1000):
            produced += 1
            yield bytes(30)

    answer = await client.post(POST, content=endless())
    assert (answer.status_code, answer.json()["error"]) == (413, "BodyTooLarge")
    assert node.posted == []


async def test_waiting_gives_the_certificate(node, client: httpx.AsyncClient) -> None:
    answer = await client.post(POST + "&wait=certified", content=b"abc")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "certified"
    assert bytes.fromhex(body["certificate"][2:]) == b"certificate"
    assert body["batch_height"] == 1


async def test_waiting_too_long_gives_the_address(node, client: httpx.AsyncClient) -> None:
    node.status = Status.DISPERSING
    answer = await client.post(POST + "&wait=certified&timeout_s=0.5", content=b"abc")
    assert answer.status_code == 202
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["location"].endswith("/status?namespace=rollup-a")
    assert answer.json()["certificate"] is None
    assert ("wait_certified", 0.5) in node.asked


async def test_waiting_is_bounded_by_the_settings(
    node, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    client = make_client(certified_wait_s_max=3.0)
    await client.post(POST + "&wait=certified&timeout_s=999", content=b"abc")
    assert ("wait_certified", 3.0) in node.asked


@pytest.mark.parametrize("timeout_s", ["0", "-1", "nan", "inf", "1e9", "x", ""])
async def test_a_bad_wait_is_refused(node, client: httpx.AsyncClient, timeout_s: str) -> None:
    answer = await client.post(
        "/v1/payloads", params={"namespace": "a", "wait": "certified", "timeout_s": timeout_s}, content=b"abc"
    )
    assert (answer.status_code, answer.json()["parameter"]) == (400, "timeout_s")
    assert node.posted == []


async def test_waiting_for_a_payload_that_fails_says_why(node, client: httpx.AsyncClient) -> None:
    node.status = Status.FAILED
    answer = await client.post(POST + "&wait=certified", content=b"abc")
    assert (answer.status_code, answer.json()["error"]) == (409, "PayloadFailed")
    assert answer.json()["reason"] == "no quorum"


async def test_the_bytes_come_back_for_ever_the_same(node, client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/payloads/{ID}")
    assert (answer.status_code, answer.content) == (200, b"abc")
    assert "immutable" in answer.headers["cache-control"]
    etag = answer.headers["etag"]
    again = await client.get(f"/v1/payloads/{ID}", headers={"if-none-match": f'"x", W/{etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert node.asked.count(("payload_bytes", bytes(32))) == 1, "a known ETag costs the node nothing"


@pytest.mark.parametrize(
    "text", ["1", "0x", "0x12", "0x" + "0" * 63, "0x" + "g" * 64, "00" * 32, "0X" + "0" * 64]
)
@pytest.mark.parametrize("suffix", ["", "/status", "/certificate", "/proof", "/opening?index=0"])
async def test_a_bad_id_is_refused(client: httpx.AsyncClient, text: str, suffix: str) -> None:
    answer = await client.get(f"/v1/payloads/{text}{suffix}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "payload_id")


async def test_an_unknown_payload_is_unknown(node, client: httpx.AsyncClient) -> None:
    node.payloads.clear()
    answer = await client.get(f"/v1/payloads/{ID}")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


@pytest.mark.parametrize(
    "query",
    ["", "z=0x00&index=1", "z=0x00", "index=-1", "index=x", "index=9999999", "z=0x" + "00" * 32 + "&row=256"],
)
async def test_a_bad_opening_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/payloads/{ID}/opening?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidParameter")


@pytest.fixture
def token() -> str:
    """A fresh API token."""
    return new_token()


@pytest.fixture
def guarded(make_client: Callable[..., httpx.AsyncClient], token: str) -> httpx.AsyncClient:
    """A client of a node with one token."""
    entry = TokenConfig(
        name="rollup",
        sha256=token_digest(token),
        namespaces=("rollup-*",),
        bytes_per_second=1,
        burst_bytes=10,
    )
    return make_client(tokens=(entry,), open_posting=False)


async def test_a_token_lets_post(node, guarded: httpx.AsyncClient, token: str) -> None:
    answer = await guarded.post(POST, content=b"abc", headers={"authorization": f"bearer {token}"})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, "MissingToken"),
        ("Bearer wrong", "UnknownToken"),
        ("Basic abc", "UnknownToken"),
        ("", "UnknownToken"),
    ],
)
async def test_without_the_token_nothing_is_read(
    node, guarded: httpx.AsyncClient, header: str | None, error: str
) -> None:
    headers = {} if header is None else {"authorization": header}
    answer = await guarded.post(POST, content=b"abc", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, error)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert node.posted == []


async def test_a_token_is_held_to_its_namespaces(node, guarded: httpx.AsyncClient, token: str) -> None:
    answer = await guarded.post(
        "/v1/payloads?namespace=other", content=b"abc", headers={"authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.json()["error"]) == (403, "NamespaceForbidden")
    assert node.posted == []


async def test_a_token_is_held_to_its_rate(node, guarded: httpx.AsyncClient, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    assert (await guarded.post(POST, content=bytes(10), headers=headers)).status_code == 202
    answer = await guarded.post(POST, content=bytes(10), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (429, "RateExceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert len(node.posted) == 1


async def test_more_than_the_burst_never_passes(node, guarded: httpx.AsyncClient, token: str) -> None:
    answer = await guarded.post(POST, content=bytes(11), headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (413, "BurstTooSmall")


async def test_without_tokens_and_without_leave_posting_is_closed(
    node, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    answer = await make_client(open_posting=False).post(POST, content=b"abc")
    assert (answer.status_code, answer.json()["error"]) == (403, "PostingClosed")


@pytest.mark.parametrize("header", ["content-encoding", "transfer-encoding"])
async def test_a_compressed_body_is_refused_rather_than_stored(
    node, client: httpx.AsyncClient, header: str
) -> None:
    coding = {"content-encoding": "gzip", "transfer-encoding": "gzip, chunked"}[header]
    answer = await client.post("/v1/payloads?namespace=a", content=b"abc", headers={header: coding})
    assert (answer.status_code, answer.json()["error"]) == (415, "UnsupportedMediaType")
    assert node.posted == []
    plain = {"content-encoding": "identity", "transfer-encoding": "chunked"}[header]
    answer = await client.post("/v1/payloads?namespace=a", content=b"abc", headers={header: plain})
    assert answer.status_code == 202


async def test_an_unknown_payload_takes_no_memory_from_those_who_read(
    node, make_client: Callable[..., httpx.AsyncClient]
) -> None:
    asked, told = asyncio.Event(), asyncio.Event()
    known_status = node.payload_status

    async def ask_the_peers(payload_id: bytes, namespace: bytes | None = None) -> Any:
        if payload_id in node.payloads:
            return await known_status(payload_id, namespace)
        asked.set()
        await told.wait()
        raise NotFound("payload", "0x" + payload_id.hex())

    node.payload_status = ask_the_peers
    client = make_client(payload_bytes_max=3, read_inflight_bytes_max=3, read_wait_s=0.0)
    unknown = asyncio.ensure_future(client.get("/v1/payloads/0x" + "ee" * 32))
    await asked.wait()
    assert (await client.get("/v1/payloads/0x" + "00" * 32)).content == b"abc"
    told.set()
    assert (await unknown).status_code == 404


async def test_any_tag_is_one_only_of_a_payload_that_is_there(node, client: httpx.AsyncClient) -> None:
    anything = {"if-none-match": "*"}
    known = await client.get("/v1/payloads/0x" + "00" * 32, headers=anything)
    assert (known.status_code, known.content) == (304, b"")
    unknown = await client.get("/v1/payloads/0x" + "11" * 32, headers=anything)
    assert (unknown.status_code, unknown.json()["error"]) == (404, "NotFound")


async def test_the_raw_rows_are_another_representation_of_a_payload(node, client: httpx.AsyncClient) -> None:
    node.payloads[bytes(32)] = b"abc"
    plain = await client.get(f"/v1/payloads/{ID}")
    rows = await client.get(f"/v1/payloads/{ID}?raw=rows")
    assert (plain.content, rows.content) == (b"abc", b"\x07" * 131072)
    assert plain.headers["etag"] != rows.headers["etag"]
    assert (await client.get(f"/v1/payloads/{ID}?raw=cells")).status_code == 400
