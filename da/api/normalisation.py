"""What a request is to the routes: HEAD asks as GET does, and an encoded slash parts no segments.

- HEAD runs the route of GET, whose answer loses its body: the headers cannot disagree. It costs what GET
  costs and is bounded as GET is; an endless stream ends after its headers. Source: RFC 9110, 9.3.2.
- A server decodes "%2F" to "/" before the routes see it, so that one resource would have addresses that a
  cache or a firewall in front takes for others. Such an address goes to the routes undecoded, and no route
  or parameter here takes a "%".

Does not: know any route. A plain ASGI middleware, as da/api/instrumentation.py is and for its reasons.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTED = ("route", "endpoint", "root_path")  # what the router tells those around it, by way of the scope


class Normalisation:
    """Middleware; one for the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        changes: dict[str, str] = {}
        headers_only = scope["type"] == "http" and scope["method"] == "HEAD"
        if headers_only:
            changes["method"] = "GET"
        raw_path: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw_path.lower():
            changes["path"] = raw_path.decode("ascii", "replace")
        if not changes:
            await self._app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        asked = {**scope, **changes}  # the server's own scope stays: it must know that a HEAD has no body
        try:
            await self._app(asked, receive, send_headers if headers_only else send)
        finally:
            scope.update({name: asked[name] for name in ROUTED if name in asked})
