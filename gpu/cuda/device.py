"""What the kernel engine asks of a device: memory, an ordered queue of work, and kernels by name.

`cupy_device` implements it with CuPy; the tests do with the same kernels compiled for the host. Regions are
plain addresses: nothing here owns memory but the device that handed it out.

Invariants: a queue does its work in the order in which it was given; what was downloaded is there after
`wait`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

ALIGNMENT: Final = 256
"""Regions begin at multiples of this, in bytes."""

Array = npt.NDArray[Any]


class DeviceError(RuntimeError):
    """The device or its driver broke down; the message explains how."""


class DeviceMemoryError(DeviceError):
    """The device has not enough free memory."""


@dataclass(frozen=True, slots=True)
class Region:
    """`size` bytes of a device's memory."""

    address: int
    size: int

    def part(self, start: int, size: int) -> Region:
        """`size` bytes from byte `start`."""
        assert start >= 0
        assert start + size <= self.size
        return Region(self.address + start, size)


Argument = Region | int | None
"""What a kernel takes: memory, a 32-bit integer, or a null pointer."""


class Queue(Protocol):
    """Work that a device does in order."""

    def upload(self, to: Region, array: Array) -> None:
        """Copies an array, which may change once this returns."""

    def download(self, source: Region, out: Array) -> None:
        """Fills an array, contiguous or not, by the time `wait` returns."""

    def copy(self, to: Region, source: Region) -> None:
        """Copies between regions of one size."""

    def clear(self, region: Region) -> None:
        """Sets all bytes to 0."""

    def launch(self, kernel: str, blocks: int, *arguments: Argument) -> None:
        """Runs a kernel's blocks."""

    def wait(self) -> None:
        """Returns when all is done.

        Raises:
            DeviceError: something went wrong since the last `wait`.
        """


class Device(Protocol):
    """One device; every method raises DeviceError when it breaks down."""

    @property
    def name(self) -> str: ...

    def free_bytes(self) -> int:
        """How much memory could be allocated now."""

    def allocate(self, size: int) -> Region:
        """New memory.

        Raises:
            DeviceMemoryError: there is not so much.
        """

    def release(self, region: Region) -> None:
        """Frees what `allocate` returned."""

    def queue(self) -> Queue: ...

    def close(self) -> None:
        """Frees everything."""


class Arena:
    """Hands out a region piece by piece; without one, only counts."""

    def __init__(self, region: Region | None = None) -> None:
        self._region = region
        self.used = 0

    def take(self, size: int) -> Region:
        start = self.used
        self.used += -(-size // ALIGNMENT) * ALIGNMENT
        if self._region is None:
            return Region(start, size)
        return self._region.part(start, size)


def as_words(values: list[int], words: int = 8) -> npt.NDArray[np.uint32]:
    """u32[n, words], little-endian, from non-negative integers."""
    joined = b"".join(value.to_bytes(4 * words, "little") for value in values)
    return np.frombuffer(joined, dtype="<u4").reshape(-1, words)
