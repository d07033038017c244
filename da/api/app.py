"""The HTTP application of a node, and the one table from error class to status.

The routes parse, call one method of the node and map the result; nothing here decides anything about data.
Every answer of 4xx and 5xx, the framework's own included, is JSON `{error, message, ...fields}`: `error` is
the class name of the error, and the same name for the same mistake for ever. 404 means "unknown, for
certain", 410 expired, 429 slow down (with Retry-After), 503 not at this moment.

Does not: start a server (da/bootstrap.py does) nor own the node's life.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from da import errors as node_errors
from da import tokens
from da.api import batches, bodies, browsing, folds, members, operations, payloads
from da.api import errors as api_errors
from da.api.adapters import Adapter, mount
from da.api.addresses import Places
from da.api.config import ApiConfig
from da.api.context import ApiContext
from da.api.instrumentation import UNMATCHED, HttpMetrics, Instrumentation
from da.api.intake import Intake
from da.api.normalisation import Normalisation
from da.api.schemas import ErrorBody
from da.node import Node
from da.protocol.errors import ProtocolError
from da.runtime.admission import Budget, FairShares, Room
from da.tokens import TokenConfig
from da.wire import errors as wire_errors
from kzg import errors as engine_errors

logger = logging.getLogger("cellar.api")

# The one place where an error's status is chosen. The most derived class that is listed wins.
STATUS: dict[type[Exception], int] = {
    # HTTP itself
    api_errors.InvalidParameter: 400,
    api_errors.InvalidContentLength: 400,
    api_errors.TruncatedBody: 400,
    api_errors.RouteNotFound: 404,
    api_errors.MethodNotAllowed: 405,
    api_errors.BodyTooSlow: 408,
    api_errors.BodyTooLarge: 413,
    api_errors.UnsupportedMediaType: 415,
    api_errors.TooManyFromAddress: 429,
    api_errors.Overloaded: 503,
    # posting rights
    tokens.MissingToken: 401,
    tokens.UnknownToken: 401,
    tokens.PostingClosed: 403,
    tokens.NamespaceForbidden: 403,
    tokens.BurstTooSmall: 413,
    tokens.RateExceeded: 429,
    # bytes that are no value of the protocol
    ProtocolError: 400,
    # the node
    node_errors.InvalidRequest: 400,
    node_errors.EmptyPayload: 400,
    node_errors.PayloadTooLarge: 413,
    node_errors.InvalidPush: 422,
    node_errors.WrongChain: 422,
    node_errors.UnknownDisperser: 403,
    node_errors.InvalidDisperserSignature: 403,
    node_errors.InvalidPushSignature: 403,
    node_errors.InvalidTimestamp: 422,
    node_errors.WrongCustody: 422,
    node_errors.RejectedColumn: 422,
    node_errors.RejectedPayload: 422,
    node_errors.RejectedCertificate: 422,
    node_errors.InvalidContribution: 422,
    node_errors.StaleCommittee: 409,
    node_errors.HeightGap: 409,
    node_errors.HeaderConflict: 409,
    node_errors.NotFound: 404,
    node_errors.ColumnNotHeld: 404,
    node_errors.Expired: 410,
    node_errors.UndecodablePayload: 406,  # of the two representations there is only `raw=rows`
    node_errors.NotCertified: 409,
    node_errors.PayloadFailed: 409,
    node_errors.NotADisperser: 403,
    node_errors.QueueFull: 429,
    node_errors.ReadOnly: 503,
    node_errors.NotReconstructable: 503,
    node_errors.SignerUnavailable: 503,
    node_errors.PeerError: 502,
    node_errors.PeerUnreachable: 502,
    node_errors.PeerRejected: 502,
    node_errors.PeerMisbehaved: 502,
    # the engine: the same request may succeed when it has started afresh
    engine_errors.EngineError: 503,
    engine_errors.EngineUnavailable: 503,
    engine_errors.EngineFailed: 503,
    engine_errors.EngineClosed: 503,
}
# Heads of pushes, two signatures each, and contributions are checked one after the other for each address.
CHECK_WAIT_S = 10.0
CHECKS_WAITING_MAX = 16
FOLDS_WAITING_MAX = 16  # requests of one address, for its own
MODULES = (payloads, batches, folds, members, operations, browsing)  # of routes
RETRY_LATER_S = 2  # Retry-After of a 503 whose error names no time of its own


def status_of(error: Exception) -> int:
    """The status of an error: that of its class, or of the nearest base class that is listed; else 500."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def error_fields(error: Exception) -> dict[str, Any]:
    """The public attributes of an error, ready for JSON."""
    if isinstance(error, node_errors.DaError):
        return dict(error.fields())
    return {name: value for name, value in vars(error).items() if not name.startswith("_")}


