"""How a program wants its engine opened: one value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

AUTO: Final = "auto"
CKZG: Final = "ckzg"
ACCELERATED: Final = ("cuda", "host")
"""Engines that not every machine can run, fastest first."""

ENGINE_NAMES: Final = (AUTO, *ACCELERATED, CKZG)

Table = Literal["small", "medium", "large"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What `gpu.open_engine` and `gpu.open_verifier` open.

    Attributes:
        name: "auto" (the fastest that can run here), "cuda", "host" or "ckzg".
        workers: processes or threads on the CPU, or CUDA devices, at most; None means one for each core, or
            all devices.
        table: of a prover on the host engine, memory for speed: "small", "medium" or "large"
            (`gpu.host.engine.TABLES`). Other engines have no such choice, and a verifier has no such table.
        fallback: the engine that takes over when the first breaks down while it runs; None means that each
            call fails instead.

    Raises:
        ValueError: a field is not one of these values.
    """

    name: str = AUTO
    workers: int | None = None
    table: Table = "medium"
    fallback: str | None = None

    def __post_init__(self) -> None:
        names = ", ".join(ENGINE_NAMES)
        if self.name not in ENGINE_NAMES:
            raise ValueError(f"engine must be one of {names}; got {self.name!r}")
        if self.fallback is not None and self.fallback not in ENGINE_NAMES:
            raise ValueError(f"fallback must be one of {names}; got {self.fallback!r}")
        if self.table not in get_args(Table):
            raise ValueError(f"table must be one of {', '.join(get_args(Table))}; got {self.table!r}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
