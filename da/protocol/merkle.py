"""Merkle trees: roots, inclusion proofs and range proofs, over SHA-256.

The idea: the tree of RFC 6962 (leaf = sha256(0x00 || data), node = sha256(0x01 || left || right), a tree of
n leaves splits at the largest power of two below n), and over it a root that also binds the number of
leaves: sha256(0x02 || u64be(n) || top). The shape of a tree follows from n alone, so a proof is only
siblings: their number and meaning are fixed by the positions. A range proof contains consecutive leaves
[start, stop) and the top of every maximal subtree outside; it determines every leaf between the two ends,
which is the basis of completeness proofs.

Invariants: a leaf cannot be confused with a node; a proof with too many or too few siblings is refused; each
(leaves, positions) has one proof.

Does not: interpret leaves, sort them, or support sparse trees.

Source: RFC 6962 section 2.1 (https://www.rfc-editor.org/rfc/rfc6962#section-2.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from da.protocol.codec import HASH_BYTES, u64
from da.protocol.errors import InvalidProof
from kzg.constants import BYTES_PER_COMMITMENT

# Trees here have at most a few hundred leaves; the bound keeps recursion and proofs small for any input.
MAX_LEAVES = 2**16


def leaf_hash(data: bytes) -> bytes:
    """sha256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """sha256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def bind_count(count: int, top: bytes) -> bytes:
    """The root of a tree of `count` leaves whose top node is `top`."""
    return sha256(b"\x02" + u64(count) + top).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root of the leaves (1..65536 of them), which binds their number and order."""
    _check_count(len(leaves))
    return bind_count(len(leaves), _top([leaf_hash(leaf) for leaf in leaves], 0, len(leaves)))


def commitments_root(commitments: npt.NDArray[np.uint8]) -> bytes:
    """The root over row commitments u8[R,48], one leaf each. Raises InvalidProof for any other shape."""
    if commitments.ndim != 2 or commitments.shape[1] != BYTES_PER_COMMITMENT or commitments.dtype != np.uint8:
        raise InvalidProof(
            f"commitments must be uint8[R, 48]; got {commitments.dtype}{list(commitments.shape)}"
        )
    return root([row.tobytes() for row in commitments])


def prove_inclusion(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The siblings from the leaf at `index` up to the top, as RFC 6962's audit path."""
    _check_position(index, index + 1, len(leaves))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    siblings: list[bytes] = []
    low, high = 0, len(leaves)
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            siblings.append(_top(hashes, middle, high))
            high = middle
        else:
            siblings.append(_top(hashes, low, middle))
            low = middle
    siblings.reverse()
    return tuple(siblings)


def verify_inclusion(
    expected_root: bytes, leaf: bytes, index: int, count: int, siblings: Sequence[bytes]
) -> bool:
    """Whether `leaf` is the one at `index` of the `count` leaves under the root.

    Raises InvalidProof for impossible positions or a wrong number of siblings.
    """
    path = inclusion_path(index, count)
    _check_siblings(siblings, len(path))
    value = leaf_hash(leaf)
    for sibling, sibling_is_left in zip(siblings, path, strict=True):
        value = node_hash(sibling, value) if sibling_is_left else node_hash(value, sibling)
    return bind_count(count, value) == expected_root


def inclusion_path(index: int, count: int) -> tuple[bool, ...]:
    """For each sibling of an inclusion proof, leaf upwards: whether it is the left one."""
    _check_position(index, index + 1, count)
    sides: list[bool] = []
    low, high = 0, count
    while high - low > 1:
        middle = low + _split(high - low)
        sides.append(index >= middle)
        low, high = (middle, high) if index >= middle else (low, middle)
    sides.reverse()
    return tuple(sides)


def prove_range(leaves: Sequence[bytes], start: int, stop: int) -> tuple[bytes, ...]:
    """The tops of the maximal subtrees outside leaves [start, stop), left to right; start < stop."""
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return tuple(_top(hashes, low, high) for low, high in outside_ranges(start, stop, len(leaves)))


def verify_range(
    expected_root: bytes, range_leaves: Sequence[bytes], start: int, count: int, siblings: Sequence[bytes]
) -> bool:
    """Whether `range_leaves` are exactly the leaves at start, start+1, ... of the `count` under the root.

    Raises InvalidProof for impossible positions or a wrong number of siblings.
    """
    stop = start + len(range_leaves)
    outside = list(outside_ranges(start, stop, count))
    _check_siblings(siblings, len(outside))
    known = dict(zip(outside, siblings, strict=True))
    known.update({(start + i, start + i + 1): leaf_hash(leaf) for i, leaf in enumerate(range_leaves)})
    return bind_count(count, _top_of_known(known, 0, count)) == expected_root


def outside_ranges(start: int, stop: int, count: int) -> Iterator[tuple[int, int]]:
    """The maximal subtrees [low, high) of a tree of `count` leaves that hold none of [start, stop)."""
    _check_position(start, stop, count)
    return _outside(0, count, start, stop)


def _outside(low: int, high: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if high <= start or stop <= low:
        yield low, high
    elif not (start <= low and high <= stop):
        middle = low + _split(high - low)
        yield from _outside(low, middle, start, stop)
        yield from _outside(middle, high, start, stop)


def _top(hashes: Sequence[bytes], low: int, high: int) -> bytes:
    if high - low == 1:
        return hashes[low]
    middle = low + _split(high - low)
    return node_hash(_top(hashes, low, middle), _top(hashes, middle, high))


def _top_of_known(known: dict[tuple[int, int], bytes], low: int, high: int) -> bytes:
    value = known.get((low, high))
    if value is not None:
        return value
    middle = low + _split(high - low)
    return node_hash(_top_of_known(known, low, middle), _top_of_known(known, middle, high))


def _split(count: int) -> int:
    """The largest power of two below `count` (>= 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_LEAVES:
        raise InvalidProof(f"a tree must have 1 to {MAX_LEAVES} leaves; got {count}")


def _check_position(start: int, stop: int, count: int) -> None:
    _check_count(count)
    if not 0 <= start < stop <= count:
        raise InvalidProof(f"leaf range [{start}, {stop}) is invalid in a tree of {count} leaves")


def _check_siblings(siblings: Sequence[bytes], expected: int) -> None:
    if len(siblings) != expected:
        raise InvalidProof(f"proof must have {expected} siblings for its positions; got {len(siblings)}")
    if any(len(sibling) != HASH_BYTES for sibling in siblings):
        raise InvalidProof(f"each sibling must be {HASH_BYTES} bytes")
