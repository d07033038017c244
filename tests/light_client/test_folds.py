"""Sampling by folds, against members over real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from da.protocol.custody import holders_of
from da.wire.contributions import Folds
from erasure.constants import MAX_PAYLOAD_BYTES
from light_client import HeaderLog, Report
from light_client.log import DRAWS_MAX
from sampling import Verdict
from tests.light_client.conftest import NOW_MS, Matrix, World, run


def sample(world: World, state: Path, reference: str = "1", **options: object) -> Report:
    async def work() -> Report:
        async with world.client(state, mode="folds", **options) as client:
            return await client.sample(reference)

    return run(work())


def alone(world: World, wanted: int) -> set[int]:
    """As few members as hold every copy of at least `wanted` columns alone; the columns."""
    members = list(range(len(world.committee.members)))
    for count in range(1, len(members) + 1):
        theirs = {c for c in range(128) if set(holders_of(world.committee, c)) <= set(members[:count])}
        if len(theirs) >= wanted:
            return theirs
    raise AssertionError


def test_thirteen_columns_are_a_verdict(world: World, tmp_path: Path) -> None:
    world.chain(1)
    report = sample(world, tmp_path)
    assert report.verdict is Verdict.AVAILABLE
    assert report.sampling is not None
    assert (report.sampling.mode, report.sampling.samples, report.sampling.valid) == ("folds", 13, 13)
    assert report.sampling.confidence is not None
    assert report.sampling.confidence >= 0.9999
    assert not report.sampling.by_knowledge
    assert len(report.sampling.columns) == 128
    assert sum(column.state == "not-asked" for column in report.sampling.columns) == 115
    assert "without knowing this client's samples" in report.reason
    assert not any(member.asked for member in world.members), "no cell was asked for"
    assert report.cost.bytes_received < 40_000


def test_thorough_knows_64_columns(world: World, tmp_path: Path) -> None:
    world.chain(1)
    report = sample(world, tmp_path, thorough=True)
    assert report.sampling is not None
    assert report.sampling.by_knowledge
    assert (report.sampling.valid, report.sampling.confidence) == (64, 1.0)
    assert report.sampling.failure_probability_nonadaptive == 0
    assert "64 whole columns are there" in report.reason


def test_a_coalition_that_holds_a_few_columns_alone_makes_nobody_say_unavailable(
    world: World, tmp_path: Path
) -> None:
    world.chain(1)
    gone = set(range(0, 128, 2)) - {0}
    assert len(gone) <= 64
    for member in world.members:
        member.withheld = lambda cell: cell[1] in gone
    report = sample(world, tmp_path)
    assert report.verdict is Verdict.AVAILABLE
    assert report.sampling is not None
    assert report.sampling.by_knowledge
    assert {c.column for c in report.sampling.columns if c.state == "withheld"} <= gone


def test_one_cell_withheld_in_each_of_65_columns_is_unavailable(world: World, tmp_path: Path) -> None:
    """What single cells see with a chance of a few per cent: no column of these can be folded."""
    world.chain(1)
    for member in world.members:
        member.withheld = lambda cell: cell == (cell[1] % 2, cell[1]) and cell[1] < 65
    report = sample(world, tmp_path)
    assert report.verdict is Verdict.UNAVAILABLE
    assert report.exit_code == 1
    assert report.sampling is not None
    lost = [column for column in report.sampling.columns if column.state == "withheld"]
    assert [column.column for column in lost] == list(range(65))
    for column in lost:
        holders = {world.committee.members[i].name for i in holders_of(world.committee, column.column)}
        assert holders <= {asked.member for asked in column.asked}
        assert world.disperser.name in {asked.member for asked in column.asked}


def test_a_liar_is_named_with_seed_and_record_and_others_are_asked(world: World, tmp_path: Path) -> None:
    world.chain(1)
    liar = world.members[2]
    liar.record = lambda batch, cell: batch.matrix.record(cell[0] ^ 1, cell[1])
    report = sample(world, tmp_path, thorough=True)
    assert report.verdict is Verdict.AVAILABLE
    assert {each.member for each in report.accusations} == {world.committee.members[2].name}
    first = report.accusations[0]
    assert (first.fault, first.row) == ("invalid-fold", None)
    assert first.column is not None
    assert first.evidence is not None
    evidence = Path(first.evidence).read_bytes()
    assert len(evidence) == 32 + 2096
    assert report.sampling is not None
    assert evidence[:32].hex() == report.sampling.draws[0].seed[2:]


def test_seed_and_columns_are_durable_before_the_first_request(world: World, tmp_path: Path) -> None:
    (batch,) = world.chain(1)
    stored: list[bool] = []

    async def look(request: Request) -> Response | None:
        if request.method == "POST":
            with HeaderLog(tmp_path) as log:
                stored.append(log.has_draw(batch.header.hash))
        return None

    for member in world.members:
        member.intercept = look
    sample(world, tmp_path)
    assert stored
    assert all(stored)


def test_an_available_batch_is_sampled_again_with_the_same_draw(world: World, tmp_path: Path) -> None:
    world.chain(1)
    first, second = sample(world, tmp_path, seed=1), sample(world, tmp_path, seed=2)
    assert first.sampling is not None
    assert second.sampling is not None
    assert first.sampling.draws == second.sampling.draws
    assert second.sampling.resumed


def refuse_at_first_then_serve_what_was_asked(world: World) -> list[bool]:
    """Members that learn a client's coordinates from a run that they refuse, and later serve only those."""
    seen: set[tuple[bytes, int]] = set()
    refusing = [True]

    async def learn(request: Request) -> Response | None:
        if not request.url.path.endswith("/folds"):
            return None
        asked = {each for member in world.members for each in member.folded}
        if refusing[0]:
            seen.update(asked)
            return JSONResponse({"error": "Overloaded", "message": ""}, status_code=503)
        if not asked <= seen:
            return JSONResponse({"error": "ColumnNotHeld", "message": ""}, status_code=404)
        return None

    for member in world.members:
        member.intercept = learn
    return refusing


