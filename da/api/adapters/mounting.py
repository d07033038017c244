"""Mounting an adapter: its routes under a path of the app, and every error in its dialect.

Invariants: whatever goes wrong under the adapter's path (the node's typed errors, the framework's own, our
bugs) is answered by the adapter's `answer`; elsewhere nothing changes. A refused body is drained first, as
on v1's routes, so that the client reads the answer.

Does not: know any adapter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from da.api import bodies
from da.api.errors import BodyTooSlow

logger = logging.getLogger("cellar.api")


@dataclass(frozen=True)
class Adapter:
    """One interface of another system.

    path: where it is mounted, as "/alt-da". routes: Starlette's, relative to it, whose handlers find the node
    by da.api.context.context_of. answer: the response to an error, which is a typed error of da.api.app's
    table, the framework's HTTPException (no route, wrong method), or any other exception, which is a bug.
    """

    path: str
    routes: Sequence[BaseRoute]
    answer: Callable[[Exception], Response]


def mount(app: FastAPI, adapter: Adapter, typed: Iterable[type[Exception]]) -> None:
    """Serve the adapter under its path; `typed` are the classes of errors that the node raises on purpose."""
    sub_app = Starlette(routes=list(adapter.routes))
    sub_app.state.api = app.state.api

    async def on_typed(request: Request, error: Exception) -> Response:
        drained = not isinstance(error, BodyTooSlow) and await bodies.drain(request)
        response = adapter.answer(error)
        if not drained:
            response.headers["connection"] = "close"
        return response

    async def on_bug(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__)
        response = adapter.answer(error)
        response.headers["connection"] = "close"
        return response

    for kind in (*typed, HTTPException):
        sub_app.add_exception_handler(kind, on_typed)
    sub_app.add_exception_handler(Exception, on_bug)
    app.mount(adapter.path, sub_app)
