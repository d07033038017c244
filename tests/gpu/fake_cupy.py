"""`cupy`, as far as the engine uses it, over devices that this machine pretends to be.

The devices' memory is this machine's, their kernels are those of `tests.gpu.host_device`. All else is as
strict as CUDA, and lazier than it ever is:

- Work of a stream is done when the stream is waited for, or the device, or memory of the device is given
  back; not before. Two streams of a device do theirs one after the other. A host buffer that changes too
  early, or a missing wait, shows as wrong bytes.
- The current device belongs to the thread. Addresses and streams belong to devices, and go together only with
  their own while that device is current.
- A kernel takes a numpy scalar of the parameter's size for each of its parameters, and pointers into memory
  that is allocated, aligned for what they point to, or 0; a launch has at least a block, and the threads that
  the kernel was compiled for.
- Device memory holds a pattern when it is new; pinned memory is overwritten when it goes back to its pool.
- Any call can be made to fail (`FakeCupy.fail`). A device that has broken down answers every later call with
  the same error, as CUDA does.

What it does not show: that CUDA does what CuPy asks, and what kernels do at once.

Source: the docstrings and sources of CuPy 14; https://docs.nvidia.com/cuda/cuda-runtime-api/.
"""

from __future__ import annotations

import ctypes
import re
import threading
import types
import weakref
from collections import Counter
from collections.abc import Callable

import numpy as np
from cupy_backends.cuda.api.runtime import CUDARuntimeError

from gpu.cuda.device import ALIGNMENT
from gpu.cuda.source import device_source, kernels
from tests.gpu.host_device import Kernels

MEMORY_ALLOCATION, DEVICES_UNAVAILABLE, ILLEGAL_ADDRESS = 2, 46, 700
INVALID_VALUE, INVALID_DEVICE = 1, 101

_ALIGNMENT = {"Fp": 16, "Fr": 16, "Affine<Fp>": 16, "Xyzz<Fp>": 16, "u32": 4, "int": 4, "i16": 2}


def _alignment(parameter: str) -> int:
    """Of what a parameter points to, or 0: it is an int."""
    kind, pointer, _ = parameter.removeprefix("const ").partition("*")
    assert pointer or kind.startswith("int ")
    return _ALIGNMENT[kind] if pointer else 0


_SIGNATURES = {
    name: [_alignment(" ".join(parameter.split())) for parameter in parameters.split(",")]
    for name, parameters in re.findall(
        r"^CELLAR_KERNEL\((\w+), \d+, \d+,\s*(.*?)\) \{", device_source(), re.MULTILINE | re.DOTALL
    )
}


