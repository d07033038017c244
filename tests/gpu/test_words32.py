"""The field of a CUDA thread, bit by bit on the host: its carry chains, against Python's integers."""

from __future__ import annotations

import ctypes
import itertools
import random
import subprocess

import numpy as np
import pytest

from gpu.constants import BASE_MODULUS, SCALAR_MODULUS, constants_header
from gpu.cuda.source import KERNEL_DIRECTORY

FIELDS = {"Fp": (BASE_MODULUS, 12), "Fr": (SCALAR_MODULUS, 8)}

_PROBE = """
#include "words32.cuh"
using namespace cellar;
template <class F>
void run(int op, const F* a, const F* b, F* out, int n) {
  for (int i = 0; i < n; i++) switch (op) {
      case 0: out[i] = F::add(a[i], b[i]); break;
      case 1: out[i] = F::sub(a[i], b[i]); break;
      case 2: out[i] = F::mul(a[i], b[i]); break;
      case 3: out[i] = F::neg(a[i]); break;
      case 4: out[i] = F::mul_sub(a[i], a[i], b[i]); break;
      case 5: out[i] = F::to_montgomery(a[i]); break;
      case 6: out[i] = F::from_montgomery(a[i]); break;
      case 7: out[i] = F::select(F::is_zero(a[i]), F::one(), F::zero()); break;
    }
}
extern "C" void probe_Fp(int op, const void* a, const void* b, void* out, int n) {
  using F = Words32<FpWords32>;
  run(op, (const F*)a, (const F*)b, (F*)out, n);
}
extern "C" void probe_Fr(int op, const void* a, const void* b, void* out, int n) {
  using F = Words32<FrWords32>;
  run(op, (const F*)a, (const F*)b, (F*)out, n);
}
extern "C" void probe_inverse(const void* a, void* out) {
  using F = Words32<FpWords32>;
  *(F*)out = F::inverse(*(const F*)a);
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    directory = tmp_path_factory.mktemp("words32")
    source, library = directory / "probe.cpp", directory / "probe.so"
    source.write_text(_PROBE)
    (directory / "constants.cuh").write_text(constants_header())
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    includes = [f"-I{KERNEL_DIRECTORY}", f"-I{directory}"]
    subprocess.run(["g++", *flags, *includes, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def _aligned(values: list[int], words: int) -> np.ndarray:
    """Values as u32 words at an address that is a multiple of 16."""
    room = np.zeros(len(values) * words + 4, dtype=np.uint32)
    start = -(room.ctypes.data // 4) % 4
    out = room[start : start + len(values) * words]
    out[:] = np.frombuffer(b"".join(value.to_bytes(4 * words, "little") for value in values), dtype="<u4")
    return out


def _edges(modulus: int, words: int) -> list[int]:
    """Where limbs, carries and reductions turn over."""
    powers = [1 << 32 * i for i in range(words)]
    near = [p + d for p in powers for d in (-1, 0, 1)] + [modulus - p for p in powers]
    ones = [sum(0xFFFFFFFF << 32 * i for i in which) for which in ([0], range(words - 1), [1, 3, 5])]
    halves = [modulus // 2, modulus // 2 + 1, modulus - 1, modulus - 2, 0]
    return sorted({value % modulus for value in near + ones + halves})


@pytest.mark.parametrize("field", FIELDS)
def test_operations_are_those_of_integers(probe: ctypes.CDLL, field: str) -> None:
    m, words = FIELDS[field]
    inverse_r = pow(1 << 32 * words, -1, m)
    rng = random.Random(381)
    edges = _edges(m, words)
    pairs = list(itertools.product(edges, edges))
    pairs += [(rng.randrange(m), rng.randrange(m)) for _ in range(3000)]
    a, b = (_aligned([pair[i] for pair in pairs], words) for i in range(2))
    operations = (
        lambda x, y: (x + y) % m,
        lambda x, y: (x - y) % m,
        lambda x, y: x * y * inverse_r % m,
        lambda x, y: -x % m,
        lambda x, y: (x * x * inverse_r - y) % m,
        lambda x, y: (x << 32 * words) % m,
        lambda x, y: x * inverse_r % m,
        lambda x, y: ((1 << 32 * words) % m) if x == 0 else 0,
    )
    for op, expected in enumerate(operations):
        out = _aligned([0] * len(pairs), words)
        arguments = [ctypes.c_void_p(array.ctypes.data) for array in (a, b, out)]
        getattr(probe, f"probe_{field}")(op, *arguments, len(pairs))
        raw = out.tobytes()
        size = 4 * words
        got = [int.from_bytes(raw[i * size : (i + 1) * size], "little") for i in range(len(pairs))]
        assert got == [expected(x, y) for x, y in pairs], f"operation {op}"


@pytest.mark.parametrize("value", [1, 2, BASE_MODULUS - 1, 0x1234567890ABCDEF])
def test_an_inverse_is_one(probe: ctypes.CDLL, value: int) -> None:
    r = 1 << 384
    given, out = _aligned([value * r % BASE_MODULUS], 12), _aligned([0], 12)
    probe.probe_inverse(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    assert int.from_bytes(out.tobytes(), "little") == pow(value, -1, BASE_MODULUS) * r % BASE_MODULUS


def test_the_inverse_of_zero_is_zero(probe: ctypes.CDLL) -> None:
    given, out = _aligned([0], 12), _aligned([7], 12)
    probe.probe_inverse(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    assert not out.any()
