"""Evidence is kept, up to a bound that no liar can pass however long it is watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from light_client import witness
from light_client.witness import Fault, Witness
from tests.light_client.conftest import World


def test_evidence_is_kept_under_its_digest(world: World, tmp_path: Path) -> None:
    keeper = Witness(world.committee, tmp_path / "evidence")
    keeper.accuse(1, Fault.MALFORMED_ANSWER, "nonsense", b"sent")
    (accusation,) = keeper.accusations
    assert accusation.evidence is not None
    assert accusation.evidence.read_bytes() == b"sent"
    assert accusation.evidence.stem == accusation.sent_sha256


def test_all_runs_together_keep_a_bounded_number_of_bytes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "EVIDENCE_BYTES_MAX", 1000)
    accusations = []
    for run in range(5):  # a watch makes a witness a round
        keeper = Witness(world.committee, tmp_path / "evidence")
        for lie in range(3):
            keeper.accuse(1, Fault.MALFORMED_ANSWER, "nonsense", bytes([run, lie]) * 100)
        accusations += keeper.accusations
    assert [accusation.evidence is not None for accusation in accusations] == [True] * 5 + [False] * 10
    assert sum(path.stat().st_size for path in (tmp_path / "evidence").iterdir()) == 1000
    assert all(accusation.sent_bytes == 200 for accusation in accusations), "told, if not kept"


def test_a_liar_leaves_room_for_evidence_against_others(world: World, tmp_path: Path) -> None:
    keeper = Witness(world.committee, tmp_path / "evidence")
    for lie in range(200):
        keeper.accuse(1, Fault.MALFORMED_ANSWER, "nonsense", bytes([1, lie]))
    keeper.accuse(2, Fault.INVALID_CELL, "nonsense", b"another")
    kept = [accusation.member for accusation in keeper.accusations if accusation.evidence is not None]
    liar, other = world.committee.members[1:3]
    assert kept == [liar] * witness.EVIDENCE_PER_MEMBER_MAX + [other]
