"""What an operator sees of a node: identity and heights, readiness, and gauges measured all the time.

The event loop's lag is the lateness of a timer: how long a request may wait before it is handled.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, version

from da import bls
from da.disperser.batcher import Batcher
from da.disperser.outbox import Outbox
from da.disperser.own_log import OwnLog
from da.member.repair import Repair
from da.member.scrub import Scrub
from da.node.types import Readiness
from da.runtime.committee_time import Timekeeper
from da.runtime.context import NodeContext
from da.runtime.loops import Loops
from da.store.errors import StoreError

_LAG_INTERVAL_S = 0.25
_SLOW_EVERY = 20  # free space is measured once in this many lag measurements


class Operation:
    """Measures, and answers for the node's state."""

    def __init__(
        self,
        context: NodeContext,
        name: str,
        loops: Loops,
        outbox: Outbox,
        batcher: Batcher,
        own_log: OwnLog,
        repair: Repair,
        scrub: Scrub,
        timekeeper: Timekeeper,
    ) -> None:
        self._context = context
        self._name = name
        self._loops = loops
        self._outbox = outbox
        self._batcher = batcher
        self._own_log = own_log
        self._repair = repair
        self._scrub = scrub
        self._timekeeper = timekeeper

    async def run(self) -> None:
        """Measure, until cancelled."""
        context = self._context
        engine = context.verifier.describe()
        context.metrics.node.info(
            {
                "name": context.member.name,
                "member_id": context.member.id.hex(),
                "chain_id": str(context.committee.chain_id),
                "engine": context.verifier.name,
                "engine_detail": ", ".join(f"{key}={value}" for key, value in sorted(engine.items())),
                "version": _version(),
            }
        )
        loop = asyncio.get_running_loop()
        while True:
            context.metrics.store_free_bytes.set(await context.store.free_bytes())
            context.metrics.outbox_bytes.set(await context.workers.io(lambda: self._outbox.total_bytes))
            for _ in range(_SLOW_EVERY):
                due = loop.time() + _LAG_INTERVAL_S
                await asyncio.sleep(_LAG_INTERVAL_S)
                context.metrics.event_loop_lag.observe(max(0.0, loop.time() - due))

    async def info(self) -> dict[str, object]:
        """For GET /v1/node: JSON-ready, bytes as 0x-hex."""
        context = self._context
        heights: dict[str, object] = {}
        for member in context.dispersers:
            top = await context.store.latest(member.id)
            certified = await context.store.latest(member.id, certified=True)
            heights["0x" + member.id.hex()] = {
                "name": member.name,
                "height": top.header.height if top else 0,
                "certified_height": certified.header.height if certified else 0,
            }
        return {
            "name": self._name,
            "version": _version(),
            "member_id": "0x" + context.member.id.hex(),
            "public_key": "0x" + context.member.public_key.hex(),
            "url": context.member.url,
            "roles": ["member", "disperser"] if context.config.disperses else ["member"],
            "time_ms": context.clock(),
            "chain_id": context.committee.chain_id,
            "epoch": context.committee.epoch,
            "committee_hash": "0x" + context.committee.hash.hex(),
            "members": len(context.committee.members),
            "columns": list(context.custody),
            "retention_s": context.committee.retention_s,
            "engine": context.verifier.describe(),
            "bls": bls.describe(),
            "logs": heights,
            "payloads_waiting": self._batcher.waiting,
            "repairs_waiting": self._repair.waiting,
        }

    async def readiness(self) -> Readiness:
        """Whether the node can take and serve everything, and the reasons when not."""
        if not self._loops.healthy:
            return Readiness(ready=False, reasons=("not started, or stopping, or a loop has stopped",))
        reasons = await self._reasons()
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    async def _reasons(self) -> list[str]:
        context = self._context
        try:
            store, outbox = await context.store.health(), await context.workers.io(self._outbox.health)
        except StoreError as error:
            return [f"store: {error}"]
        reasons = [] if store.writable else [f"store is read-only: {store.reason}"]
        reasons += [] if outbox.writable else [f"outbox is read-only: {outbox.reason}"]
        reasons += ["the index is damaged and is being rebuilt"] if self._scrub.rebuilding_index else []
        reasons += [] if context.signer.complaint is None else [f"signer: {context.signer.complaint}"]
        reasons += [] if self._timekeeper.complaint is None else [self._timekeeper.complaint]
        reasons += [] if self._own_log.complaint is None else [self._own_log.complaint]
        return reasons + self._own_log.conflicts + self._lost()

    def _lost(self) -> list[str]:
        """Batches of the own log that no other node is certain to have."""
        return [
            f"the log is blocked: batch 0x{header.hash.hex()} of height {header.height} is damaged here "
            "and was not certified; see Damage in docs/reference/storage.md"
            for header in self._repair.lost
            if header.disperser_id == self._context.member.id
            and header.height > self._own_log.certified_height
        ]


def _version() -> str:
    try:
        return version("cellar-da")
    except PackageNotFoundError:
        return "unpackaged"
