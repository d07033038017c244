from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from da.protocol import InvalidProposal, payload_id

COMMITMENTS = np.arange(96, dtype=np.uint8).reshape(2, 48)


def test_is_the_documented_hash():
    expected = sha256(
        b"cellar/payload/v1" + (200_000).to_bytes(8, "big") + (2).to_bytes(4, "big") + bytes(range(96))
    ).digest()
    assert payload_id(200_000, COMMITMENTS) == expected
    assert payload_id(200_000, np.asfortranarray(COMMITMENTS)) == expected


def test_binds_length_rows_and_commitments():
    ids = {
        payload_id(200_000, COMMITMENTS),
        payload_id(200_001, COMMITMENTS),
        payload_id(200_000, COMMITMENTS[::-1]),
        payload_id(200_000, COMMITMENTS[:1]),
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("length", "commitments"),
    [
        (-1, COMMITMENTS),
        (2**64, COMMITMENTS),
        (1, COMMITMENTS[0]),
        (1, COMMITMENTS[:, :47]),
        (1, COMMITMENTS.astype(np.uint16)),
    ],
)
def test_other_values_are_refused(length: int, commitments: np.ndarray):
    with pytest.raises(InvalidProposal):
        payload_id(length, commitments)
