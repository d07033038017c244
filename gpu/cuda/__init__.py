"""The `cuda` engine: the kernels of `gpu/kernels` on GPUs, through CuPy and NVRTC.

`device` is the port between the engine and what runs the kernels: `cupy_device` implements it with CuPy, and
the tests with the same kernels compiled for the host. CuPy is imported when the engine is considered, never
when this package is.
"""
