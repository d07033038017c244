"""The kernels compiled for a device's architecture by NVRTC, which needs no device, no driver and no toolkit.

A cubin is kept on disk under the hash of everything that made it: the text, the options, the compiler's
version; its own hash precedes it. A cache that is damaged, or cannot be read or written, costs time and
nothing else.

What it does not do: load a cubin (`gpu.cuda.cupy_device`).

Source: https://docs.nvidia.com/cuda/nvrtc/, through CuPy's binding `cupy_backends.cuda.libs.nvrtc`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cupy_backends.cuda.libs import nvrtc

OPTIONS: Final = ("-std=c++17", "-default-device", "--ptxas-options=-v", "-diag-suppress=177")
"""`-default-device`: functions of the shared headers without a qualifier are the device's. 177: unused
constants."""


class CompilationError(RuntimeError):
    """NVRTC refused the source; the message is its log."""


@dataclass(frozen=True, slots=True)
class Compiled:
    cubin: bytes
    log: str


def supported_architectures() -> tuple[int, ...]:
    """Compute capabilities that this NVRTC makes machine code for: 80, 90, ..."""
    return tuple(nvrtc.getSupportedArchs())


def compile_source(source: str, architecture: int) -> Compiled:
    """The cubin for compute capability `architecture`, and the compiler's log with registers and spills.

    Raises:
        CompilationError.
    """
    program = nvrtc.createProgram(source, "cellar.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch=sm_{architecture}", *OPTIONS))
        return Compiled(nvrtc.getCUBIN(program), nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError as error:
        raise CompilationError(f"{error}: {nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)


def cached_cubin(source: str, architecture: int, directory: Path | None = None) -> bytes:
    """`compile_source`'s cubin, from the cache if it is there whole.

    directory: where cubins are kept; None is `cellar` in the user's cache directory.
    """
    directory = directory or _cache_directory()
    if directory is None:
        return compile_source(source, architecture).cubin
    made_of = repr((source, architecture, OPTIONS, nvrtc.getVersion()))
    path = directory / f"{hashlib.sha256(made_of.encode()).hexdigest()}.cubin"
    with contextlib.suppress(OSError):
        kept = path.read_bytes()
        digest, cubin = kept[:32], kept[32:]
        if hashlib.sha256(cubin).digest() == digest:
            return cubin
    cubin = compile_source(source, architecture).cubin
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            file.write(hashlib.sha256(cubin).digest() + cubin)
        Path(file.name).replace(path)  # complete or absent, unless the machine stops during the call
    return cubin


def _cache_directory() -> Path | None:
    """None where the user has no home."""
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "cellar"
    except RuntimeError:
        return None