def error_response(error: Exception, *, close: bool = False) -> Response:
    """The answer to a typed error; `close` ends the connection with it."""
    status = status_of(error)
    fields = error_fields(error)
    headers: dict[str, str] = {"cache-control": "no-store"}
    if status in (429, 503):
        retry_after_s = fields.get("retry_after_s", RETRY_LATER_S)
        headers["retry-after"] = str(retry_after_s)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if close:
        headers["connection"] = "close"
    body = wire_errors.encode(type(error).__name__, str(error), fields)
    return JSONResponse(body, status_code=status, headers=headers)


async def _on_typed(request: Request, error: Exception) -> Response:
    # The rest of a refused body is read and dropped first: a client in the middle of sending would otherwise
    # meet a reset connection and never see the answer.
    drained = not isinstance(error, api_errors.BodyTooSlow) and await bodies.drain(request)
    return error_response(error, close=not drained)


async def _on_framework(request: Request, error: Exception) -> Response:
    """The framework's own 404, 405 and the like, in the form of all other errors."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        typed: Exception = api_errors.RouteNotFound(f"no route {request.url.path}")
    elif error.status_code == 405:
        allowed = _allowed(error)
        typed = api_errors.MethodNotAllowed(f"{request.url.path} takes {allowed} only")
        error.headers = {**(error.headers or {}), "allow": allowed}
    else:
        phrase = http.HTTPStatus(error.status_code).phrase
        body = wire_errors.encode(phrase.replace(" ", "").replace("-", ""), str(error.detail), {})
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)
    response = await _on_typed(request, typed)
    response.headers.update(error.headers or {})
    return response


def _allowed(error: HTTPException) -> str:
    """The methods of the route that refused one, HEAD with GET (da/api/normalisation.py)."""
    given = next((value for name, value in (error.headers or {}).items() if name.lower() == "allow"), "")
    methods = {method.strip() for method in given.split(",")} - {""}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _on_validation(request: Request, error: Exception) -> Response:
    """A parameter that FastAPI itself refused: a required one is missing, or the value is not allowed."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return await _on_typed(request, api_errors.InvalidParameter(f"{name}: {first['msg']}", parameter=name))


async def _on_bug(request: Request, error: Exception) -> Response:
    """Anything else is our bug: logged with its traceback by the server, told without details."""
    logger.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
    body = wire_errors.encode("InternalError", "internal error; see the node's log", {})
    return JSONResponse(body, status_code=500, headers={"connection": "close"})


def _route_of(scope: Scope) -> str:
    """The template of the route that served a finished request; of an adapter's, where that is mounted."""
    if scope.get("root_path"):
        return str(scope["root_path"])
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return batches.CELL_TEMPLATE if scope.get("endpoint") is batches.get_cell else UNMATCHED


def _templates(app: FastAPI, adapters: Sequence[Adapter]) -> set[str]:
    """What `_route_of` can give, except for UNMATCHED."""
    # The framework includes a router as one opaque route; its own routes are listed by the router alone.
    routes = [*app.routes, *(route for module in MODULES for route in module.router.routes)]
    mounted = {batches.CELL_TEMPLATE, *(adapter.path for adapter in adapters)}
    return mounted | {route.path for route in routes if isinstance(route, Route)}


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The framework's description, and the one route that it does not know."""
        schema = super().openapi()
        schema["paths"].setdefault(batches.CELL_TEMPLATE, batches.CELL_OPENAPI)
        return schema


