"""Payloads read back through a client that believes no member: lying, empty and honest ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from da.api.schemas import PayloadProofBody
from da.client import (
    AsyncCellarClient,
    CellarClient,
    ClientError,
    Conflict,
    Gone,
    InvalidAnswer,
    NotKnown,
    Undecodable,
)
from da.client.reading import OTHERS_MAX
from da.node import PayloadProof
from da.protocol.certificate import Certificate
from da.wire import errors as wire_errors
from erasure.packing import pack
from kzg.engine import Engine
from tests.da.member.support import Made, make_batch
from tests.simulation.world import World

PAYLOAD = random.Random(3).randbytes(200_000)  # two rows
Answer = tuple[int, bytes]


class Member:
    """One member: what it serves of a batch; a test changes any of it."""

    def __init__(self, world: World, batch: Made) -> None:
        self.entry = batch.payload_list.entries[0]
        self.proof: Answer = (200, proof_of(batch, batch.certificate(world)))
        self.payload: Answer = (200, batch.payload)
        self.rows: Answer = (200, pack(batch.payload).tobytes())
        self.seen: list[httpx.Request] = []

    def refuse(self, status: int, name: str) -> None:
        """Answer everything with an error."""
        self.proof = self.payload = self.rows = refusal(status, name)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if request.url.path.endswith("/proof"):
            status, content = self.proof
        else:
            status, content = self.rows if request.url.params else self.payload
        return httpx.Response(status, stream=httpx.ByteStream(content))


def refusal(status: int, name: str) -> Answer:
    return status, wire_errors.encode_bytes(name, "because")


def proof_of(batch: Made, certificate: bytes | None, **changes: Any) -> bytes:
    """What a node answers at /proof."""
    entry = batch.payload_list.entries[0]
    found = PayloadProof(
        header=batch.header,
        header_hash=batch.header.hash,
        entry=entry,
        index=0,
        proof=batch.payload_list.prove(0),
        commitments=batch.commitments,
        certificate=certificate,
    )
    return PayloadProofBody.of(replace(found, **changes)).model_dump_json().encode()


@pytest.fixture
def world(tmp_path: Path, engine: Engine) -> World:
    """A committee; no node of it runs."""
    return World(tmp_path, engine)


@pytest.fixture
def batch(world: World) -> Made:
    """A batch of one payload."""
    return make_batch(world, PAYLOAD)


@pytest.fixture
def members(world: World, batch: Made) -> dict[str, Member]:
    """Members by host; the client is given the first."""
    return {f"m{i}": Member(world, batch) for i in range(5)}


@pytest.fixture
def read(members: dict[str, Member]) -> Callable[..., Any]:
    """Read the batch's payload; without `others` only m0 is known."""

    def reading(others: bool = True, **options: Any) -> Any:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.host in members:
                return members[request.url.host](request)
            return httpx.Response(
                404, stream=httpx.ByteStream(refusal(404, "NotFound")[1])
            )  # the committee file's own

        transport = httpx.MockTransport(answer)
        known = [f"http://{name}" for name in members if name != "m0"] if others else []
        with CellarClient(
            "http://m0", transport=transport, others=known, rng=random.Random(1), token="secret", **options
        ) as client:
            return client.read_payload(members["m0"].entry.payload_id)

    return reading


def test_honest_bytes_are_returned_with_what_was_checked(
    world: World, batch: Made, members: dict[str, Member], read: Callable[..., Any]
) -> None:
    found = read()
    assert (found.content, found.url, found.finality, found.said) == (PAYLOAD, "http://m0", None, ())
    assert found.header_hash == batch.header.hash
    certified = read(committee=world.committee)
    assert certified.finality is not None
    assert certified.finality.final
    assert not any(members[name].seen for name in members if name != "m0")


def test_the_asyncio_client_does_the_same(members: dict[str, Member]) -> None:
    async def main() -> None:
        transport = httpx.MockTransport(members["m0"])
        async with AsyncCellarClient("http://m0", transport=transport) as client:
            assert await client.payload(members["m0"].entry.payload_id) == PAYLOAD
            members["m0"].payload = (200, b"x" * len(PAYLOAD))
            with pytest.raises(InvalidAnswer, match="bytes"):
                await client.payload(members["m0"].entry.payload_id)
            assert await client.payload(members["m0"].entry.payload_id, verify=False) == b"x" * len(PAYLOAD)

    asyncio.run(main())


