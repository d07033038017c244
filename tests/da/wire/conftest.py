"""A live batch document over the protocol's fixed committee."""

from __future__ import annotations

from typing import Any

import pytest

from da.protocol import sign_header
from da.wire import batches
from tests.da.protocol.conftest import batch, build_certificate, party

__all__ = ["batch", "party"]


@pytest.fixture(scope="session")
def signature(party: Any, batch: Any) -> bytes:
    """The disperser's, of the batch's header."""
    index = party.committee.member_index(batch.header.disperser_id)
    return sign_header(party.secrets[index], batch.header)


@pytest.fixture(scope="session")
def certificate(party: Any, batch: Any) -> bytes:
    """All members', of the batch."""
    return build_certificate(party, batch.header, range(6)).encode()


@pytest.fixture
def live(batch: Any, signature: bytes, certificate: bytes) -> dict[str, Any]:
    """The document of the batch, fresh for each test to change."""
    return batches.encode(
        "live",
        batch.header,
        batch.payload_list,
        certificate=certificate,
        disperser_signature=signature,
        commitments=batch.commitments,
        columns=(0, 5, 127),
    )
