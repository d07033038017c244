"""Logging of the programs: to standard error, as text or as JSON objects."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

from pydantic import Field

from da.section import Section


class LogConfig(Section):
    """What a program logs, and in which format."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level of log lines written to standard error."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="Format of log lines: text, or one JSON object per line."
    )


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        whole_s = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{whole_s}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(config: LogConfig) -> None:
    """Send log lines of the level and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if config.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)
    # httpx logs every request at level info; a node makes thousands.
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
