"""The CUDA implementation of the device port, through CuPy: memory, streams, pinned transfers, launches.

A queue is a stream. What it uploads or downloads passes through pinned memory, so that copies run while
kernels of another stream do: an upload is copied into pinned memory at once, a download out of it in `wait`.

CUDA's current device belongs to a thread. Every call here makes its own device current and puts the thread's
back, so that any thread may call any device. The streams do not wait for CUDA's default stream, which nothing
here uses; freeing memory waits for the whole device.

Every CUDA error becomes a DeviceError, a lack of memory a DeviceMemoryError. After some errors (an illegal
address, a device that fell off the bus) CUDA refuses all further work of the process: later calls then fail
in the same way.

Importing this module imports CuPy; only `gpu.cuda.engine` does, when the engine is considered.

Source: https://docs.cupy.dev/en/v14.0.0/reference/cuda.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import cupy
import numpy as np

from gpu.cuda import nvrtc
from gpu.cuda.device import Argument, Array, DeviceError, DeviceMemoryError, Region
from gpu.cuda.source import device_source, kernels

_MEMORY_ALLOCATION: Final = 2  # cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY


def device_count() -> int:
    """How many devices the driver shows.

    Raises:
        DeviceError: there is no usable driver.
    """
    with _translated():
        return int(cupy.cuda.runtime.getDeviceCount())


def cupy_version() -> str:
    return str(cupy.__version__)


def why_unusable(index: int) -> str | None:
    """None when the kernels can be compiled for a device, else the reason."""
    try:
        with _translated():
            capability = _capability(index)
            supported = nvrtc.supported_architectures()
    except DeviceError as error:
        return str(error)
    if capability not in supported:
        return f"NVRTC does not compile for its compute capability, {capability / 10}"
    return None


def _capability(index: int) -> int:
    return int(cupy.cuda.Device(index).compute_capability)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """CUDA's and CuPy's errors as ours."""
    try:
        yield
    except DeviceError:
        raise
    except (RuntimeError, MemoryError, ImportError) as error:
        # CuPy's errors are RuntimeErrors; so is a library that cannot be loaded, or an ImportError.
        kind = DeviceMemoryError if _is_memory(error) else DeviceError
        raise kind(f"{type(error).__name__}: {error}") from error


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or getattr(error, "status", None) == _MEMORY_ALLOCATION


class CudaDevice:
    """Device `index` of the driver, with the kernels loaded.

    Raises:
        DeviceError: it is unusable, or the kernels do not compile for it.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._memory: set[int] = set()
        with self.on():
            name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
            module = cupy.cuda.function.Module()
            module.load(nvrtc.cached_cubin(device_source(), _capability(index)))
            self._functions = {kernel: module.get_function(kernel) for kernel in kernels()}
        self._name = f"{name} ({index})"

    @property
    def name(self) -> str:
        return self._name

    def free_bytes(self) -> int:
        with self.on():
            return int(cupy.cuda.runtime.memGetInfo()[0])

    def allocate(self, size: int) -> Region:
        with self.on():
            address = int(cupy.cuda.runtime.malloc(max(size, 1)))
            self._memory.add(address)
        return Region(address, size)

    def release(self, region: Region) -> None:
        with self.on():
            cupy.cuda.runtime.free(region.address)
            self._memory.remove(region.address)

    def queue(self) -> CudaQueue:
        with self.on():
            return CudaQueue(self, cupy.cuda.Stream(non_blocking=True), cupy.cuda.PinnedMemoryPool())

    def close(self) -> None:
        # A device that broke down has nothing to free.
        with contextlib.suppress(DeviceError), self.on():
            cupy.cuda.runtime.deviceSynchronize()
            while self._memory:
                cupy.cuda.runtime.free(self._memory.pop())

    def function(self, kernel: str) -> Any:
        """A loaded kernel."""
        return self._functions[kernel]

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """This device is current in the block, and its errors are DeviceErrors."""
        runtime = cupy.cuda.runtime
        with _translated():
            # Not `with cupy.cuda.Device(...)`: that object keeps what to go back to for all threads at once.
            before = runtime.getDevice()
            runtime.setDevice(self._index)
            try:
                yield
            finally:
                if before != self._index:
                    runtime.setDevice(before)


class CudaQueue:
    """A stream, and the pinned memory of the transfers that wait in it."""

    def __init__(self, device: CudaDevice, stream: Any, pinned: Any) -> None:
        self._device, self._stream, self._pinned = device, stream, pinned
        self._uploads: list[Any] = []
        self._downloads: list[tuple[Any, Array]] = []

    def upload(self, to: Region, array: Array) -> None:
        assert array.nbytes <= to.size
        if not array.nbytes:
            return
        with self._device.on():
            staging = self._pinned.malloc(array.nbytes)
            np.frombuffer(staging, array.dtype, array.size).reshape(array.shape)[...] = array
            self._uploads.append(staging)  # first: an interrupted call must not lose what is copied
            kind = cupy.cuda.runtime.memcpyHostToDevice
            cupy.cuda.runtime.memcpyAsync(to.address, staging.ptr, array.nbytes, kind, self._stream.ptr)

    def download(self, source: Region, out: Array) -> None:
        assert out.nbytes <= source.size
        if not out.nbytes:
            return
        with self._device.on():
            staging = self._pinned.malloc(out.nbytes)
            self._downloads.append((staging, out))
            kind = cupy.cuda.runtime.memcpyDeviceToHost
            cupy.cuda.runtime.memcpyAsync(staging.ptr, source.address, out.nbytes, kind, self._stream.ptr)

    def copy(self, to: Region, source: Region) -> None:
        assert to.size == source.size
        kind = cupy.cuda.runtime.memcpyDeviceToDevice
        with self._device.on():
            cupy.cuda.runtime.memcpyAsync(to.address, source.address, to.size, kind, self._stream.ptr)

    def clear(self, region: Region) -> None:
        with self._device.on():
            cupy.cuda.runtime.memsetAsync(region.address, 0, region.size, self._stream.ptr)

    def launch(self, kernel: str, blocks: int, *arguments: Argument) -> None:
        if not blocks:
            return
        values = tuple(_value(argument) for argument in arguments)
        with self._device.on():
            threads = kernels()[kernel].threads
            self._device.function(kernel)((blocks,), (threads,), values, 0, self._stream)

    def wait(self) -> None:
        with self._device.on():
            self._stream.synchronize()
        downloads, self._downloads = self._downloads, []
        self._uploads.clear()
        for staging, out in downloads:
            out[...] = np.frombuffer(staging, out.dtype, out.size).reshape(out.shape)


def _value(argument: Argument) -> Any:
    """An argument in the type from which CuPy derives its size."""
    if isinstance(argument, int):
        assert -(1 << 31) <= argument < 1 << 31, argument
        return np.int32(argument)
    return np.uint64(argument.address if isinstance(argument, Region) else 0)
