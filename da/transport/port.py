"""How a node talks to other members: the port. The HTTP implementation is da/transport/http.py.

Errors of every call: PeerUnreachable, PeerRejected (a typed answer), PeerMisbehaved (malformed).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from da.protocol.committee import Member
from da.wire.batches import Page
from da.wire.cells import CellAnswer
from da.wire.contributions import Contribution, ContributionAnswer


class PeerTransport(Protocol):
    """Calls to one member. Implementations bound time and memory; retries are the caller's."""

    async def push(
        self,
        member: Member,
        header_hash: bytes,
        prelude: bytes,
        columns: Callable[[], AsyncIterator[bytes]],
        size: int,
        timeout_s: float,
    ) -> bytes:
        """Send prelude and columns (`size` bytes in all); the encoded attestation comes back."""
        ...

    async def put_certificate(
        self, member: Member, header_hash: bytes, certificate: bytes, timeout_s: float
    ) -> None:
        """Hand over the certificate of a batch."""
        ...

    async def get_batches(
        self, member: Member, disperser_id: bytes, from_height: int, limit: int, timeout_s: float
    ) -> Page:
        """Certified batches of a disperser's log from a height on, in every state; nothing verified."""
        ...

    async def get_column(
        self, member: Member, header_hash: bytes, column: int, rows: int, timeout_s: float
    ) -> bytes | None:
        """rows x 2096 bytes of a column; None when the member does not hold it."""
        ...

    async def get_records(
        self, member: Member, header_hash: bytes, pairs: Sequence[tuple[int, int]], timeout_s: float
    ) -> list[CellAnswer]:
        """What the member has at (row, column) pairs, in order; records are not verified."""
        ...

    async def contribute(
        self, member: Member, header_hash: bytes, contribution: Contribution, timeout_s: float
    ) -> ContributionAnswer:
        """Contribute folds or cells of a batch that the member may lack."""
        ...

    async def get_time(self, member: Member, timeout_s: float) -> int:
        """The member's clock, Unix milliseconds."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
