"""The constants, against the numbers as the specs print them."""

from __future__ import annotations

from erasure import constants


def test_numbers_of_the_specs() -> None:
    assert constants.BLS_MODULUS == (
        52435875175126190479447740508185965837690552500527637822603658699938581184513
    )
    assert constants.PRIMITIVE_ROOT_OF_UNITY == 7
    assert constants.FIELD_ELEMENTS_PER_EXT_BLOB == 8192
    assert constants.CELLS_PER_EXT_BLOB == 128
    assert constants.BYTES_PER_CELL == 2048
    assert constants.BYTES_PER_BLOB == 131072
    assert constants.FIELD_ELEMENTS_PER_BLOB == 4096


def test_numbers_of_the_design() -> None:
    assert constants.MAX_ROWS == 256
    assert constants.MAX_PAYLOAD_BYTES == 16_777_216
    assert constants.PAYLOAD_BYTES_PER_ELEMENT == 31
