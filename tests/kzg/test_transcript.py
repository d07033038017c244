"""The official cases of both challenges are in test_official_vectors; here is what they leave out."""

from __future__ import annotations

import hashlib

import pytest

from erasure.constants import BLS_MODULUS
from kzg.transcript import compute_challenge, compute_verify_cell_kzg_proof_batch_challenge


def test_the_blob_challenge_is_the_hash_of_a_fixed_layout() -> None:
    blob, commitment = bytes(131072), b"\xc0" + bytes(47)
    layout = b"FSBLOBVERIFY_V1_" + (4096).to_bytes(16, "big") + blob + commitment
    expected = int.from_bytes(hashlib.sha256(layout).digest(), "big") % BLS_MODULUS
    assert compute_challenge(blob, commitment) == expected


def test_every_part_of_a_cell_counts() -> None:
    arguments = ([b"c" * 48], [0], [1], [b"e" * 2048], [b"p" * 48])
    reference = compute_verify_cell_kzg_proof_batch_challenge(*arguments)
    changed = [([b"C" * 48],), ([1],), ([2],), ([b"E" * 2048],), ([b"P" * 48],)]
    for place, (other,) in enumerate(changed):
        parts = [*arguments[:place], other, *arguments[place + 1 :]]
        assert compute_verify_cell_kzg_proof_batch_challenge(*parts) != reference


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compute_verify_cell_kzg_proof_batch_challenge([b"c" * 48], [0], [1], [b"e" * 2048], [])
