"""0x-hex, strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.wire import hexadecimal
from da.wire.hexadecimal import InvalidHex


@given(st.binary(max_size=100))
def test_a_value_has_one_text_and_comes_back(value: bytes) -> None:
    text = hexadecimal.encode(value)
    assert text == "0x" + value.hex()
    assert hexadecimal.decode(text) == hexadecimal.decode(text, len(value)) == value
    assert hexadecimal.decode("0x" + value.hex().upper()) == value


@pytest.mark.parametrize(
    "text",
    ["", "0x0", "0x aa bb\n", "0xaa\n", " 0xaa", "0xa_a", "aabb", "0Xaa", "0xgg", "0x\u0661\u0661", "-0xaa"],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidHex):
        hexadecimal.decode(text)


@pytest.mark.parametrize("value", [None, 7, 0.0, True, b"0xaa", ["0xaa"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidHex):
        hexadecimal.decode(value)


@given(st.text(max_size=20))
def test_what_is_accepted_is_what_the_grammar_says(text: str) -> None:
    try:
        value = hexadecimal.decode(text)
    except InvalidHex:
        return
    assert hexadecimal.encode(value) == text.lower()


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_a_length_that_is_wanted_is_the_only_one(size: int) -> None:
    with pytest.raises(InvalidHex, match=f"{2 * size} hex digits"):
        hexadecimal.decode("0x" + "ab" * 32, size)


def test_containers_become_json_ready() -> None:
    value = {"a": b"\x01", 2: [b"", (b"\x02", None)], "s": {b"\x03"}, "n": 1.5}
    assert hexadecimal.json_ready(value) == {
        "a": "0x01", "2": ["0x", ["0x02", None]], "s": ["0x03"], "n": 1.5,
    }  # fmt: skip
