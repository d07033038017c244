"""The host library, and the CUDA kernels compiled for this machine, under the address and undefined-behaviour
sanitizers."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpu.cuda.source import kernels
from tests.gpu.host_device import build_library

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -g1"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_operations_are_clean_under_sanitizers(library: ctypes.CDLL, tmp_path: Path) -> None:
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("cmake and g++ are needed to build the library with sanitizers")
    build = tmp_path / "build"
    options = [
        "-DCMAKE_CXX_COMPILER=g++",
        f"-DCMAKE_CXX_FLAGS={SANITIZERS}",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    subprocess.run(["cmake", "-S", ROOT, "-B", build, *options], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    word, *called = _run(Path(__file__).with_name("exercise_host_engine.py"), build).split()
    assert word == "exercised"
    listed = subprocess.run(
        ["nm", "--dynamic", "--defined-only", build / "cellar_host.so"],
        check=True,
        capture_output=True,
        text=True,
    )
    exported = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert set(called) == {name for name in exported if name.startswith("cellar_")}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_kernel_reaches_beyond_its_arrays(tmp_path: Path) -> None:
    library = build_library(tmp_path, *SANITIZERS.split(), "-O1", "-Wno-error")
    output = _run("-m", "tests.gpu.exercise_kernels", library)
    assert output == f"{len(kernels())} of {len(kernels())} kernels; missing: none\n"


def _run(*arguments: str | Path) -> str:
    """What a program of this interpreter prints under the sanitizers."""
    runtimes = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "LD_PRELOAD": " ".join(runtimes),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
