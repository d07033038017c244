"""Custody: which member holds which columns, and when signatures make a batch final.

The idea: 128 * min(replication, n) column slots are shared out by stake (largest remainder, at most 128 a
member), and laid out as consecutive runs, member after member, on the cycle of the 128 columns. A run of at
most 128 never overlaps itself, so a member holds distinct columns; the slots go around the cycle exactly
min(replication, n) times, so each column has that many distinct holders. The order of columns on the cycle
and the order of members along it are both shuffled by the committee hash.

A batch is final when its signers reach the stake threshold, and the slot bound holds. Losing the data means
losing 65 columns, and losing a column takes all signers that hold it. So if signers with at most 1/3 of all
stake together hold at most B slots, and the 65 columns with the fewest holders among the signers have more
than B holders in total, such an adversary cannot lose the data. B is exact: the least stake that holds each
number of slots, by dynamic programming.

Invariants: everything is derived from the committee alone; integers only.

Does not: move data, or know which columns were delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from da.protocol.codec import u32
from da.protocol.committee import Committee
from da.protocol.errors import InvalidCommittee
from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB

COLUMNS = CELLS_PER_EXT_BLOB
# Any 64 of a row's 128 cells recover it, so this many columns must be missing before any row is lost.
COLUMNS_TO_LOSE = COLUMNS - CELLS_PER_BLOB + 1
# The adversary of the slot bound: signers with at most this share of all stake.
ADVERSARY_NUMERATOR, ADVERSARY_DENOMINATOR = 1, 3

_SHUFFLE_DOMAIN = b"cellar/custody/v1"
_CACHED_COMMITTEES = 16


@dataclass(frozen=True, slots=True)
class Finality:
    """Whether a set of signers makes a batch final, and the figures behind it.

    adversary_slots is B, the most slots that signers with at most 1/3 of all stake hold together;
    least_held_slots is the total number of holders, among the signers, of the 65 columns with the fewest;
    margin is their difference.
    `final` when stake_ok and margin > 0.
    """

    signed_stake: int
    total_stake: int
    stake_ok: bool
    adversary_slots: int
    least_held_slots: int
    margin: int
    final: bool


def quotas(stakes: Sequence[int], replication: int) -> tuple[int, ...]:
    """Column slots of each member: by stake, largest remainder, at most 128 each; sum 128*min(rho, n).

    Members whose share would exceed 128 get 128, and the rest is divided again among the others until no
    share exceeds it. Ties between remainders go to the lower index.
    """
    slots = COLUMNS * min(replication, len(stakes))
    result = [0] * len(stakes)
    free = list(range(len(stakes)))
    while True:
        free_stake = sum(stakes[i] for i in free)
        capped = [i for i in free if stakes[i] * slots >= COLUMNS * free_stake]
        if not capped:
            break
        for i in capped:
            result[i] = COLUMNS
        slots -= COLUMNS * len(capped)
        free = [i for i in free if result[i] == 0]
        if not free:
            return tuple(result)
    shares = {i: divmod(stakes[i] * slots, free_stake) for i in free}
    for i in free:
        result[i] = shares[i][0]
    left = slots - sum(shares[i][0] for i in free)
    for i in sorted(free, key=lambda i: (-shares[i][1], i))[:left]:
        result[i] += 1
    return tuple(result)


def assignment(committee: Committee) -> npt.NDArray[np.bool_]:
    """Which member holds which column: bool[n,128], read-only; row i for members[i]."""
    return _assignment(committee.hash, committee.stakes, committee.replication)


def columns_of(committee: Committee, member_index: int) -> tuple[int, ...]:
    """The columns that members[member_index] holds, ascending; none when its stake is too small."""
    _check_member(committee, member_index)
    return tuple(int(column) for column in np.flatnonzero(assignment(committee)[member_index]))


def holders_of(committee: Committee, column: int) -> tuple[int, ...]:
    """Indices of the members that hold the column, ascending; min(replication, n) of them."""
    if not 0 <= column < COLUMNS:
        raise InvalidCommittee("column", f"must be in 0..{COLUMNS - 1}; got {column}")
    return tuple(int(member) for member in np.flatnonzero(assignment(committee)[:, column]))


def finality(committee: Committee, signers: Iterable[int]) -> Finality:
    """Whether signatures of these members (indices) make a batch final, and by what margin.

    Raises InvalidCommittee for an index out of range.
    """
    chosen = sorted(set(signers))
    for member_index in chosen:
        _check_member(committee, member_index)
    held = assignment(committee)[chosen]
    signed_stake = sum(committee.stakes[i] for i in chosen)
    total_stake = committee.total_stake
    stake_ok = signed_stake * committee.threshold_denominator >= total_stake * committee.threshold_numerator
    least_held = np.sort(held.sum(axis=0, dtype=np.int64))[:COLUMNS_TO_LOSE]
    least_held_slots = int(least_held.sum())
    adversary_slots = most_slots(
        [int(count) for count in held.sum(axis=1)],
        [committee.stakes[i] for i in chosen],
        total_stake * ADVERSARY_NUMERATOR // ADVERSARY_DENOMINATOR,
    )
    margin = least_held_slots - adversary_slots
    return Finality(
        signed_stake=signed_stake,
        total_stake=total_stake,
        stake_ok=stake_ok,
        adversary_slots=adversary_slots,
        least_held_slots=least_held_slots,
        margin=margin,
        final=stake_ok and margin > 0,
    )


def signers_enough(members: int, replication: int) -> int | None:
    """How many signers of a committee with equal stakes meet the slot bound, whoever they are.

    The others may be those who hold the most, and so may the adversary's third of all stake; the 65 columns
    with the fewest holders have at least all their slots less those of the others. So it is enough that the
    slots of the others and of the adversary, at their most, are fewer than the slots of 65 columns.

    Returns:
        The least such number by this bound; None when not even all of them are enough.
    """
    slots = sorted(quotas([1] * members, replication), reverse=True)
    limit = COLUMNS_TO_LOSE * min(replication, members)
    adversaries = members * ADVERSARY_NUMERATOR // ADVERSARY_DENOMINATOR
    absent = -1
    while adversaries + absent + 1 <= members and sum(slots[: adversaries + absent + 1]) < limit:
        absent += 1
    return None if absent < 0 else members - absent


def most_slots(slots: Sequence[int], stakes: Sequence[int], stake_limit: int) -> int:
    """The most slots held by any subset with a total stake of at most `stake_limit`; exact.

    A knapsack solved over slots, which are few, instead of stake: least[s] is the least stake of a subset
    with exactly s slots. n steps over an array of sum(slots) + 1.
    """
    unreachable = stake_limit + 1
    # Sums of two entries stay below 2 * (stake_limit + 1) because larger ones are clamped to unreachable;
    # beyond int64 the same steps use Python's integers.
    dtype = np.int64 if unreachable < 2**62 else object
    least = np.full(sum(slots) + 1, unreachable, dtype=dtype)
    least[0] = 0
    reach = 0
    for count, stake in zip(slots, stakes, strict=True):
        if count == 0 or stake > stake_limit:
            continue
        reach += count
        least[count : reach + 1] = np.minimum(least[count : reach + 1], least[: reach + 1 - count] + stake)
    return int(np.flatnonzero(least <= stake_limit)[-1])


@lru_cache(maxsize=_CACHED_COMMITTEES)
def _assignment(committee_hash: bytes, stakes: tuple[int, ...], replication: int) -> npt.NDArray[np.bool_]:
    column_order = _shuffled(COLUMNS, committee_hash + b"columns")
    member_order = _shuffled(len(stakes), committee_hash + b"members")
    member_quotas = quotas(stakes, replication)
    held = np.zeros((len(stakes), COLUMNS), dtype=np.bool_)
    position = 0
    for member in member_order:
        for _ in range(member_quotas[member]):
            held[member, column_order[position % COLUMNS]] = True
            position += 1
    held.flags.writeable = False
    return held


def _shuffled(count: int, seed: bytes) -> list[int]:
    """0..count-1 in an order derived from the seed: Fisher-Yates, one hash per step.

    Step i swaps with position u64be(sha256(domain || seed || u32be(i))[:8]) mod (i + 1); for at most 1024
    items the bias of the remainder is below 2^-54.
    """
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        digest = sha256(_SHUFFLE_DOMAIN + seed + u32(i)).digest()
        j = int.from_bytes(digest[:8], "big") % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def _check_member(committee: Committee, member_index: int) -> None:
    if not 0 <= member_index < len(committee.members):
        raise InvalidCommittee(
            "member", f"index must be in 0..{len(committee.members) - 1}; got {member_index}"
        )
