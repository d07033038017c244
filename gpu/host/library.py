"""The host engine's shared library: where it is, whether it can run here, and its functions' signatures.

The library is built when the package is installed on an x86-64 machine with a C++ compiler; `available()`
says whether it is there and whether this processor can run it. Calls go through ctypes, which releases the
GIL.

Invariants: in a working copy, a library that was built from other sources is refused, since it may expect
other arguments.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import platform
import sys
from pathlib import Path
from typing import Any, Final

OK, INVALID, STOPPED, NO_MEMORY, COLLISION, BAD_COMMITMENT, BAD_PROOF = range(7)
"""`Engine::Status` of engine.hpp."""

_NAME: Final = "cellar_host.so"

Pointer = ctypes.c_void_p


class ProverSetup(ctypes.Structure):
    """`ProverSetup` of engine.hpp."""

    _fields_ = (
        ("lagrange", Pointer),
        ("monomial", Pointer),
        ("matrix_digits", Pointer),
        ("root_digits", Pointer),
        ("blinding", Pointer),
        ("blinding_image", Pointer),
        ("t", ctypes.c_int),
        ("b", ctypes.c_int),
        ("commitment_b", ctypes.c_int),
    )


class EngineSetup(ctypes.Structure):
    """`EngineSetup` of engine.hpp."""

    _fields_ = (
        ("monomial", Pointer),
        ("random", Pointer),
        ("lines", Pointer),
        ("frobenius", Pointer),
        ("prover", ctypes.POINTER(ProverSetup)),
    )


class CellBatch(ctypes.Structure):
    """`CellBatch` of verifier.hpp."""

    _fields_ = (
        ("commitments", Pointer),
        ("weights", Pointer),
        ("commitment_count", ctypes.c_int),
        ("columns", Pointer),
        ("cells", Pointer),
        ("proofs", Pointer),
        ("factors", Pointer),
        ("noise", ctypes.c_char_p),
        ("count", ctypes.c_int),
    )


def available() -> str | None:
    """None when the engine can run here, else the reason why it cannot."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"it runs on x86-64 only, this is {platform.machine()}"
    if library_path() is None:
        return (
            "it was not built, since no C++17 compiler was found when Cellar was installed; install one "
            "(Debian, Ubuntu: apt-get install g++), then Cellar again (in its checkout: make clean demo, or "
            "pip install .)"
        )
    try:
        library = load()
    except (OSError, AttributeError) as error:
        return f"its library cannot be loaded; install the package again: {error}"
    sources = digest_of_sources()
    if sources is not None and library.cellar_sources().decode() != sources:
        return "its library was built from other sources; rebuild it with: pip install -e ."
    missing = library.cellar_missing_feature()
    return f"the processor or the system lacks {missing.decode()}" if missing else None


def library_path() -> Path | None:
    """Where the library is: beside this module, or, of an editable install, elsewhere; the newest one."""
    candidates = [Path(directory) / _NAME for directory in sys.modules[__package__].__path__]
    return max(filter(Path.is_file, candidates), key=lambda path: path.stat().st_mtime, default=None)


def digest_of_sources() -> str | None:
    """The digest of a library built from these sources; None where they are not installed."""
    root = Path(__file__).parents[2]
    if not (root / "gpu" / "host" / "api.cpp").is_file():
        return None
    sources = [
        *root.glob("gpu/host/*.[ch]pp"),
        *root.glob("gpu/kernels/*.cuh"),
        root / "gpu" / "constants.py",
        root / "erasure" / "constants.py",
    ]
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(sources, key=str))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@functools.cache
def load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(library_path()))
    c_int = ctypes.c_int
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "cellar_sources": (ctypes.c_char_p, []),
        "cellar_missing_feature": (ctypes.c_char_p, []),
        "cellar_open": (Pointer, [ctypes.POINTER(EngineSetup), c_int]),
        "cellar_stop": (None, [Pointer]),
        "cellar_close": (None, [Pointer]),
        "cellar_table_bytes": (ctypes.c_uint64, [Pointer]),
        "cellar_rows_redone": (ctypes.c_uint64, [Pointer]),
        "cellar_commit": (c_int, [Pointer, Pointer, c_int, Pointer, c_int]),
        "cellar_extend": (c_int, [Pointer, Pointer, c_int, Pointer, c_int]),
        "cellar_prove": (c_int, [Pointer, Pointer, c_int, Pointer, Pointer, c_int]),
        "cellar_recover": (c_int, [Pointer, Pointer, c_int, Pointer, c_int, Pointer, Pointer, c_int]),
        "cellar_verify": (
            c_int,
            [Pointer, ctypes.POINTER(CellBatch), ctypes.POINTER(c_int), ctypes.POINTER(c_int), c_int],
        ),
        "cellar_combine": (
            c_int,
            [
                Pointer,
                Pointer,
                c_int,
                Pointer,
                c_int,
                c_int,
                ctypes.c_char_p,
                Pointer,
                ctypes.POINTER(c_int),
                c_int,
            ],
        ),
        "cellar_fold": (c_int, [Pointer, Pointer, Pointer, c_int, c_int, Pointer, c_int]),
        "cellar_parity": (c_int, [Pointer, Pointer, c_int, ctypes.c_uint64, Pointer, c_int]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
