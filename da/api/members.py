"""Routes between nodes: a disperser's column push, and certificates.

Flow of a push:
- the declared length is compared with the most that this member's custody can take;
- the header and the disperser's signature, the first bytes of the body, are checked as soon as they are
  there, and only then is the node asked for room for the rest: a stranger can make a node buffer one network
  read and no more, and takes no room from the dispersers by promising a body that never comes;
- a push that was taken before needs no room at all: its body is dropped as it comes, for anybody can repeat a
  header that was published;
- the rest is read against the clock, decoded without copying, verified, stored and signed by the node.

Neither route asks for a token: a push is signed by a disperser of the committee, a certificate by its quorum.
Does not: verify cells; the node does.
"""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from da.api import answers, bodies, parameters
from da.api.context import context_of
from da.api.errors import InvalidParameter
from da.bls import SIGNATURE_BYTES
from da.node import Node
from da.protocol.attestation import Attestation
from da.protocol.certificate import MAX_CERTIFICATE_BYTES
from da.protocol.custody import columns_of
from da.protocol.header import HEADER_BYTES, Header
from da.protocol.push import MAX_PRELUDE_BYTES, RECORD_BYTES, ColumnPush
from erasure.constants import MAX_ROWS

router = APIRouter(prefix="/v1/batches", tags=["members"])

HeaderHash = Annotated[str, Path(description="The batch's header hash, 0x and 64 hex digits.")]
OCTETS_IN = {
    "requestBody": {
        "required": True,
        "content": {bodies.OCTET_STREAM: {"schema": {"type": "string", "format": "binary"}}},
    }
}


def push_bytes_max(node: Node) -> int:
    """The longest push that this node's custody can ask for: all its columns of a batch of 256 rows."""
    index = node.committee.member_index(node.member_id)
    assert index is not None  # a node that is no member of its committee does not start
    return MAX_PRELUDE_BYTES + MAX_ROWS * len(columns_of(node.committee, index)) * RECORD_BYTES


@router.put("/{batch}/columns", response_class=Response, responses=answers.BINARY, openapi_extra=OCTETS_IN)
async def put_columns(request: Request, batch: HeaderHash) -> Response:
    """A disperser's push of this member's columns; the answer is the attestation, 160 bytes."""
    context = context_of(request)
    node = context.node
    header_hash = parameters.hash32(batch, "batch")
    bodies.check_media_type(request)
    limit = push_bytes_max(node)
    declared = bodies.declared_length(request, limit)
    async with contextlib.AsyncExitStack() as room:
        known: Attestation | None = None

        async def check_head(head: bytes) -> bool:
            nonlocal known
            header = Header.decode(head[:HEADER_BYTES])
            if header.hash != header_hash:
                raise InvalidParameter(
                    "the body's header has another hash than the address", parameter="batch"
                )
            await node.check_push(header, head[HEADER_BYTES:])
            known = await node.attest_again(header)
            if known is None:
                await room.enter_async_context(node.admit_push(limit if declared is None else declared))
            return known is None

        head_check = bodies.HeadCheck(HEADER_BYTES + SIGNATURE_BYTES, check_head)
        body = await bodies.read(request, limit_bytes=limit, pace=context.pace, head=head_check)
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
