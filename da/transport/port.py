"""How a node talks to other members: the port. The HTTP implementation is da/transport/http.py.

Errors of every call: PeerUnreachable, PeerRejected (a typed answer), PeerMisbehaved (malformed).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from da.protocol.committee import Member
from da.protocol.header import Header
from da.protocol.payload_list import PayloadList


@dataclass(frozen=True, slots=True, eq=False)
class RemoteBatch:
    """A batch as a peer serves it: decoded, nothing verified."""

    header: Header
    disperser_signature: bytes
    payload_list: PayloadList
    commitments: NDArray[np.uint8]
    certificate: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class BatchPage:
    """Live batches of one page of a log, ascending; `next_height` continues it, None at its end."""

    batches: tuple[RemoteBatch, ...]
    next_height: int | None


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
    ) -> BatchPage:
        """Certified batches of a disperser's log from a height on; expired ones are left out."""
        ...

    async def get_column(
        self, member: Member, header_hash: bytes, column: int, rows: int, timeout_s: float
    ) -> bytes | None:
        """rows x 2096 bytes of a column; None when the member does not hold it."""
        ...

    async def get_records(
        self, member: Member, header_hash: bytes, pairs: Sequence[tuple[int, int]], timeout_s: float
    ) -> list[bytes | None]:
        """Records of (row, column) pairs, in order; None where not held (or corrupt there)."""
        ...

    async def get_time(self, member: Member, timeout_s: float) -> int:
        """The member's clock, Unix milliseconds."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
