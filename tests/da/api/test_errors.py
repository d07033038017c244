"""The one table of errors, and the form of every answer that is no success."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

import httpx
import pytest

from da import errors as node_errors
from da import tokens
from da.api import errors as api_errors
from da.api.app import STATUS, error_fields, status_of
from da.protocol import errors as protocol_errors
from kzg import errors as engine_errors

PAYLOAD = "/v1/payloads/0x" + "00" * 32

RAISED: list[tuple[Exception, int]] = [
    (node_errors.EmptyPayload(), 400),
    (node_errors.PayloadTooLarge(5, 4), 413),
    (node_errors.InvalidRequest("no"), 400),
    (node_errors.InvalidPush("no"), 422),
    (node_errors.WrongChain(1, 2), 422),
    (node_errors.UnknownDisperser(bytes(32)), 403),
    (node_errors.InvalidDisperserSignature(), 403),
    (node_errors.InvalidTimestamp("no"), 422),
    (node_errors.WrongCustody((1,), (2,)), 422),
    (node_errors.RejectedColumn(1, 2, "no"), 422),
    (node_errors.RejectedPayload(bytes(32), "no"), 422),
    (node_errors.RejectedCertificate("no"), 422),
    (node_errors.StaleCommittee(bytes(32), bytes(32)), 409),
    (node_errors.HeightGap(3), 409),
    (node_errors.HeaderConflict(bytes(32)), 409),
    (node_errors.NotFound("payload", "x"), 404),
    (node_errors.ColumnNotHeld(3), 404),
    (node_errors.Expired("payload", "x"), 410),
    (node_errors.UndecodablePayload("x", "no"), 406),
    (node_errors.NotCertified("x", "queued"), 409),
    (node_errors.PayloadFailed("x", "no"), 409),
    (node_errors.NotADisperser(), 403),
    (node_errors.QueueFull(7, "no"), 429),
    (node_errors.ReadOnly("disk full"), 503),
    (node_errors.NotReconstructable("no"), 503),
    (node_errors.PeerUnreachable("node-1", "no"), 502),
    (node_errors.PeerRejected("node-1", 400, "X", {}), 502),
    (node_errors.PeerMisbehaved("node-1", "no"), 502),
    (engine_errors.EngineFailed("a worker died"), 503),
    (engine_errors.EngineClosed("stopping"), 503),
    (engine_errors.EngineUnavailable("host", "no"), 503),
    (protocol_errors.DecodeError("field", "no"), 400),
    (protocol_errors.InvalidCertificate("stake", "no"), 400),
]


def _leaves(module: ModuleType, root: type[Exception]) -> list[type[Exception]]:
    """Every public class of a module's error tree but its root."""
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass)]
    return [
        cls
        for cls in classes
        if issubclass(cls, root) and cls is not root and cls.__module__ == module.__name__
    ]


@pytest.mark.parametrize(
    ("module", "root"),
    [
        (node_errors, node_errors.DaError),
        (api_errors, api_errors.ApiError),
        (tokens, tokens.TokenError),
    ],
    ids=["node", "api", "tokens"],
)
def test_every_error_has_a_row(module: ModuleType, root: type[Exception]) -> None:
    found = _leaves(module, root)
    assert found
    assert [cls.__name__ for cls in found if cls not in STATUS] == []


def test_an_unlisted_error_is_a_bug_of_ours() -> None:
    assert status_of(RuntimeError("boom")) == 500


def test_a_subclass_takes_the_row_of_its_nearest_base() -> None:
    class Newer(node_errors.ColumnNotHeld):
        pass

    assert status_of(Newer(1)) == 404


@pytest.mark.anyio
@pytest.mark.parametrize(("error", "status"), RAISED, ids=lambda value: type(value).__name__)
async def test_a_raised_error_becomes_its_status_and_its_fields(
    node, client: httpx.AsyncClient, error: Exception, status: int
) -> None:
    node.failure = error
    answer = await client.get(PAYLOAD)
    assert answer.status_code == status
    body = answer.json()
    assert body.pop("error") == type(error).__name__
    assert body.pop("message") == str(error)
    assert body == {name: value for name, value in error_fields(error).items() if name != "error"}
    assert ("retry-after" in answer.headers) == (status in (429, 503))


@pytest.mark.anyio
async def test_retry_after_is_the_time_that_the_error_names(node, client: httpx.AsyncClient) -> None:
    node.failure = node_errors.QueueFull(17, "the outbox is full")
    answer = await client.get(PAYLOAD)
    assert answer.headers["retry-after"] == "17"


@pytest.mark.anyio
async def test_a_bug_tells_nothing_of_itself(node, client: httpx.AsyncClient) -> None:
    node.failure = RuntimeError("secret detail")
    answer = await client.get(PAYLOAD)
    assert answer.status_code == 500
    assert answer.json()["error"] == "InternalError"
    assert "secret" not in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/", 404, "RouteNotFound"),
        ("GET", "/v1/nothing", 404, "RouteNotFound"),
        ("GET", "/v1/node/", 404, "RouteNotFound"),
        ("DELETE", "/v1/node", 405, "MethodNotAllowed"),
        ("PUT", "/v1/batches/1/cells/0/0", 405, "MethodNotAllowed"),
        ("POST", "/v1/payloads", 400, "InvalidParameter"),
        ("POST", "/v1/payloads?namespace=a&wait=settled", 400, "InvalidParameter"),
    ],
)
async def test_the_frameworks_own_errors_have_the_same_form(
    client: httpx.AsyncClient, method: str, path: str, status: int, name: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"] == name
    assert answer.json()["message"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.anyio
async def test_more_requests_than_fit_are_turned_away(
    make_client: Callable[..., httpx.AsyncClient], node
) -> None:
    """The limit is one: a request made from within a request is the second."""
    client = make_client(requests_max=1)
    inner: list[httpx.Response] = []

    async def payload_bytes(_id: bytes) -> bytes:
        inner.append(await client.get("/v1/node"))
        inner.append(await client.get("/healthz"))
        return b"x"

    node.payload_bytes = payload_bytes
    answer = await client.get(PAYLOAD)
    assert answer.status_code == 200
    assert (inner[0].status_code, inner[0].json()["error"]) == (503, "Overloaded")
    assert inner[0].headers["retry-after"] == "1"
    assert inner[1].status_code == 200, "a supervisor must tell a busy node from a dead one"
