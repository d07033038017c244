"""The committees that the light client knows: a first one, which the user trusts, and the signed changes.

Flow:
- the committee file's committee is the first; links that earlier runs verified come from the state directory
- a batch of a committee that is not known here is no fault: `learn` asks members for links after the last
  one, verifies and stores them, and the search is repeated
- a batch of an earlier committee is verified, and sampled, under that committee

Invariants: every committee but the file's was handed over to by a chain of signatures; links come from any
member, so a wrong one proves nothing and is dropped without an accusation. A page of links is bounded, and so
is a chain.

Does not: decide what is sampled.
"""

from __future__ import annotations

import asyncio
from random import Random

from da.protocol.committee import Committee
from da.protocol.committee_chain import MAX_LINKS, CommitteeChain, Link
from da.protocol.errors import CommitteeEnded, InvalidHandover, ProtocolError, UnknownCommittee
from da.protocol.handover import Handover
from da.protocol.header import Header
from light_client.errors import PeerError, StateError, UnverifiedBatch
from light_client.log import HeaderLog, StoredCommittee
from light_client.peers import MemberClient, Members
from light_client.settings import LightClientSettings

# A page has up to four links with their committees: it may take as long as four other answers.
_TIMEOUTS_PER_PAGE = 4


class Committees:
    """The chain of committees, its members' clients, and their place in the state directory.

    Args:
        first: the committee of the user's file.
        log: the state directory; links that earlier runs stored there are read at once.
        members: clients of the first committee's members; those of others are made from them.

    Raises:
        StateError: a stored committee is damaged.
    """

    def __init__(self, first: Committee, log: HeaderLog, members: Members) -> None:
        self._log = log
        self._members = members
        self.chain = _stored_chain(log, first)

    @property
    def latest(self) -> Committee:
        """The last committee that is known."""
        return self.chain.latest

    @property
    def members(self) -> Members:
        """Clients of its members."""
        return self.members_of(self.latest)

    def members_of(self, committee: Committee) -> Members:
        """Clients of a committee's members, at the addresses that the latest committee has of them."""
        return self._members.under(committee, self.latest)

    def of(self, header: Header) -> Committee:
        """The committee that must have certified the header.

        Raises:
            UnverifiedBatch: "committee": it is not known here, or its time was over.
        """
        try:
            return self.chain.committee_of(header)
        except (UnknownCommittee, CommitteeEnded) as error:
            raise UnverifiedBatch("committee", str(error)) from None

    async def learn(self, settings: LightClientSettings, rng: Random) -> bool:
        """Ask members of the latest committee for changes after it; True when one was found.

        Raises:
            StateError: a link cannot be stored.
        """
        members = self.members
        order = list(range(len(members.committee.members)))
        rng.shuffle(order)
        for start in range(0, len(order), settings.head_members):
            chosen = order[start : start + settings.head_members]
            pages = await asyncio.gather(*(self._links(members[index], settings) for index in chosen))
            before = len(self.chain.links)
            for links in pages:
                for link in links:
                    if not await self._follow(link):
                        break
            if len(self.chain.links) > before:
                return True
        return False

    async def _links(self, member: MemberClient, settings: LightClientSettings) -> tuple[Link, ...]:
        """The links that a member has after the latest committee; none when it has no proper answer."""
        try:
            timeout_s = _TIMEOUTS_PER_PAGE * settings.answer_timeout_s
            return await member.links(self.latest.epoch, timeout_s)
        except PeerError:
            return ()

    async def _follow(self, link: Link) -> bool:
        """Extend the chain by a link; True when it holds, or is known already."""
        if self.chain.by_hash(link.committee.hash) is not None:
            return True
        try:
            chain = await asyncio.to_thread(self.chain.extended, link)
        except InvalidHandover:
            return False
        terms = link.handover.terms
        stored = StoredCommittee(link.committee.to_json(), link.handover.encode())
        self._log.put_committee(link.committee.hash, stored, terms.committee_hash)
        self.chain = chain
        return True


def _stored_chain(log: HeaderLog, first: Committee) -> CommitteeChain:
    """The longest stored chain through `first`: what an earlier file led to it, and what it led to.

    Links were verified before they were stored, so their signatures are not checked again.
    """
    log.put_committee(first.hash, StoredCommittee(first.to_json(), None), None)
    links: list[Link] = []
    earliest, wanted = first, first.hash
    while len(links) < MAX_LINKS and (before := log.committee_before(wanted)) is not None:
        handover = _read_handover(log, wanted)
        links.insert(0, Link(handover, earliest))
        earliest, wanted = _read_committee(log, before), before
    latest = first.hash
    while len(links) < MAX_LINKS and (after := log.committee_after(latest)) is not None:
        links.append(Link(_read_handover(log, after), _read_committee(log, after)))
        latest = after
    return CommitteeChain(earliest, tuple(links))


def _read_committee(log: HeaderLog, committee_hash: bytes) -> Committee:
    try:
        committee = Committee.parse(_stored(log, committee_hash).document)
    except ProtocolError as error:
        raise _damaged(log, str(error)) from None
    if committee.hash != committee_hash:
        raise _damaged(log, "it has another hash")
    return committee


def _read_handover(log: HeaderLog, committee_hash: bytes) -> Handover:
    try:
        return Handover.decode(_stored(log, committee_hash).handover or b"")
    except ProtocolError as error:
        raise _damaged(log, str(error)) from None


def _stored(log: HeaderLog, committee_hash: bytes) -> StoredCommittee:
    stored = log.committee(committee_hash)
    if stored is None:
        raise _damaged(log, "it is missing")
    return stored


def _damaged(log: HeaderLog, reason: str) -> StateError:
    return StateError(
        f"{log.directory}: a stored committee is damaged ({reason}); use another state directory"
    )
