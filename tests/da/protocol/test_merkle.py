from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol import merkle
from da.protocol.errors import InvalidProof

LEAVES = [b"leaf %d" % i for i in range(300)]


def rfc6962_reference(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, transcribed."""
    n = len(leaves)
    if n == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < n:
        k *= 2
    return sha256(b"\x01" + rfc6962_reference(leaves[:k]) + rfc6962_reference(leaves[k:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 255, 256, 257])
def test_root_is_the_reference_with_the_count(count: int):
    top = rfc6962_reference(LEAVES[:count])
    assert merkle.root(LEAVES[:count]) == sha256(b"\x02" + count.to_bytes(8, "big") + top).digest()


def test_known_top_of_rfc6962_test_data():
    # Certificate Transparency's reference test: seven of its eight leaves.
    leaves = [bytes.fromhex(h) for h in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    assert (
        rfc6962_reference(leaves).hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    )


def test_root_binds_count_order_and_content():
    roots = {
        merkle.root([b"a", b"b"]),
        merkle.root([b"b", b"a"]),
        merkle.root([b"a", b"b", b"b"]),
        merkle.root([b"a"]),
        merkle.root([b"ab"]),
        merkle.root([b"a", b""]),
    }
    assert len(roots) == 6


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 13])
def test_inclusion_of_every_leaf(count: int):
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    for index in range(count):
        proof = merkle.prove_inclusion(leaves, index)
        assert merkle.verify_inclusion(root, leaves[index], index, count, proof)


@given(st.integers(1, 40), st.data())
def test_inclusion_of_anything_else_fails(count: int, data: st.DataObject):
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    index = data.draw(st.integers(0, count - 1))
    proof = merkle.prove_inclusion(leaves, index)
    assert not merkle.verify_inclusion(root, b"other", index, count, proof)
    for k in range(len(proof)):
        bit = data.draw(st.integers(0, 255))
        changed = bytearray(proof[k])
        changed[bit // 8] ^= 1 << bit % 8
        assert not merkle.verify_inclusion(
            root, leaves[index], index, count, [*proof[:k], bytes(changed), *proof[k + 1 :]]
        )
    for other_index in range(count):
        if other_index != index and len(merkle.inclusion_path(other_index, count)) == len(proof):
            assert not merkle.verify_inclusion(root, leaves[index], other_index, count, proof)
    for other_count in range(index + 1, 2 * count + 2):
        if other_count != count and len(merkle.inclusion_path(index, other_count)) == len(proof):
            assert not merkle.verify_inclusion(root, leaves[index], index, other_count, proof)


def test_a_node_is_no_leaf():
    leaves = LEAVES[:4]
    left = merkle.leaf_hash(leaves[0]) + merkle.leaf_hash(leaves[1])
    right = merkle.node_hash(merkle.leaf_hash(leaves[2]), merkle.leaf_hash(leaves[3]))
    assert not merkle.verify_inclusion(merkle.root(leaves), left, 0, 2, [right])


@given(st.integers(1, 40), st.data())
def test_every_range_verifies(count: int, data: st.DataObject):
    leaves = LEAVES[:count]
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    proof = merkle.prove_range(leaves, start, stop)
    assert merkle.verify_range(merkle.root(leaves), leaves[start:stop], start, count, proof)
    if stop == start + 1:
        assert sorted(proof) == sorted(merkle.prove_inclusion(leaves, start))


@given(st.integers(2, 40), st.data())
def test_every_tampered_range_fails(count: int, data: st.DataObject):
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    proof = merkle.prove_range(leaves, start, stop)

    def fails(range_leaves: list[bytes], at: int, of: int, siblings: tuple[bytes, ...]) -> bool:
        try:
            return not merkle.verify_range(root, range_leaves, at, of, siblings)
        except InvalidProof:
            return True

    part = leaves[start:stop]
    for k in range(len(part)):
        assert fails([*part[:k], b"other", *part[k + 1 :]], start, count, proof)
        if len(part) > 1:
            assert fails([*part[:k], *part[k + 1 :]], start, count, proof)
        assert fails([*part[:k], part[k], part[k], *part[k + 1 :]], start, count, proof)
    if len(part) > 1:
        assert fails(part[::-1], start, count, proof)
    for k in range(len(proof)):
        assert fails(part, start, count, (*proof[:k], bytes(32), *proof[k + 1 :]))
        assert fails(part, start, count, (*proof[:k], *proof[k + 1 :]))
    assert fails(part, start, count, (*proof, bytes(32)))
    for other in {*range(-1, count + 1)} - {start}:
        assert fails(part, other, count, proof)
    for other in {*range(2 * count)} - {count}:
        assert fails(part, start, other, proof)


@pytest.mark.parametrize(
    ("index", "count"), [(-1, 3), (3, 3), (0, 0), (0, -1), (5, 2**16 + 1), (0, 2**64), (2**70, 2**71)]
)
def test_impossible_positions_are_refused(index: int, count: int):
    with pytest.raises(InvalidProof):
        merkle.verify_inclusion(bytes(32), b"", index, count, [])
    with pytest.raises(InvalidProof):
        merkle.verify_range(bytes(32), [b""], index, count, [])


def test_wrong_numbers_and_sizes_of_siblings_are_refused():
    leaves = LEAVES[:5]
    root, proof = merkle.root(leaves), merkle.prove_inclusion(leaves, 1)
    for siblings in (proof[:-1], (*proof, bytes(32)), (*proof[:-1], bytes(31)), ()):
        with pytest.raises(InvalidProof, match="sibling"):
            merkle.verify_inclusion(root, leaves[1], 1, 5, siblings)


def test_empty_trees_and_ranges_are_refused():
    with pytest.raises(InvalidProof):
        merkle.root([])
    with pytest.raises(InvalidProof):
        merkle.prove_range(LEAVES[:3], 1, 1)
    with pytest.raises(InvalidProof):
        merkle.verify_range(merkle.root(LEAVES[:3]), [], 1, 3, [])


def test_commitments_root_is_over_rows_of_48():
    commitments = np.arange(96, dtype=np.uint8).reshape(2, 48)
    assert merkle.commitments_root(commitments) == merkle.root([bytes(range(48)), bytes(range(48, 96))])
    assert merkle.commitments_root(np.asfortranarray(commitments)) == merkle.commitments_root(commitments)


@pytest.mark.parametrize("shape", [(48,), (2, 47), (0, 48), (1, 2, 48)])
def test_other_shapes_of_commitments_are_refused(shape: tuple[int, ...]):
    with pytest.raises(InvalidProof):
        merkle.commitments_root(np.zeros(shape, np.uint8))