def test_asking_again_is_no_help_to_members_that_learnt_the_coordinates(world: World, tmp_path: Path) -> None:
    world.chain(1)
    refusing = refuse_at_first_then_serve_what_was_asked(world)
    first = sample(world, tmp_path, seed=1, deadline_s=5)
    assert first.verdict is Verdict.UNDECIDED
    refusing[0] = False
    for member in world.members:
        member.folded.clear()
    second = sample(world, tmp_path, seed=2, deadline_s=5)
    assert second.sampling is not None
    assert second.verdict is not Verdict.AVAILABLE
    assert len(second.sampling.draws) == 2
    assert second.sampling.draws[0].seed != second.sampling.draws[1].seed
    assert second.sampling.draws[0].verdict is Verdict.AVAILABLE, "what was asked before is served"
    for member in world.members:
        member.intercept = None
    third = sample(world, tmp_path, seed=3)
    assert third.verdict is Verdict.AVAILABLE
    assert third.sampling is not None
    assert len(third.sampling.draws) == 3
    assert [each.verdict for each in third.previous] == [second.verdict, "undecided"]


def test_draws_do_not_grow_without_bound(tmp_path: Path) -> None:
    import random

    rng = random.Random(1)
    with HeaderLog(tmp_path) as log:
        draws = [log.fold_draws(b"h" * 32, rng, NOW_MS, fresh=True) for _ in range(3 * DRAWS_MAX)]
        assert len(draws[-1]) == DRAWS_MAX
        assert draws[-1][0] == draws[0][0], "the first stays"
        assert draws[-1][1:-1] == draws[-2][2:], "and the last ones"
        again = log.fold_draws(b"h" * 32, rng, NOW_MS, fresh=False)
        assert again == draws[-1]
        assert sorted(again[0].columns) == list(range(128))


