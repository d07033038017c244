"""What a disperser knows of its own log between two looks at the store."""

from __future__ import annotations

from pathlib import Path

from da.disperser.own_log import OwnLog
from da.protocol.attestation import Attestation
from kzg.engine import Engine
from tests.da.member.support import make_batch
from tests.simulation.virtual_time import run
from tests.simulation.world import World


def test_heights_come_from_the_store_and_grow_with_the_log(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=2) as world:
            await world.start()
            own_log = OwnLog(world.node(0)._context)
            assert "too few members" in (own_log.complaint or "")
            ticket = own_log.changed.ticket()
            await world.certify(b"one")
            await own_log.load()
            assert ticket.is_set()
            assert (own_log.top_height, own_log.certified_height) == (1, 1)
            assert own_log.complaint is None
            header = make_batch(world, parent=make_batch(world)).header
            own_log.proposed(header)
            assert (own_log.top_height, own_log.certified_height) == (2, 1)
            own_log.certified(header)
            assert (own_log.top_height, own_log.certified_height) == (2, 2)

    run(main())


def test_signatures_are_kept_until_the_certificate(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=2) as world:
            await world.start()
            own_log = OwnLog(world.node(0)._context)
            header = make_batch(world).header
            attestations = [Attestation.sign(seat.secret, header) for seat in world.seats]
            assert own_log.signatures(header) == {}
            own_log.attested(1, header.height, attestations[1])  # a delivery may be first
            own_log.proposed(header)
            own_log.attested(0, header.height, attestations[0])
            found = own_log.signatures(header)
            assert found == {index: made.signature for index, made in enumerate(attestations)}
            found.clear()  # a copy
            assert len(own_log.signatures(header)) == 2
            own_log.certified(header)
            ticket = own_log.changed.ticket()
            own_log.attested(1, header.height, attestations[1])  # a late one
            assert own_log.signatures(header) == {}
            assert not ticket.is_set()

    run(main())


def test_a_conflict_lasts_until_the_member_takes_a_batch(tmp_path: Path, engine: Engine) -> None:
    async def main() -> None:
        async with World(tmp_path, engine, members=3) as world:
            await world.start()
            own_log = OwnLog(world.node(0)._context)
            first, second = (seat.member for seat in world.members)
            own_log.note_conflict(second, 4)
            own_log.note_conflict(first, 3)
            own_log.note_conflict(first, 5)
            assert sorted(own_log.conflicts) == [
                "node-1 knows another header at height 5",
                "node-2 knows another header at height 4",
            ]
            own_log.clear_conflict(first)
            own_log.clear_conflict(first)
            assert own_log.conflicts == ["node-2 knows another header at height 4"]

    run(main())
