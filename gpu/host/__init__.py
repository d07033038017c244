"""The `host` engine: C++ for the CPU's vector lanes, and the Python that calls it.

The C++ sources are beside the Python and are compiled into one shared library when the package is installed;
an installed package has the library and not the sources. What `gpu.host` and `gpu.cuda` share is in `gpu`:
the constants, the convolution, the random factors, and the headers in `gpu/kernels`.
"""

from __future__ import annotations

from gpu.host.engine import HostEngine
from gpu.host.library import available
from gpu.host.verifier import HostVerifier

__all__ = ["HostEngine", "HostVerifier", "available"]
