"""The configuration of the store."""

from __future__ import annotations

from pydantic import Field

from da.section import MIB, Section


class StoreConfig(Section):
    """Limits and layout of the store."""

    reserve_bytes: int = Field(
        default=256 * MIB, ge=0, description="Free disk bytes below which the node turns read-only."
    )
    bucket_s: int = Field(
        default=86_400,
        ge=60,
        description="Seconds of batches in one bucket, which share a directory and expire together.",
    )
