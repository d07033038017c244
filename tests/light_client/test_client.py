"""Sampling runs against fake members with real data: every verdict, every kind of misbehaviour."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from da.protocol.custody import holders_of
from da.protocol.push import RECORD_BYTES
from light_client import Fault, NoBatchYet, Report, Status
from sampling import Verdict, confidence_of, samples_needed

from .conftest import (
    NOW_MS,
    Batch,
    World,
    lost_by,
    not_found,
    refusal,
    run,
    status_document,
    until_disconnected,
)

SAMPLES = samples_needed(2, 0.9999)


def _sample(world: World, state: Path, reference: str = "1", **options: Any) -> Report:
    async def work() -> Report:
        async with world.client(state, **options) as client:
            report: Report = await client.sample(reference)
            return report

    return run(work())


def test_a_batch_that_is_served_is_available(world: World, tmp_path: Path) -> None:
    (batch,) = world.chain(1)
    report = _sample(world, tmp_path)
    assert (report.verdict, report.status, report.exit_code) == (Verdict.AVAILABLE, Status.AVAILABLE, 0)
    assert report.sampling is not None
    assert report.batch is not None
    assert (report.sampling.samples, report.sampling.valid) == (SAMPLES, SAMPLES)
    assert report.sampling.confidence == float(confidence_of(2, SAMPLES)) >= 0.9999
    assert report.batch.header_hash == "0x" + batch.header.hash.hex()
    assert len(report.batch.signers) == 6
    assert report.accusations == report.silences == report.equivocations == report.previous == ()
    assert report.cost.bytes_received >= SAMPLES * (RECORD_BYTES + 1)
    # Each cell was asked of one holder of its column, and of nobody else.
    asked = [(i, cell) for i, member in enumerate(world.members) for cell in member.asked]
    assert len(asked) == SAMPLES
    assert all(index in holders_of(world.committee, column) for index, (_, column) in asked)
    assert {cell for _, cell in asked} == {(cell.row, cell.column) for cell in report.sampling.cells}
    assert any(cell.parity_row for cell in report.sampling.cells)


# --- liars -----------------------------------------------------------------------------------------------


def _flip_cell(record: bytes) -> bytes:
    return record[:31] + bytes([record[31] ^ 1]) + record[32:]


def _no_point(record: bytes) -> bytes:
    return record[:2048] + b"\xff" * 48


def _not_canonical(record: bytes) -> bytes:
    return b"\xff" * 32 + record[32:]


@pytest.mark.parametrize("damage", [_flip_cell, _no_point, _not_canonical])
def test_a_member_that_sends_bad_cells_is_named_with_what_it_sent(
    world: World, tmp_path: Path, damage: Any
) -> None:
    world.chain(1)
    liar = world.members[2]
    liar.record = lambda batch, cell: damage(batch.matrix.record(*cell))
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.AVAILABLE
    assert report.accusations
    assert {accusation.member for accusation in report.accusations} == {world.committee.members[2].name}
    for accusation in report.accusations:
        assert accusation.fault == Fault.INVALID_CELL
        assert accusation.evidence is not None
        assert accusation.row is not None
        assert accusation.column is not None
        sent = Path(accusation.evidence).read_bytes()
        assert sent == damage(world.matrix.record(accusation.row, accusation.column))
        assert hashlib.sha256(sent).hexdigest() == accusation.sent_sha256
    assert len(liar.asked) == len(set(liar.asked)) == len(report.accusations)


def test_a_valid_cell_of_another_position_is_a_lie(world: World, tmp_path: Path) -> None:
    world.chain(1)
    world.members[0].record = lambda batch, cell: batch.matrix.record(cell[0], (cell[1] + 1) % 128)
    world.members[1].record = lambda batch, cell: batch.matrix.record((cell[0] + 2) % 4, cell[1])
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.AVAILABLE
    assert {each.fault for each in report.accusations} == {Fault.INVALID_CELL}
    assert {each.member for each in report.accusations} == {world.committee.members[i].name for i in (0, 1)}


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"\7" * 50, b"\1" * 200, b"\0" + bytes(RECORD_BYTES - 1)],
    ids=["empty", "short", "no such status", "too many", "cut"],
)
def test_an_answer_of_the_wrong_shape_is_kept_and_the_cells_found_elsewhere(
    world: World, tmp_path: Path, body: bytes
) -> None:
    world.chain(1)

    async def garbage(request: Request) -> Response | None:
        return Response(body) if request.method == "POST" else None

    world.members[4].intercept = garbage
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.AVAILABLE
    (accusation,) = report.accusations
    assert accusation.fault == Fault.MALFORMED_ANSWER
    assert accusation.member == world.committee.members[4].name
    assert accusation.evidence is not None
    assert Path(accusation.evidence).read_bytes() == body


def test_when_all_holders_of_a_cell_lie_it_is_unavailable(world: World, tmp_path: Path) -> None:
    world.chain(1)
    for member in world.members:
        member.record = lambda batch, cell: _flip_cell(batch.matrix.record(*cell))
    report = _sample(world, tmp_path)
    assert (report.verdict, report.exit_code) == (Verdict.UNAVAILABLE, 1)
    assert report.sampling is not None
    assert report.sampling.withheld == SAMPLES
    assert report.sampling.confidence is None
    assert len({accusation.member for accusation in report.accusations}) == 6


# --- withholding, silence, expiry ------------------------------------------------------------------------


async def _hang(request: Request) -> Response | None:
    if request.method == "POST":
        await until_disconnected(request)
    return None


def test_withheld_columns_are_unavailable_with_what_each_holder_said(world: World, tmp_path: Path) -> None:
    world.chain(1)
    for member in world.members:
        member.withheld = lambda cell: cell[1] < 65
    report = _sample(world, tmp_path)
    assert (report.verdict, report.status, report.exit_code) == (Verdict.UNAVAILABLE, Status.UNAVAILABLE, 1)
    assert report.sampling is not None
    assert report.accusations == ()
    for cell in report.sampling.cells:
        assert cell.state == ("withheld" if cell.column < 65 else "valid")
        if cell.state == "withheld":
            holders = {world.committee.members[i].name for i in holders_of(world.committee, cell.column)}
            assert {asked.member for asked in cell.asked} == holders
            assert all("not-held" in asked.answers for asked in cell.asked)


def test_one_holder_that_serves_is_enough(world: World, tmp_path: Path) -> None:
    world.chain(1)
    for member in world.members:
        if member.index in (1, 3, 4):  # every column keeps one holder: four of six hold it
            member.withheld = lambda cell: True
    assert _sample(world, tmp_path).verdict is Verdict.AVAILABLE


def test_absent_members_that_others_stand_in_for_do_not_matter(world: World, tmp_path: Path) -> None:
    world.chain(1)
    world.down = {0, 5}
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.AVAILABLE
    assert {silence.member for silence in report.silences} <= {
        world.committee.members[i].name for i in (0, 5)
    }
    assert report.silences


def test_a_holder_that_cannot_be_asked_leaves_it_undecided(world: World, tmp_path: Path) -> None:
    world.chain(1)
    world.down = {0}
    for member in world.members:
        member.withheld = lambda cell: cell[1] in columns
    columns = world.members[0].columns
    report = _sample(world, tmp_path)
    assert (report.verdict, report.status, report.exit_code) == (Verdict.UNDECIDED, Status.UNDECIDED, 3)
    assert report.sampling is not None
    assert report.sampling.withheld == 0
    assert report.sampling.confidence is None
    assert world.committee.members[0].name in report.reason


def test_server_errors_are_silence_not_refusal(world: World, tmp_path: Path) -> None:
    world.chain(1)

    async def broken(request: Request) -> Response | None:
        return refusal(503, "Overloaded") if request.method == "POST" else None

    for member in world.members:
        member.intercept = broken
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.UNDECIDED
    assert {silence.reason for silence in report.silences} == {"HTTP 503 Overloaded"}


def test_a_member_that_recovers_within_the_deadline_decides_it(world: World, tmp_path: Path) -> None:
    world.chain(1)
    calls = 0

    async def busy_at_first(request: Request) -> Response | None:
        nonlocal calls
        if request.method == "POST":
            calls += 1
        return Response(status_code=429, headers={"retry-after": "1"}) if calls % 3 else None

    for member in world.members:
        member.intercept = busy_at_first
    assert _sample(world, tmp_path).verdict is Verdict.AVAILABLE


def test_members_that_hang_are_given_up_at_the_deadline(world: World, tmp_path: Path) -> None:
    world.chain(1)

    for member in world.members:
        member.intercept = _hang
    report = _sample(world, tmp_path, deadline_s=0.2, answer_timeout_s=60)
    assert report.verdict is Verdict.UNDECIDED
    assert report.sampling is not None
    assert report.sampling.unreached == SAMPLES


def test_what_arrived_before_the_deadline_is_verified(world: World, tmp_path: Path) -> None:
    world.chain(1)
    world.members[1].intercept = _hang
    for member in world.members[2:4]:
        member.record = lambda batch, cell: _flip_cell(batch.matrix.record(*cell))
    report = _sample(world, tmp_path, deadline_s=2, answer_timeout_s=60)
    assert report.verdict is Verdict.UNDECIDED
    assert report.sampling is not None
    assert 0 < report.sampling.valid < SAMPLES
    assert {each.fault for each in report.accusations} == {Fault.INVALID_CELL}


def test_a_slow_member_is_passed_over(world: World, tmp_path: Path) -> None:
    world.chain(1)

    world.members[1].intercept = _hang
    report = _sample(world, tmp_path, answer_timeout_s=0.2)
    assert report.verdict is Verdict.AVAILABLE
    assert [silence.member for silence in report.silences] == [world.committee.members[1].name]


def test_expired_is_a_refusal_within_the_retention_and_none_after(world: World, tmp_path: Path) -> None:
    (batch,) = world.chain(1)

    async def gone(request: Request) -> Response | None:
        return refusal(410, "Expired") if request.method == "POST" else None

    for member in world.members:
        member.intercept = gone
    within = _sample(world, tmp_path / "within")
    assert within.verdict is Verdict.UNAVAILABLE
    later_ms = batch.header.timestamp_ms + world.committee.retention_s * 1000 + 1
    after = _sample(world, tmp_path / "after", clock=lambda: later_ms)
    assert (after.verdict, after.status, after.exit_code) == (Verdict.UNDECIDED, Status.EXPIRED, 3)


def test_a_committed_row_that_is_no_point_is_unavailable(world: World, tmp_path: Path) -> None:
    """A committee that certifies garbage commitments: nothing can verify, and no member alone is to blame."""
    commitments = world.matrix.commitments.copy()
    commitments[1] = 0xFF
    matrix = type(world.matrix)(world.matrix.payload, commitments, world.matrix.cells, world.matrix.proofs)
    batch = world.make_batch(matrix=matrix)
    for member in world.members:
        member.batches = [batch]
        member.record = lambda batch, cell: bytes(RECORD_BYTES)
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.UNAVAILABLE
    assert report.accusations == ()
    assert "certified commitments" in report.reason


# --- coordinates -----------------------------------------------------------------------------------------


def test_a_run_after_a_refusal_asks_for_the_same_cells_and_as_many_new_ones(
    world: World, tmp_path: Path
) -> None:
    world.chain(1)
    for member in world.members:
        member.withheld = lambda cell: True
    first = _sample(world, tmp_path, seed=1)
    for member in world.members:
        member.withheld = lambda cell: False
    second = _sample(world, tmp_path, seed=2)
    assert first.sampling is not None
    assert second.sampling is not None
    before, after = (
        [(c.row, c.column) for c in each.sampling.cells] for each in (first, second) if each.sampling
    )
    assert after[: len(before)] == before
    assert len(set(after)) == 2 * len(before)
    assert (first.sampling.resumed, second.sampling.resumed) == (False, True)
    assert [(each.verdict, each.finished_ms) for each in second.previous] == [("unavailable", NOW_MS)]


def test_the_coordinates_are_durable_before_the_first_request(world: World, tmp_path: Path) -> None:
    world.chain(1)
    stored: list[bool] = []

    async def look(request: Request) -> Response | None:
        if request.method == "POST":
            from light_client import HeaderLog

            with HeaderLog(tmp_path) as log:
                stored.append(log.has_plan(world.members[0].batches[0].header.hash))
        return None

    for member in world.members:
        member.intercept = look
    _sample(world, tmp_path)
    assert stored
    assert all(stored)


def test_a_higher_confidence_adds_cells_and_a_lower_one_drops_none(world: World, tmp_path: Path) -> None:
    world.chain(1)
    reports = [_sample(world, tmp_path, confidence=c) for c in (0.99, 0.999999, 0.9)]
    cells = [[(c.row, c.column) for c in r.sampling.cells] for r in reports if r.sampling]
    assert len(cells[0]) == samples_needed(2, 0.99)
    assert cells[1][: len(cells[0])] == cells[0]
    assert len(cells[1]) == samples_needed(2, 0.999999)
    assert cells[2] == cells[1]


def test_two_clients_draw_different_cells(world: World, tmp_path: Path) -> None:
    world.chain(1)
    first, second = (_sample(world, tmp_path / name, seed=None) for name in "ab")
    assert first.sampling is not None
    assert second.sampling is not None
    assert first.sampling.cells != second.sampling.cells


# --- finding the batch -----------------------------------------------------------------------------------


def test_a_batch_is_found_by_height_hash_payload_and_latest(world: World, tmp_path: Path) -> None:
    batches = world.chain(3)
    hashes = {
        "2": batches[1],
        "0x" + batches[0].header.hash.hex(): batches[0],
        "latest": batches[2],
    }
    for reference, batch in hashes.items():
        report = _sample(world, tmp_path, reference)
        assert report.batch is not None
        assert report.batch.header_hash == "0x" + batch.header.hash.hex()
        assert report.reference == reference
    payload = "0x" + batches[0].payload_list.entries[0].payload_id.hex()
    report = _sample(world, tmp_path, payload)
    assert report.batch is not None
    assert payload in [each.payload_id for each in report.batch.payloads]


def test_what_no_member_knows_is_undecided_and_says_so(world: World, tmp_path: Path) -> None:
    world.chain(1)
    for reference in ("9", "0x" + "ab" * 32):
        report = _sample(world, tmp_path, reference)
        assert (report.verdict, report.exit_code) == (Verdict.UNDECIDED, 3)
        assert report.batch is report.sampling is None
        assert "no member knows" in report.reason
    world.down = {0, 1, 2, 3, 4}
    assert "could not be asked" in _sample(world, tmp_path, "9").reason


def test_a_batch_without_a_certificate_is_pending(world: World, tmp_path: Path) -> None:
    batch = world.make_batch(signers=())
    for member in world.members:
        member.batches = [batch]
    report = _sample(world, tmp_path)
    assert (report.verdict, report.status) == (Verdict.UNDECIDED, Status.PENDING)
    assert report.accusations == ()


def test_too_few_signers_are_no_certificate(world: World, tmp_path: Path) -> None:
    batch = world.make_batch(signers=(0, 1, 2))
    for member in world.members:
        member.batches = [batch]
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.UNDECIDED
    assert len(report.accusations) == 6
    assert {accusation.fault for accusation in report.accusations} == {Fault.UNVERIFIED_BATCH}


def _garbage(world: World, batch: Batch) -> dict[str, tuple[dict[str, Any], Fault]]:
    forged, other = batch.certificate, world.make_batch(payloads_root=b"\7" * 32).certificate
    assert forged is not None
    assert other is not None
    return {
        "signature": ({"certificate": "0x" + (forged[:-1] + bytes([forged[-1] ^ 1])).hex()}, _UNVERIFIED),
        "other header": ({"certificate": "0x" + other.hex()}, _UNVERIFIED),
        "commitments": ({"commitments": ["0x" + "c0" + "00" * 47] * 2}, _UNVERIFIED),
        "proposal": ({"disperser_signature": "0x" + "c0" + "00" * 95}, _UNVERIFIED),
        "encoding": ({"certificate": "0x00"}, Fault.MALFORMED_ANSWER),
        "no list": ({"payloads": None}, Fault.MALFORMED_ANSWER),
    }


_UNVERIFIED = Fault.UNVERIFIED_BATCH


@pytest.mark.parametrize(
    "what", ["signature", "other header", "commitments", "proposal", "encoding", "no list"]
)
def test_members_with_garbage_batches_are_named_and_others_asked(
    world: World, tmp_path: Path, what: str
) -> None:
    (batch,) = world.chain(1)
    change, fault = _garbage(world, batch)[what]

    async def garbage(request: Request) -> Response | None:
        return JSONResponse(batch.document() | change) if request.method == "GET" else None

    for member in world.members:
        member.intercept = garbage
    report = _sample(world, tmp_path)
    assert report.verdict is Verdict.UNDECIDED
    assert {(each.member, each.fault) for each in report.accusations} == {
        (member.name, fault) for member in world.committee.members
    }
    world.members[3].intercept = None
    assert _sample(world, tmp_path).verdict is Verdict.AVAILABLE


def test_a_member_that_sends_another_batch_is_a_liar(world: World, tmp_path: Path) -> None:
    first, second = world.chain(2)

    async def other(request: Request) -> Response | None:
        return JSONResponse(second.document()) if request.method == "GET" else None

    for member in world.members:
        member.intercept = other
    for reference in ("1", "0x" + first.header.hash.hex()):
        report = _sample(world, tmp_path, reference)
        assert report.verdict is Verdict.UNDECIDED
        assert {each.fault for each in report.accusations} == {Fault.UNVERIFIED_BATCH}


def test_a_member_that_points_a_payload_to_a_wrong_batch_is_a_liar(world: World, tmp_path: Path) -> None:
    (batch,) = world.chain(1)

    async def wrong(request: Request) -> Response | None:
        if request.url.path.endswith("/status"):
            return JSONResponse(status_document(bytes(32), batch.header.hash))
        return None

    for member in world.members:
        member.intercept = wrong
    report = _sample(world, tmp_path, "0x" + "cd" * 32)
    assert report.verdict is Verdict.UNDECIDED
    assert {"contents: the payload is not in that batch"} == {each.reason for each in report.accusations}


def test_latest_is_the_highest_that_anybody_proves(world: World, tmp_path: Path) -> None:
    batches = world.chain(12)
    for member in world.members[:5]:
        member.batches = batches[:3]
    report = _sample(world, tmp_path, "latest", head_members=6)
    assert report.batch is not None
    assert report.batch.height == 12
    # Galloping and bisection, not one request a height.
    assert len([path for path in world.members[5].paths if path == "/v1/batches"]) <= 9


@pytest.mark.parametrize("reference", ["1", "hash", "payload", "latest"])
def test_a_member_that_lost_a_batch_is_not_accused_and_others_are_asked(
    world: World, tmp_path: Path, reference: str
) -> None:
    (batch,) = world.chain(1)
    lost_by(world.members[:5], batch)
    named = {"hash": batch.header.hash, "payload": batch.payload_list.entries[0].payload_id}
    reference = f"0x{named[reference].hex()}" if reference in named else reference
    report = _sample(world, tmp_path, reference, head_members=1)
    assert report.verdict is Verdict.AVAILABLE
    assert report.batch is not None
    assert report.batch.header_hash == "0x" + batch.header.hash.hex()
    assert report.accusations == ()


@pytest.mark.parametrize("reference", ["1", "latest"])
def test_a_batch_that_every_member_lost_is_undecided(world: World, tmp_path: Path, reference: str) -> None:
    (batch,) = world.chain(1)
    lost_by(world.members, batch)
    report = _sample(world, tmp_path, reference)
    assert (report.verdict, report.status) == (Verdict.UNDECIDED, Status.UNDECIDED)
    assert "6 had lost it for now" in report.reason
    assert report.accusations == ()
    assert {silence.member for silence in report.silences} == {m.name for m in world.committee.members}


def test_latest_falls_back_to_a_batch_that_is_served(world: World, tmp_path: Path) -> None:
    """All that have the newest lost it: the newest of the others is better than none."""
    batches = world.chain(2)
    lost_by(world.members, batches[1])
    world.members[0].batches = batches[:1]
    report = _sample(world, tmp_path, "latest", head_members=6)
    assert report.batch is not None
    assert report.batch.height == 1
    assert report.accusations == ()


def test_latest_of_an_empty_log_is_no_verdict(world: World, tmp_path: Path) -> None:
    with pytest.raises(NoBatchYet, match=r"^no batch yet \(members asked: 4\); post one first$"):
        _sample(world, tmp_path, "latest")


def test_latest_is_undecided_where_a_member_could_not_be_asked(world: World, tmp_path: Path) -> None:
    async def overloaded(request: Request) -> Response | None:
        return Response(status_code=503)

    world.members[0].intercept = overloaded
    report = _sample(world, tmp_path, "latest", head_members=6)
    assert (report.verdict, report.batch) == (Verdict.UNDECIDED, None)


def test_members_that_deny_a_log_that_is_known_do_not_make_it_empty(world: World, tmp_path: Path) -> None:
    world.chain(1)
    _sample(world, tmp_path)
    for member in world.members:
        member.batches = []
    report = _sample(world, tmp_path, "latest")
    assert (report.verdict, report.batch) == (Verdict.UNDECIDED, None)


# --- the log ---------------------------------------------------------------------------------------------


def test_two_certified_headers_at_one_height_are_reported_as_evidence(world: World, tmp_path: Path) -> None:
    (first,) = world.chain(1)
    _sample(world, tmp_path)
    second = world.make_batch(timestamp_ms=NOW_MS)
    for member in world.members:
        member.batches = [second]
    report = _sample(world, tmp_path)
    (evidence,) = report.equivocations
    assert (evidence.first_hash, evidence.second_hash) == (
        "0x" + first.header.hash.hex(),
        "0x" + second.header.hash.hex(),
    )
    assert Fault.EQUIVOCATION in {accusation.fault for accusation in report.accusations}
    assert report.accusations[0].member == world.disperser.name
    assert (report.verdict, report.exit_code) == (Verdict.AVAILABLE, 1)


def test_a_header_that_does_not_follow_is_held_against_the_disperser(world: World, tmp_path: Path) -> None:
    world.chain(1)
    _sample(world, tmp_path)
    stray = world.make_batch(world.make_batch(timestamp_ms=1).header)
    for member in world.members:
        member.batches = [stray]
    report = _sample(world, tmp_path, "2")
    (accusation,) = report.accusations
    assert (accusation.fault, accusation.member) == (Fault.BROKEN_CHAIN, world.disperser.name)
    assert (report.verdict, report.exit_code) == (Verdict.AVAILABLE, 1)


def test_unknown_routes_of_a_proxy_are_no_refusal(world: World, tmp_path: Path) -> None:
    """A 404 without a typed error is somebody else's: it must not make a batch unavailable."""
    world.chain(1)

    async def proxy(request: Request) -> Response | None:
        return Response("<html>not here</html>", status_code=404) if request.method == "POST" else None

    async def typed(request: Request) -> Response | None:
        return not_found() if request.method == "POST" else None

    for member in world.members:
        member.intercept = proxy
    assert _sample(world, tmp_path / "a").verdict is Verdict.UNDECIDED
    for member in world.members:
        member.intercept = typed
    assert _sample(world, tmp_path / "b").verdict is Verdict.UNAVAILABLE
