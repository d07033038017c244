"""Changes of committee, as a light client sees them: followed by signatures, and never anybody's fault."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from da.protocol.committee import Committee, Member
from da.protocol.committee_chain import Link
from da.protocol.custody import COLUMNS
from da.protocol.handover import Handover, HandoverTerms
from kzg import CkzgEngine
from light_client import HeaderLog, LightClient, LightClientSettings, Members, StateError
from light_client.report import Report, RoundReport, Status
from light_client.watch import Watcher
from sampling import Verdict
from tests.light_client.conftest import NOW_MS, FakeMember, Matrix, World, make_committee, run

VALID_UNTIL_S = NOW_MS // 1000


class Epochs:
    """Committees of three epochs over one set of members, who all know everything.

    Node 0 is the disperser of all three; of the others, one leaves and one comes at each change.
    """

    def __init__(self, matrix: Matrix) -> None:
        everybody, self.secrets = make_committee([f"http://m{i}.test" for i in range(8)])
        members = {member.name: member for member in everybody.members}
        self.committees = [
            replace(everybody, epoch=epoch, members=tuple(members[f"node-{i}"] for i in (0, *rest)))
            for epoch, rest in ((1, range(1, 5)), (2, range(2, 6)), (3, range(3, 7)))
        ]
        self.members = {member.id: FakeMember(0, range(COLUMNS)) for member in everybody.members}
        self.worlds = [World(each, self.secrets, matrix, []) for each in self.committees]
        self.links = tuple(self.link(epoch) for epoch in (1, 2))
        batches: list[Any] = []
        for world in self.worlds:
            for _ in range(2):
                batches.append(world.make_batch(batches[-1].header if batches else None))
        self.batches = batches
        for member in self.members.values():
            member.batches, member.links = list(batches), self.links

    def link(self, epoch: int, *, signers: int = 5, valid_until_s: int = VALID_UNTIL_S) -> Link:
        """The change from an epoch to the next."""
        old, following = self.committees[epoch - 1 : epoch + 1]
        terms = HandoverTerms.between(old, following, valid_until_s=valid_until_s)
        signatures = {
            index: terms.sign(self.secrets[old.members[index].public_key]).signature
            for index in range(signers)
        }
        return Link(Handover.gather(terms, old, signatures), following)

    def serve(self, links: tuple[Link, ...]) -> None:
        for member in self.members.values():
            member.links = links

    def transport(self, member: Member) -> httpx.AsyncBaseTransport:
        if not member.url.startswith("http://m"):
            raise AssertionError(f"sent to {member.url}")
        return httpx.ASGITransport(self.members[member.id].app)

    @property
    def asked_for_links(self) -> bool:
        return any("/v1/committees" in member.paths for member in self.members.values())

    async def _with_client(self, state: Path, committee: Committee, work: Any) -> Any:
        settings = LightClientSettings(state_dir=state)
        async with Members(committee, transport=self.transport) as members:
            with HeaderLog(state) as log, CkzgEngine(workers=1, precompute=0) as engine:
                client = LightClient(
                    committee,
                    settings,
                    log,
                    members,
                    engine,
                    rng=random.Random(3),
                    clock=lambda: NOW_MS,
                    pause=no_pause,
                )
                return await work(client)

    def sample(self, state: Path, reference: str, *, epoch: int = 1) -> Report:
        """A run of a client with the committee file of an epoch."""
        committee = self.committees[epoch - 1]
        report: Report = run(self._with_client(state, committee, lambda client: client.sample(reference)))
        return report

    def watch(self, state: Path, *, epoch: int = 1) -> RoundReport:
        """One round over the first log, headers and samples."""

        async def look(client: LightClient) -> RoundReport:
            watcher = Watcher(client, from_height=1)
            (disperser_id,) = watcher.dispersers
            return await watcher.look(disperser_id)

        seen: RoundReport = run(self._with_client(state, self.committees[epoch - 1], look))
        return seen


async def no_pause(seconds: float) -> None:
    return None


@pytest.fixture
def epochs(matrix: Matrix) -> Epochs:
    return Epochs(matrix)


def accuses_nobody(report: Report | RoundReport, state: Path) -> bool:
    return report.accusations == report.equivocations == () and not (state / "evidence").exists()


def test_the_first_committee_is_enough(epochs: Epochs, tmp_path: Path) -> None:
    report = epochs.sample(tmp_path, "latest")
    assert report.verdict == Verdict.AVAILABLE
    assert report.batch is not None
    assert report.batch.height == 6
    assert set(report.batch.signers) == {member.name for member in epochs.committees[2].members}
    for height in range(1, 7):
        report = epochs.sample(tmp_path, str(height))
        assert report.verdict == Verdict.AVAILABLE
        assert report.sampling is not None
        names = {member.name for member in epochs.committees[(height - 1) // 2].members}
        assert {each.member for cell in report.sampling.cells for each in cell.asked} <= names
        assert accuses_nobody(report, tmp_path)


def test_what_was_learned_is_kept(epochs: Epochs, tmp_path: Path) -> None:
    epochs.sample(tmp_path, "latest")
    assert epochs.asked_for_links
    for member in epochs.members.values():
        member.paths.clear()
    epochs.serve(())
    report = epochs.sample(tmp_path, "latest")
    assert (report.verdict, report.batch and report.batch.height) == (Verdict.AVAILABLE, 6)
    assert not epochs.asked_for_links


def test_a_committee_that_no_change_leads_to_leaves_it_open(epochs: Epochs, tmp_path: Path) -> None:
    epochs.serve(())
    for reference in ("latest", "5", "0x" + epochs.batches[4].header.hash.hex()):
        report = epochs.sample(tmp_path, reference)
        assert (report.verdict, report.status, report.exit_code) == (
            Verdict.UNDECIDED,
            Status.UNDECIDED,
            3,
        )
        assert "committee that no signed change leads to" in report.reason
        assert accuses_nobody(report, tmp_path)
    assert epochs.sample(tmp_path, "2").verdict == Verdict.AVAILABLE


@pytest.mark.parametrize("lie", ["sub-quorum", "skipped", "moved"])
def test_a_wrong_link_is_not_followed(epochs: Epochs, tmp_path: Path, lie: str) -> None:
    """Of one member it does no harm; of all members it leaves the batch open."""
    first, second = epochs.links
    moved = tuple(replace(each, url="http://elsewhere.test") for each in first.committee.members)
    wrong = {
        "sub-quorum": (epochs.link(1, signers=3), second),
        "skipped": (second,),
        "moved": (replace(first, committee=replace(first.committee, members=moved)), second),
    }[lie]
    epochs.serve(wrong)
    report = epochs.sample(tmp_path, "latest")
    assert report.verdict == Verdict.UNDECIDED
    assert accuses_nobody(report, tmp_path)
    epochs.members[epochs.worlds[0].disperser.id].links = epochs.links
    report = epochs.sample(tmp_path, "latest")
    assert (report.verdict, report.batch and report.batch.height) == (Verdict.AVAILABLE, 6)


def test_one_member_with_another_committee_misleads_nobody(epochs: Epochs, tmp_path: Path) -> None:
    """All but one are of the first epoch still; that one shows batches of the next, and no link."""
    epochs.serve(())
    for member in epochs.members.values():
        member.batches = epochs.batches[:2]
    liar = epochs.members[epochs.committees[0].members[1].id]
    liar.batches = list(epochs.batches)
    report = epochs.sample(tmp_path, "latest")
    assert (report.verdict, report.batch and report.batch.height) == (Verdict.AVAILABLE, 2)
    assert accuses_nobody(report, tmp_path)


def test_state_from_before_goes_on_with_the_next_file(epochs: Epochs, tmp_path: Path) -> None:
    """The user installs the file of epoch 3 by hand: batches of epoch 2 are passed over."""
    epochs.serve(())
    assert epochs.sample(tmp_path, "2").verdict == Verdict.AVAILABLE
    report = epochs.sample(tmp_path, "latest", epoch=3)
    assert (report.verdict, report.batch and report.batch.height) == (Verdict.AVAILABLE, 6)
    assert accuses_nobody(report, tmp_path)
    assert epochs.sample(tmp_path, "3", epoch=3).verdict == Verdict.UNDECIDED


def test_links_that_led_to_the_file_are_remembered(epochs: Epochs, tmp_path: Path) -> None:
    epochs.sample(tmp_path, "latest")
    epochs.serve(())
    for height in (1, 3, 6):
        assert epochs.sample(tmp_path, str(height), epoch=3).verdict == Verdict.AVAILABLE


def test_a_log_that_began_under_earlier_committees_is_searched(epochs: Epochs, tmp_path: Path) -> None:
    report = epochs.sample(tmp_path, "latest", epoch=3)
    assert (report.verdict, report.batch and report.batch.height) == (Verdict.AVAILABLE, 6)
    assert not epochs.asked_for_links


def test_an_old_committee_that_signs_on_is_not_believed(epochs: Epochs, tmp_path: Path) -> None:
    epochs.sample(tmp_path, "latest")
    late = epochs.worlds[0].make_batch(epochs.batches[-1].header, timestamp_ms=VALID_UNTIL_S * 1000 + 1)
    for member in epochs.members.values():
        member.batches.append(late)
    report = epochs.sample(tmp_path, "7")
    assert report.verdict == Verdict.UNDECIDED
    assert accuses_nobody(report, tmp_path)


def test_a_watch_goes_on_through_the_changes(epochs: Epochs, tmp_path: Path) -> None:
    seen = epochs.watch(tmp_path)
    assert (seen.head, len(seen.new_headers)) == (6, 6)
    assert [report.verdict for report in seen.reports] == [Verdict.AVAILABLE] * 6
    assert accuses_nobody(seen, tmp_path)


def test_a_watch_passes_over_what_no_change_leads_to(epochs: Epochs, tmp_path: Path) -> None:
    epochs.serve(())
    seen = epochs.watch(tmp_path)
    assert seen.head == 2
    assert accuses_nobody(seen, tmp_path)
    seen = epochs.watch(tmp_path, epoch=3)
    assert seen.head == 6
    assert accuses_nobody(seen, tmp_path)


def test_a_damaged_stored_committee_is_a_state_error(epochs: Epochs, tmp_path: Path) -> None:
    epochs.sample(tmp_path, "latest")
    with HeaderLog(tmp_path) as log, log._transaction():
        log._db.execute("UPDATE committees SET handover = x'00' WHERE handover IS NOT NULL")
    with pytest.raises(StateError, match="damaged"):
        epochs.sample(tmp_path, "latest")
