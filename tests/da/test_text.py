"""Words of others become one clean line of bounded length, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from da.client import ClientError, InvalidAnswer, NodeUnreachable, NotNow, PayloadInfo, StillWaiting
from da.errors import PEER_FIELDS_MAX, PeerError, PeerMisbehaved, PeerRejected, PeerUnreachable
from da.text import block, escaped, printable

FORGED = "no\n2026-11-30 00:00:00,000 ERROR cellar.node: FORGED\x1b[31m\u202e" * 20
ANY = st.text(st.characters(), max_size=200)  # surrogates, too


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, ünïcödé 字", "plain, ünïcödé 字"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x9b0m\x00\x7f", "\\x1b[31mred\\x9b0m\\x00\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\u2029\u200b\ufeff", "\\u2028\\u2029\\u200b\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, line: str) -> None:
    assert escaped(text) == printable(text, 100) == line


@given(ANY, st.integers(4, 50))
def test_any_text_becomes_a_printable_line_within_the_limit(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    line.encode()  # no surrogate is left, which could not be written
    assert printable(line, limit) == line
    if len(escaped(text)) <= limit:
        assert line == escaped(text)
    else:
        assert line.endswith("...")
        assert escaped(text).startswith(line[:-3])


@given(ANY)
def test_a_block_keeps_lines_and_nothing_else(text: str) -> None:
    assert all(character.isprintable() or character in "\n\t" for character in block(text))
    assert block("a\n\tb") == "a\n\tb"


@given(
    ANY,
    ANY,
    st.dictionaries(ANY, st.none() | st.booleans() | st.integers() | st.floats() | ANY | st.lists(ANY)),
)
def test_errors_about_peers_hold_clean_words_alone(reason: str, name: str, fields: dict[str, object]) -> None:
    fields["message"] = reason
    found: list[PeerError] = [
        PeerUnreachable("node-1", reason * 20),
        PeerMisbehaved("node-1", reason * 20),
        PeerRejected("node-1", 409, name * 20, fields),
    ]
    for error in found:
        assert str(error).isprintable()
        assert len(str(error)) < 400
        assert len(error.args) == 1
    rejected = found[-1]
    assert isinstance(rejected, PeerRejected)
    assert len(rejected.error) <= 64
    assert len(rejected.answer) <= PEER_FIELDS_MAX
    for key, value in rejected.answer.items():
        assert key.isprintable()
        assert len(key) <= 64
        assert value is None or isinstance(value, int) or (isinstance(value, str) and value.isprintable())


@pytest.mark.parametrize(
    "error",
    [
        InvalidAnswer(FORGED),
        NodeUnreachable(FORGED),
        NotNow(503, FORGED, FORGED, {}),
        StillWaiting(PayloadInfo(bytes(32), bytes(32), FORGED, 1, 1)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_client_are_clean_lines(error: ClientError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) <= 500
