"""Every kernel compiled for GPUs, without one: it compiles, fits, and costs no more than was recorded.

`budget.json` holds registers, stack, spills and multiplies for each kernel; `python -m
tests.gpu.record_budget` makes it again. Another version of the compiler may need a little more than was
recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

nvrtc = pytest.importorskip("gpu.cuda.nvrtc", reason="CuPy or NVRTC is not installed", exc_type=ImportError)

from gpu.cuda.source import device_source, kernels  # noqa: E402 (after the check that they can be compiled)
from tests.gpu.cubin import Cost, costs  # noqa: E402
from tests.gpu.record_budget import ARCHITECTURES, PATH  # noqa: E402

SLACK = 1.05
REGISTERS_OF_A_MULTIPROCESSOR = 65536
HOT = ("comb_sums", "convolve", "comb_entries", "normalise")


@pytest.fixture(
    scope="module",
    params=[ARCHITECTURES[-1], *(pytest.param(a, marks=pytest.mark.slow) for a in ARCHITECTURES[:-1])],
)
def compiled(request: pytest.FixtureRequest) -> tuple[str, dict[str, Cost]]:
    return f"sm_{request.param}", costs(nvrtc.compile_source(device_source(), request.param))


def test_every_kernel_stays_within_its_budget(compiled: tuple[str, dict[str, Cost]]) -> None:
    architecture, now = compiled
    budget = json.loads(PATH.read_text())[architecture]
    assert set(now) == set(kernels()) == set(budget)
    over = [
        f"{name}: {field} is {value}, {budget[name][field]} are recorded"
        for name, cost in now.items()
        for field, value in cost.as_json().items()
        if value > SLACK * budget[name][field] + 2
    ]
    assert not over, "\n".join(over)


def test_as_many_blocks_fit_as_the_kernel_asks_for(compiled: tuple[str, dict[str, Cost]]) -> None:
    for name, cost in compiled[1].items():
        launch = kernels()[name]
        registers = -(-cost.registers // 8) * 8 * launch.threads * launch.blocks_per_multiprocessor
        assert registers <= REGISTERS_OF_A_MULTIPROCESSOR, name


@pytest.mark.parametrize("name", HOT)
def test_hot_kernels_keep_their_points_in_registers(compiled: tuple[str, dict[str, Cost]], name: str) -> None:
    cost = compiled[1][name]
    assert cost.stack_bytes == cost.spill_bytes == 0
    # One copy of the product, 12 x 12 words and as many for its reduction, lo and hi in one instruction.
    assert 260 <= cost.wide_multiplies <= 300
    assert cost.high_multiplies < 30


def test_a_source_that_does_not_compile_reports_why() -> None:
    with pytest.raises(nvrtc.CompilationError, match="nothing_known"):
        nvrtc.compile_source('extern "C" __global__ void broken() { nothing_known(); }', 90)


def test_cubins_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'extern "C" __global__ void nothing() {}'
    first = nvrtc.cached_cubin(source, 90, tmp_path / "cache")

    def refuse(*_: object) -> object:
        raise AssertionError("it is in the cache")

    with monkeypatch.context() as patch:
        patch.setattr(nvrtc, "compile_source", refuse)
        assert nvrtc.cached_cubin(source, 90, tmp_path / "cache") == first
        with pytest.raises(AssertionError):
            nvrtc.cached_cubin(source + " ", 90, tmp_path / "cache")


@pytest.mark.parametrize("damage", [lambda kept: b"", lambda kept: kept[:-1], lambda kept: kept[:-1] + b"?"])
def test_a_damaged_cubin_is_compiled_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    source = 'extern "C" __global__ void nothing() {}'
    cubin = nvrtc.cached_cubin(source, 90, tmp_path)
    (path,) = tmp_path.iterdir()
    kept = path.read_bytes()
    path.write_bytes(damage(kept))
    assert nvrtc.cached_cubin(source, 90, tmp_path) == cubin
    assert path.read_bytes() == kept


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert nvrtc.cached_cubin('extern "C" __global__ void nothing() {}', 90)


def test_without_a_writable_cache_kernels_are_compiled_each_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert nvrtc.cached_cubin('extern "C" __global__ void nothing() {}', 90, blocked / "cache")
