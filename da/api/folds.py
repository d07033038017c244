"""The route of folded columns: a seed and columns in, a folded cell with its proof for each column out.

A fold is made for one client and costs more than a cell, so an address takes one turn at a time among those
who ask: its flood waits behind itself, and the node's own turns (da/node/folds.py) pass from one address to
the next.

Does not: cache, as no two clients have the same seed.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from da.api import answers, bodies
from da.api.addresses import owner_of_scope
from da.api.batches import Disperser, header_hash_of
from da.api.context import context_of
from da.api.errors import InvalidParameter
from da.api.schemas import FoldsQuery
from da.wire import folds
from da.wire.cells import encode_answer
from da.wire.errors import InvalidDocument

router = APIRouter(prefix="/v1/batches", tags=["batches"])


@router.post(
    "/{batch}/folds",
    response_class=Response,
    responses=answers.BINARY,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {bodies.JSON: {"schema": FoldsQuery.model_json_schema()}},
        }
    },
)
async def post_folds(request: Request, batch: str, disperser: Disperser = None) -> Response:
    """Folds of columns under a seed. For each, in order: byte 0 and its cell and proof, or byte 1 or 2.

    Byte 1 says that the node does not hold the column, byte 2 that its copy is damaged.
    """
    context = context_of(request)
    bodies.check_media_type(request, bodies.JSON)
    body = await bodies.read(request, limit_bytes=folds.QUERY_BYTES_MAX, pace=context.pace)
    query = _query(bytes(body), context.node.config.reading.folds_per_read_max)
    async with context.folds_by_address.hold(owner_of_scope(request.scope)):
        header_hash = await header_hash_of(request, batch, disperser)
        found = await context.node.folds(header_hash, query.seed, query.columns)
    return answers.octets(encode_answer(found))


def _query(body: bytes, most: int) -> folds.FoldsQuery:
    try:
        return folds.decode_query(body, most)
    except InvalidDocument as error:
        raise InvalidParameter(
            f'the body must be {{"seed": "0x...", "columns": [...]}}; {error}', parameter="folds"
        ) from None
