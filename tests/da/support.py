"""Settings for tests: fields by their flat names, put where they belong."""

from __future__ import annotations

from typing import Any

from da.settings import MOVED


def nested(**fields: Any) -> dict[str, Any]:
    """`rows_max=3` as {"disperser": {"rows_max": 3}}; names of the top level stay there."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        section, _, field = MOVED.get(name, name).rpartition(".")
        (values.setdefault(section, {}) if section else values)[field] = value
    return values
