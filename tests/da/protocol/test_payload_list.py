from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol import (
    InclusionProof,
    InvalidPayloadList,
    InvalidProof,
    NamespaceProof,
    PayloadEntry,
    PayloadList,
    ProtocolError,
    merkle,
    verify_inclusion,
    verify_namespace,
)
from erasure.constants import MAX_PAYLOAD_BYTES
from erasure.packing import rows_for

ROW = 4096 * 31 - 31


def ns(number: int) -> bytes:
    return number.to_bytes(32, "big")


def build(keys: list[tuple[int, int]], length: int = 5) -> PayloadList:
    """A list of (namespace number, payload number) entries of one row each."""
    entries = [
        PayloadEntry(ns(space), ns(number), row, 1, length)
        for row, (space, number) in enumerate(sorted(keys))
    ]
    return PayloadList(tuple(entries))


lists = st.sets(st.tuples(st.integers(1, 6), st.integers(0, 5)), min_size=1, max_size=20).map(
    lambda keys: build(sorted(keys))
)


def holds(root: bytes, namespace: bytes, proof: NamespaceProof) -> bool:
    try:
        return verify_namespace(root, namespace, proof)
    except InvalidProof:
        return False


@given(lists)
def test_round_trip(payload_list: PayloadList):
    decoded = PayloadList.decode(payload_list.encode())
    assert decoded == payload_list
    assert decoded.root == merkle.root([entry.encode() for entry in payload_list.entries])
    assert payload_list.row_count == len(payload_list.entries)


def test_rows_follow_lengths(make_list: Callable[..., Any]):
    payload_list, _ = make_list([("a", 1), ("b", ROW), ("c", ROW + 1), ("d", MAX_PAYLOAD_BYTES)])
    assert [entry.row_count for entry in payload_list.entries] == [1, 1, 2, 133]
    assert [entry.first_row for entry in payload_list.entries] == [0, 1, 2, 4]
    assert payload_list.row_count == 137


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": bytes(31)},
        {"payload_id": bytes(33)},
        {"length": 0},
        {"length": MAX_PAYLOAD_BYTES + 1},
        {"row_count": 0},
        {"row_count": 2},
        {"first_row": -1},
        {"first_row": 256},
        {"length": ROW + 1, "row_count": 2, "first_row": 255},
    ],
)
def test_entries_out_of_range_are_refused(changes: dict[str, Any]):
    good = PayloadEntry(ns(1), ns(2), 0, 1, 5)
    with pytest.raises(InvalidPayloadList):
        dataclasses.replace(good, **changes)


def test_unsorted_repeated_or_gapped_lists_are_refused():
    a, b = build([(1, 1), (2, 1)]).entries
    swapped = (dataclasses.replace(b, first_row=0), dataclasses.replace(a, first_row=1))
    for entries, index in [
        (swapped, 1),
        ((a, dataclasses.replace(a, first_row=1)), 1),
        ((a, dataclasses.replace(b, first_row=2)), 1),
        ((a, dataclasses.replace(b, first_row=0)), 1),
        ((b,), 0),
    ]:
        with pytest.raises(InvalidPayloadList) as caught:
            PayloadList(entries)
        assert caught.value.index == index


def test_empty_and_overfull_lists_are_refused():
    with pytest.raises(InvalidPayloadList):
        PayloadList(())
    with pytest.raises(InvalidPayloadList):
        PayloadList.decode(bytes(2))
    with pytest.raises(InvalidPayloadList, match="257"):
        PayloadList.decode((257).to_bytes(2, "big"))
    assert len(build([(1, i) for i in range(256)]).entries) == 256


def test_index_of_finds_by_id_and_namespace():
    payload_list = build([(1, 7), (2, 7), (2, 8)])
    assert payload_list.index_of(ns(7)) == 0
    assert payload_list.index_of(ns(7), ns(2)) == 1
    assert payload_list.index_of(ns(8), ns(1)) is None
    assert payload_list.index_of(ns(9)) is None


@given(lists, st.data())
def test_inclusion_proofs_hold_and_tampered_ones_do_not(payload_list: PayloadList, data: st.DataObject):
    index = data.draw(st.integers(0, len(payload_list.entries) - 1))
    proof = payload_list.prove(index)
    assert verify_inclusion(payload_list.root, proof)
    assert InclusionProof.decode(proof.encode()) == proof
    assert not verify_inclusion(bytes(32), proof)
    for changed in (
        dataclasses.replace(proof, entry=dataclasses.replace(proof.entry, length=6)),
        dataclasses.replace(proof, entry=dataclasses.replace(proof.entry, namespace=ns(99))),
        dataclasses.replace(proof, entry=dataclasses.replace(proof.entry, first_row=200)),
    ):
        assert not verify_inclusion(payload_list.root, changed)


def test_no_proof_beyond_the_list():
    for index in (-1, 2):
        with pytest.raises(InvalidProof):
            build([(1, 1), (2, 1)]).prove(index)


