"""The CUDA device's own code, with a driver that is not one: CuPy's calls answered from this machine's
memory.

Shows that addresses, sizes, streams, staging and errors are handed on as CuPy wants them, and that the engine
opens on it. That CUDA does what CuPy asks is for a machine with a GPU.
"""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

cuda_device = pytest.importorskip("gpu.cuda_device", reason="CuPy is not installed", exc_type=ImportError)

from gpu import cuda_engine  # noqa: E402 (after the check that CuPy can be imported)
from gpu.device import DeviceError, DeviceMemoryError  # noqa: E402
from gpu.source import kernels  # noqa: E402
from kzg.errors import EngineUnavailable  # noqa: E402


class CudaError(RuntimeError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeCuda:
    """`cupy.cuda` over this machine's memory; kernels only note how they were called."""

    memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = 1, 2, 3  # noqa: N815 (CUDA's names)

    def __init__(self) -> None:
        self.runtime = self
        self.launches: list[tuple[str, object, object, list[object]]] = []
        self.synchronized = 0
        self.count: int | Exception = 1
        self.compute_capability = "90"
        self.function = types.SimpleNamespace(Module=lambda: FakeModule(self))
        self.current: list[int] = []

    def Device(self, index: int) -> FakeDevice:
        return FakeDevice(self, index)

    def Memory(self, size: int) -> FakeMemory:
        if size > 1 << 30:
            raise CudaError(2, "cudaErrorMemoryAllocation: out of memory")
        return FakeMemory(size)

    def Stream(self, non_blocking: bool) -> object:
        assert non_blocking

        def synchronize() -> None:
            self.synchronized += 1

        return types.SimpleNamespace(ptr=77, synchronize=synchronize)

    def PinnedMemoryPool(self) -> object:
        return types.SimpleNamespace(malloc=FakePinned)

    def getDeviceCount(self) -> int:
        if isinstance(self.count, Exception):
            raise self.count
        return self.count

    def getDeviceProperties(self, index: int) -> dict[str, bytes]:
        return {"name": b"Fake GPU"}

    def memGetInfo(self) -> tuple[int, int]:
        return 1 << 30, 1 << 31

    def memcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        assert self.current, "no device is current"
        assert stream == 77
        ctypes.memmove(to, source, size)

    def memsetAsync(self, address: int, value: int, size: int, stream: int) -> None:
        assert stream == 77
        ctypes.memset(address, value, size)

    def deviceSynchronize(self) -> None:
        self.synchronized += 1


class FakeDevice:
    def __init__(self, cuda: FakeCuda, index: int) -> None:
        self.cuda, self.index, self.compute_capability = cuda, index, cuda.compute_capability

    def __enter__(self) -> None:
        self.cuda.current.append(self.index)

    def __exit__(self, *_: object) -> None:
        self.cuda.current.pop()


class FakeMemory:
    def __init__(self, size: int) -> None:
        self.array = np.full(size, 0xA5, dtype=np.uint8)
        self.ptr = self.array.ctypes.data


class FakePinned(bytearray):
    """The buffer of pinned memory, rounded up as CuPy's pool does."""

    def __init__(self, size: int) -> None:
        super().__init__(-(-size // 512) * 512)
        self.ptr = np.frombuffer(self, dtype=np.uint8).ctypes.data


class FakeModule:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def load(self, cubin: bytes) -> None:
        assert cubin == b"cubin"

    def get_function(self, name: str) -> object:
        def call(
            grid: tuple[int, ...], block: tuple[int, ...], values: list[object], shared: int, stream: object
        ) -> None:
            assert shared == 0
            self.cuda.launches.append((name, grid, block, values))

        return call


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    fake = FakeCuda()
    monkeypatch.setattr(cuda_device, "cupy", types.SimpleNamespace(cuda=fake))
    monkeypatch.setattr(cuda_device.nvrtc, "cached_cubin", lambda source, architecture: b"cubin")
    yield fake
    assert not fake.current


def test_what_goes_up_comes_down(cuda: FakeCuda) -> None:
    device = cuda_device.CudaDevice(0)
    assert device.name == "Fake GPU (0)"
    region, other = device.allocate(1024), device.allocate(1024)
    queue = device.queue()
    matrix = np.arange(64, dtype=np.uint32).reshape(4, 16)
    queue.upload(region.part(256, 128), matrix[:, ::2])
    queue.copy(other, region)
    wide = np.zeros((4, 16), dtype=np.uint32)
    queue.download(other.part(256, 128), wide[:, 1::2])
    assert not wide.any()
    queue.wait()
    assert (wide[:, 1::2] == matrix[:, ::2]).all()
    assert not wide[:, ::2].any()
    queue.clear(other)
    queue.download(other.part(256, 128), wide[:, ::2])
    queue.wait()
    assert not wide[:, ::2].any()


def test_kernels_get_typed_arguments(cuda: FakeCuda) -> None:
    device = cuda_device.CudaDevice(0)
    region = device.allocate(64)
    queue = device.queue()
    queue.launch("normalise", 3, region, 5, None)
    queue.launch("normalise", 0, region, 5, None)
    ((name, grid, block, values),) = cuda.launches
    assert (name, grid, block) == ("normalise", (3,), (kernels()["normalise"].threads,))
    assert values == [region.address, 5, 0]
    assert [type(value) for value in values] == [np.uint64, np.int32, np.uint64]


def test_errors_are_told_apart(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    device = cuda_device.CudaDevice(0)
    with pytest.raises(DeviceMemoryError):
        device.allocate(1 << 31)

    def break_down(*_: object) -> None:
        raise CudaError(700, "cudaErrorIllegalAddress")

    queue = device.queue()
    monkeypatch.setattr(cuda, "memsetAsync", break_down)
    with pytest.raises(DeviceError, match="IllegalAddress") as caught:
        queue.clear(device.allocate(1))
    assert not isinstance(caught.value, DeviceMemoryError)
    monkeypatch.setattr(cuda, "deviceSynchronize", break_down)
    device.close()


def test_a_machine_without_a_gpu_says_why(cuda: FakeCuda) -> None:
    assert cuda_engine.available() is None
    cuda.count = CudaError(35, "cudaErrorInsufficientDriver")
    assert "cudaErrorInsufficientDriver" in cuda_engine.available()
    with pytest.raises(EngineUnavailable, match="InsufficientDriver"):
        cuda_engine.CudaEngine()
    cuda.count = 0
    assert cuda_engine.available() == "there is no CUDA device"
    cuda.count, cuda.compute_capability = 1, "52"
    assert "compute capability 5.2" in cuda_engine.available()


def test_an_engine_that_cannot_open_gives_its_devices_back(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "memGetInfo", lambda: (1 << 20, 1 << 31))
    with pytest.raises(EngineUnavailable, match="not enough device memory"):
        cuda_engine.CudaEngine()
    assert cuda.synchronized == 1


def test_without_cupy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gpu.cuda_device")
    monkeypatch.delattr("gpu.cuda_device")
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "cellar-da[cuda]" in cuda_engine.available()
