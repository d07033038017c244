"""Fast engines, and the choice between them; imported only where a program is put together.

Importing this package imports no device library: see `select`.
"""

from __future__ import annotations

from gpu.fallback import FallbackEngine, FallbackVerifier
from gpu.options import ENGINE_NAMES, EngineOptions
from gpu.select import open_engine, open_verifier

__all__ = [
    "ENGINE_NAMES",
    "EngineOptions",
    "FallbackEngine",
    "FallbackVerifier",
    "open_engine",
    "open_verifier",
]
