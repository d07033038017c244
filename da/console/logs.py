"""Log lines of the programs: to standard error, as text for people or as JSON objects for machines.

Invariants: one record is one line, plus the lines of its traceback, which are indented; no control character
reaches the output, whoever chose the words of a message or of an exception; a message has a bounded length.
So no record can be made to look like two, or like one of another program.
"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
import time
from typing import Literal

from pydantic import Field

from da.section import Section
from da.text import block, printable


class LogConfig(Section):
    """What a program logs, and in which format."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level of log lines written to standard error."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="Format of log lines: text, or one JSON object per line."
    )


MESSAGE_CHARS_MAX = 4000
TRACEBACK_CHARS_MAX = 40_000
TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class TextFormatter(logging.Formatter):
    """A line for people, and the traceback below it when there is one."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines."""
        record.message = printable(record.getMessage(), MESSAGE_CHARS_MAX)
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        below = self._below(record)
        return f"{line}\n{textwrap.indent(below, '  ', lambda _: True)}" if below else line

    def _below(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return _traceback("\n".join(parts))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        whole_s = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{whole_s}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage(), MESSAGE_CHARS_MAX),
        }
        if record.exc_info:
            line["traceback"] = _traceback(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up(config: LogConfig) -> None:
    """Send log lines of the level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else TextFormatter())
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)
    # httpx logs every request at level info; a node makes thousands.
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def set_up_default() -> None:
    """Send what libraries warn of to standard error, in programs and commands that keep no log of their own.

    Changes nothing where log lines go somewhere already.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _traceback(text: str) -> str:
    """A traceback without control characters; the end, which says most, is kept of one that is too long."""
    return block(text[-TRACEBACK_CHARS_MAX:])
