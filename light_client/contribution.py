"""Offers what a run verified to the members, so that they can rebuild the batch if its holders withhold it.

Every member is offered it, in random order, few at a time: which of them will be honest is not known, and a
member takes only what it lacks. Nothing that a member answers changes a verdict.

Does not: keep anything for later; a run offers what it has verified itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import numpy as np

from da.protocol.push import RECORD_BYTES
from da.wire.contributions import EQUATIONS_MAX, Cells, Contribution, Folds
from kzg.types import Bytes
from light_client.errors import PeerError
from light_client.peers import Members
from light_client.report import ContributionReport
from light_client.sampling_run import CellRun, FoldRun
from sampling import SampleState

MEMBERS_AT_ONCE = 8


def of_cells(run: CellRun) -> list[Contribution]:
    """The valid cells of a run."""
    positions = _valid(run)
    parts = [positions[start : start + EQUATIONS_MAX] for start in range(0, len(positions), EQUATIONS_MAX)]
    return [Cells(tuple(run.sampler.items[p] for p in part), _records(run, part)) for part in parts]


def of_folds(runs: Sequence[FoldRun]) -> list[Contribution]:
    """The valid folds of runs, each under its seed."""
    found = [(run, _valid(run)) for run in runs]
    return [
        Folds(run.seed, tuple(run.sampler.items[p] for p in positions), _records(run, positions))
        for run, positions in found
        if positions
    ]


async def offer(
    contributions: Sequence[Contribution],
    header_hash: bytes,
    members: Members,
    rng: Random,
    timeout_s: float,
) -> ContributionReport:
    """Offer contributions to every member; what came of it."""
    order = list(range(len(members.committee.members)))
    rng.shuffle(order)
    slots = asyncio.Semaphore(MEMBERS_AT_ONCE)

    async def to(index: int) -> int | None:
        taken = 0
        async with slots:
            try:
                for contribution in contributions:
                    taken += await members[index].contribute(header_hash, contribution, timeout_s)
            except PeerError:
                return None
        return taken

    taken = await asyncio.gather(*map(to, order))
    return ContributionReport(
        offered=sum(len(contribution.records) for contribution in contributions),
        members_reached=sum(each is not None for each in taken),
        members_taking=sum(bool(each) for each in taken),
        taken=sum(each or 0 for each in taken),
    )


def _valid(run: CellRun | FoldRun) -> list[int]:
    states = map(run.sampler.state, range(len(run.sampler.items)))
    return [position for position, state in enumerate(states) if state is SampleState.VALID]


def _records(run: CellRun | FoldRun, positions: Sequence[int]) -> Bytes:
    joined = b"".join(run.records[position] for position in positions)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(positions), RECORD_BYTES)
