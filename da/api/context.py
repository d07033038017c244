"""What the routes share: the service, the limits, and the bounded resources of this one server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request

from da.api.addresses import Places
from da.api.bodies import BodyPace
from da.api.config import ApiConfig
from da.api.intake import Intake
from da.node import Node
from da.runtime.admission import Budget, FairShares
from da.tokens import PostingRights


@dataclass
class ApiContext:
    """Held by the app as `app.state.api`; one per app."""

    node: Node
    config: ApiConfig
    rights: PostingRights
    pace: BodyPace
    posts: Intake
    pushes: Intake
    push_heads: FairShares
    contributions: Intake
    contributions_by_address: FairShares
    reads: Budget
    reads_by_address: FairShares
    openings_by_address: FairShares
    folds_by_address: FairShares
    streams_by_address: Places
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    stream_clients: int = 0


def context_of(request: Request) -> ApiContext:
    """The context of the app that serves the request."""
    context: ApiContext = request.app.state.api
    return context