def _overloaded(reason: str) -> Exception:
    return api_errors.Overloaded(f"no memory is free for this body: {reason}")


def _intake(capacity: int, config: ApiConfig, pace: bodies.BodyPace) -> Intake:
    """The room for payload bodies; an owner's own bodies wait for one another within its share."""
    room = Room(capacity, wait_s=config.post_wait_s, refuse=_overloaded)
    turns = FairShares(
        lambda: Budget(
            room.share, wait_s=config.post_wait_s, queue_max=config.bodies_waiting_max, refuse=_overloaded
        )
    )
    return Intake(room, turns, pace)


def _memory(capacity: int, wait_s: float, config: ApiConfig) -> Budget:
    return Budget(
        capacity,
        wait_s=wait_s,
        queue_max=config.bodies_waiting_max,
        refuse=_overloaded,
    )


def _shares(what: str, capacity: int, *, wait_s: float, queue_max: int) -> FairShares:
    def refuse(reason: str) -> Exception:
        return api_errors.TooManyFromAddress(
            f"your address has its share of {what}: {reason}", retry_after_s=RETRY_LATER_S
        )

    return FairShares(lambda: Budget(capacity, wait_s=wait_s, queue_max=queue_max, refuse=refuse))


def create_app(
    node: Node, config: ApiConfig, grants: tuple[TokenConfig, ...], adapters: Sequence[Adapter] = ()
) -> FastAPI:
    """The application that serves `node` over HTTP.

    Args:
        config: the server's limits; those of reading and posting are the node's own.
        grants: the tokens that may post.
        adapters: interfaces of other systems, served beside v1.
    """
    reading = node.config.reading
    pace = bodies.BodyPace(config.body_timeout_s, config.body_grace_s, config.body_bytes_per_s_min)
    app = _Application(
        title="Cellar",
        description="A data-availability node: post payloads, follow the log, sample cells.",
        version="1",
        redirect_slashes=False,
        default_response_class=JSONResponse,
        responses={code: {"model": ErrorBody} for code in ("4XX", "5XX")},
        docs_url=None,
        redoc_url=None,
    )
    app.state.api = ApiContext(
        node=node,
        config=config,
        rights=tokens.PostingRights(grants, open_posting=config.open_posting),
        pace=pace,
        posts=_intake(config.post_inflight_bytes_max, config, pace),
        pushes=Intake(node.push_room, node.push_turns, pace),
        push_heads=_shares("pushes", 1, wait_s=CHECK_WAIT_S, queue_max=CHECKS_WAITING_MAX),
        contributions_by_address=_shares(
            "contributions", 1, wait_s=CHECK_WAIT_S, queue_max=CHECKS_WAITING_MAX
        ),
        contributions=_intake(config.contribution_inflight_bytes_max, config, pace),
        reads=_memory(config.read_inflight_bytes_max, config.read_wait_s, config),
        reads_by_address=_shares(
            "payloads being read",
            config.read_inflight_bytes_per_address_max,
            wait_s=config.read_wait_s,
            queue_max=config.bodies_waiting_max,
        ),
        openings_by_address=_shares(
            "openings", 1, wait_s=reading.opening_wait_s, queue_max=reading.openings_waiting_max
        ),
        folds_by_address=_shares("folds", 1, wait_s=reading.fold_wait_s, queue_max=FOLDS_WAITING_MAX),
        streams_by_address=Places(config.streams_per_address_max),
    )
    app.router.routes.append(batches.cell_route)
    for module in MODULES:
        app.include_router(module.router)
    for typed in STATUS:
        app.add_exception_handler(typed, _on_typed)
    app.add_exception_handler(HTTPException, _on_framework)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Exception, _on_bug)
    for adapter in adapters:
        mount(app, adapter, STATUS)
    app.add_middleware(Normalisation)
    app.add_middleware(  # the last one added is the outermost
        Instrumentation,
        metrics=HttpMetrics(node.metrics.registry, _templates(app, adapters)),
        requests_max=config.requests_max,
        by_address=Places(config.connections_per_address_max),
        route_of=_route_of,
    )
    return app
