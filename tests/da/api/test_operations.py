"""What operators ask of a node."""

from __future__ import annotations

import itertools

import httpx
import pytest

from da.node import Readiness
from da.protocol.committee import Committee
from da.protocol.committee_chain import CommitteeChain
from da.wire.committees import LINKS_PER_PAGE, decode_page
from tests.da.protocol.conftest import build_party
from tests.da.protocol.test_committee_chain import link

pytestmark = pytest.mark.anyio


async def test_a_node_says_who_it_is(node, client: httpx.AsyncClient) -> None:
    body = (await client.get("/v1/node")).json()
    assert body["member_id"] == "0x" + node.member_id.hex()
    assert body["engine"] == {"name": "fake"}


async def test_the_committee_can_be_loaded_from_the_answer(node, client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/committee")
    assert Committee.from_json(answer.content).hash == node.committee.hash
    known = await client.get("/v1/committee", headers={"if-none-match": answer.headers["etag"]})
    assert known.status_code == 304


async def test_the_chain_of_committees_is_served_in_pages(node, client: httpx.AsyncClient) -> None:
    parties = [build_party([1], epoch=epoch) for epoch in range(1, 8)]
    chain = CommitteeChain(parties[0].committee)
    for old, following in itertools.pairwise(parties):
        chain = chain.extended(link(old, following.committee, signers=1))
    node.chain = chain
    links, start = [], 0
    while start is not None:
        answer = await client.get(f"/v1/committees?from={start}")
        page = decode_page(answer.content, from_epoch=start)
        assert len(page.links) <= LINKS_PER_PAGE
        links += page.links
        start = page.next_epoch
    assert tuple(links) == chain.links
    assert (await client.get("/v1/committees?from=7")).json() == {"links": [], "next": None}
    assert (await client.get("/v1/committees?from=x")).status_code == 400
    known = await client.get("/v1/committees", headers={"if-none-match": answer.headers["etag"]})
    assert known.status_code == 200
    known = await client.get("/v1/committees?from=5", headers={"if-none-match": answer.headers["etag"]})
    assert known.status_code == 304


async def test_health_is_the_loops(node, client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).status_code == 200
    node.healthy = False
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"healthy": False})


async def test_readiness_says_what_is_missing(node, client: httpx.AsyncClient) -> None:
    assert (await client.get("/readyz")).json() == {"ready": True, "reasons": []}
    node.readiness = Readiness(False, ("read-only: 0 bytes are free",))
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["reasons"] == ["read-only: 0 bytes are free"]


async def test_metrics_count_requests_by_route_and_never_by_address(node, client: httpx.AsyncClient) -> None:
    await client.get("/v1/batches/1")
    await client.get("/v1/batches/1/cells/0/0")
    await client.get("/v1/batches/1/cells/0/1")
    await client.get("/v1/nothing/" + "x" * 100)
    text = (await client.get("/metrics")).text
    assert 'cellar_http_requests_total{method="GET",route="/v1/batches/{batch}",status="200"} 1.0' in text
    cell = 'cellar_http_requests_total{method="GET",route="/v1/batches/{batch}/cells/{row}/{column}"'
    assert cell + ',status="200"} 1.0' in text
    assert cell + ',status="404"} 1.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert "xxx" not in text
    assert "cellar_http_request_seconds_bucket" in text


async def test_openapi_describes_every_route(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert "/v1/payloads/{payload_id}/opening" in paths
    assert "/v1/batches/{batch}/cells/{row}/{column}" in paths
    assert paths["/v1/batches/{batch}/cells"]["post"]["requestBody"]["content"]
    assert (await client.get("/docs")).status_code == 200
