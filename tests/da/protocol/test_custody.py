from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da.protocol import Committee, InvalidCommittee, assignment, columns_of, finality, holders_of
from da.protocol.custody import COLUMNS, COLUMNS_TO_LOSE, most_slots, quotas, signers_enough

Make = Callable[..., Committee]
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "custody.md"

stakes_lists = st.lists(
    st.one_of(st.integers(1, 5), st.integers(1, 1000), st.integers(1, 2**64 - 1)), min_size=1, max_size=24
)
replications = st.one_of(st.integers(1, 8), st.integers(1, 128))


@given(stakes_lists, replications)
def test_quotas_fill_the_slots_under_the_cap(stakes: list[int], replication: int):
    result = quotas(stakes, replication)
    assert sum(result) == COLUMNS * min(replication, len(stakes))
    assert all(0 <= quota <= COLUMNS for quota in result)


@given(stakes_lists, replications)
def test_quotas_never_favour_the_smaller_stake(stakes: list[int], replication: int):
    result = quotas(stakes, replication)
    for i, j in combinations(range(len(stakes)), 2):
        if stakes[i] > stakes[j]:
            assert result[i] >= result[j]
        if stakes[i] == stakes[j]:
            assert abs(result[i] - result[j]) <= 1


@given(st.lists(st.integers(10**18, 19 * 10**17), min_size=8, max_size=40), st.integers(1, 4))
def test_uncapped_quotas_are_within_one_of_the_share(stakes: list[int], replication: int):
    slots = COLUMNS * replication
    shares = [Fraction(stake * slots, sum(stakes)) for stake in stakes]
    assert max(shares) < COLUMNS
    assert all(
        abs(quota - share) < 1 for quota, share in zip(quotas(stakes, replication), shares, strict=True)
    )


@pytest.mark.parametrize(
    ("stakes", "replication", "expected"),
    [
        ([1], 4, (128,)),
        ([1, 1], 1, (64, 64)),
        ([1, 1, 1], 1, (43, 43, 42)),
        ([100, 1, 1], 1, (126, 1, 1)),
        ([100, 1, 1], 2, (128, 64, 64)),
        ([1000, 1000, 1, 1], 2, (128, 128, 0, 0)),
        ([2**64 - 1, 1], 1, (128, 0)),
        ([1] * 6, 4, (86, 86, 85, 85, 85, 85)),
        ([5, 4, 3, 2, 1], 3, (128, 102, 77, 51, 26)),
    ],
)
def test_quotas_by_hand(stakes: list[int], replication: int, expected: tuple[int, ...]):
    assert quotas(stakes, replication) == expected


@given(stakes_lists, replications)
def test_every_column_has_its_holders(make_committee: Make, stakes: list[int], replication: int):
    committee = make_committee(stakes, replication=replication)
    held = assignment(committee)
    assert held.shape == (len(stakes), COLUMNS)
    assert (held.sum(axis=0) == min(replication, len(stakes))).all()
    assert tuple(held.sum(axis=1)) == quotas(committee.stakes, replication)


def test_views_of_the_assignment_agree(make_committee: Make):
    committee = make_committee([3, 1, 4, 1, 5, 9, 2, 6])
    held = assignment(committee)
    for member in range(8):
        columns = columns_of(committee, member)
        assert list(columns) == sorted(set(columns))
        assert all(held[member, column] for column in columns)
        assert all(member in holders_of(committee, column) for column in columns)
    for column in range(COLUMNS):
        assert len(holders_of(committee, column)) == 4


def test_assignment_cannot_be_changed(make_committee: Make):
    held = assignment(make_committee([1, 2, 3]))
    with pytest.raises(ValueError, match="read-only"):
        held[0, 0] = True


def test_assignment_depends_on_the_committee_hash_alone(make_committee: Make):
    first, again = make_committee([5] * 12), make_committee([5] * 12)
    assert (assignment(first) == assignment(again)).all()
    next_epoch = make_committee([5] * 12, epoch=2)
    assert (assignment(first) != assignment(next_epoch)).any()


