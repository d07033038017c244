"""The generated constants: the numbers of the curve, and one text for one source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from erasure.constants import BLS_MODULUS
from gpu import constants


def test_the_base_field_is_that_of_bls12_381() -> None:
    assert (
        int(
            "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
            16,
        )
        == constants.BASE_MODULUS
    )


def test_the_header_is_the_same_each_time() -> None:
    assert constants.constants_header() == constants.constants_header()
    assert constants.constants_header().isascii()


def test_it_runs_as_a_program_without_the_package(tmp_path: Path) -> None:
    target = tmp_path / "constants.cuh"
    subprocess.run([sys.executable, "-I", constants.__file__, str(target)], check=True)
    assert target.read_text() == constants.constants_header()


def test_bounds_that_do_not_hold_are_refused() -> None:
    constants.LaneBounds(BLS_MODULUS, 5, 4).check()
    with pytest.raises(AssertionError):
        constants.LaneBounds(BLS_MODULUS, 5, 8).check()  # sums of 16 r exceed what a reduction takes


@pytest.mark.parametrize(("bits", "count"), [(52, 8), (64, 6), (32, 12)])
def test_words_are_little_endian_and_whole(bits: int, count: int) -> None:
    text = constants.words(constants.BASE_MODULUS, bits, count)
    values = [int(word.removesuffix("ull"), 16) for word in text.strip("{}").split(", ")]
    assert sum(value << bits * i for i, value in enumerate(values)) == constants.BASE_MODULUS


def test_words_refuse_what_does_not_fit() -> None:
    with pytest.raises(AssertionError):
        constants.words(1 << 64, 32, 2)
