"""The chain of committees: from a first one that is trusted to the present one, each vouched for by the last.

The idea: a reader who got one committee's file from somebody it trusts needs no other file. Every change is
one link, a handover that the old committee signed, with the next committee; links come from anybody.

Invariants: every committee but the first was handed over to by the one before it (same chain id, epoch one
higher, threshold of the OLD stake), and all of its keys are proven; at most MAX_LINKS links; a chain only
grows at its end, and is never changed in place. A committee that hands over twice has made two chains, of
which a reader keeps the one it saw first.

Does not: fetch links, or store them; say whether the first committee is to be trusted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from da.protocol.committee import Committee, Member
from da.protocol.errors import (
    CommitteeEnded,
    DecodeError,
    InvalidCommittee,
    InvalidHandover,
    UnknownCommittee,
)
from da.protocol.fields import Fields, parse_object
from da.protocol.handover import MAX_HANDOVER_BYTES, Handover
from da.protocol.header import Header

MAX_LINKS = 1000
MAX_CHAIN_JSON_BYTES = 64 * 2**20

_HEX_CHARS_MAX = 2 + 2 * MAX_HANDOVER_BYTES


@dataclass(frozen=True, slots=True)
class Link:
    """A handover and the committee it leads to; verified only inside a chain."""

    handover: Handover
    committee: Committee

    def to_value(self) -> dict[str, object]:
        """The link as a JSON-ready object."""
        return {"handover": "0x" + self.handover.encode().hex(), "committee": self.committee.to_value()}

    @classmethod
    def from_fields(cls, fields: Fields) -> Link:
        """Read `to_value`; nothing is verified. Raises the error of `fields`."""
        link = cls(fields.take("handover", _read_handover), fields.take("committee", Committee.from_value))
        fields.finish()
        return link


@dataclass(frozen=True)
class CommitteeChain:
    """A first committee and the verified links after it. Made by `CommitteeChain(first)` and `extended`."""

    first: Committee
    links: tuple[Link, ...] = ()

    @cached_property
    def committees(self) -> tuple[Committee, ...]:
        """All committees, the first one first."""
        return (self.first, *(link.committee for link in self.links))

    @property
    def latest(self) -> Committee:
        """The committee that is in office."""
        return self.links[-1].committee if self.links else self.first

    @cached_property
    def dispersers(self) -> tuple[Member, ...]:
        """Everybody who has or had a log: the dispersers of all committees, the latest's entry of each."""
        found = {member.id: member for committee in self.committees for member in committee.dispersers}
        return tuple(found.values())

    @cached_property
    def _position(self) -> dict[bytes, int]:
        return {committee.hash: position for position, committee in enumerate(self.committees)}

    def by_hash(self, committee_hash: bytes) -> Committee | None:
        """The committee with this hash; None if there is none."""
        position = self._position.get(committee_hash)
        return None if position is None else self.committees[position]

    def by_epoch(self, epoch: int) -> Committee | None:
        """The committee of this epoch; None if there is none."""
        position = epoch - self.first.epoch
        return self.committees[position] if 0 <= position < len(self.committees) else None

    def committee_of(self, header: Header) -> Committee:
        """The committee whose certificate the header needs.

        Raises UnknownCommittee, and CommitteeEnded for a header dated after its committee's last second.
        """
        position = self._position.get(header.committee_hash)
        if position is None:
            raise UnknownCommittee(header.committee_hash)
        if position < len(self.links):
            valid_until_s = self.links[position].handover.terms.valid_until_s
            if header.timestamp_ms > valid_until_s * 1000:
                raise CommitteeEnded(self.committees[position].epoch, valid_until_s)
        return self.committees[position]

    def links_from(self, epoch: int, limit: int) -> tuple[Link, ...]:
        """At most `limit` links, from the one by which the committee of `epoch` hands over."""
        start = max(epoch - self.first.epoch, 0)
        return self.links[start : start + limit]

    def extended(self, link: Link) -> CommitteeChain:
        """The chain with one more link, verified; the cheap checks first, then two pairings a new member.

        Raises InvalidHandover.
        """
        if len(self.links) >= MAX_LINKS:
            raise InvalidHandover("length", f"a chain has at most {MAX_LINKS} links")
        link.handover.verify(self.latest, link.committee)
        try:
            link.committee.check_possession(self.latest)
        except InvalidCommittee as error:
            raise InvalidHandover("possession", str(error)) from None
        return CommitteeChain(self.first, (*self.links, link))

    def to_json(self) -> str:
        """The file that nodes and readers load, indented."""
        return json.dumps(
            {"first": self.first.to_value(), "links": [link.to_value() for link in self.links]}, indent=2
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> CommitteeChain:
        """Read a chain file. Raises OSError, and as `from_json`."""
        with Path(path).open("rb") as file:
            return cls.from_json(file.read(MAX_CHAIN_JSON_BYTES + 1))

    @classmethod
    def from_json(cls, text: bytes | str) -> CommitteeChain:
        """Read `to_json` and verify every link. Raises InvalidCommittee, InvalidHandover."""
        fields = parse_object(text, MAX_CHAIN_JSON_BYTES, InvalidCommittee)
        first = fields.take("first", Committee.from_value)
        rows = fields.objects("links", MAX_LINKS)
        fields.finish()
        first.check_possession()
        chain = cls(first)
        for row in rows:
            chain = chain.extended(Link.from_fields(row))
        return chain


def _read_handover(value: object) -> Handover:
    if not isinstance(value, str) or len(value) > _HEX_CHARS_MAX or not value.startswith("0x"):
        raise DecodeError("handover", "must be 0x followed by hex digits")
    try:
        return Handover.decode(bytes.fromhex(value[2:]))
    except DecodeError:
        raise
    except ValueError:
        raise DecodeError("handover", "must be 0x followed by hex digits") from None
