"""Routes for rollups: post a payload, follow it, read it back, open a point of it.

Flow of a post:
- a node that is no disperser refuses at once;
- the token's right to the namespace is checked before a byte of the body is read;
- the declared length is checked against the limit and against what the token's byte rate has left;
- the body is taken (da/api/intake.py): charged to the token and given memory as it comes, against the clock;
- it goes to the node, which stores it durably;
- the answer is 202 with the payload id, or with `wait=certified` 200 with the certificate.

Does not: pack, commit or batch anything; the node does.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from da.api import answers, bodies, parameters
from da.api.addresses import owner_of_scope
from da.api.context import ApiContext, context_of
from da.api.errors import InvalidParameter
from da.api.schemas import OpeningBody, PayloadBody, PayloadProofBody, receipt_document, status_document
from da.errors import EmptyPayload, NotADisperser, PayloadFailed
from da.node import PayloadStatus, Receipt, Status
from da.protocol import namespace as namespaces
from da.tokens import Grant
from erasure.constants import BYTES_PER_BLOB, FIELD_ELEMENTS_PER_BLOB, MAX_ROWS

logger = logging.getLogger("cellar.api")
router = APIRouter(prefix="/v1/payloads", tags=["payloads"])

MAX_ELEMENT_INDEX = MAX_ROWS * FIELD_ELEMENTS_PER_BLOB - 1
POST_BODY = {
    "requestBody": {
        "required": True,
        "content": {bodies.OCTET_STREAM: {"schema": {"type": "string", "format": "binary"}}},
    }
}
Namespace = Annotated[
    str, Query(description="Short name of a-z 0-9 . _ - (1 to 32), or 0x and 64 hex digits.")
]
AnyNamespace = Annotated[str | None, Query(description="Only this namespace's posting of the payload.")]


def bearer_token(request: Request) -> str | None:
    """The token of the Authorization header, or None when there is no such header."""
    value = request.headers.get("authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    # Another scheme is a token nobody knows: it must not pass as "no token" on an open node.
    return token.strip() if scheme.lower() == "bearer" else value


@router.post(
    "",
    response_model=PayloadBody,
    status_code=202,
    responses={200: {"model": PayloadBody, "description": "Certified, with `wait=certified`"}},
    openapi_extra=POST_BODY,
)
async def post_payload(
    request: Request,
    namespace: Namespace,
    wait: Annotated[
        Literal["certified"] | None, Query(description="Hold the answer until the payload is certified.")
    ] = None,
    timeout_s: Annotated[str | None, Query(description="Longest such wait in seconds.")] = None,
) -> Response:
    """Post a payload. The same bytes in the same namespace always give the same id; posting again is safe."""
    context = context_of(request)
    if not context.node.is_disperser:
        raise NotADisperser
    namespace_bytes = parameters.namespace(namespace)
    wait_s = context.config.certified_wait_s_max
    if timeout_s is not None:
        wait_s = parameters.seconds(timeout_s, "timeout_s", wait_s)
    grant = context.rights.grant(bearer_token(request), namespace_bytes)
    bodies.check_media_type(request)
    receipt = await _take_payload(request, context, grant, namespace_bytes)
    headers = {"location": _status_address(receipt.payload_id, namespace_bytes)}
    if wait is None:
        return answers.document(receipt_document(receipt), status=202, headers=headers)
    status = await context.node.wait_certified(namespace_bytes, receipt.payload_id, wait_s)
    return await _answer_waiting(context, status, receipt.created, headers)


async def _take_payload(request: Request, context: ApiContext, grant: Grant, namespace: bytes) -> Receipt:
    limit = context.node.config.disperser.payload_bytes_max
    declared = bodies.declared_length(request, limit)
    if declared == 0:
        raise EmptyPayload
    if declared is not None:
        context.rights.check(grant, declared)
    # Whoever posts without a token is held to a share by address.
    owner = grant.token_name or owner_of_scope(request.scope)
    charge = context.rights.meter(grant)
    async with context.posts.take(request, owner, limit_bytes=limit, charge=charge) as payload:
        receipt = await context.node.post(namespace, payload)
    logger.info(
        "%s posted %d bytes under %s: 0x%s%s",
        grant.token_name or "somebody",
        receipt.length,
        namespaces.label(namespace),
        receipt.payload_id.hex(),
        "" if receipt.created else " (again)",
    )
    return receipt


async def _answer_waiting(
    context: ApiContext, status: PayloadStatus, created: bool, headers: dict[str, str]
) -> Response:
    if status.status is Status.FAILED:
        raise PayloadFailed("0x" + status.payload_id.hex(), status.reason or "unknown")
    if status.status is not Status.CERTIFIED:
        body = status_document(status, created=created)
        return answers.document(body, status=202, headers={**headers, "retry-after": "1"})
    certificate = await context.node.payload_certificate(status.payload_id, status.namespace)
    return answers.document(
        status_document(status, created=created, certificate=certificate), headers=headers
    )


def _status_address(payload_id: bytes, namespace: bytes) -> str:
    return f"/v1/payloads/0x{payload_id.hex()}/status?namespace={namespaces.label(namespace)}"


@router.get("/{payload_id}", response_class=Response, responses=answers.BINARY)
async def get_payload(
    request: Request,
    payload_id: str,
    raw: Annotated[
        Literal["rows"] | None, Query(description="The payload's rows as committed to, 131072 bytes each.")
    ] = None,
) -> Response:
    """The exact bytes that were posted, checked against the id; rebuilt from the members where needed."""
    id_bytes = parameters.hash32(payload_id, "payload_id")
    headers = answers.immutable(payload_id.lower() if raw is None else f"{payload_id.lower()}-{raw}")
    known = answers.not_modified(request, headers, looked_up=False)
    if known is not None:
        return known
    context = context_of(request)
    # Looked up first: what is unknown takes no memory from those who read, however long the peers are asked.
    status = await context.node.payload_status(id_bytes)
    size = status.length if raw is None else status.rows * BYTES_PER_BLOB
    async with contextlib.AsyncExitStack() as held:
        owner = owner_of_scope(request.scope)
        await held.enter_async_context(context.reads_by_address.hold(owner, size))
        await held.enter_async_context(context.reads.hold(size))
        if raw is None:
            payload = await context.node.payload_bytes(id_bytes)
        else:
            payload = (await context.node.payload_rows(id_bytes)).tobytes()
        known = answers.not_modified(request, headers)
        return known or answers.HeldResponse(payload, headers, held.pop_all())


@router.get("/{payload_id}/status", response_model=PayloadBody)
async def get_status(request: Request, payload_id: str, namespace: AnyNamespace = None) -> Response:
    """Where the payload is: queued, encoding, dispersing, certified, failed or expired."""
    status = await context_of(request).node.payload_status(
        parameters.hash32(payload_id, "payload_id"), parameters.optional_namespace(namespace)
    )
    return answers.document(status_document(status), headers={"cache-control": "no-store"})


@router.get("/{payload_id}/certificate", response_class=Response, responses=answers.BINARY)
async def get_certificate(request: Request, payload_id: str, namespace: AnyNamespace = None) -> Response:
    """The certificate of the batch that carries the payload, encoded (docs/reference/wire-formats.md)."""
    certificate = await context_of(request).node.payload_certificate(
        parameters.hash32(payload_id, "payload_id"), parameters.optional_namespace(namespace)
    )
    return answers.octets(certificate, {"cache-control": "no-cache"})


@router.get("/{payload_id}/proof", response_model=PayloadProofBody)
async def get_proof(request: Request, payload_id: str, namespace: AnyNamespace = None) -> Response:
    """That the payload is in its batch: its entry, the Merkle proof, the header and the commitments."""
    found = await context_of(request).node.payload_proof(
        parameters.hash32(payload_id, "payload_id"), parameters.optional_namespace(namespace)
    )
    return answers.model(PayloadProofBody.of(found), headers={"cache-control": "no-cache"})


@router.get("/{payload_id}/opening", response_model=OpeningBody)
async def get_opening(
    request: Request,
    payload_id: str,
    z: Annotated[
        str | None, Query(description="Point to open at: a field element, 0x and 64 hex digits.")
    ] = None,
    index: Annotated[str | None, Query(description="Element of the payload's rows to open, from 0.")] = None,
    row: Annotated[str, Query(description="Row of the payload that `z` is a point of, from 0.")] = "0",
) -> Response:
    """A KZG opening that L1 checks with the precompile 0x0A: at a point `z`, or at element `index`."""
    if (z is None) == (index is None):
        raise InvalidParameter("give z or index, one of the two", parameter="z")
    context, id_bytes = context_of(request), parameters.hash32(payload_id, "payload_id")
    point = None if z is None else parameters.hash32(z, "z")
    element = None if index is None else parameters.integer(index, "index", maximum=MAX_ELEMENT_INDEX)
    row_number = parameters.integer(row, "row", maximum=MAX_ROWS - 1)
    # An address takes one turn at a time among those who ask: its flood waits behind itself.
    async with context.openings_by_address.hold(owner_of_scope(request.scope)):
        found = await context.node.opening(id_bytes, z=point, index=element, row=row_number)
    return answers.model(OpeningBody.of(found))