class FakeCupy:
    """Stands for the module `cupy`.

    Args:
        library: the kernels, or None where none is launched.
        devices: how many there are.
        memory: bytes of each.
    """

    __version__ = "14.0.0 (not real)"

    def __init__(self, library: Kernels | None, devices: int = 1, memory: int = 1 << 32) -> None:
        self.library = library
        self.devices = [FakeDevice(index, memory) for index in range(devices)]
        self.calls: Counter[str] = Counter()
        self.launched: list[tuple[int, str]] = []
        self._failures: dict[tuple[str, int], tuple[int, bool]] = {}
        self._thread = threading.local()
        self._lock = threading.RLock()
        names = ["getDevice", "setDevice", "getDeviceCount", "getDeviceProperties", "memGetInfo"]
        names += ["malloc", "free", "memcpyAsync", "memsetAsync", "deviceSynchronize"]
        runtime = {name: getattr(self, name) for name in names}
        kinds = {"memcpyHostToDevice": 1, "memcpyDeviceToHost": 2, "memcpyDeviceToDevice": 3}
        self.cuda = types.SimpleNamespace(
            runtime=types.SimpleNamespace(**runtime, **kinds),
            function=types.SimpleNamespace(Module=lambda: Module(self)),
            Device=lambda index: types.SimpleNamespace(compute_capability=self.capability(index)),
            Stream=lambda *, non_blocking: Stream(self, non_blocking),
            PinnedMemoryPool=lambda: PinnedMemoryPool(self),
        )

    # --- what tests ask for

    def fail(
        self, call: str, after: int = 0, status: int = DEVICES_UNAVAILABLE, *, lasting: bool = True
    ) -> None:
        """Lets a call fail: the one after the next `after` of its name. lasting: the device is gone.

        Calls are those of CuPy's runtime, and `capability`, `stream`, `synchronize`, `pinned`, `load`,
        `function`, `launch` and `execute`: the last is a kernel that goes wrong when it runs.
        """
        self._failures[call, self.calls[call] + after] = status, lasting

    @property
    def allocated(self) -> int:
        """Pieces of memory on all devices."""
        return sum(len(device.memory) for device in self.devices)

    # --- what CuPy has

    def getDevice(self) -> int:
        return getattr(self._thread, "device", 0)

    def setDevice(self, device: int) -> None:
        if not 0 <= device < len(self.devices):
            raise CUDARuntimeError(INVALID_DEVICE)
        self.enter("setDevice", self.devices[device])
        self._thread.device = device

    def getDeviceCount(self) -> int:
        self.enter("getDeviceCount", None)
        return len(self.devices)

    def getDeviceProperties(self, device: int) -> dict[str, object]:
        self.enter("getDeviceProperties", self.devices[device])
        return {"name": b"Fake GPU"}

    def capability(self, device: int) -> str:
        self.enter("capability", self.devices[device])
        return self.devices[device].capability

    def memGetInfo(self) -> tuple[int, int]:
        device = self.enter("memGetInfo")
        return device.free, device.size

    def malloc(self, size: int) -> int:
        device = self.enter("malloc")
        assert size > 0
        if size > device.free:
            raise CUDARuntimeError(MEMORY_ALLOCATION)
        array = np.full(size + ALIGNMENT, 0xA5, dtype=np.uint8)
        address = -(-array.ctypes.data // ALIGNMENT) * ALIGNMENT
        device.memory[address] = size, array
        return address

    def free(self, ptr: int) -> None:
        device = self.enter("free")
        self.run(device)
        del device.memory[ptr]

    def memcpyAsync(self, dst: int, src: int, size: int, kind: int, stream: int) -> None:
        queue = self.stream("memcpyAsync", stream)
        if kind in (1, 3):
            queue.device.check(dst, size)
        if kind in (2, 3):
            queue.device.check(src, size)
        queue.work.append(lambda: ctypes.memmove(dst, src, size))

    def memsetAsync(self, ptr: int, value: int, size: int, stream: int) -> None:
        queue = self.stream("memsetAsync", stream)
        queue.device.check(ptr, size)
        queue.work.append(lambda: ctypes.memset(ptr, value, size))

    def deviceSynchronize(self) -> None:
        self.run(self.enter("deviceSynchronize"))

    # --- how it does it

    def enter(self, call: str, device: FakeDevice | str | None = "current") -> FakeDevice:
        """Counts a call, and raises where it is to fail or its device is gone."""
        of_call = self.devices[self.getDevice()] if device == "current" else device
        with self._lock:
            place = call, self.calls[call]
            self.calls[call] += 1
        if of_call is not None and of_call.broken:
            raise CUDARuntimeError(of_call.broken)
        if place in self._failures:
            status, lasting = self._failures.pop(place)
            if lasting and of_call is not None:
                of_call.broken = status
            raise CUDARuntimeError(status)
        return of_call

    def stream(self, call: str, ptr: int) -> Stream:
        device = self.enter(call)
        return device.streams[ptr]  # a KeyError: it is of another device

    def run(self, device: FakeDevice, only: Stream | None = None) -> None:
        """Does the work of a stream of a device, or of all."""
        with self._lock:
            for stream in [only] if only else list(device.streams.values()):
                work, stream.work = stream.work, []
                for one in work:
                    one()


class FakeDevice:
    def __init__(self, index: int, size: int) -> None:
        self.index, self.size = index, size
        self.capability = "90"
        self.broken = 0
        self.memory: dict[int, tuple[int, np.ndarray]] = {}
        self.streams: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()

    @property
    def free(self) -> int:
        return self.size - sum(size for size, _ in self.memory.values())

    def check(self, address: int, size: int) -> None:
        """Asserts that these bytes are allocated on this device."""
        for start, (length, _) in list(self.memory.items()):
            if start <= address and address + size <= start + length:
                return
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated on device {self.index}")


class Stream:
    def __init__(self, cupy: FakeCupy, non_blocking: bool) -> None:
        assert non_blocking
        self._cupy = cupy
        self.device = cupy.enter("stream")
        self.ptr = id(self)
        self.work: list[Callable[[], object]] = []
        self.device.streams[self.ptr] = self

    def synchronize(self) -> None:
        assert self._cupy.enter("synchronize") is self.device, "the stream is of another device"
        self._cupy.run(self.device, self)


class PinnedMemoryPool:
    """Hands out powers of two; what comes back is overwritten and handed out again."""

    def __init__(self, cupy: FakeCupy) -> None:
        self._cupy = cupy
        self._free: dict[int, list[np.ndarray]] = {}

    def malloc(self, size: int) -> ctypes.Array[ctypes.c_ubyte]:
        self._cupy.enter("pinned")
        size = 1 << (max(size, 512) - 1).bit_length()
        blocks = self._free.setdefault(size, [])
        block = blocks.pop() if blocks else np.empty(size, dtype=np.uint8)
        block[:] = 0xEE

        def back() -> None:
            block[:] = 0xEE
            blocks.append(block)

        pointer = type("PinnedMemoryPointer", (ctypes.c_ubyte * size,), {}).from_buffer(block)
        pointer.ptr = block.ctypes.data
        weakref.finalize(pointer, back)
        return pointer


class Module:
    def __init__(self, cupy: FakeCupy) -> None:
        self._cupy = cupy

    def load(self, cubin: bytes) -> None:
        assert type(cubin) is bytes
        self.device = self._cupy.enter("load")

    def get_function(self, name: str) -> Callable[..., None]:
        assert self._cupy.enter("function") is self.device
        pointers, limit = _SIGNATURES[name], kernels()[name].threads

        def launch(
            grid: tuple[int, ...],
            block: tuple[int, ...],
            args: tuple[object, ...],
            shared_mem: int,
            stream: Stream,
        ) -> None:
            device = self._cupy.enter("launch")
            assert device is self.device is stream.device
            assert (len(grid), len(block), shared_mem) == (1, 1, 0)
            assert 1 <= grid[0] < 1 << 31
            assert block[0] == limit
            assert [type(value) for value in args] == [np.uint64 if of else np.int32 for of in pointers]
            for value, alignment in zip(args, pointers, strict=True):
                if alignment and value:
                    assert int(value) % alignment == 0
                    device.check(int(value), 1)
            values = [
                ctypes.c_void_p(int(value)) if is_pointer else ctypes.c_int(int(value))
                for value, is_pointer in zip(args, pointers, strict=True)
            ]

            def execute() -> None:
                self._cupy.enter("execute", device)
                if self._cupy.library is not None:
                    self._cupy.library.run(name, grid[0], values)

            stream.work.append(execute)
            self._cupy.launched.append((device.index, name))

        return launch
