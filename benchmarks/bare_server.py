"""The peer of a node's cell reads: the same server doing nothing. `python -m benchmarks.bare_server PORT`.

uvicorn with the same settings and one plain Starlette route that answers 2096 bytes from memory: what the
server costs by itself, on this machine, at this moment.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from da.protocol.push import RECORD_BYTES

_RECORD = bytes(RECORD_BYTES)


async def record(request: Request) -> Response:
    """The same bytes for everybody."""
    return Response(_RECORD, media_type="application/octet-stream")


app = Starlette(routes=[Route("/{path:path}", record)])

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
    )
