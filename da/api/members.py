"""Routes between nodes: a disperser's column push, and certificates.

Flow of a push:
- the declared length is compared with the most that this member's custody can take;
- the first bytes of the body show who sends it: the header, the disperser's signature, and its signature for
  this member, which is never published, so that nobody can replay it. They are checked as soon as they are
  there; until then a stranger can make a node buffer one network read and no more;
- a push that was taken before needs no room: its body is dropped as it comes;
- the rest is taken within the disperser's share of the node's room, which is charged for what has come, read
  against the clock, decoded without copying, verified, stored and signed by the node.

A contribution's body is taken within its address' share of a room of its own.

No route asks for a token: a push is signed by a disperser of the committee, a certificate by its quorum.
Does not: verify cells; the node does.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from da.api import answers, bodies, parameters
from da.api.addresses import owner_of_scope
from da.api.context import context_of
from da.api.errors import InvalidParameter
from da.api.schemas import ContributionBody
from da.bls import SIGNATURE_BYTES
from da.protocol.attestation import Attestation
from da.protocol.certificate import MAX_CERTIFICATE_BYTES
from da.protocol.header import HEADER_BYTES, Header
from da.protocol.push import PUSH_HEAD_BYTES, ColumnPush, push_bytes_max
from da.wire import contributions

router = APIRouter(prefix="/v1/batches", tags=["members"])

HeaderHash = Annotated[str, Path(description="The batch's header hash, 0x and 64 hex digits.")]
OCTETS_IN = {
    "requestBody": {
        "required": True,
        "content": {bodies.OCTET_STREAM: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put("/{batch}/columns", response_class=Response, responses=answers.BINARY, openapi_extra=OCTETS_IN)
async def put_columns(request: Request, batch: HeaderHash) -> Response:
    """A disperser's push of this member's columns; the answer is the attestation, 160 bytes."""
    context = context_of(request)
    node = context.node
    header_hash = parameters.hash32(batch, "batch")
    bodies.check_media_type(request)
    limit = push_bytes_max(node.column_count)
    bodies.declared_length(request, limit)  # a longer one is refused before anything is read
    known: Attestation | None = None

    async def authenticate(head: bytes) -> bytes | None:
        nonlocal known
        header = Header.decode(head[:HEADER_BYTES])
        if header.hash != header_hash:
            raise InvalidParameter("the body's header has another hash than the address", parameter="batch")
        disperser_signature, push_signature = head[HEADER_BYTES:-SIGNATURE_BYTES], head[-SIGNATURE_BYTES:]
        # A stranger's heads wait for one another, not those of dispersers.
        async with context.push_heads.hold(owner_of_scope(request.scope)):
            await node.check_push(header, disperser_signature, push_signature)
        known = await node.attest_again(header)
        return header.disperser_id if known is None else None

    taking = context.pushes.take_authenticated(request, PUSH_HEAD_BYTES, authenticate, limit_bytes=limit)
    async with taking as body:
        attestation = known or await node.accept_push(ColumnPush.decode(body))
    return answers.octets(attestation.encode())


@router.put("/{batch}/certificate", status_code=204, response_class=Response, openapi_extra=OCTETS_IN)
async def put_certificate(request: Request, batch: HeaderHash) -> Response:
    """The certificate of a batch; it proves itself, so anybody may bring it."""
    context = context_of(request)
    header_hash = parameters.hash32(batch, "batch")
    bodies.check_media_type(request)
    certificate = await bodies.read(request, limit_bytes=MAX_CERTIFICATE_BYTES, pace=context.pace)
    await context.node.accept_certificate(header_hash, bytes(certificate))
    return Response(status_code=204)


@router.post("/{batch}/contributions", response_model=ContributionBody, openapi_extra=OCTETS_IN)
async def post_contribution(request: Request, batch: HeaderHash) -> Response:
    """Folds or cells of a certified batch, from anybody; the answer says how many this node stored."""
    context = context_of(request)
    header_hash = parameters.hash32(batch, "batch")
    bodies.check_media_type(request)
    owner = owner_of_scope(request.scope)
    limit = contributions.CONTRIBUTION_BYTES_MAX
    async with (
        context.contributions_by_address.hold(owner),
        context.contributions.take(request, owner, limit_bytes=limit) as body,
    ):
        contribution = await asyncio.to_thread(contributions.decode, bytes(body))
        answer = await context.node.contribute(header_hash, contribution, owner)
    return answers.document(contributions.answer_document(answer))
