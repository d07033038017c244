"""Intake: taking a body within its sender's grant, memory, pace and share; what every door uses.

The idea: a body is charged for what has come of it, never for the length that was announced. Each piece is
- charged to the sender's rate, if it has one: what is refused in the middle is charged what came;
- given memory (da/runtime/admission.py, Room): of its owner's share, which shrinks as others come.
An owner's own bodies wait for one another by the lengths they announce, within its own share: that harms
nobody else, and lets the first be finished before the last is begun.

The owner is whoever can be held to a share: a token, a disperser that showed a signature, or an address.

Invariants: what all bodies hold is at most what was received, and at most the room; memory and turn are given
back at the end of the block, and at once when a body is refused, too slow, or its sender is gone.

Does not: know what the bytes are.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

from starlette.requests import Request

from da.api import bodies
from da.api.bodies import BodyPace, HeadCheck
from da.runtime.admission import FairShares, Lease, Room

# What looks at the head of a body: the owner of the rest, or None when the rest shall be read and dropped.
Authenticate = Callable[[bytes], Awaitable[Hashable | None]]


class Intake:
    """One room for bodies and the shares of their owners."""

    def __init__(self, room: Room, turns: FairShares, pace: BodyPace) -> None:
        """`turns`: an owner's own bodies wait for one another here, by announced length."""
        self._room = room
        self._turns = turns
        self._pace = pace

    @contextlib.asynccontextmanager
    async def take(
        self,
        request: Request,
        owner: Hashable,
        *,
        limit_bytes: int,
        charge: Callable[[int], None] | None = None,
    ) -> AsyncIterator[bytearray]:
        """The body, whose memory is held for the length of the block.

        Args:
            charge: is called with the length of every piece, and may raise to refuse the rest.
        Raises:
            what bodies.read, `charge`, and the room's and the turns' `refuse` raise.
        """
        async with self._turn(request, owner, limit_bytes), self._room.lease(owner) as lease:
            admit = _admission(lease, charge)
            yield await bodies.read(request, limit_bytes=limit_bytes, pace=self._pace, admit=admit)

    @contextlib.asynccontextmanager
    async def take_authenticated(
        self, request: Request, head_bytes: int, authenticate: Authenticate, *, limit_bytes: int
    ) -> AsyncIterator[bytearray]:
        """As `take`, of a body whose first `head_bytes` say whose it is.

        Nothing but the head is buffered before `authenticate` has accepted it; if it gives no owner, only the
        beginning of the body comes back.
        """
        async with contextlib.AsyncExitStack() as held:
            lease: Lease | None = None

            async def check(head: bytes) -> bool:
                nonlocal lease
                owner = await authenticate(head)
                if owner is None:
                    return False
                await held.enter_async_context(self._turn(request, owner, limit_bytes))
                lease = await held.enter_async_context(self._room.lease(owner))
                return True

            async def admit(size: int) -> None:
                assert lease is not None, "the head was accepted"
                await lease.grow(size)

            head = HeadCheck(head_bytes, check)
            yield await bodies.read(request, limit_bytes=limit_bytes, pace=self._pace, head=head, admit=admit)

    def _turn(
        self, request: Request, owner: Hashable, limit_bytes: int
    ) -> contextlib.AbstractAsyncContextManager[None]:
        declared = bodies.declared_length(request, limit_bytes)
        return self._turns.hold(owner, limit_bytes if declared is None else declared)


def _admission(lease: Lease, charge: Callable[[int], None] | None) -> Callable[[int], Awaitable[None]]:
    async def admit(size: int) -> None:
        if charge is not None:
            charge(size)
        await lease.grow(size)

    return admit
