from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol import namespace
from da.protocol.errors import InvalidNamespace


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=32))
def test_names_are_their_ascii_bytes_padded(name: str):
    if name.startswith("0x"):
        return
    parsed = namespace.parse(name)
    assert parsed == name.encode() + bytes(32 - len(name))
    assert namespace.label(parsed) == name


@given(st.binary(min_size=32, max_size=32))
def test_every_namespace_has_a_label_that_parses_back(value: bytes):
    assert namespace.parse(namespace.label(value)) == value
    assert namespace.parse("0x" + value.hex().upper()) == value


@given(st.binary(min_size=1, max_size=32).map(lambda b: b.ljust(32, b"\0")))
def test_labels_of_almost_names_parse_back(value: bytes):
    assert namespace.parse(namespace.label(value)) == value


def test_bytes_that_spell_hex_are_labelled_as_hex():
    value = b"0xab".ljust(32, b"\0")
    assert namespace.label(value) == "0x" + value.hex()


@pytest.mark.parametrize(
    "text",
    [
        *("", "A", "a b", "a/b", "é", "a\n", "a\0", "x" * 33, "\ud800", "ａ", "0x", "0xab"),
        *("0x" + "0" * 63, "0x" + "0" * 65, "0X" + "0" * 64, "0x" + "g" * 64, "0x" + "０" * 64),
    ],
)
def test_other_texts_are_refused(text: str):
    with pytest.raises(InvalidNamespace):
        namespace.parse(text)


@given(st.text())
def test_parse_is_total(text: str):
    try:
        value = namespace.parse(text)
    except InvalidNamespace:
        return
    assert len(value) == 32


@pytest.mark.parametrize("size", [0, 31, 33])
def test_other_lengths_are_refused(size: int):
    with pytest.raises(InvalidNamespace, match="32 bytes"):
        namespace.label(bytes(size))
