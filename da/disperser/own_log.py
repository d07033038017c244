"""The disperser's own log, as its dispersal and its deliveries share it.

The idea: the store has the batches; this is what is known about them between two looks at it: how far the log
goes and is certified, the signatures gathered for batches that are not, and which members contradict it.
`changed` wakes whoever waits for any of it.

Invariants: heights never go back while the node runs; signatures are kept only above the certified height.

Does not: make headers (see dispersal), send anything (see delivery), nor verify signatures.
"""

from __future__ import annotations

import asyncio

from da.protocol.attestation import Attestation
from da.protocol.committee import Member
from da.protocol.header import Header
from da.runtime.broadcast import Broadcast
from da.runtime.context import NodeContext


class OwnLog:
    """Heights, signatures and conflicts of this disperser's log."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self.known = asyncio.Event()  # set once the log is known here: the store may have been lost
        self.changed = Broadcast()
        self.top_height = 0  # certified or not
        self.certified_height = 0
        self._signatures: dict[bytes, dict[int, bytes]] = {}  # header hash -> member -> signature
        self._conflicts: dict[bytes, str] = {}  # by member id

    async def load(self) -> None:
        """Read the heights from the store."""
        context = self._context
        top = await context.store.latest(context.member.id)
        certified = await context.store.latest(context.member.id, certified=True)
        self.top_height = top.header.height if top else 0
        self.certified_height = certified.header.height if certified else 0
        self.changed.announce()

    def proposed(self, header: Header) -> None:
        """A batch was added to the log, durably."""
        self.top_height = header.height
        self.changed.announce()

    def attested(self, index: int, height: int, attestation: Attestation) -> None:
        """Count a verified attestation of member `index`, if its batch still needs some.

        Deliveries may be ahead of the dispersal, which then finds the signatures here.
        """
        if height > self.certified_height:
            self._signatures.setdefault(attestation.header_hash, {})[index] = attestation.signature
            self.changed.announce()

    def signatures(self, header: Header) -> dict[int, bytes]:
        """The signatures gathered for a batch, by member."""
        return dict(self._signatures.get(header.hash, {}))

    def certified(self, header: Header) -> None:
        """The batch's certificate was stored: signatures up to it are not needed any more."""
        self.certified_height = header.height
        self._signatures.clear()
        self.changed.announce()

    def note_conflict(self, member: Member, height: int) -> None:
        """A member knows another header at a height: this disperser's store was lost or put back."""
        self._conflicts[member.id] = f"{member.name} knows another header at height {height}"

    def clear_conflict(self, member: Member) -> None:
        """The member takes this log's batches (again)."""
        self._conflicts.pop(member.id, None)

    @property
    def conflicts(self) -> list[str]:
        """Members that know another header at a height of this log, each in a sentence."""
        members = self._context.committee.members
        return [self._conflicts[member.id] for member in members if member.id in self._conflicts]

    @property
    def complaint(self) -> str | None:
        """Why no batch can be made, as far as the log goes."""
        if self._context.config.disperses and not self.known.is_set() and self.top_height == 0:
            return "too few members have served this node's own log: no header is made until they do"
        return None
