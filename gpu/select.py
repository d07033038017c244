"""Which engine a program gets.

`open_engine("auto")` takes the first that works here, fastest first: `cuda` (a GPU), `host` (the CPU's vector
lanes), `ckzg` (always there). It logs its choice, and why the faster ones were passed over, once. An engine
asked for by name is that engine or an EngineUnavailable: never a silent fallback.

An engine other than ckzg is a module of this package (`gpu.cuda.engine`, `gpu.host.engine`) with a function
`available()`, which says None or the reason why it cannot run here, and a class that implements
`kzg.engine.Engine`. The module is imported only when it is considered, so that importing `gpu` costs nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Final

from kzg.ckzg_engine import DEFAULT_PRECOMPUTE, CkzgEngine
from kzg.engine import Engine
from kzg.errors import EngineUnavailable

logger = logging.getLogger("cellar.engine")

_ACCELERATED: Final = {"cuda": ("gpu.cuda.engine", "CudaEngine"), "host": ("gpu.host.engine", "HostEngine")}
ENGINE_NAMES: Final = ("auto", *_ACCELERATED, "ckzg")


def open_engine(
    name: str = "auto", *, workers: int | None = None, proving: bool = True, table: str | None = None
) -> Engine:
    """Opens an engine; the caller closes it.

    Args:
        name: "auto", "cuda", "host" or "ckzg".
        workers: processes or threads on the CPU, or CUDA devices, at most; None means one for each core, or
            all devices.
        proving: False for a program that proves rarely or never, and would rather have the memory of the
            tables (about 96 MiB); it still can.
        table: of the host engine, memory for speed: "small", "medium" or "large" (`gpu.host.engine.TABLES`);
            None means medium to prove, else small. Other engines have no such choice.

    Raises:
        EngineUnavailable: the engine asked for cannot run here.
        ValueError: a name or a table that is none of these.
    """
    if name not in ENGINE_NAMES:
        raise ValueError(f"engine must be one of {', '.join(ENGINE_NAMES)}; got {name!r}")
    passed_over: list[str] = []
    candidates = tuple(_ACCELERATED) if name == "auto" else () if name == "ckzg" else (name,)
    for candidate in candidates:
        try:
            return _logged(
                _open(candidate, workers, table or ("medium" if proving else "small")), passed_over
            )
        except EngineUnavailable as error:
            if name != "auto":
                hint = f"{error.reason}; choose another engine, or 'auto'"
                raise EngineUnavailable(name, hint) from error
            passed_over.append(f"{candidate}: {error.reason}")
    return _logged(CkzgEngine(workers=workers, precompute=DEFAULT_PRECOMPUTE if proving else 0), passed_over)


def why_not(name: str) -> str | None:
    """None when the accelerated engine (`cuda` or `host`) can run here, else the reason."""
    module_name, _ = _ACCELERATED[name]
    if importlib.util.find_spec(module_name) is None:
        return f"this installation has no {name} engine"
    reason: str | None = importlib.import_module(module_name).available()
    return reason


def _open(name: str, workers: int | None, table: str) -> Engine:
    reason = why_not(name)
    if reason is not None:
        raise EngineUnavailable(name, reason)
    module_name, class_name = _ACCELERATED[name]
    options = {"table": table} if name == "host" else {}
    engine: Engine = getattr(importlib.import_module(module_name), class_name)(workers=workers, **options)
    return engine


def _logged(engine: Engine, passed_over: list[str]) -> Engine:
    details = ", ".join(f"{key}={value}" for key, value in engine.describe().items() if key != "engine")
    reasons = f" (not {'; not '.join(passed_over)})" if passed_over else ""
    logger.info("engine %s: %s%s", engine.name, details, reasons)
    return engine
