from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, Scalar

from kzg.constants import G1_POINT_AT_INFINITY
from kzg.errors import InvalidPoint
from kzg.points import decode_points, first_invalid_point, linear_combination

BASE_MODULUS = (
    0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
)


@given(st.integers(0, 2**64))
def test_points_survive_a_round_trip(scalar: int) -> None:
    encoded = (G1Point() * Scalar(scalar)).to_compressed_bytes()
    [point] = decode_points("point", [encoded])
    assert point.to_compressed_bytes() == encoded


@given(st.binary(min_size=0, max_size=60))
def test_decoding_is_total(encoded: bytes) -> None:
    try:
        [point] = decode_points("point", [encoded])
    except InvalidPoint:
        return
    assert point.to_compressed_bytes() == encoded


@given(st.binary(min_size=48, max_size=48), st.sampled_from([0x80, 0xA0, 0xC0, 0xE0]))
def test_no_point_has_two_encodings(encoded: bytes, flags: int) -> None:
    test_decoding_is_total.hypothesis.inner_test(bytes([encoded[0] & 0x1F | flags]) + encoded[1:])


def test_coordinates_are_smaller_than_the_modulus() -> None:
    for x in range(60):
        for sign in (0x80, 0xA0):
            shifted = bytearray((x + BASE_MODULUS).to_bytes(48, "big"))
            shifted[0] |= sign
            with pytest.raises(InvalidPoint):
                decode_points("point", [bytes(shifted)])


def test_points_outside_the_subgroup_are_refused() -> None:
    outside = 0
    for x in range(1, 200):
        encoded = bytearray(x.to_bytes(48, "big"))
        encoded[0] |= 0x80
        try:
            point = G1Point.from_compressed_bytes_unchecked(bytes(encoded))
        except ValueError:
            continue  # not on the curve
        if not point.is_in_subgroup():
            outside += 1
            with pytest.raises(InvalidPoint):
                decode_points("point", [bytes(encoded)])
    assert outside > 50


def test_the_first_invalid_one_is_named() -> None:
    points = np.stack([np.frombuffer(G1_POINT_AT_INFINITY, dtype=np.uint8)] * 3)
    assert first_invalid_point(points) is None
    points[1] = 0
    assert first_invalid_point(points) == 1
    with pytest.raises(InvalidPoint, match="proof 1"):
        decode_points("proof", points)


def test_sums() -> None:
    points = [G1Point() * Scalar(scalar) for scalar in (2, 3, 5)]
    assert linear_combination(points, [7, 11, 0]) == G1Point() * Scalar(47)
    assert linear_combination([], []) == G1Point.identity()
