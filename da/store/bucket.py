"""Time buckets: which directory a batch lies in, and when that directory's time is over.

The idea: a bucket's directory carries its start and its length in its name, 20261122T000000Z-86400s, so that
a changed bucket length leaves the buckets that are there with the time they were made for.

Invariants: parse(name) is None for every name that `Bucket.name` does not make. A moment past year 9998 lies
in the last bucket that has a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_NAME = re.compile(r"(\d{8}T\d{6}Z)-([1-9]\d{0,8})s")
_STAMP = "%Y%m%dT%H%M%SZ"
_LAST_MS = 253_370_764_799_999


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """`length_s` seconds from `start_s`, Unix time."""

    start_s: int
    length_s: int

    @property
    def name(self) -> str:
        """The directory's name; sorts by time."""
        return f"{datetime.fromtimestamp(self.start_s, UTC).strftime(_STAMP)}-{self.length_s}s"

    @property
    def end_ms(self) -> int:
        """The first millisecond after it."""
        return (self.start_s + self.length_s) * 1000


def bucket_at(time_ms: int, length_s: int) -> Bucket:
    """The bucket of that length which holds the moment."""
    return Bucket(min(time_ms, _LAST_MS) // 1000 // length_s * length_s, length_s)


def parse_bucket(name: str) -> Bucket | None:
    """The bucket of a directory's name; None when it is not one."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        start = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    bucket = Bucket(int(start.timestamp()), int(match[2]))
    return bucket if bucket.name == name else None
