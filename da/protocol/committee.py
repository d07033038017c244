"""Committees: who holds the data, with which keys and stakes, and how much of it must sign.

The idea: a committee is a file that operators agree on. Its hash, over a binary encoding of the values that
matter (chain, epoch, parameters, keys, stakes, roles), is in every header and attestation. Names
and URLs are left out of the hash, so that an address may change without a new committee.

Invariants: members are sorted by public key, 1..1024 of them, without duplicates of key or name; stakes are
1..2^64-1, so the total is below 2^74. A committee read from JSON has canonical non-identity keys with valid
proofs of possession; the constructor checks everything except these (they cost two pairings per member).

Does not: assign columns (see custody), or fetch anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

from da import bls
from da.protocol.codec import U32_MAX, U64_MAX, u8, u16, u32, u64
from da.protocol.errors import InvalidCommittee
from da.protocol.fields import Fields, parse_object

MAX_MEMBERS = 1024
MAX_COMMITTEE_JSON_BYTES = 2 * 2**20
MAX_REPLICATION = 128
MAX_URL_CHARS = 256
DEFAULT_REPLICATION = 4
DEFAULT_RETENTION_S = 15 * 86400

_MEMBER_DOMAIN = b"cellar/member/v1"
_COMMITTEE_DOMAIN = b"cellar/committee/v1"
_ADDRESSES_DOMAIN = b"cellar/addresses/v1"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_URL_CHARS = re.compile(r"[!-~]+", re.ASCII)


def member_id(public_key: bytes) -> bytes:
    """sha256("cellar/member/v1" || public key), bytes[32]."""
    return sha256(_MEMBER_DOMAIN + public_key).digest()


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member. Raises InvalidCommittee when a value is out of range.

    name 1..64 of A-Z a-z 0-9 . _ -; url http(s), without a trailing slash; public_key bytes[48] and
    proof_of_possession bytes[96] compressed; stake 1..2^64-1; disperser whether it may propose batches.
    """

    name: str
    url: str
    public_key: bytes
    proof_of_possession: bytes
    stake: int
    disperser: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidCommittee("name", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
        _check_url(self.url)
        if len(self.public_key) != bls.PUBLIC_KEY_BYTES:
            raise InvalidCommittee(
                "public_key", f"must be {bls.PUBLIC_KEY_BYTES} bytes; got {len(self.public_key)}"
            )
        if len(self.proof_of_possession) != bls.SIGNATURE_BYTES:
            raise InvalidCommittee(
                "proof_of_possession",
                f"must be {bls.SIGNATURE_BYTES} bytes; got {len(self.proof_of_possession)}",
            )
        if not 1 <= self.stake <= U64_MAX:
            raise InvalidCommittee("stake", "must be in 1..2^64-1")

    @cached_property
    def id(self) -> bytes:
        """The member's id, bytes[32]; it identifies a disperser's log."""
        return member_id(self.public_key)


@dataclass(frozen=True, kw_only=True)
class Committee:
    """The members of one epoch of a chain, sorted by public key, and the parameters they agree on.

    chain_id, epoch u64; replication 1..128, holders of a column (all members if there are fewer);
    threshold_numerator / threshold_denominator u32, the share of all stake that must sign, in (1/2, 1];
    retention_s u32, seconds that data is served. Raises InvalidCommittee.
    """

    chain_id: int
    epoch: int
    members: tuple[Member, ...]
    replication: int = DEFAULT_REPLICATION
    threshold_numerator: int = 2
    threshold_denominator: int = 3
    retention_s: int = DEFAULT_RETENTION_S

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.members, key=lambda member: member.public_key))
        object.__setattr__(self, "members", ordered)
        if not 1 <= len(ordered) <= MAX_MEMBERS:
            raise InvalidCommittee("members", f"must be 1 to {MAX_MEMBERS}; got {len(ordered)}")
        _refuse_duplicates("public_key", (member.public_key.hex() for member in ordered))
        _refuse_duplicates("name", (member.name for member in ordered))
        for field in ("chain_id", "epoch"):
            if not 0 <= getattr(self, field) <= U64_MAX:
                raise InvalidCommittee(field, "must be in 0..2^64-1")
        if not 1 <= self.replication <= MAX_REPLICATION:
            raise InvalidCommittee("replication", f"must be in 1..{MAX_REPLICATION}")
        if not 1 <= self.retention_s <= U32_MAX:
            raise InvalidCommittee("retention_s", "must be in 1..2^32-1")
        numerator, denominator = self.threshold_numerator, self.threshold_denominator
        if not (0 < numerator <= denominator <= U32_MAX and 2 * numerator > denominator):
            raise InvalidCommittee("threshold", "must be above 1/2 and at most 1")

    @cached_property
    def hash(self) -> bytes:
        """sha256 over the canonical binary encoding (docs/reference/wire-formats.md), bytes[32]."""
        parts = [
            _COMMITTEE_DOMAIN,
            u64(self.chain_id),
            u64(self.epoch),
            u16(self.replication),
            u32(self.threshold_numerator),
            u32(self.threshold_denominator),
            u32(self.retention_s),
            u16(len(self.members)),
        ]
        parts += [
            member.public_key + u64(member.stake) + u8(int(member.disperser)) for member in self.members
        ]
        return sha256(b"".join(parts)).digest()

    @cached_property
    def addresses_hash(self) -> bytes:
        """sha256 over what `hash` leaves out: names and URLs, in the members' order; bytes[32]."""
        parts = [_ADDRESSES_DOMAIN, self.hash]
        for member in self.members:
            for text in (member.name, member.url):
                parts += [u16(len(text)), text.encode("ascii")]
        return sha256(b"".join(parts)).digest()

    @cached_property
    def stakes(self) -> tuple[int, ...]:
        """Stake of each member, in the members' order."""
        return tuple(member.stake for member in self.members)

    @cached_property
    def total_stake(self) -> int:
        """All stake."""
        return sum(self.stakes)

    @cached_property
    def dispersers(self) -> tuple[Member, ...]:
        """Members that may propose batches."""
        return tuple(member for member in self.members if member.disperser)

    @cached_property
    def _index_by_id(self) -> dict[bytes, int]:
        return {member.id: index for index, member in enumerate(self.members)}

    def member_index(self, id_bytes: bytes) -> int | None:
        """The index in `members` of the member with this id; None if there is none."""
        return self._index_by_id.get(id_bytes)

    def member(self, id_bytes: bytes) -> Member | None:
        """The member with this id; None if there is none."""
        index = self.member_index(id_bytes)
        return None if index is None else self.members[index]

    def reaches_threshold(self, indices: Iterable[int]) -> bool:
        """Whether the members at these indices have the signing threshold's share of all stake."""
        signed = sum(self.stakes[index] for index in set(indices))
        return signed * self.threshold_denominator >= self.total_stake * self.threshold_numerator

    @classmethod
    def from_json(cls, text: bytes | str) -> Committee:
        """Read a committee from JSON; everything is checked, including proofs of possession.

        Raises InvalidCommittee, with the field as a path like members[3].stake.
        """
        committee = cls.parse(text)
        committee.check_possession()
        return committee

    @classmethod
    def parse(cls, text: bytes | str) -> Committee:
        """The committee of a JSON document, its proofs of possession unchecked. Raises InvalidCommittee."""
        return cls._read(parse_object(text, MAX_COMMITTEE_JSON_BYTES, InvalidCommittee))

    @classmethod
    def from_value(cls, value: object) -> Committee:
        """The committee of a decoded JSON object, its proofs of possession unchecked.

        Raises InvalidCommittee.
        """
        if not isinstance(value, dict):
            raise InvalidCommittee("committee", "must be an object")
        return cls._read(Fields(value, "", InvalidCommittee))

    @classmethod
    def _read(cls, fields: Fields) -> Committee:
        threshold = fields.object("threshold", {"numerator": 2, "denominator": 3})
        rows = fields.objects("members", MAX_MEMBERS)
        committee = cls(
            chain_id=fields.integer("chain_id"),
            epoch=fields.integer("epoch"),
            members=tuple(_read_member(row) for row in rows),
            replication=fields.integer("replication", DEFAULT_REPLICATION),
            threshold_numerator=threshold.integer("numerator"),
            threshold_denominator=threshold.integer("denominator"),
            retention_s=fields.integer("retention_s", DEFAULT_RETENTION_S),
        )
        threshold.finish()
        fields.finish()
        return committee

    def check_possession(self, proven: Committee | None = None) -> None:
        """Check that every key is a point whose owner knows its secret; two pairings a member.

        Args:
            proven: a committee that was checked; its keys, with the same proofs, are not checked again.
        Raises:
            InvalidCommittee.
        """
        known = {(each.public_key, each.proof_of_possession) for each in (proven.members if proven else ())}
        for member in self.members:
            if (member.public_key, member.proof_of_possession) in known:
                continue
            if not bls.is_public_key(member.public_key):
                raise InvalidCommittee(
                    f"member {member.name}", "public_key must be a point of G1 other than the identity"
                )
            if not bls.verify_possession(member.public_key, member.proof_of_possession):
                raise InvalidCommittee(
                    f"member {member.name}", "proof_of_possession does not match public_key"
                )

    def to_value(self) -> dict[str, object]:
        """The committee as a JSON-ready object, members in order."""
        return {
            "chain_id": self.chain_id,
            "epoch": self.epoch,
            "replication": self.replication,
            "threshold": {
                "numerator": self.threshold_numerator,
                "denominator": self.threshold_denominator,
            },
            "retention_s": self.retention_s,
            "members": [
                {
                    "name": member.name,
                    "url": member.url,
                    "public_key": "0x" + member.public_key.hex(),
                    "proof_of_possession": "0x" + member.proof_of_possession.hex(),
                    "stake": member.stake,
                    "disperser": member.disperser,
                }
                for member in self.members
            ],
        }

    def to_json(self) -> str:
        """The JSON document that from_json reads, indented."""
        return json.dumps(self.to_value(), indent=2)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Committee:
        """Read a committee file. Raises OSError or InvalidCommittee."""
        with Path(path).open("rb") as file:
            return cls.from_json(file.read(MAX_COMMITTEE_JSON_BYTES + 1))


