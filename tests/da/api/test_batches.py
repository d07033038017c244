"""The log and the samples over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from da.errors import NotFound
from da.protocol.header import Header
from da.protocol.push import RECORD_BYTES

pytestmark = pytest.mark.anyio


@pytest.fixture
def first(node) -> str:
    """The header hash of the first batch, as an address has it."""
    return "0x" + node.log[0].header.hash.hex()


async def test_a_batch_says_all_that_its_header_binds(node, client: httpx.AsyncClient, first: str) -> None:
    body = (await client.get("/v1/batches/1")).json()
    record = node.log[0]
    assert body["header_hash"] == first
    assert Header.decode(bytes.fromhex(body["header_bytes"][2:])) == record.header
    assert body["header"]["height"] == 1
    assert body["header"]["commitments_root"] == "0x" + record.header.commitments_root.hex()
    assert body["commitments"] == ["0x" + record.commitments[0].tobytes().hex()]
    assert body["payloads"][0]["namespace_label"] == "rollup-a"
    assert bytes.fromhex(body["certificate"][2:]) == b"certificate"
    assert body["state"] == "live"


async def test_a_batch_by_hash_is_immutable_and_by_height_is_not(
    client: httpx.AsyncClient, first: str
) -> None:
    by_hash = await client.get(f"/v1/batches/{first}")
    by_height = await client.get("/v1/batches/1")
    assert "immutable" in by_hash.headers["cache-control"]
    assert by_height.headers["cache-control"] == "no-cache"
    assert by_hash.headers["etag"] == by_height.headers["etag"]
    known = await client.get("/v1/batches/1", headers={"if-none-match": by_height.headers["etag"]})
    assert known.status_code == 304


async def test_a_batch_without_a_certificate_may_still_change(
    node, client: httpx.AsyncClient, first: str
) -> None:
    from dataclasses import replace

    certified = (await client.get(f"/v1/batches/{first}")).headers["etag"]
    node.log[0] = replace(node.log[0], certificate=None)
    answer = await client.get(f"/v1/batches/{first}")
    assert answer.json()["certificate"] is None
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["etag"] != certified


@pytest.mark.parametrize(
    "ref",
    [
        "0",
        "-1",
        "x",
        "1.5",
        "0x12",
        "99999999999999999999999",
        "²",
        "0x" + "G" * 64,
        "01",
        "00",
        "+1",
        "1%20",
    ],
)
@pytest.mark.parametrize("suffix", ["", "/cells/0/0", "/columns/0", "/namespaces/a"])
async def test_a_bad_reference_is_refused(client: httpx.AsyncClient, ref: str, suffix: str) -> None:
    answer = await client.get(f"/v1/batches/{ref}{suffix}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "batch")


async def test_an_unknown_batch_is_unknown(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/batches/77")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


async def test_the_log_comes_in_pages(node, client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/batches?from=1&limit=2")).json()
    assert [batch["header"]["height"] for batch in page["batches"]] == [1, 2]
    assert page["next"] == 3
    rest = (await client.get(f"/v1/batches?from={page['next']}&limit=2")).json()
    assert [batch["header"]["height"] for batch in rest["batches"]] == [3]
    assert rest["next"] is None


async def test_a_page_is_bounded_by_the_settings(node, make_client: Callable[..., httpx.AsyncClient]) -> None:
    page = (await make_client(batches_per_page_max=1).get("/v1/batches?limit=1000")).json()
    assert len(page["batches"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "from=0",
        "from=x",
        "from=01",
        "limit=0",
        "limit=-1",
        "limit=01",
        "disperser=0x12",
        "from=" + "9" * 5000,
    ],
)
async def test_a_bad_page_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/batches?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidParameter")


async def test_the_stream_gives_batches_in_order_with_their_heights(node, client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/batches/stream?from=2")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [block for block in answer.text.split("\n\n") if block.startswith("event: batch")]
    assert [json.loads(_field(event, "data"))["header"]["height"] for event in events] == [2, 3]
    assert [_field(event, "id") for event in events] == ["2", "3"]


async def test_the_stream_goes_on_where_a_client_was_cut_off(node, client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/batches/stream?from=1", headers={"last-event-id": "2"})
    assert [line for line in answer.text.splitlines() if line.startswith("id: ")] == ["id: 3"]


async def test_a_bad_stream_is_refused_before_it_starts(node, client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/batches/stream", headers={"last-event-id": "x"})).status_code == 400
    assert (await client.get("/v1/batches/stream?from=0")).status_code == 400


async def test_streams_are_counted(node, make_client: Callable[..., httpx.AsyncClient]) -> None:
    answer = await make_client(stream_clients_max=0).get("/v1/batches/stream")
    assert (answer.status_code, answer.json()["error"]) == (503, "Overloaded")


def _field(event: str, name: str) -> str:
    (line,) = [line for line in event.splitlines() if line.startswith(name + ": ")]
    return line.removeprefix(name + ": ")


async def test_a_cell_is_a_record(node, client: httpx.AsyncClient, first: str) -> None:
    answer = await client.get(f"/v1/batches/{first}/cells/0/0")
    assert (answer.status_code, answer.content) == (200, b"\x07" * RECORD_BYTES)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "immutable" in answer.headers["cache-control"]
    known = await client.get(
        f"/v1/batches/{first}/cells/0/0", headers={"if-none-match": answer.headers["etag"]}
    )
    assert known.status_code == 304
    by_height = await client.get("/v1/batches/1/cells/0/0")
    assert by_height.content == answer.content
    assert "immutable" not in by_height.headers["cache-control"]


async def test_a_cell_not_held_is_told_apart_from_a_damaged_one(
    node, client: httpx.AsyncClient, first: str
) -> None:
    absent = await client.get(f"/v1/batches/{first}/cells/0/5")
    assert (absent.status_code, absent.json()["error"], absent.json()["column"]) == (404, "ColumnNotHeld", 5)
    node.cells[0, 5] = b""
    damaged = await client.get(f"/v1/batches/{first}/cells/0/5")
    assert (damaged.status_code, damaged.json()["error"]) == (503, "NotReconstructable")


@pytest.mark.parametrize(
    "place", ["0/128", "512/0", "-1/0", "x/0", "0/x", "0/1.0", "00/0", "0/00", "9" * 5000 + "/0"]
)
async def test_a_bad_place_is_refused(client: httpx.AsyncClient, first: str, place: str) -> None:
    answer = await client.get(f"/v1/batches/{first}/cells/{place}")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidParameter")


async def test_many_cells_come_in_the_order_asked_for(node, client: httpx.AsyncClient, first: str) -> None:
    node.cells[1, 2] = b"\x09" * RECORD_BYTES
    node.cells[0, 9] = b""
    answer = await client.post(
        f"/v1/batches/{first}/cells", json={"cells": [[1, 2], [0, 3], [0, 0], [0, 9], [1, 2]]}
    )
    nine, seven = b"\x00" + b"\x09" * RECORD_BYTES, b"\x00" + b"\x07" * RECORD_BYTES
    assert answer.content == nine + b"\x01" + seven + b"\x02" + nine


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"cells": []}',
        b'{"cells": [[0]]}',
        b'{"cells": [[0, 0, 0]]}',
        b'{"cells": [[0, 128]]}',
        b'{"cells": [[512, 0]]}',
        b'{"cells": [[-1, 0]]}',
        b'{"cells": [["a", 0]]}',
        b'{"cells": [[0, 0.5]]}',
        b'{"cells": [["0", 0]]}',
        b'{"cells": [[0, 0.0]]}',
        b'{"cells": [[0, true]]}',
        b'{"cells": [[0, null]]}',
        b'{"cells": "00"}',
        b'{"cells": [[0, 0]], "rows": 1}',
        b'{"cells": [[' + b"9" * 4400 + b", 0]]}",
        b"\xff\xfe",
        b'{"cells": ' + b"[" * 5000,
    ],
)
async def test_a_bad_list_of_cells_is_refused(
    node, client: httpx.AsyncClient, first: str, body: bytes
) -> None:
    answer = await client.post(
        f"/v1/batches/{first}/cells", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidParameter")


async def test_the_number_of_cells_is_bounded(
    node, make_client: Callable[..., httpx.AsyncClient], first: str
) -> None:
    client = make_client(records_per_read_max=2)
    path = f"/v1/batches/{first}/cells"
    assert (await client.post(path, json={"cells": [[0, 0]] * 2})).status_code == 200
    assert (await client.post(path, json={"cells": [[0, 0]] * 3})).status_code == 400
    assert (await client.post(path, json={"cells": [[0, 0]] * 300})).status_code == 413


async def test_a_column_is_its_records(node, client: httpx.AsyncClient, first: str) -> None:
    answer = await client.get(f"/v1/batches/{first}/columns/7")
    assert (answer.status_code, answer.content) == (200, b"\x07" * RECORD_BYTES)
    assert (await client.get(f"/v1/batches/{first}/columns/128")).status_code == 400


@pytest.mark.parametrize(
    "path", ["/v1/batches/1%2fcells%2F0/0", "/v1/batches%2f1", "/v1/batches/1%2f", "/v1%2Fnode"]
)
async def test_an_encoded_slash_parts_nothing(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"] in ("InvalidParameter", "RouteNotFound")


@pytest.mark.parametrize("part", ["", "/cells/0/0", "/columns/0"])
async def test_any_tag_is_one_only_of_what_is_there(
    node, client: httpx.AsyncClient, first: str, part: str
) -> None:
    anything = {"if-none-match": "*"}
    assert (await client.get(f"/v1/batches/{first}{part}", headers=anything)).status_code == 304
    node.failure = NotFound("batch", first)
    assert (await client.get(f"/v1/batches/{first}{part}", headers=anything)).status_code == 404


async def test_any_tag_is_none_of_a_cell_not_held(client: httpx.AsyncClient, first: str) -> None:
    answer = await client.get(f"/v1/batches/{first}/cells/0/5", headers={"if-none-match": "*"})
    assert (answer.status_code, answer.json()["error"]) == (404, "ColumnNotHeld")
