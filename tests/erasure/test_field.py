"""The codec of field elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure.constants import BLS_MODULUS
from erasure.errors import InvalidFieldElement, InvalidShape
from erasure.field import (
    element_from_bytes,
    element_to_bytes,
    elements_from_array,
    elements_to_array,
    first_invalid,
)

ELEMENTS = st.integers(0, BLS_MODULUS - 1)
NOT_CANONICAL = st.one_of(
    st.just(BLS_MODULUS),
    st.integers(BLS_MODULUS, 2**256 - 1),
    # Close above the modulus: equal in the first one, two or three words.
    st.sampled_from([0, 1, 2**64, 2**128, 2**192]).map(lambda step: BLS_MODULUS + step),
)


@given(ELEMENTS)
def test_one_element_round_trip(element: int) -> None:
    encoded = element_to_bytes(element)
    assert encoded == element.to_bytes(32, "big")
    assert element_from_bytes(encoded) == element


@given(NOT_CANONICAL)
def test_one_element_not_canonical(value: int) -> None:
    with pytest.raises(InvalidFieldElement):
        element_from_bytes(value.to_bytes(32, "big"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_one_element_of_another_length(length: int) -> None:
    with pytest.raises(InvalidShape):
        element_from_bytes(bytes(length))


@given(st.lists(ELEMENTS, max_size=20))
def test_arrays_round_trip(elements: list[int]) -> None:
    encoded = elements_to_array(elements)
    assert encoded.shape == (len(elements), 32)
    assert first_invalid(encoded) is None
    assert elements_from_array(encoded) == elements


@given(st.lists(ELEMENTS, max_size=20), NOT_CANONICAL, st.lists(st.integers(0, 2**256 - 1), max_size=5))
def test_first_invalid_is_found(valid: list[int], invalid: int, rest: list[int]) -> None:
    raw = b"".join(value.to_bytes(32, "big") for value in [*valid, invalid, *rest])
    encoded = np.frombuffer(raw, dtype=np.uint8)
    assert first_invalid(encoded) == len(valid)
    with pytest.raises(InvalidFieldElement) as caught:
        elements_from_array(encoded)
    assert caught.value.index == len(valid)


@pytest.mark.parametrize("step", [0, 1, 2**64, 2**128, 2**192])
def test_neighbours_of_the_modulus(step: int) -> None:
    below = (BLS_MODULUS - 1 - step).to_bytes(32, "big")
    above = (BLS_MODULUS + step).to_bytes(32, "big")
    assert first_invalid(np.frombuffer(below, dtype=np.uint8)) is None
    assert first_invalid(np.frombuffer(above, dtype=np.uint8)) == 0


def test_no_elements() -> None:
    assert first_invalid(np.empty((0, 32), dtype=np.uint8)) is None
