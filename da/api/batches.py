"""Routes of the log and of the samples: batches, their stream, their cells and columns.

Everything under a header hash is immutable and says so; under a height the same thing may still get its
certificate, so caches ask again. The single cell is a plain Starlette route: validation and dependency
handling of the framework would cost more than reading the cell.

Does not: accept columns (da/api/members.py), nor verify anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Query, Request
from fastapi.sse import format_sse_event
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from da.api import answers, bodies, parameters
from da.api.addresses import owner_of_scope
from da.api.context import ApiContext, context_of
from da.api.errors import InvalidParameter, Overloaded, TooManyFromAddress
from da.api.schemas import BatchBody, BatchesBody, CellsQuery, NamespaceBody, batch_bytes_of, batch_document
from da.errors import ColumnNotHeld, NotReconstructable
from da.store.base import BatchRecord
from da.wire import batches
from da.wire.cells import Corrupt, NotHeld, Record, decode_query, encode_answer, query_bytes_max
from da.wire.errors import InvalidDocument
from erasure.constants import CELLS_PER_EXT_BLOB, MAX_ROWS

router = APIRouter(prefix="/v1/batches", tags=["batches"])

CELL_TEMPLATE = "/v1/batches/{batch}/cells/{row}/{column}"

Disperser = Annotated[
    str | None,
    Query(description="Whose log, 0x member id; needed when the committee has several dispersers."),
]


@router.get("", response_model=BatchesBody)
async def get_batches(
    request: Request,
    from_height: Annotated[str, Query(alias="from", description="First height wanted, from 1.")] = "1",
    limit: Annotated[str | None, Query(description="Batches at most.")] = None,
    disperser: Disperser = None,
) -> Response:
    """A page of the log: certified batches in order."""
    context = context_of(request)
    most = context.node.config.reading.batches_per_page_max
    first = parameters.integer(from_height, "from", minimum=1)
    count = most if limit is None else min(most, parameters.integer(limit, "limit", minimum=1))
    records = await context.node.batches(first, count, parameters.optional_hash32(disperser, "disperser"))
    following = records[-1].header.height + 1 if len(records) == count else None
    page = batches.encode_page([batch_document(record) for record in records], following)
    return answers.document(page, headers={"cache-control": "no-cache"})


@router.get(
    "/stream", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}}
)
async def stream_batches(
    request: Request,
    from_height: Annotated[str, Query(alias="from", description="First height wanted, from 1.")] = "1",
    disperser: Disperser = None,
) -> Response:
    """Certified batches as they come, for ever: events "batch", id the height, data as of one batch.

    A client that comes back with `Last-Event-ID` goes on after that height.
    """
    context = context_of(request)
    first = parameters.integer(from_height, "from", minimum=1)
    seen = request.headers.get("last-event-id")
    if seen is not None:
        first = parameters.integer(seen, "Last-Event-ID") + 1
    disperser_id = parameters.optional_hash32(disperser, "disperser")
    await context.node.batches(first, 1, disperser_id)  # a bad disperser is an error, not a broken stream
    return _BatchStream(context, first, disperser_id)


class _BatchStream(StreamingResponse):
    """A stream that takes one of the node's places for as long as it is being sent."""

    media_type = "text/event-stream"

    def __init__(self, context: ApiContext, first: int, disperser_id: bytes | None) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(_events(context, first, disperser_id), headers=headers)
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send. Raises Overloaded or TooManyFromAddress, before anything is sent, when there is no place."""
        context, owner = self._context, owner_of_scope(scope)
        if context.stream_clients >= context.config.stream_clients_max:
            raise Overloaded("too many clients follow the stream", retry_after_s=5)
        if not context.streams_by_address.take(owner):
            limit = context.streams_by_address.limit
            raise TooManyFromAddress(f"one address may follow {limit} streams at once", retry_after_s=5)
        context.stream_clients += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            context.stream_clients -= 1
            context.streams_by_address.give_back(owner)


async def _events(context: ApiContext, first: int, disperser_id: bytes | None) -> AsyncIterator[bytes]:
    """The stream: a batch when there is one, a comment after a silence, the end when the node stops."""
    source = context.node.subscribe(first, disperser_id)
    stopping = asyncio.ensure_future(context.stopping.wait())
    following: asyncio.Future[BatchRecord | None] | None = None
    try:
        yield b": open\n\n"
        while not stopping.done():
            if following is None:
                following = asyncio.ensure_future(anext(source, None))
            either: set[asyncio.Future[Any]] = {following, stopping}
            await asyncio.wait(
                either,
                timeout=context.config.stream_ping_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if following.done():
                record, following = following.result(), None
                if record is None:  # the node ends its subscriptions when it stops
                    return
                yield format_sse_event(
                    event="batch",
                    id=str(record.header.height),
                    data_str=answers.encoded(batch_document(record)),
                )
            elif not stopping.done():
                yield b": ping\n\n"
    finally:
        tasks: set[asyncio.Future[Any]] = {stopping} if following is None else {stopping, following}
        for task in tasks:
            task.cancel()
        # A client that hung up cancels every await here; the subscription must end all the same.
        with anyio.CancelScope(shield=True):
            await asyncio.wait(tasks)
            if isinstance(source, AsyncGenerator):
                await source.aclose()


@router.get("/{batch}", response_model=BatchBody)
async def get_batch(request: Request, batch: str, disperser: Disperser = None) -> Response:
    """One batch by height or header hash: header, certificate, commitments, payload list.

    With `Accept: application/octet-stream` a live batch comes in binary, half as long.
    """
    record = await _record(request, batch, disperser)
    final = batch.startswith("0x") and record.certificate is not None and record.state == "live"
    in_bytes = record.state == "live" and answers.accepts_octets(request)
    form = "-binary" if in_bytes else ""
    status = "certified" if record.certificate else "proposed"
    etag = f"{record.header.hash.hex()}-{status}-{record.state}{form}"
    headers = (answers.immutable(etag) if final else answers.revalidated(etag)) | {"vary": "accept"}
    known = answers.not_modified(request, headers)
    if known is not None:
        return known
    if in_bytes:
        return answers.octets(batch_bytes_of(record), headers)
    return answers.document(batch_document(record), headers=headers)


@router.get("/{batch}/namespaces/{namespace}", response_model=NamespaceBody)
async def get_namespace(
    request: Request, batch: str, namespace: str, disperser: Disperser = None
) -> Response:
    """All payloads of a namespace in a batch, with the proof that there are no others."""
    namespace_bytes = parameters.namespace(namespace)
    header_hash = await header_hash_of(request, batch, disperser)
    listing = await context_of(request).node.namespace_proof(header_hash, namespace_bytes)
    return answers.model(NamespaceBody.of(listing), headers={"cache-control": "no-cache"})


@router.get("/{batch}/columns/{column}", response_class=Response, responses=answers.BINARY)
async def get_column(request: Request, batch: str, column: str, disperser: Disperser = None) -> Response:
    """A column that this node holds: R records of cell (2048) and proof (48), data rows in order."""
    index = parameters.integer(column, "column", maximum=CELLS_PER_EXT_BLOB - 1)
    header_hash = await header_hash_of(request, batch, disperser)
    headers = _record_headers(batch, header_hash, f"column-{index}")
    known = answers.not_modified(request, headers, looked_up=False)
    if known is not None:
        return known
    records = await context_of(request).node.column(header_hash, index)
    return answers.not_modified(request, headers) or answers.octets(records, headers)


@router.post(
    "/{batch}/cells",
    response_class=Response,
    responses=answers.BINARY,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {bodies.JSON: {"schema": CellsQuery.model_json_schema()}},
        }
    },
)
async def post_cells(request: Request, batch: str, disperser: Disperser = None) -> Response:
    """Many cells at once. For each, in order: byte 0 and its record, or byte 1 (not held), or 2 (corrupt)."""
    context = context_of(request)
    most = context.node.config.reading.records_per_read_max
    bodies.check_media_type(request, bodies.JSON)
    body = await bodies.read(request, limit_bytes=query_bytes_max(most), pace=context.pace)
    pairs = _pairs(bytes(body), most)
    header_hash = await header_hash_of(request, batch, disperser)
    return answers.octets(encode_answer(await context.node.records(header_hash, pairs)))


def _pairs(body: bytes, most: int) -> list[tuple[int, int]]:
    try:
        return decode_query(body, most)
    except InvalidDocument as error:
        raise InvalidParameter(
            f'the body must be {{"cells": [[row, column], ...]}}; {error}', parameter="cells"
        ) from None


async def get_cell(request: Request) -> Response:
    """One cell with its proof, 2096 bytes; row < 2R, parity rows derived on demand."""
    path = request.path_params
    row = parameters.integer(path["row"], "row", maximum=2 * MAX_ROWS - 1)
    column = parameters.integer(path["column"], "column", maximum=CELLS_PER_EXT_BLOB - 1)
    header_hash = await header_hash_of(request, path["batch"], request.query_params.get("disperser"))
    headers = _record_headers(path["batch"], header_hash, f"cell-{row}-{column}")
    known = answers.not_modified(request, headers, looked_up=False)
    if known is not None:
        return known
    (record,) = await context_of(request).node.records(header_hash, [(row, column)])
    match record:
        case Record(content):
            return answers.not_modified(request, headers) or answers.octets(content, headers)
        case NotHeld():
            raise ColumnNotHeld(column)
        case Corrupt():
            raise NotReconstructable(f"cell ({row}, {column}) is damaged on this node and under repair")


cell_route = Route(CELL_TEMPLATE, get_cell, methods=["GET"])
# A plain route does not describe itself, so its entry in the OpenAPI page is written out.
CELL_OPENAPI: dict[str, Any] = {
    "get": {
        "tags": ["batches"],
        "summary": "Get Cell",
        "description": get_cell.__doc__,
        "operationId": "get_cell",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("batch", "row", "column")
        ]
        + [{"name": "disperser", "in": "query", "required": False, "schema": {"type": "string"}}],
        "responses": {
            "200": {"description": "The record", "content": {bodies.OCTET_STREAM: {}}},
            "4XX": {
                "description": "An error",
                "content": {bodies.JSON: {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
            },
        },
    }
}


async def _record(request: Request, batch: str, disperser: str | None) -> BatchRecord:
    disperser_id = parameters.optional_hash32(disperser, "disperser")
    return await context_of(request).node.batch(parameters.batch_ref(batch), disperser_id)


async def header_hash_of(request: Request, batch: str, disperser: str | None) -> bytes:
    """The header hash that `batch` is or stands for; only a height costs a look into the store."""
    ref = parameters.batch_ref(batch)
    if isinstance(ref, bytes):
        return ref
    return (await _record(request, batch, disperser)).header.hash


def _record_headers(batch: str, header_hash: bytes, part: str) -> dict[str, str]:
    etag = f"{header_hash.hex()}-{part}"
    return answers.immutable(etag) if batch.startswith("0x") else answers.revalidated(etag)
