"""Lines of the log: no words in a record make it look like two, or drive a terminal."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from da.console.logs import JsonFormatter, TextFormatter

FORGED = "no\n2026-11-30 00:00:00,000 ERROR   cellar.node: FORGED\r\x1b[2J\x9b31m\u2028\u202e\x00"
FORMATTERS: list[logging.Formatter] = [TextFormatter(), JsonFormatter()]


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    made = logging.LogRecord("cellar.node", logging.WARNING, "file.py", 1, message, args, None)
    if error is not None:
        try:
            _raise(error)
        except type(error):
            made.exc_info = sys.exc_info()
    return made


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])
@pytest.mark.parametrize(
    "message", [("%s", FORGED), (FORGED,), ("%s", "\n" * 100_000)], ids=["argument", "message", "long"]
)
def test_a_record_is_one_clean_line(formatter: logging.Formatter, message: tuple[str, ...]) -> None:
    line = formatter.format(record(*message))
    assert line.isprintable()
    assert len(line) < 10_000


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])
def test_a_traceback_forges_no_line(formatter: logging.Formatter) -> None:
    first = record("loop %s failed", "x", error=ValueError(FORGED * 3))
    formatter.format(first)
    for each in (first, record("loop %s failed", "x", error=ValueError(FORGED * 10_000))):
        line, *below = formatter.format(each).split("\n")
        assert all(part.isprintable() for part in (line, *below))
        assert all(part.startswith("  ") for part in below), (
            "a line that begins a record begins at the margin"
        )
        assert sum(map(len, below)) < 60_000
    assert "FORGED" in formatter.format(first)


def test_a_traceback_that_another_handler_rendered_before_is_rendered_again() -> None:
    each = record("x", error=ValueError(FORGED))
    logging.Formatter().format(each)  # leaves its raw text in the record
    assert all(part.isprintable() for part in TextFormatter().format(each).split("\n"))


def test_json_lines_can_be_read_back() -> None:
    line = json.loads(JsonFormatter().format(record("%s", FORGED, error=ValueError(FORGED))))
    assert line["message"].startswith("no\\n2026-11-30")
    assert line["traceback"].splitlines()[0] == "Traceback (most recent call last):"
