"""The signer: the key stays in it, and a committee lives with one that is slow or away."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import da
from da.bootstrap import Identity
from da.errors import SignerUnavailable
from da.node import Status
from da.protocol.attestation import Attestation
from da.protocol.handover import HandoverSignature, HandoverTerms
from da.protocol.header import Header
from da.protocol.proposal import sign_header
from da.runtime.signer import LocalSigner, Signer
from da.runtime.workers import Workers
from kzg.engine import Engine
from tests.da.member.support import make_batch
from tests.simulation.virtual_time import run
from tests.simulation.world import NAMESPACE, Seat, World

# Who may name a secret key: what makes, keeps, loads and signs with it.
NAMES_THE_KEY = {
    "da.bls.blspy_library",
    "da.bls.library",
    "da.bls.pyblst_library",
    "da.bls.scheme",
    "da.bootstrap",
    "da.commands.handovers",
    "da.commands.keys",
    "da.devnet.files",
    "da.keystore",
    "da.protocol.attestation",
    "da.protocol.handover",
    "da.protocol.proposal",
    "da.protocol.push_signature",
    "da.runtime.signer",
}


@dataclass
class RemoteSigner:
    """A stand-in for a signer on another machine: slow, and away when `away` says why."""

    local: LocalSigner
    away: str | None = None
    delay_s: float = 0.0
    asked: int = 0

    @property
    def public_key(self) -> bytes:
        return self.local.public_key

    @property
    def complaint(self) -> str | None:
        return self.away

    async def attest(self, header: Header) -> Attestation:
        await self._reach()
        return await self.local.attest(header)

    async def propose(self, header: Header) -> bytes:
        await self._reach()
        return await self.local.propose(header)

    async def authenticate_push(self, header: Header, recipient_id: bytes) -> bytes:
        await self._reach()
        return await self.local.authenticate_push(header, recipient_id)

    async def hand_over(self, terms: HandoverTerms) -> HandoverSignature:
        await self._reach()
        return await self.local.hand_over(terms)

    async def _reach(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.away is not None:
            raise SignerUnavailable(self.away)


def give_remote_signer(seat: Seat) -> RemoteSigner:
    """The remote signer that the seat's node is started with from here on."""
    remote = RemoteSigner(LocalSigner(seat.secret, Workers(1, 1)))

    def make(secret: bytes, workers: Workers) -> Signer:
        remote.local = LocalSigner(secret, workers)
        return remote

    seat.make_signer = make
    return remote


def test_a_local_signer_signs_what_the_protocol_says(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=2) as world:
            header, secret = make_batch(world).header, world.disperser.secret
            signer = LocalSigner(secret, Workers(1, 1))
            assert signer.complaint is None
            assert signer.public_key == world.disperser.member.public_key
            assert await signer.attest(header) == Attestation.sign(secret, header)
            assert await signer.propose(header) == sign_header(secret, header)
            following = replace(world.committee, epoch=2)
            terms = HandoverTerms.between(world.committee, following, valid_until_s=1)
            assert await signer.hand_over(terms) == terms.sign(secret)

    run(main())


def test_nothing_shows_the_key(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=2) as world:
            await world.start()
            seat = world.disperser
            holders = [
                LocalSigner(seat.secret, Workers(1, 1)),
                world.node(0)._context,
                Identity(seat.secret, world.committee, world.chain, seat.member),
            ]
            for shown in (form(holder) for holder in holders for form in (repr, str)):
                assert seat.secret.hex() not in shown
                assert repr(seat.secret) not in shown

    run(main())


def test_only_the_signer_and_what_loads_the_key_name_it() -> None:
    root, found = Path(da.__file__).parent, set()
    for path in root.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        names = {getattr(node, field, None) for node in nodes for field in ("id", "attr", "arg", "name")}
        if names & {"secret", "_secret", "secret_key", "secret_bytes"}:
            found.add(".".join(path.relative_to(root.parent).with_suffix("").parts))
    assert found - NAMES_THE_KEY == set()
    assert "da.runtime.signer" in found


def test_a_member_whose_signer_is_away_keeps_the_columns_and_attests_later(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=2) as world:
            remote = give_remote_signer(world.seats[1])
            remote.away = "connection refused"
            await world.start()
            receipt = await world.node(0).post(NAMESPACE, b"bytes")
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 120)
            assert status.status is Status.DISPERSING
            assert world.store(1).latest(world.disperser.id).columns == world.node(1)._context.custody  # type: ignore[union-attr]
            asked = remote.asked
            assert asked > 1  # the push comes again and again
            failures = world.node(0).metrics.push_failures.labels("node-1", "SignerUnavailable")
            assert failures._value.get() == asked
            assert (await world.node(1).ready()).reasons == ("signer: connection refused",)
            remote.away = None
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 120)
            assert status.status is Status.CERTIFIED
            assert (await world.node(1).ready()).ready
            await world.check_logs()

    run(main())


@pytest.mark.parametrize("restart", [False, True])
def test_a_disperser_whose_signer_is_away_loses_nothing(
    tmp_path: Path, engine: Engine, restart: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=4) as world:
            remote = give_remote_signer(world.disperser)
            await world.start()
            await world.certify(b"before")
            remote.away = "no answer within 5 s"
            receipt = await world.node(0).post(NAMESPACE, b"meanwhile")
            assert receipt.created
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 120)
            assert status.status in (Status.QUEUED, Status.ENCODING)
            assert world.store(0).latest(world.disperser.id).header.height == 1  # type: ignore[union-attr]
            assert (await world.node(0).ready()).reasons == ("signer: no answer within 5 s",)
            assert "height 2 not signed, retrying: the signer is unavailable: no answer" in caplog.text
            assert await world.node(0).payload_bytes(receipt.payload_id) == b"meanwhile"
            if restart:
                await world.disperser.restart()
            remote.away = None
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 120)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 2)
            assert (await world.node(0).ready()).ready
            await world.check_logs()

    run(main())


def test_a_disperser_whose_signer_leaves_between_proposal_and_attestation_goes_on(
    tmp_path: Path, engine: Engine
) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=2) as world:
            remote = give_remote_signer(world.disperser)
            await world.start()

            def leave(when: str, method: str) -> None:
                if (when, method) == ("after", "put_batch"):
                    remote.away = "gone"

            world.disperser.watch = leave
            receipt = await world.node(0).post(NAMESPACE, b"bytes")
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 60)
            assert status.status is Status.DISPERSING
            remote.away = None
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 60)
            assert (status.status, status.batch_height) == (Status.CERTIFIED, 1)
            await world.check_logs()

    run(main())


def test_slow_signers_delay_certificates_and_nothing_else(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=3) as world:
            for seat in world.seats:
                give_remote_signer(seat).delay_s = 4.0
            await world.start()
            receipt = await world.node(0).post(NAMESPACE, b"bytes")
            begun = world.loop.time()
            status = await world.node(0).wait_certified(NAMESPACE, receipt.payload_id, 60)
            assert status.status is Status.CERTIFIED
            # The proposal, the pushes to all members at once, then all attestations at once.
            assert 12.0 <= world.loop.time() - begun < 16.0
            await world.check_logs()

    run(main())