@pytest.mark.parametrize("content", [b"", PAYLOAD[:-1], PAYLOAD + b"\0", PAYLOAD[:-1] + b"\xff"])
def test_other_bytes_are_refused(
    members: dict[str, Member], read: Callable[..., Any], content: bytes
) -> None:
    members["m0"].payload = (200, content)
    with pytest.raises(InvalidAnswer, match="does not verify: bytes"):
        read(others=False)
    found = read()
    assert found.content == PAYLOAD
    assert [url for url, _ in found.said] == ["http://m0"]
    assert "bytes" in found.said[0][1]


def test_a_proof_of_another_payload_is_refused(
    world: World, members: dict[str, Member], read: Callable[..., Any]
) -> None:
    """Its bytes and proof agree with each other, and not with the id that was asked for."""
    other = make_batch(world, b"another payload")
    members["m0"].proof = (200, proof_of(other, other.certificate(world)))
    members["m0"].payload = (200, other.payload)
    with pytest.raises(InvalidAnswer, match="payload_id"):
        read(others=False)


def test_what_a_committee_did_not_certify_is_refused_with_it_alone(
    world: World, batch: Made, members: dict[str, Member], read: Callable[..., Any]
) -> None:
    few = Certificate.decode(batch.certificate(world))
    unsigned = replace(few, signers=few.signers[:1]).encode()
    later = make_batch(world, PAYLOAD, batch)
    cases = {
        "certificate": proof_of(batch, None),
        "stake": proof_of(batch, unsigned),
        "is for another header": proof_of(later, batch.certificate(world)),
        "inclusion": proof_of(
            batch,
            batch.certificate(world),
            proof=replace(batch.payload_list.prove(0), count=2, siblings=(bytes(32),)),
        ),
    }
    for reason, proof in cases.items():
        members["m0"].proof = (200, proof)
        assert read(others=False).content == PAYLOAD, reason
        with pytest.raises(InvalidAnswer, match=reason):
            read(others=False, committee=world.committee)


@pytest.mark.parametrize(("status", "name", "kind"), [(404, "NotFound", NotKnown), (410, "Expired", Gone)])
def test_one_members_word_is_confirmed_by_others(
    members: dict[str, Member],
    read: Callable[..., Any],
    status: int,
    name: str,
    kind: type[ClientError],
) -> None:
    members["m0"].refuse(status, name)
    found = read()
    assert found.content == PAYLOAD
    assert [url for url, _ in found.said] == ["http://m0"]
    for member in members.values():
        member.refuse(status, name)
        member.seen.clear()
    with pytest.raises(kind) as caught:
        read()
    assert len(caught.value.said) == 1 + OTHERS_MAX
    assert sum(bool(member.seen) for member in members.values()) == 1 + OTHERS_MAX
    assert all(
        "authorization" not in request.headers for name in list(members)[1:] for request in members[name].seen
    )
    with pytest.raises(kind) as alone:
        read(others=False)
    assert [url for url, _ in alone.value.said] == ["http://m0"]


def test_what_is_not_certified_yet_is_not_believed(
    members: dict[str, Member], read: Callable[..., Any]
) -> None:
    members["m0"].proof = refusal(409, "NotCertified")
    with pytest.raises(Conflict):
        read()


def test_undecodable_rows_are_definite_and_their_member_is_checked(
    world: World, members: dict[str, Member], read: Callable[..., Any]
) -> None:
    blobs = pack(PAYLOAD)
    blobs[0, 5] ^= 1
    bad = make_batch(world, PAYLOAD, blobs=blobs)
    for member in members.values():
        honest_rows = member.rows
        member.entry = bad.payload_list.entries[0]
        member.proof = (200, proof_of(bad, bad.certificate(world)))
        member.payload = refusal(406, "UndecodablePayload")
        member.rows = (200, blobs.tobytes())
    with pytest.raises(Undecodable):
        read()
    assert not members["m1"].seen
    members["m0"].rows = honest_rows
    with pytest.raises(InvalidAnswer, match="does not verify: bytes"):
        read(others=False)
    good = make_batch(world, PAYLOAD)
    members["m0"].entry = good.payload_list.entries[0]
    members["m0"].proof = (200, proof_of(good, good.certificate(world)))
    with pytest.raises(InvalidAnswer, match="its rows are a payload"):
        read(others=False)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"header_bytes": "0x"}', b"\xff" * 70_000])
def test_a_proof_that_no_node_sends_is_refused(
    members: dict[str, Member], read: Callable[..., Any], body: bytes
) -> None:
    members["m0"].proof = (200, body)
    with pytest.raises(InvalidAnswer):
        read(others=False)
