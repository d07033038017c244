"""A section of a node's configuration: one class a room, nested in da.settings.

Each field is a limit, timeout or choice, with its unit in its name and its meaning in its description; the
classes are what the rooms take, so that no field is typed a second time.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

KIB = 1024
MIB = 1024 * KIB


class Section(BaseModel):
    """Base of all sections: frozen, without unknown fields, defaults checked like given values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def words(value: Any) -> Any:
    """The words of a comma-separated text (a list in an environment variable); anything else unchanged."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())
