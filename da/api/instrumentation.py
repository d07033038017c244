"""The outermost layer of the app: counts requests, times them, and turns away more than fit.

A plain ASGI middleware: it adds microseconds to a cell read where the framework's own would add tenths of a
millisecond. Labels are route templates, never addresses: their values come from closed sets.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from da.api.addresses import Places, owner_of_scope
from da.runtime.labels import Labelled

UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_STATUSES = frozenset(str(status.value) for status in HTTPStatus)
# Never turned away: a supervisor must be able to tell a busy node from a dead one.
ALWAYS_SERVED = frozenset({"/healthz", "/readyz", "/metrics"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class HttpMetrics:
    """Counters of the HTTP server, in the node's registry; `routes` are the templates of all routes."""

    def __init__(self, registry: CollectorRegistry, routes: Iterable[str]) -> None:
        routes = {UNMATCHED, *routes}
        self.requests = Labelled(
            Counter(
                "cellar_http_requests",
                "Requests answered",
                ["method", "route", "status"],
                registry=registry,
            ),
            METHODS,
            routes,
            _STATUSES,
        )
        self.seconds = Labelled(
            Histogram(
                "cellar_http_request_seconds",
                "From a request's headers to the end of its answer",
                ["route"],
                buckets=_BUCKETS,
                registry=registry,
            ),
            routes,
        )
        self.in_progress = Gauge(
            "cellar_http_requests_in_progress", "Requests being served", registry=registry
        )


class Instrumentation:
    """Middleware.

    `requests_max` bounds the requests in progress, `by_address` those of one address; `route_of` names a
    finished request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: HttpMetrics,
        requests_max: int,
        by_address: Places,
        route_of: Callable[[Scope], str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._requests_max = requests_max
        self._by_address = by_address
        self._route_of = route_of
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in ALWAYS_SERVED:
            await self._serve(scope, receive, send)
            return
        if self._in_progress >= self._requests_max:
            told = f"this node serves {self._requests_max} requests at once; try again shortly"
            await self._turn_away(scope, send, 503, "Overloaded", told)
            return
        owner = owner_of_scope(scope)
        if not self._by_address.take(owner):
            told = f"one address may have {self._by_address.limit} requests in progress; try again shortly"
            await self._turn_away(scope, send, 429, "TooManyFromAddress", told)
            return
        try:
            await self._serve(scope, receive, send)
        finally:
            self._by_address.give_back(owner)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500  # what an exception that reaches the server ends in

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started_s = time.perf_counter()
        self._in_progress += 1
        self._metrics.in_progress.set(self._in_progress)
        try:
            await self._app(scope, receive, observed_send)
        finally:
            self._in_progress -= 1
            self._metrics.in_progress.set(self._in_progress)
            route = self._route_of(scope)
            self._count(scope, route, status)
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started_s)

    def _count(self, scope: Scope, route: str, status: int) -> None:
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()

    async def _turn_away(self, scope: Scope, send: Send, status: int, error: str, message: str) -> None:
        self._count(scope, UNMATCHED, status)
        body = json.dumps({"error": error, "message": message, "retry_after_s": 1}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
