"""The strict decoder: what json.loads gives, or InvalidJson before anything costs stack or memory."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.protocol.errors import InvalidJson
from da.protocol.strict_json import MAX_NUMBER_CHARS, MIN_VALUES, loads

KIB = 1024

finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | finite | st.text(max_size=12)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


def count(value: Any) -> int:
    """Values as the decoder counts them: an empty array counts as if it held one."""
    if not isinstance(value, dict | list):
        return 1
    return 1 + max(1, sum(map(count, value.values() if isinstance(value, dict) else value)))


def same(left: Any, right: Any) -> bool:
    """Equal with types: 1 is not 1.0 nor true."""
    return repr(left) == repr(right)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_read(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert same(loads(text.encode(), max_bytes=64 * KIB), json.loads(text))


@given(values, st.integers(0, 6), st.integers(1, 30))
def test_depth_and_values_are_counted(value: Any, max_depth: int, max_values: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    bounds = {"max_bytes": 64 * KIB, "max_depth": max_depth, "max_values": max_values}
    if depth(value) <= max_depth and count(value) <= max_values:
        assert same(loads(text, **bounds), value)
    else:
        with pytest.raises(InvalidJson, match=r"deeper|more than"):
            loads(text, **bounds)


PIECES = (
    *'[]{},:"\\',
    *("\\\\", '\\"', "\\u", "\\ud83d", "\\ude00", "0041", "1", "-", "1e9", "1e999", "9" * 90),
    *("true", "null", "NaN", "Infinity", " ", "a", "é", '"a"', '"a":', "[[", "]]", '"[', ']"', "\n", "\0"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_any_text_is_refused_or_is_what_json_reads(text: str) -> None:
    try:
        read = loads(text, max_bytes=64 * KIB, max_depth=4)
    except InvalidJson:
        return
    expected = json.loads(text)
    assert same(read, expected)
    assert depth(expected) <= 4


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_are_what_json_reads(raw: bytes) -> None:
    try:
        read = loads(raw, max_bytes=KIB)
    except InvalidJson:
        return
    assert same(read, json.loads(raw))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "line 1, column 1"),
        (b"{", "brackets do not match"),
        (b"[1,]", "is not JSON"),
        (b"[1] 2", "is not JSON"),
        (b'{"a": 1, "a": 1}', "duplicate key"),
        (b'{"a": 1, "\\u0061": 1}', "duplicate key"),
        (b'[{"b": {"a": 1, "a": 2}}]', "duplicate key"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1e400", "range of a double"),
        (b"-1e400", "range of a double"),
        (b"9" * (MAX_NUMBER_CHARS + 1), "more than 80 characters"),
        (b"0." + b"9" * MAX_NUMBER_CHARS, "more than 80 characters"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("\ufeff{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b'"\xff"', "UTF-8 (byte 1)"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        ('"\ud800"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\uDC00"', "surrogate"),
        (b'{"\\ud83d": 1}', "surrogate"),
        (b'["\\ude00\\ud83d"]', "surrogate"),
        (b"[" * 17 + b"]" * 17, "deeper than 16"),
        (b"[" * 17, "deeper than 16"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "deeper than 16"),
        (b"]" * 1_000 + b"[" * 1_000, "deeper than 16"),
        (b'["\\\\", ' + b"[" * 16 + b"]" * 17, "deeper than 16"),
        (b'["\\"", ' + b"[" * 16 + b"]" * 17, "deeper than 16"),
        (b'["\\\\\\"", ' + b"[" * 16 + b"]" * 17, "deeper than 16"),
        (b"[" + b"[]," * MIN_VALUES + b"1]", "more than 1024 values"),
        (b"[" + b"1," * MIN_VALUES + b"1]", "more than 1024 values"),
        (b'"",' * 4 * MIN_VALUES, "more than 1024 values"),
        (b'["' + b'","' * 4 * MIN_VALUES + b'"]', "more than 1024 values"),
        (b" " * (16 * KIB + 1), "is longer than 16384 bytes"),
        ("é" * (8 * KIB + 1), "is longer than 16384 bytes"),
    ],
)
def test_documents_that_are_refused(raw: bytes | str, reason: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        loads(raw, max_bytes=16 * KIB)
    assert reason in caught.value.reason
    assert "a" * 3 not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 16 + b"]" * 16,
        b'["' + b"[" * 100 + b'"]',
        b'["\\"' + b"[{" * 100 + b'\\\\"]',
        b'["' + b"," * 5_000 + b'"]',
        b'"\\ud83d\\ude00"',
        b"9" * MAX_NUMBER_CHARS,
        b"[" + b"1," * (MIN_VALUES - 2) + b"1]",
        bytearray(b'{"a": [true, false, null, -0.0, 1E2]}'),
    ],
)
def test_documents_at_the_bounds_are_read(raw: bytes) -> None:
    assert same(loads(raw, max_bytes=16 * KIB), json.loads(raw))


def test_the_budget_of_values_follows_the_bytes() -> None:
    raw = b"[" + b"1," * 4_000 + b"1]"
    with pytest.raises(InvalidJson, match="more than 2048 values"):
        loads(raw, max_bytes=32 * KIB)
    assert len(loads(raw, max_bytes=256 * KIB)) == 4_001
    assert len(loads(raw, max_bytes=32 * KIB, max_values=4_003)) == 4_001


def test_nothing_depends_on_the_interpreters_settings() -> None:
    digits, limit = sys.get_int_max_str_digits(), sys.getrecursionlimit()
    try:
        sys.set_int_max_str_digits(0)
        sys.setrecursionlimit(200_000)
        for raw in (b"[" * 150_000, b'{"a":' * 150_000, b"9" * 1_000_000):
            with pytest.raises(InvalidJson):
                loads(raw, max_bytes=2**20)
    finally:
        sys.setrecursionlimit(limit)
        sys.set_int_max_str_digits(digits)
    with pytest.raises(InvalidJson):
        loads(b"[" + b"1," * 400_000 + b"1]", max_bytes=2**20)
