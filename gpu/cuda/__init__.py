"""The `cuda` engine: the kernels of `gpu/kernels` on GPUs, through CuPy and NVRTC.

`device` is the port between the engine and what runs the kernels: `cupy_device` implements it with CuPy, and
the tests with the same kernels compiled for the host. CuPy is imported when the engine is considered, never
when this package is.
"""

from __future__ import annotations

from gpu.cuda.engine import CudaEngine, CudaVerifier, available

__all__ = ["CudaEngine", "CudaVerifier", "available"]
