"""Which engine a program gets.

"auto" takes the first that works here, fastest first: `cuda` (a GPU), `host` (the CPU's vector lanes), `ckzg`
(always there). The choice is logged once, with the reason why each faster engine was not chosen. An engine
asked for by name is that engine or an EngineUnavailable: never a silent fallback.

`open_engine` opens both halves of the port, with tables for proving; `open_verifier` the verifying half,
which has none.

An engine other than ckzg is a package (`gpu.cuda`, `gpu.host`) with a function `available()`, which returns
None or the reason why it cannot run here, and two classes that implement `kzg.engine.Engine` and
`kzg.engine.Verifier`. The package is imported only when it is considered, so that importing `gpu` costs
nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from gpu.fallback import FallbackEngine, FallbackVerifier
from gpu.options import ACCELERATED, AUTO, CKZG, EngineOptions
from kzg.ckzg_engine import CkzgEngine, CkzgVerifier
from kzg.engine import Engine, Opened, Verifier
from kzg.errors import EngineUnavailable

logger = logging.getLogger("cellar.engine")
T = TypeVar("T", bound=Opened)

_DEFAULTS: Final = EngineOptions()


def open_engine(options: EngineOptions = _DEFAULTS) -> Engine:
    """Opens an engine that commits, proves and verifies; the caller closes it.

    Raises:
        EngineUnavailable: the engine asked for cannot run here.
    """
    first = _open(options, _engine)
    if options.fallback is None:
        return first
    second = replace(options, name=options.fallback, fallback=None)
    return FallbackEngine(first, lambda: _open(second, _engine))


def open_verifier(options: EngineOptions = _DEFAULTS) -> Verifier:
    """Opens the verifying half of an engine, without tables for proving; the caller closes it.

    Raises:
        EngineUnavailable: the engine asked for cannot run here.
    """
    first = _open(options, _verifier)
    if options.fallback is None:
        return first
    second = replace(options, name=options.fallback, fallback=None)
    return FallbackVerifier(first, lambda: _open(second, _verifier))


def why_not(name: str) -> str | None:
    """None when the accelerated engine (`cuda` or `host`) can run here, else the reason."""
    if importlib.util.find_spec(f"gpu.{name}") is None:
        return f"this installation has no {name} engine"
    reason: str | None = importlib.import_module(f"gpu.{name}").available()
    return reason


def _engine(name: str, options: EngineOptions) -> Engine:
    if name == CKZG:
        return CkzgEngine(workers=options.workers)
    executor = importlib.import_module(f"gpu.{name}")
    engine: Engine = (
        executor.HostEngine(workers=options.workers, table=options.table)
        if name == "host"
        else executor.CudaEngine(workers=options.workers)
    )
    return engine


def _verifier(name: str, options: EngineOptions) -> Verifier:
    if name == CKZG:
        return CkzgVerifier(workers=options.workers)
    executor = importlib.import_module(f"gpu.{name}")
    verifier: Verifier = (executor.HostVerifier if name == "host" else executor.CudaVerifier)(
        workers=options.workers
    )
    return verifier


def _open(options: EngineOptions, make: Callable[[str, EngineOptions], T]) -> T:
    """The first engine that can be opened, of all with "auto", else the one asked for."""
    passed_over: list[str] = []
    for name in (*ACCELERATED, CKZG) if options.name == AUTO else (options.name,):
        reason = why_not(name) if name in ACCELERATED else None
        if reason is None:
            try:
                opened = make(name, options)
            except EngineUnavailable as error:
                reason = error.reason
            else:
                _log(opened, passed_over)
                return opened
        if options.name != AUTO:
            raise EngineUnavailable(name, f"{reason}; choose another engine, or 'auto'")
        passed_over.append(f"{name}: {reason}")
    raise EngineUnavailable(AUTO, "; ".join(passed_over))


def _log(engine: Opened, passed_over: list[str]) -> None:
    details = ", ".join(f"{key}={value}" for key, value in engine.describe().items() if key != "engine")
    reasons = f" (not {'; not '.join(passed_over)})" if passed_over else ""
    logger.info("engine %s: %s%s", engine.name, details, reasons)
