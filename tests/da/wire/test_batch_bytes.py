"""The batch document in binary: the same batch as in JSON, and everything else refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol.certificate import Certificate
from da.protocol.proposal import Proposal
from da.wire import batch_bytes
from da.wire.batches import LiveBatch
from da.wire.errors import InvalidDocument

COLUMNS = (0, 7, 8, 64, 127)


@pytest.fixture(scope="session")
def decoded_batch(batch: Any, signature: bytes, certificate: bytes) -> LiveBatch:
    proposal = Proposal(batch.header, signature, batch.payload_list, batch.commitments)
    return LiveBatch(proposal, Certificate.decode(certificate), COLUMNS)


def encoded(batch: LiveBatch, columns: tuple[int, ...] = COLUMNS) -> bytes:
    proposal = batch.proposal
    certificate = None if batch.certificate is None else batch.certificate.encode()
    return batch_bytes.encode(
        proposal.header,
        proposal.disperser_signature,
        proposal.payload_list,
        proposal.commitments,
        certificate,
        columns,
    )


@pytest.mark.parametrize("certified", [True, False])
def test_a_batch_comes_back(decoded_batch: LiveBatch, certified: bool) -> None:
    batch = decoded_batch if certified else LiveBatch(decoded_batch.proposal, None)
    decoded = batch_bytes.decode(encoded(batch))
    assert decoded.proposal.header == batch.proposal.header
    assert decoded.proposal.disperser_signature == batch.proposal.disperser_signature
    assert decoded.proposal.payload_list == batch.proposal.payload_list
    assert np.array_equal(decoded.proposal.commitments, batch.proposal.commitments)
    assert decoded.certificate == batch.certificate
    assert decoded.columns == COLUMNS
    assert len(encoded(batch)) <= batch_bytes.BATCH_BYTES_MAX


def test_every_cut_and_every_addition_is_refused(decoded_batch: LiveBatch) -> None:
    body = encoded(decoded_batch)
    for size in (0, 1, 100, 189, 290, len(body) - 1):
        with pytest.raises(InvalidDocument):
            batch_bytes.decode(body[:size])
    with pytest.raises(InvalidDocument, match="trailing"):
        batch_bytes.decode(body + b"\0")
    with pytest.raises(InvalidDocument, match="version"):
        batch_bytes.decode(b"\2" + body[1:])


def test_a_promised_certificate_is_not_allocated(decoded_batch: LiveBatch) -> None:
    body = encoded(LiveBatch(decoded_batch.proposal, None), ())
    at = len(body) - 16 - 4
    with pytest.raises(InvalidDocument, match="certificate_length"):
        batch_bytes.decode(body[:at] + b"\xff\xff\xff\xff" + body[at + 4 :])


@given(st.data())
def test_changed_bytes_are_a_batch_or_refused(decoded_batch: LiveBatch, data: Any) -> None:
    body = bytearray(encoded(decoded_batch))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = batch_bytes.decode(bytes(body))
    except InvalidDocument:
        return
    assert encoded(decoded, decoded.columns) == bytes(body)
