"""The `cuda` engine: the kernels on every CUDA device that the driver shows.

CuPy brings the driver and NVRTC; the kernels are compiled for the device at first use and cached
(`nvrtc`). The engine is `kernel_engine`, its verifying half `kernel_verifier`; all that is specific to CUDA
is in `cupy_device`.

CuPy is imported when `available` or the engine is called, never when this module is imported.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

from gpu.cuda.device import Device, DeviceError, DeviceMemoryError
from gpu.cuda.kernel_engine import KernelEngine
from gpu.cuda.kernel_verifier import KernelVerifier
from gpu.cuda.tables import CollisionError
from kzg.errors import EngineUnavailable

_NAME: Final = "cuda"

logger = logging.getLogger("cellar.engine")


def available() -> str | None:
    """None when the engine can run here, else the reason why it cannot."""
    usable, reasons = _survey()
    return None if usable else reasons[0]


def _survey() -> tuple[list[int], list[str]]:
    """The devices that can be used, and what is wrong with the others, or with the machine."""
    try:
        from gpu.cuda import cupy_device
    except ImportError as error:
        return [], [f"CuPy cannot be imported ({error}); in Cellar's checkout: pip install '.[cuda]'"]
    try:
        count = cupy_device.device_count()
    except DeviceError as error:
        return [], [f"there is no usable CUDA driver: {error}"]
    if not count:
        return [], ["there is no CUDA device"]
    reasons = [cupy_device.why_unusable(index) for index in range(count)]
    usable = [index for index, reason in enumerate(reasons) if reason is None]
    return usable, [f"device {index}: {reason}" for index, reason in enumerate(reasons) if reason is not None]


class CudaVerifier(KernelVerifier):
    """See `kzg.engine.Verifier` for what each method does.

    Args:
        workers: devices to use at most; None means all.

    Raises:
        EngineUnavailable: it cannot run here.
    """

    def __init__(self, *, workers: int | None = None) -> None:
        with _devices(workers) as devices:
            super().__init__(_NAME, devices)
        self._description["cupy"] = _cupy_version()


class CudaEngine(KernelEngine):
    """See `kzg.engine.Engine` for what each method does.

    Args:
        workers: devices to use at most; None means all.
        windows: of the tables, see `workers.WINDOWS`; None means as large as the memory suggests.

    Raises:
        EngineUnavailable: it cannot run here.
    """

    def __init__(self, *, workers: int | None = None, windows: tuple[int, int] | None = None) -> None:
        with _devices(workers) as devices:
            super().__init__(_NAME, devices, windows=windows)
        self._description["cupy"] = _cupy_version()


@contextlib.contextmanager
def _devices(workers: int | None) -> Iterator[list[Device]]:
    """Opened devices, closed if the block cannot use them.

    Raises:
        EngineUnavailable: there are none, or the block raised a DeviceError.
    """
    usable, reasons = _survey()
    if not usable:
        raise EngineUnavailable(_NAME, reasons[0])
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    for reason in reasons:
        logger.warning("the cuda engine does not use %s", reason)
    from gpu.cuda import cupy_device

    devices: list[Device] = []
    try:
        devices.extend(cupy_device.CudaDevice(index) for index in usable[:workers])
        yield devices
    except (DeviceError, CollisionError) as error:
        for device in devices:
            device.close()
        kind = "not enough device memory: " if isinstance(error, DeviceMemoryError) else ""
        raise EngineUnavailable(_NAME, f"{kind}{error}") from error


def _cupy_version() -> str:
    from gpu.cuda import cupy_device

    return cupy_device.cupy_version()
