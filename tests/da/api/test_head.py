"""HEAD: the answer of GET without its body, on every route that has a GET."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import CollectorRegistry

from da.protocol.push import RECORD_BYTES

pytestmark = pytest.mark.anyio

PAYLOAD = "/v1/payloads/0x" + "00" * 32


@pytest.mark.parametrize(
    "path",
    [
        PAYLOAD,
        PAYLOAD + "/status",
        "/v1/payloads/0x" + "11" * 32,
        "/v1/batches",
        "/v1/batches/1",
        "/v1/batches/77",
        "/v1/batches/1/cells/0/0",
        "/v1/batches/1/cells/0/5",
        "/v1/batches/1/columns/3",
        "/v1/node",
        "/healthz",
        "/v1/nothing",
    ],
)
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    whole = await client.get(path)
    head = await client.head(path)
    assert head.status_code == whole.status_code
    assert head.content == b""
    assert head.headers == whole.headers


async def test_a_cells_length_is_known_without_it(client: httpx.AsyncClient) -> None:
    answer = await client.head("/v1/batches/1/cells/0/0")
    assert answer.headers["content-length"] == str(RECORD_BYTES)
    known = await client.head("/v1/batches/1/cells/0/0", headers={"if-none-match": answer.headers["etag"]})
    assert known.status_code == 304


async def test_what_has_no_get_has_no_head(client: httpx.AsyncClient) -> None:
    answer = await client.head("/v1/batches/1/certificate")
    assert (answer.status_code, answer.headers["allow"]) == (405, "PUT")
    deleted = await client.delete("/v1/node")
    assert (deleted.status_code, deleted.headers["allow"]) == (405, "GET, HEAD")
    assert deleted.json()["error"] == "MethodNotAllowed"


async def test_heads_are_counted_as_such(node, client: httpx.AsyncClient) -> None:
    await client.head(PAYLOAD)
    registry: CollectorRegistry = node.metrics.registry
    labels = {"method": "HEAD", "route": "/v1/payloads/{payload_id}", "status": "200"}
    assert registry.get_sample_value("cellar_http_requests_total", labels) == 1.0