def test_members_and_columns_out_of_range_are_refused(make_committee: Make):
    committee = make_committee([1, 2, 3])
    for index in (-1, 3):
        with pytest.raises(InvalidCommittee):
            columns_of(committee, index)
        with pytest.raises(InvalidCommittee):
            finality(committee, [0, index])
    for column in (-1, 128):
        with pytest.raises(InvalidCommittee):
            holders_of(committee, column)


def most_slots_reference(slots: list[int], stakes: list[int], limit: int) -> int:
    """By enumeration of all subsets."""
    return max(
        sum(slots[i] for i in subset)
        for size in range(len(slots) + 1)
        for subset in combinations(range(len(slots)), size)
        if sum(stakes[i] for i in subset) <= limit
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.one_of(st.integers(1, 9), st.integers(1, 2**64 - 1))), max_size=9
    ),
    st.one_of(st.integers(0, 30), st.integers(0, 2**70)),
)
@settings(max_examples=300)
def test_most_slots_is_the_enumeration(members: list[tuple[int, int]], limit: int):
    slots, stakes = [m[0] for m in members], [m[1] for m in members]
    assert most_slots(slots, stakes, limit) == most_slots_reference(slots, stakes, limit)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 2**40)), max_size=8), st.integers(0, 2**41))
def test_most_slots_is_the_same_in_both_integer_widths(members: list[tuple[int, int]], limit: int):
    slots, stakes = [m[0] for m in members], [m[1] for m in members]
    scaled = most_slots(slots, [stake << 60 for stake in stakes], limit << 60)
    assert scaled == most_slots(slots, stakes, limit)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(1, 6), st.data())
def test_finality_is_its_definition(
    make_committee: Make, stakes: list[int], replication: int, data: st.DataObject
):
    committee = make_committee(stakes, replication=replication)
    signers = data.draw(st.sets(st.integers(0, len(stakes) - 1)))
    result = finality(committee, signers)
    total = sum(stakes)
    signed = sum(committee.stakes[i] for i in signers)
    assert (result.signed_stake, result.total_stake) == (signed, total)
    assert result.stake_ok == (Fraction(signed, total) >= Fraction(2, 3))
    adversaries = [
        subset
        for size in range(len(signers) + 1)
        for subset in combinations(sorted(signers), size)
        if 3 * sum(committee.stakes[i] for i in subset) <= total
    ]
    assert result.adversary_slots == max(
        sum(len(columns_of(committee, i)) for i in subset) for subset in adversaries
    )
    held = sorted(len(signers & set(holders_of(committee, column))) for column in range(COLUMNS))
    assert result.least_held_slots == sum(held[:COLUMNS_TO_LOSE])
    assert result.margin == result.least_held_slots - result.adversary_slots
    assert result.final == (result.stake_ok and result.margin > 0)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(1, 6), st.data())