@pytest.mark.parametrize("columns", [bytes(128), bytes(range(127)), b""])
def test_damaged_draws_are_damage(tmp_path: Path, columns: bytes) -> None:
    import random
    import sqlite3

    from light_client import StateError

    with HeaderLog(tmp_path) as log:
        log.fold_draws(b"h" * 32, random.Random(1), NOW_MS, fresh=False)
    (database,) = tmp_path.glob("*.sqlite3")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE fold_draws SET columns = ?", (columns,))
    connection.close()
    with HeaderLog(tmp_path) as log, pytest.raises(StateError, match="damaged"):
        log.fold_draws(b"h" * 32, random.Random(1), NOW_MS, fresh=False)


def test_a_commitment_that_is_no_point_is_unavailable(world: World, tmp_path: Path) -> None:
    from dataclasses import replace

    broken = world.matrix.commitments.copy()
    broken[1] = np.frombuffer(b"\xff" * 48, dtype=np.uint8)
    batch = world.make_batch(matrix=replace(world.matrix, commitments=broken))
    for member in world.members:
        member.batches = [batch]
    report = sample(world, tmp_path)
    assert report.verdict is Verdict.UNAVAILABLE
    assert "commitments" in report.reason


@pytest.mark.parametrize("mode", ["folds", "cells"])
def test_what_was_verified_is_offered_to_every_member(world: World, tmp_path: Path, mode: str) -> None:
    world.chain(1)
    world.down = {1}
    for member in world.members:
        member.withheld = lambda cell: cell[1] % 2 == 0

    async def work() -> Report:
        async with world.client(tmp_path, mode=mode, contribute=True) as client:
            return await client.sample("1")

    report = run(work())
    assert report.contribution is not None
    assert report.sampling is not None
    assert report.contribution.offered == report.sampling.valid
    assert report.contribution.members_reached == len(world.members) - 1
    assert report.contribution.taken == report.contribution.offered * report.contribution.members_taking
    first = world.members[0].contributed
    assert sum(len(each.records) for each in first) == report.sampling.valid
    for each in first:
        columns = each.columns if isinstance(each, Folds) else [column for _, column in each.pairs]
        assert all(column % 2 for column in columns), "nothing that was not verified"
    if mode == "folds":
        assert isinstance(first[0], Folds)
        assert first[0].seed.hex() == report.sampling.draws[0].seed[2:]
    plain = sample(world, tmp_path / "plain")
    assert plain.contribution is None


def test_members_that_refuse_contributions_change_no_verdict(world: World, tmp_path: Path) -> None:
    world.chain(1)

    async def refuse(request: Request) -> Response | None:
        if request.url.path.endswith("/contributions"):
            return JSONResponse({"error": "QueueFull", "message": "full"}, status_code=429)
        return None

    for member in world.members:
        member.intercept = refuse
    report = sample(world, tmp_path, contribute=True)
    assert report.verdict is Verdict.AVAILABLE
    assert report.contribution is not None
    assert (report.contribution.members_reached, report.contribution.taken) == (0, 0)
    assert report.exit_code == 0


def test_a_verdict_on_16_mib_is_short(world: World, tmp_path: Path) -> None:
    """Bytes of all answers for 133 rows, the same few rows over and over."""
    repeated = [row % world.matrix.rows for row in range(133)]
    small = world.matrix
    matrix = Matrix(
        bytes(MAX_PAYLOAD_BYTES), small.commitments[repeated], small.cells[repeated], small.proofs[repeated]
    )
    batch = world.make_batch(matrix=matrix)
    for member in world.members:
        member.batches = [batch]
    usual = sample(world, tmp_path / "a")
    assert usual.verdict is Verdict.AVAILABLE
    assert usual.cost.bytes_received <= 40_000
    certain = sample(world, tmp_path / "b", confidence=1 - 1e-9)
    assert certain.verdict is Verdict.AVAILABLE
    assert certain.sampling is not None
    assert certain.sampling.samples == 25
    assert certain.cost.bytes_received <= 70_000
