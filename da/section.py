"""A section of a node's configuration: one class per package, nested in da.settings.

Each field is a limit, timeout or choice, with its unit in its name and its meaning in its description; the
packages take these classes, so that each field is defined once.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

KIB = 1024
MIB = 1024 * KIB


class Section(BaseModel):
    """Base of all sections: frozen, unknown fields refused, defaults validated like given values."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def words(value: Any) -> Any:
    """The words of a comma-separated text (a list in an environment variable); anything else unchanged."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())