def test_a_final_batch_cannot_be_lost(
    make_committee: Make, stakes: list[int], replication: int, data: st.DataObject
):
    """The meaning of the bound: no third of the stake among the signers can take 65 columns away."""
    committee = make_committee(stakes, replication=replication)
    signers = data.draw(st.sets(st.integers(0, len(stakes) - 1), min_size=(2 * len(stakes) + 2) // 3))
    if not finality(committee, signers).final:
        return
    held = assignment(committee)
    for size in range(len(signers) + 1):
        for gone in combinations(sorted(signers), size):
            if 3 * sum(committee.stakes[i] for i in gone) <= committee.total_stake:
                left = held[sorted(signers - set(gone))].any(axis=0)
                assert COLUMNS - int(left.sum()) < COLUMNS_TO_LOSE


def test_a_margin_of_zero_is_not_final(make_committee: Make):
    committee = make_committee([1, 1, 1, 1, 2], replication=1)
    result = finality(committee, [1, 2, 3, 4])
    assert (result.adversary_slots, result.least_held_slots, result.margin) == (43, 43, 0)
    assert result.stake_ok
    assert not result.final


def test_nobody_is_never_final(make_committee: Make):
    result = finality(make_committee([1, 1, 1]), [])
    assert not result.final
    assert result.margin == 0


def test_repeated_signers_count_once(make_committee: Make):
    committee = make_committee([1] * 6)
    assert finality(committee, [0, 0, 1, 1]) == finality(committee, [0, 1])


def test_one_member_alone_is_final(make_committee: Make):
    assert finality(make_committee([10]), [0]).final


def table_row(make_committee: Make, n: int) -> str:
    """The row of docs/reference/custody.md for n members of equal stake, absent at random."""
    committees, orders = (20, 25) if n < 64 else (10, 10)
    cells = [n, -(-2 * n // 3)]
    for replication in (4, 8):
        rng = random.Random(f"signers needed of {n} at {replication}")
        needed = []
        for epoch in range(committees):
            committee = make_committee([1] * n, epoch=epoch, replication=replication)
            for _ in range(orders):
                order = rng.sample(range(n), n)
                needed.append(next(k for k in range(n + 1) if finality(committee, order[:k]).final))
        needed.sort()
        cells += [needed[len(needed) // 2], needed[len(needed) * 9 // 10], needed[-1]]
    return "| " + " | ".join(map(str, cells)) + " |"


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 16, 20, 32, 64, 100])
def test_the_documented_table_is_true(make_committee: Make, n: int):
    rows = DOCUMENT.read_text().splitlines()
    assert table_row(make_committee, n) in rows


def test_the_documented_thresholds_are_true():
    text = DOCUMENT.read_text()
    for adversary in (Fraction(1, 3), Fraction(1, 4), Fraction(1, 5), Fraction(1, 6)):
        bound = adversary + Fraction(63, 128)
        rounded_up = math.ceil(bound * 1000) / 1000
        assert f"| {adversary} | {float(bound):.5f} | {rounded_up} |" in text


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 16, 20, 32, 50, 64, 100, 128, 256])
def test_the_documented_numbers_of_signers_are_true(n: int):
    cells = [str(n)]
    for replication in (4, 8):
        enough = signers_enough(n, replication)
        assert enough is not None
        cells += [str(enough), f"{math.ceil(1000 * enough / n) / 1000:.3f}"]
    assert "| " + " | ".join(cells) + " |" in DOCUMENT.read_text().splitlines()


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("replication", [1, 2, 4])
def test_any_signers_of_that_number_are_enough(make_committee: Make, n: int, replication: int):
    enough = signers_enough(n, replication)
    if enough is None:
        return
    for epoch in range(3):
        committee = make_committee([1] * n, epoch=epoch, replication=replication)
        for signers in combinations(range(n), enough):
            assert finality(committee, signers).margin > 0


def test_a_share_that_ignores_whole_slots_is_not_enough(make_committee: Make):
    """100 equal members: 83 signers, more than 0.826 of the stake, often miss the bound; 84 never do."""
    rng = random.Random("whole slots")
    assert signers_enough(100, 4) == 84
    missed = 0
    for epoch in range(10):
        committee = make_committee([1] * 100, epoch=epoch)
        for _ in range(10):
            order = rng.sample(range(100), 84)
            assert finality(committee, order).margin > 0
            missed += finality(committee, order[:83]).margin <= 0
    assert 25 < missed < 75


def test_a_documented_threshold_meets_the_slot_bound_whatever_the_assignment(make_committee: Make):
    """Equal stakes that divide the slots evenly, so that nothing is rounded: q > 1/3 + 63/128 suffices."""
    rng = random.Random("threshold")
    for n in (16, 32, 64):
        needed = math.floor(n * (Fraction(1, 3) + Fraction(63, 128))) + 1
        for epoch in range(5):
            committee = make_committee([1] * n, epoch=epoch)
            assert finality(committee, rng.sample(range(n), needed)).final
