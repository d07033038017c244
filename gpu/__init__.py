"""Fast engines, and the choice between them; imported only where a program is put together.

Importing this package imports no device library: see `select`.
"""

from __future__ import annotations

from gpu.fallback import FallbackEngine
from gpu.select import ENGINE_NAMES, open_engine

__all__ = ["ENGINE_NAMES", "FallbackEngine", "open_engine"]
