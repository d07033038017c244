"""Verification of batch documents; decoding them is tested in tests/da/wire."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from da.wire import batches
from light_client import UnverifiedBatch, verify_batch
from light_client.batch import verify_header

from .conftest import World, build_world


def decoded(document: dict[str, Any]) -> batches.BatchDocument:
    return batches.decode_bytes(json.dumps(document).encode())


def test_a_served_batch_verifies(world: World) -> None:
    (batch,) = world.chain(1)
    verified = verify_batch(decoded(batch.document()), world.committee)
    assert verified.header == batch.header
    assert verified.header_hash == batch.header.hash
    assert verified.payload_list == batch.payload_list
    assert (verified.commitments == batch.matrix.commitments).all()
    assert verified.finality.final
    assert verified.signed_header().certificate == batch.certificate


@pytest.mark.parametrize("state", ["expired", "missing"])
def test_a_batch_without_its_data_has_a_verified_header(world: World, state: batches.State) -> None:
    document = decoded(replace(world.make_batch(), state=state).document())
    assert verify_header(document, world.committee).final
    with pytest.raises(UnverifiedBatch) as caught:
        verify_batch(document, world.committee)
    assert caught.value.check == state


def test_each_check_is_named(world: World) -> None:
    good = world.make_batch()
    other = world.make_batch(timestamp_ms=1)
    plain = next(member for member in world.committee.members if not member.disperser)
    stranger = build_world(world.matrix, replication=3)
    documents = {
        "certificate": good.document() | {"certificate": None},
        "header": good.document() | {"certificate": other.document()["certificate"]},
        "proposal": good.document() | {"disperser_signature": other.document()["disperser_signature"]},
        "contents": good.document() | {"commitments": good.document()["commitments"][::-1]},
        "stake": world.make_batch(signers=(1, 2, 3)).document(),
        "committee": stranger.make_batch().document(),
        "chain": world.make_batch(chain_id=1).document(),
        "disperser": world.make_batch(disperser_id=plain.id).document(),
    }
    for check, document in documents.items():
        with pytest.raises(UnverifiedBatch) as caught:
            verify_batch(decoded(document), world.committee)
        assert caught.value.check == check
