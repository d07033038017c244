"""Rows against their commitments by one random combination."""

from __future__ import annotations

import ckzg
import numpy as np
import pytest

from erasure.constants import BLS_MODULUS
from erasure.packing import pack
from kzg import rows as module
from kzg.constants import G1_POINT_AT_INFINITY
from kzg.errors import InvalidArray, InvalidBlob, InvalidPoint
from kzg.rows import rows_match
from kzg.types import Bytes


def committed(setup: object, rows: Bytes) -> Bytes:
    """The commitments of another implementation."""
    joined = b"".join(ckzg.blob_to_kzg_commitment(row.tobytes(), setup) for row in rows)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), 48)


def test_right_rows_match_and_any_wrong_byte_does_not(setup) -> None:
    rng = np.random.default_rng(8)
    rows = pack(rng.bytes(300_000))
    commitments = committed(setup, rows)
    assert rows_match(rows, commitments)
    assert rows_match(rows[2:], commitments[2:])
    for row, byte in ((0, 5), (1, 131071), (2, 64)):
        wrong = rows.copy()
        wrong[row, byte] ^= 1
        assert not rows_match(wrong, commitments)
    assert not rows_match(rows, commitments[[1, 0, 2]])


def test_rows_of_the_largest_elements_and_of_zeros(setup) -> None:
    top = np.frombuffer((BLS_MODULUS - 1).to_bytes(32, "big") * 4096, dtype=np.uint8)
    rows = np.stack([top, np.zeros_like(top), top])
    commitments = committed(setup, rows)
    assert commitments[1].tobytes() == G1_POINT_AT_INFINITY
    assert rows_match(rows, commitments)
    assert not rows_match(rows[::-1][1:].copy(), commitments[:2])


def test_the_combination_is_exact_for_the_largest_numbers() -> None:
    top = np.frombuffer((BLS_MODULUS - 1).to_bytes(32, "big") * 4096, dtype=np.uint8)
    scalars = [2**128 - 1] * 256
    expected = sum(scalar * (BLS_MODULUS - 1) for scalar in scalars) % BLS_MODULUS
    assert module._combine(np.broadcast_to(top, (256, 131072)).copy(), scalars) == [expected] * 4096


def test_each_call_draws_its_own_scalars(setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """With scalars that were known before, wrong rows could be made to pass; so they are not kept."""
    rows = pack(bytes(130_000))
    commitments = committed(setup, rows)
    drawn: list[int] = []
    draw = module.secrets.randbits
    monkeypatch.setattr(module.secrets, "randbits", lambda bits: drawn.append(draw(bits)) or drawn[-1])
    assert rows_match(rows, commitments)
    assert rows_match(rows, commitments)
    assert len(set(drawn)) == 2 * len(rows)


def test_malformed_input_is_refused(setup) -> None:
    rows = pack(b"payload")
    commitments = committed(setup, rows)
    with pytest.raises(InvalidArray):
        rows_match(rows[:0], commitments[:0])
    with pytest.raises(InvalidArray):
        rows_match(rows, np.concatenate([commitments, commitments]))
    with pytest.raises(InvalidBlob):
        rows_match(np.full_like(rows, 255), commitments)
    with pytest.raises(InvalidPoint):
        rows_match(rows, np.zeros_like(commitments))
