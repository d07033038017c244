"""Following the log: continuity, contradictions, sampling of what is due, and going on after a restart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from light_client import Fault, HeaderLog, RoundReport, UnknownDisperser, Watcher
from sampling import Verdict

from .conftest import NOW_MS, World, build_world, lost_by, page_document, run


def _look(
    world: World, state: Path, *, rounds: int = 1, watch: dict[str, Any] | None = None, **options: Any
) -> list[RoundReport]:
    async def work() -> list[RoundReport]:
        async with world.client(state, **options) as client:
            watcher = Watcher(client, **(watch or {}))
            return [await watcher.look(world.disperser.id) for _ in range(rounds)]

    return run(work())


def _heights(seen: RoundReport) -> list[int]:
    return [height for height, _ in seen.new_headers]


def test_the_log_is_followed_from_its_head_and_every_batch_sampled(world: World, tmp_path: Path) -> None:
    batches = world.chain(3)
    (first,) = _look(world, tmp_path)
    assert (first.head, _heights(first), first.exit_code) == (3, [3], 0)
    assert [report.verdict for report in first.reports] == [Verdict.AVAILABLE]
    batches.append(world.make_batch(batches[-1].header))
    batches.append(world.make_batch(batches[-1].header))
    for member in world.members:
        member.batches = batches
    (second,) = _look(world, tmp_path)  # another process would do the same: all state is on disk
    assert (second.head, _heights(second)) == (5, [4, 5])
    assert len(second.reports) == 2
    (third,) = _look(world, tmp_path)
    assert (third.head, third.new_headers, third.reports, third.is_news) == (5, (), (), False)


def test_a_log_can_be_followed_from_a_height(world: World, tmp_path: Path) -> None:
    world.chain(20)
    (seen,) = _look(world, tmp_path, watch={"from_height": 2, "sample": False})
    assert _heights(seen) == list(range(2, 21))
    assert seen.reports == ()


def test_headers_of_expired_batches_keep_the_chain_whole(world: World, tmp_path: Path) -> None:
    batches = world.chain(4)
    shown = [type(b)(**(vars(b) | {"state": "expired"})) if b.header.height == 3 else b for b in batches]
    for member in world.members:
        member.batches = shown
    (seen,) = _look(world, tmp_path, watch={"from_height": 2, "sample": False})
    assert _heights(seen) == [2, 3, 4]
    assert seen.accusations == ()


def test_members_that_lost_batches_are_not_accused_and_their_pages_kept(world: World, tmp_path: Path) -> None:
    batches = world.chain(4)
    lost_by(world.members[:5], batches[1])
    lost_by(world.members[1:], batches[2])
    (seen,) = _look(world, tmp_path, watch={"from_height": 1}, head_members=6)
    assert _heights(seen) == [1, 2, 3, 4]
    assert seen.accusations == ()
    assert [report.verdict for report in seen.reports] == [Verdict.AVAILABLE] * 4


def test_a_member_that_lags_behind_holds_nobody_up(world: World, tmp_path: Path) -> None:
    batches = world.chain(6)
    for member in world.members[:5]:
        member.batches = [batches[0], batches[1], batches[3]]  # lacks a certificate in between
    (seen,) = _look(world, tmp_path, watch={"from_height": 1, "sample": False}, head_members=6)
    assert (seen.head, _heights(seen)) == (6, [1, 2, 3, 4, 5, 6])
    assert seen.accusations == ()


def test_equivocation_is_found_kept_and_reported(world: World, tmp_path: Path) -> None:
    first, second = world.chain(2)
    _look(world, tmp_path)
    fork = world.make_batch(first.header, timestamp_ms=NOW_MS)
    world.members[3].batches = [first, fork]
    (seen,) = _look(world, tmp_path, head_members=6)
    (evidence,) = seen.equivocations
    assert evidence.height == 2
    assert {evidence.first_hash, evidence.second_hash} == {
        "0x" + second.header.hash.hex(),
        "0x" + fork.header.hash.hex(),
    }
    assert seen.exit_code == 1
    assert {each.fault for each in seen.accusations} == {Fault.EQUIVOCATION}
    with HeaderLog(tmp_path) as log:
        assert len(log.equivocations()) == 1
        head = log.head(second.header.chain_id, world.disperser.id)
        assert head is not None
        assert head.header == second.header


def test_a_second_header_with_the_dispersers_signature_alone_is_evidence(
    world: World, tmp_path: Path
) -> None:
    first, _ = world.chain(2)
    _look(world, tmp_path)
    fork = world.make_batch(first.header, signers=(), timestamp_ms=NOW_MS)

    async def page(request: Request) -> Response | None:
        return JSONResponse(page_document([fork])) if request.url.path == "/v1/batches" else None

    world.members[0].intercept = page
    (seen,) = _look(world, tmp_path, head_members=6)
    assert len(seen.equivocations) == 1


def test_a_fork_that_does_not_extend_the_log_is_refused(world: World, tmp_path: Path) -> None:
    first, _ = world.chain(2)
    _look(world, tmp_path)
    fork = world.make_batch(first.header, timestamp_ms=NOW_MS)
    stray = world.make_batch(fork.header)
    for member in world.members:
        member.batches = [first, stray]
    (seen,) = _look(world, tmp_path)
    assert (seen.head, seen.exit_code) == (2, 1)
    assert {each.fault for each in seen.accusations} == {Fault.BROKEN_CHAIN}


def _unsigned(document: dict[str, Any]) -> dict[str, Any]:
    return document | {"certificate": None, "disperser_signature": "0x" + "c0" + "00" * 95}


def _forged(document: dict[str, Any]) -> dict[str, Any]:
    signature = "c0" + "00" * 95
    return document | {
        "certificate": document["certificate"][:-192] + signature,
        "disperser_signature": "0x" + signature,
    }


@pytest.mark.parametrize("change", [_unsigned, _forged])
def test_batches_that_do_not_verify_are_held_against_their_sender(
    world: World, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    first, second = world.chain(2)
    for member in world.members:
        member.batches = [first]
    _look(world, tmp_path)

    async def page(request: Request) -> Response | None:
        if request.url.path == "/v1/batches":
            return JSONResponse({"batches": [change(second.document())], "next": None})
        return None

    world.members[2].intercept = page
    (seen,) = _look(world, tmp_path, head_members=6)
    assert seen.head == 1
    assert {(each.member, each.fault) for each in seen.accusations} == {
        (world.committee.members[2].name, Fault.UNVERIFIED_BATCH)
    }
    assert seen.exit_code == 0


def test_undecided_batches_are_sampled_again_after_a_while(world: World, tmp_path: Path) -> None:
    world.chain(1)

    async def broken(request: Request) -> Response | None:
        return Response(status_code=500) if request.method == "POST" else None

    for member in world.members:
        member.intercept = broken
    (seen,) = _look(world, tmp_path)
    assert [report.verdict for report in seen.reports] == [Verdict.UNDECIDED]
    assert seen.exit_code == 3
    for member in world.members:
        member.intercept = None
    (soon,) = _look(world, tmp_path, clock=lambda: NOW_MS + 1000)
    assert soon.reports == ()
    (later,) = _look(world, tmp_path, clock=lambda: NOW_MS + 61_000)
    assert [report.verdict for report in later.reports] == [Verdict.AVAILABLE]
    assert later.reports[0].sampling is not None
    assert later.reports[0].sampling.resumed
    (done,) = _look(world, tmp_path, clock=lambda: NOW_MS + 200_000)
    assert done.reports == ()


def test_a_batch_that_stays_undecided_is_tried_ever_more_seldom(world: World, tmp_path: Path) -> None:
    world.chain(1)

    async def broken(request: Request) -> Response | None:
        return Response(status_code=500) if request.method == "POST" else None

    for member in world.members:
        member.intercept = broken
    tried = []
    for after_s in range(0, 4 * 3600, 60):
        now_ms = NOW_MS + after_s * 1000
        (seen,) = _look(world, tmp_path, clock=partial(int, now_ms), reports_max=2)
        if seen.reports:
            tried.append(after_s)
    assert tried == [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980]
    with HeaderLog(tmp_path) as log:
        assert [each.finished_ms - NOW_MS for each in log.verdicts()] == [10_980_000, 7_380_000]


def test_a_batch_that_nobody_gives_any_more_is_recorded_as_undecided(world: World, tmp_path: Path) -> None:
    world.chain(1)
    _look(world, tmp_path, watch={"sample": False})
    for member in world.members:
        member.batches = []
    (seen,) = _look(world, tmp_path)
    assert [report.verdict for report in seen.reports] == [Verdict.UNDECIDED]
    (again,) = _look(world, tmp_path)
    assert again.reports == ()


def test_a_withheld_batch_makes_the_round_fail(world: World, tmp_path: Path) -> None:
    world.chain(1)
    for member in world.members:
        member.withheld = lambda cell: cell[1] >= 63
    (seen,) = _look(world, tmp_path)
    assert (seen.exit_code, seen.reports[0].verdict) == (1, Verdict.UNAVAILABLE)


def test_silence_of_everybody_is_no_news(world: World, tmp_path: Path) -> None:
    world.chain(1)
    world.down = set(range(6))
    (seen,) = _look(world, tmp_path)
    assert (seen.head, seen.is_news, seen.exit_code) == (None, False, 0)
    assert len(seen.silences) == 4


def test_each_disperser_has_its_log(matrix: Any, tmp_path: Path) -> None:
    world = build_world(matrix, dispersers=2)

    async def work() -> None:
        async with world.client(tmp_path) as client:
            assert len(Watcher(client).dispersers) == 2
            name = world.committee.dispersers[1].name
            assert Watcher(client, disperser=name).dispersers == (world.committee.dispersers[1].id,)
            with pytest.raises(UnknownDisperser):
                Watcher(client, disperser="nobody")
            with pytest.raises(UnknownDisperser):
                await client.sample("1")

    run(work())
