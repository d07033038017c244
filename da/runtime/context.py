"""What the parts of a node share: who it is, its ports, its threads, its counters.

One value, made by Node and handed to every part; it holds no state of its own but the signing lock.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from da.clock import Clock
from da.protocol import custody
from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import CommitteeChain
from da.protocol.header import Header
from da.runtime.async_store import AsyncStore
from da.runtime.broadcast import Broadcast
from da.runtime.config import NodeConfig
from da.runtime.metrics import NodeMetrics
from da.runtime.signer import Signer
from da.runtime.workers import Workers
from da.transport.port import PeerTransport
from kzg.engine import Prover, Verifier


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NodeContext:
    """The node's identity and its ports."""

    config: NodeConfig
    committee: Committee  # in office: it takes and signs new batches
    chain: CommitteeChain  # which has it, and the earlier ones, whose batches are served until they expire
    index: int  # of this node in committee.members
    signer: Signer
    verifier: Verifier
    prover: Prover | None  # of a disperser
    store: AsyncStore
    transport: PeerTransport
    workers: Workers
    metrics: NodeMetrics
    clock: Clock
    rng: random.Random
    changed: Broadcast  # announced whenever the store learns something
    log_locks: dict[bytes, asyncio.Lock] = field(default_factory=dict)

    @property
    def member(self) -> Member:
        """This node in the committee."""
        return self.committee.members[self.index]

    @property
    def custody(self) -> tuple[int, ...]:
        """The columns this node must hold, ascending."""
        return custody.columns_of(self.committee, self.index)

    def custody_of(self, header: Header) -> tuple[int, ...]:
        """The columns this node must hold of a batch, under that batch's own committee; ascending."""
        committee = self.chain.by_hash(header.committee_hash)
        index = None if committee is None else committee.member_index(self.member.id)
        return () if committee is None or index is None else custody.columns_of(committee, index)

    def holders_of(self, header: Header, column: int) -> list[Member]:
        """Who must hold a column of a batch, under that batch's own committee, where they are now."""
        committee = self.chain.by_hash(header.committee_hash) or self.committee
        members = [committee.members[index] for index in custody.holders_of(committee, column)]
        return [self.committee.member(member.id) or member for member in members]

    @property
    def dispersers(self) -> tuple[Member, ...]:
        """Everybody whose log is served: dispersers in office and earlier ones, where they are now."""
        return tuple(self.committee.member(member.id) or member for member in self.chain.dispersers)

    @property
    def peers(self) -> tuple[Member, ...]:
        """All other members."""
        return tuple(m for i, m in enumerate(self.committee.members) if i != self.index)

    def log_lock(self, disperser_id: bytes) -> asyncio.Lock:
        """Serialises what extends one disperser's log (check the height, then store)."""
        return self.log_locks.setdefault(disperser_id, asyncio.Lock())
