from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol.codec import Reader, u8, u16, u32, u64
from da.protocol.errors import DecodeError


@given(
    st.integers(0, 2**8 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)
def test_integers_round_trip_big_endian(a: int, b: int, c: int, d: int):
    reader = Reader(u8(a) + u16(b) + u32(c) + u64(d) + b"tail")
    assert (reader.u8("a"), reader.u16("b"), reader.u32("c"), reader.u64("d")) == (a, b, c, d)
    assert reader.fixed(4, "tail") == b"tail"
    reader.finish("all")


@pytest.mark.parametrize(("method", "size"), [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)])
def test_reading_past_the_end_names_the_field(method: str, size: int):
    with pytest.raises(DecodeError) as caught:
        getattr(Reader(bytes(size - 1)), method)("height")
    assert caught.value.field == "height"
    assert f"needs {size} bytes; only {size - 1} are left" in str(caught.value)


def test_left_over_bytes_are_refused():
    reader = Reader(b"abc")
    reader.u8("first")
    with pytest.raises(DecodeError, match="2 trailing bytes"):
        reader.finish("thing")


def test_take_does_not_copy():
    data = bytearray(b"abcd")
    taken = Reader(data).take(2, "ab")
    data[0] = ord("z")
    assert bytes(taken) == b"zb"
