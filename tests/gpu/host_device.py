"""A device made of this machine: the kernels compiled by g++ and run thread by thread, at once.

It implements `gpu.cuda.device.Device`, so what runs on it is what a GPU would run: the same source, the same
launches, the same arrays in memory. With emulation (`-DPTX_EMU`) the field is that of a CUDA thread too,
carry flag and all; without, it is plain 64-bit words, which compute the same and are ten times faster.

Memory is filled with a pattern when it is allocated, so that nothing passes by reading zeros that nobody
wrote. What a GPU does in no order is done here in the order that `Kernels.order` says: blocks, and the
threads of each.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gpu.cuda.device import ALIGNMENT, Argument, Array, DeviceMemoryError, Region
from gpu.cuda.source import device_source, kernels

_LIBC = ctypes.CDLL(None)
_EXTRA = """
extern "C" void cellar_run(int block, int threads, int first, int step) {
  cellar::host_block = {block, threads, first, step};
}
"""


class Order(Protocol):
    """Blocks one after the other; of each, where its threads begin and how they go on (an odd step)."""

    def __call__(self, blocks: int) -> Iterator[tuple[int, int, int]]: ...


def forward(blocks: int) -> Iterator[tuple[int, int, int]]:
    return ((block, 0, 1) for block in range(blocks))


def backward(blocks: int) -> Iterator[tuple[int, int, int]]:
    return ((block, -1, -1) for block in reversed(range(blocks)))


def shuffled(blocks: int) -> Iterator[tuple[int, int, int]]:
    order = np.random.default_rng(blocks)
    return ((int(block), 77, 2 * int(order.integers(1 << 20)) + 1) for block in order.permutation(blocks))


class Kernels:
    """The kernels as functions of this machine."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.order: Order = forward

    def run(self, kernel: str, blocks: int, values: Sequence[object]) -> None:
        """Every block of a launch. values: ctypes numbers and pointers."""
        function, threads = getattr(self.library, kernel), kernels()[kernel].threads
        for block, first, step in self.order(blocks):
            self.library.cellar_run(block, threads, first, step)
            function(*values)


def compile_kernels(directory: Path, *flags: str, text: str | None = None) -> Kernels:
    """All kernels, or those of another text, ready to run."""
    return Kernels(ctypes.CDLL(str(build_library(directory, *flags, text=text))))


def build_library(directory: Path, *flags: str, text: str | None = None) -> Path:
    """The kernels, or those of another text, as a shared library for the host."""
    source, library = directory / "kernels.cpp", directory / "kernels.so"
    source.write_text((text or device_source()) + _EXTRA)
    # One flag of warnings is off: constants of the other kind of words are not used.
    command = [
        "g++",
        "-std=c++17",
        "-O3",
        "-funroll-loops",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Werror",
        *flags,
    ]
    subprocess.run([*command, str(source), "-o", str(library)], check=True, capture_output=True, text=True)
    return library


class HostQueue:
    """Does everything at once."""

    def __init__(self, device: HostDevice) -> None:
        self._device = device

    def upload(self, to: Region, array: Array) -> None:
        assert array.nbytes <= to.size
        self._device.check(to)
        ctypes.memmove(to.address, np.ascontiguousarray(array).ctypes.data, array.nbytes)

    def download(self, source: Region, out: Array) -> None:
        assert out.nbytes <= source.size
        self._device.check(source)
        data = ctypes.string_at(source.address, out.nbytes)
        out[...] = np.frombuffer(data, dtype=out.dtype).reshape(out.shape)

    def copy(self, to: Region, source: Region) -> None:
        assert to.size == source.size
        self._device.check(to)
        self._device.check(source)
        ctypes.memmove(to.address, source.address, to.size)

    def clear(self, region: Region) -> None:
        self._device.check(region)
        ctypes.memset(region.address, 0, region.size)

    def launch(self, kernel: str, blocks: int, *arguments: Argument) -> None:
        values: list[object] = []
        for argument in arguments:
            if isinstance(argument, Region):
                self._device.check(argument)
            address = argument.address if isinstance(argument, Region) else None
            values.append(ctypes.c_int(argument) if isinstance(argument, int) else ctypes.c_void_p(address))
        self._device.launched[kernel] = self._device.launched.get(kernel, 0) + 1
        self._device.library.run(kernel, blocks, values)

    def wait(self) -> None:
        pass


class _Memory:
    """Memory of malloc, which checkers watch to the byte."""

    def __init__(self, size: int) -> None:
        pointer = ctypes.c_void_p()
        assert _LIBC.posix_memalign(ctypes.byref(pointer), ALIGNMENT, max(size, 1)) == 0
        self.address, self.size = int(pointer.value or 0), size
        ctypes.memset(self.address, 0xA5, size)

    def __del__(self) -> None:
        _LIBC.free(ctypes.c_void_p(self.address))


class HostDevice:
    """See the module. `limit`: bytes that may be allocated at a time."""

    def __init__(self, library: Kernels, limit: int = 1 << 32) -> None:
        self.name = "host"
        self.library = library
        self.limit = limit
        self.launched: dict[str, int] = {}
        self._memory: dict[int, _Memory] = {}

    def free_bytes(self) -> int:
        return self.limit - sum(memory.size for memory in self._memory.values())

    def allocate(self, size: int) -> Region:
        if size > self.free_bytes():
            raise DeviceMemoryError(f"{size} bytes are not free")
        memory = _Memory(size)
        self._memory[memory.address] = memory
        return Region(memory.address, size)

    def release(self, region: Region) -> None:
        del self._memory[region.address]

    def check(self, region: Region) -> None:
        """Asserts that the region lies in memory that is allocated."""
        for start, memory in self._memory.items():
            if start <= region.address and region.address + region.size <= start + memory.size:
                return
        raise AssertionError(f"{region} is not allocated")

    def queue(self) -> HostQueue:
        return HostQueue(self)

    def close(self) -> None:
        self._memory.clear()