@given(lists, st.integers(0, 7))
def test_namespace_proofs_hold_everywhere(payload_list: PayloadList, number: int):
    proof = payload_list.prove_namespace(ns(number))
    assert verify_namespace(payload_list.root, ns(number), proof)
    assert proof.matches == tuple(e for e in payload_list.entries if e.namespace == ns(number))
    assert NamespaceProof.decode(proof.encode()) == proof
    assert not verify_namespace(bytes(32), ns(number), proof)
    for other in range(8):
        if other != number:
            assert not verify_namespace(payload_list.root, ns(other), proof)


@given(lists, st.integers(0, 7))
def test_no_other_range_proves_a_namespace(payload_list: PayloadList, number: int):
    """Whatever honest range of the tree is shown, it proves the namespace only if nothing is left out."""
    leaves = [entry.encode() for entry in payload_list.entries]
    count = len(leaves)
    honest = payload_list.prove_namespace(ns(number))
    for first in range(count):
        for stop in range(first + 1, count + 1):
            siblings = merkle.prove_range(leaves, first, stop)
            proof = NamespaceProof(ns(number), count, first, payload_list.entries[first:stop], siblings)
            assert holds(payload_list.root, ns(number), proof) == (proof == honest)


@given(lists, st.integers(0, 7), st.data())
def test_tampered_namespace_proofs_do_not_hold(payload_list: PayloadList, number: int, data: st.DataObject):
    proof = payload_list.prove_namespace(ns(number))
    root = payload_list.root
    dropped = data.draw(st.integers(0, len(proof.entries) - 1))
    changed = dataclasses.replace(proof.entries[dropped], length=6)
    forgeries = [
        dataclasses.replace(proof, entries=proof.entries[:dropped] + proof.entries[dropped + 1 :]),
        dataclasses.replace(
            proof, entries=(*proof.entries[:dropped], changed, *proof.entries[dropped + 1 :])
        ),
        dataclasses.replace(proof, entries=()),
        dataclasses.replace(proof, count=proof.count + 1),
        dataclasses.replace(proof, count=max(1, proof.count - 1)),
        dataclasses.replace(proof, first=proof.first + 1),
        dataclasses.replace(proof, siblings=(*proof.siblings, bytes(32))),
        *(
            dataclasses.replace(proof, siblings=(*proof.siblings[:k], bytes(32), *proof.siblings[k + 1 :]))
            for k in range(len(proof.siblings))
        ),
    ]
    for forgery in forgeries:
        assert forgery == proof or not holds(root, ns(number), forgery)


def test_a_truncated_list_cannot_pass_for_the_whole():
    """A prover that claims fewer entries, so as to need no right neighbour, meets the count in the root."""
    payload_list = build([(1, 1), (2, 1), (2, 2), (2, 3)])
    leaves = [entry.encode() for entry in payload_list.entries]
    left = merkle.prove_range(leaves, 0, 2)
    forged = NamespaceProof(ns(2), 2, 0, payload_list.entries[:2], ())
    assert not verify_namespace(payload_list.root, ns(2), forged)
    assert len(left) == 1


def test_an_unsorted_tree_proves_no_namespace():
    """A root over entries out of order, as only a disperser that no member attests could make."""
    one, two, three = build([(1, 1), (2, 1), (3, 1)]).entries
    for entries in ([one, three, two], [two, one, three], [three, two, one]):
        leaves = [entry.encode() for entry in entries]
        proof = NamespaceProof(ns(2), 3, 0, tuple(entries), ())
        assert merkle.verify_range(merkle.root(leaves), leaves, 0, 3, ())
        assert not verify_namespace(merkle.root(leaves), ns(2), proof)


@pytest.mark.parametrize("kind", [InclusionProof, NamespaceProof])
def test_proofs_of_impossible_positions_are_refused(kind: Any):
    payload_list = build([(1, 1), (2, 1), (3, 1)])
    proof = payload_list.prove(1) if kind is InclusionProof else payload_list.prove_namespace(ns(2))
    encoding = bytearray(proof.encode())
    at = 72 if kind is InclusionProof else 32
    for value in (b"\xff\xff\xff\xff", bytes(4), b"\x00\x09\x00\x01"):
        encoding[at : at + 4] = value
        with pytest.raises(ProtocolError):
            kind.decode(bytes(encoding))


def test_verifying_refuses_counts_that_no_list_has():
    payload_list = build([(1, 1)])
    with pytest.raises(InvalidProof, match="257"):
        verify_inclusion(payload_list.root, dataclasses.replace(payload_list.prove(0), count=257))
    with pytest.raises(InvalidProof, match="0"):
        verify_namespace(
            payload_list.root, ns(1), dataclasses.replace(payload_list.prove_namespace(ns(1)), count=0)
        )


def test_rows_for_is_the_packing_of_the_code():
    assert rows_for(ROW) == 1
    assert rows_for(ROW + 1) == 2