def _read_member(fields: Fields) -> Member:
    try:
        member = Member(
            name=fields.string("name"),
            url=fields.string("url").rstrip("/"),
            public_key=fields.hex("public_key", bls.PUBLIC_KEY_BYTES),
            proof_of_possession=fields.hex("proof_of_possession", bls.SIGNATURE_BYTES),
            stake=fields.integer("stake"),
            disperser=fields.boolean("disperser", False),
        )
    except InvalidCommittee as error:
        if error.field.startswith(fields.path):
            raise
        raise InvalidCommittee(f"{fields.path}.{error.field}", error.reason) from None
    fields.finish()
    return member


def _refuse_duplicates(field: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InvalidCommittee("members", f"two members have the same {field}: {value}")
        seen.add(value)


def _check_url(url: str) -> None:
    if not 1 <= len(url) <= MAX_URL_CHARS or not _URL_CHARS.fullmatch(url) or url.endswith("/"):
        raise InvalidCommittee(
            "url", f"must be 1 to {MAX_URL_CHARS} printable ASCII characters, without a trailing slash"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidCommittee("url", f"is not a valid URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidCommittee("url", "must be http://host[:port] or https://host[:port]")
    if parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url or "\\" in url:
        raise InvalidCommittee("url", "must not have a user, query or fragment")
