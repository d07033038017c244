"""The kernels as one text: constants, headers and kernels joined, for a compiler that opens no file.

`kernels/*.cu` hold one kernel each and include headers of the same directory; `device_source` expands the
includes, each once, so that the text alone decides what is compiled: its hash names the result in a cache,
and a test can compile the same text with g++.

What it does not do: compile (`gpu.cuda.nvrtc`), or choose what to launch (`gpu.cuda.pipeline`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpu.constants import constants_header

KERNEL_DIRECTORY: Final = Path(__file__).parents[1] / "kernels"
CONSTANTS: Final = "constants.cuh"

_INCLUDE: Final = re.compile(r'^#include "([\w.]+)"\n', re.MULTILINE)
_KERNEL: Final = re.compile(r"^CELLAR_KERNEL\((\w+), (\d+), (\d+),", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a kernel is launched: threads to a block, and how many blocks a multiprocessor should hold."""

    threads: int
    blocks_per_multiprocessor: int


@functools.cache
def device_source() -> str:
    """All kernels as one CUDA C++17 source without includes."""
    included: set[str] = set()
    return "".join(_expanded(path.name, included) for path in sorted(KERNEL_DIRECTORY.glob("*.cu")))


@functools.cache
def kernels() -> dict[str, Launch]:
    """The kernels by name."""
    return {
        name: Launch(int(threads), int(blocks)) for name, threads, blocks in _KERNEL.findall(device_source())
    }


def _expanded(name: str, included: set[str]) -> str:
    if name in included:
        return ""
    included.add(name)
    text = constants_header() if name == CONSTANTS else (KERNEL_DIRECTORY / name).read_text(encoding="utf-8")
    text = text.replace("#pragma once\n", "")
    return _INCLUDE.sub(lambda match: _expanded(match[1], included), text)
