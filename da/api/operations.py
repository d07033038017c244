"""Routes for operators: who this node is, how it is, what it measures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from da.api import answers, bodies, parameters
from da.api.context import context_of
from da.api.schemas import HealthBody, ReadinessBody
from da.wire.committees import LINKS_PER_PAGE, encode_page
from da.wire.hexadecimal import json_ready

router = APIRouter(tags=["operations"])

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/v1/node")
async def get_node(request: Request) -> JSONResponse:
    """Identity, roles, engine and heights of this node."""
    info = await context_of(request).node.info()
    return JSONResponse(json_ready(info), headers={"cache-control": "no-store"})


@router.get("/v1/committee", response_class=JSONResponse)
async def get_committee(request: Request) -> Response:
    """The committee file this node serves, as `da committee show` prints it."""
    committee = context_of(request).node.committee
    headers = answers.revalidated(committee.hash.hex())
    return answers.not_modified(request, headers) or Response(
        committee.to_json(), media_type=bodies.JSON, headers=headers
    )


@router.get("/v1/committees", response_class=JSONResponse)
async def get_committees(
    request: Request,
    from_epoch: Annotated[
        str, Query(alias="from", description="Epoch of the first committee whose handover is wanted.")
    ] = "0",
) -> Response:
    """Links of the chain of committees, from an epoch on: each handover, and the committee it leads to."""
    chain = context_of(request).node.chain
    start = parameters.integer(from_epoch, "from")
    headers = answers.revalidated(f"{chain.latest.hash.hex()}-{start}")
    if (unchanged := answers.not_modified(request, headers)) is not None:
        return unchanged
    links = chain.links_from(start, LINKS_PER_PAGE)
    end = links[-1].committee.epoch if links else chain.latest.epoch
    page = encode_page(links, end if end < chain.latest.epoch else None)
    return answers.document(page, headers=headers)


@router.get("/healthz", response_model=HealthBody, responses={503: {"model": HealthBody}})
async def get_health(request: Request) -> Response:
    """200 while the process and its loops run; for a supervisor that restarts."""
    healthy = context_of(request).node.health()
    return answers.model(HealthBody(healthy=healthy), status=200 if healthy else 503)


@router.get("/readyz", response_model=ReadinessBody, responses={503: {"model": ReadinessBody}})
async def get_readiness(request: Request) -> Response:
    """200 when the node can take and serve everything, else 503 with the reasons (a full disk is one)."""
    context = context_of(request)
    found = await context.node.ready()
    reasons = found.reasons + (("the node is stopping",) if context.stopping.is_set() else ())
    ready = found.ready and not context.stopping.is_set()
    return answers.model(ReadinessBody(ready=ready, reasons=reasons), status=200 if ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(request: Request) -> Response:
    """The node's metrics and those of its HTTP server, Prometheus text format."""
    return Response(context_of(request).node.metrics.exposition(), media_type=PROMETHEUS_TEXT)
