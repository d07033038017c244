"""The `cuda` engine: the kernels on every CUDA device that the driver shows.

CuPy brings the driver and NVRTC; the kernels are compiled for the device at first use and cached
(`gpu.nvrtc`). The engine itself is `gpu.kernel_engine`; `gpu.cuda_device` is what it needs to know of CUDA.

CuPy is imported when `available` or the engine is called, never when this module is imported.
"""

from __future__ import annotations

from typing import Final

from gpu.device import Device, DeviceError, DeviceMemoryError
from gpu.kernel_engine import KernelEngine
from gpu.tables import CollisionError
from kzg.errors import EngineUnavailable

_NAME: Final = "cuda"


def available() -> str | None:
    """None when the engine can run here, else the reason why it cannot."""
    try:
        from gpu import cuda_device
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); install cellar-da[cuda]"
    try:
        count = cuda_device.device_count()
    except DeviceError as error:
        return f"there is no usable CUDA driver: {error}"
    if not count:
        return "there is no CUDA device"
    return cuda_device.why_unusable(0)


class CudaEngine(KernelEngine):
    """See `kzg.engine.Engine` for what each method does.

    Args:
        workers: devices to use at most; None means all.
        windows: of the tables, see `gpu.kernel_engine.WINDOWS`; None means as large as the memory suggests.

    Raises:
        EngineUnavailable: it cannot run here.
    """

    def __init__(self, *, workers: int | None = None, windows: tuple[int, int] | None = None) -> None:
        reason = available()
        if reason is not None:
            raise EngineUnavailable(_NAME, reason)
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        from gpu import cuda_device

        count = cuda_device.device_count()
        usable = [index for index in range(count) if cuda_device.why_unusable(index) is None]
        devices: list[Device] = []
        try:
            devices.extend(cuda_device.CudaDevice(index) for index in usable[:workers])
            super().__init__(_NAME, devices, windows=windows)
        except (DeviceError, CollisionError) as error:
            for device in devices:
                device.close()
            kind = "not enough device memory: " if isinstance(error, DeviceMemoryError) else ""
            raise EngineUnavailable(_NAME, f"{kind}{error}") from error

    def describe(self) -> dict[str, object]:
        from gpu import cuda_device

        return {**super().describe(), "cupy": cuda_device.cupy_version()}
