from __future__ import annotations

import functools
import logging
import subprocess
import sys
import types

import pytest

import gpu
from gpu import select
from kzg.ckzg_engine import CkzgEngine
from kzg.engine import Engine
from kzg.errors import EngineUnavailable


class FakeEngine:
    """Stands for an accelerated engine; remembers how it was opened."""

    def __init__(self, name: str, workers: int | None, table: str = "medium") -> None:
        self.name, self.workers, self.table = name, workers, table

    def describe(self) -> dict[str, object]:
        return {"engine": self.name, "workers": self.workers}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch):
    """A function that says which accelerated engines there are, and why each cannot run (None: it can)."""

    def install(**reasons: str | None) -> None:
        modules = {}
        for name, reason in reasons.items():
            module_name, class_name = select._ACCELERATED[name]
            module = types.ModuleType(module_name)
            module.available = lambda reason=reason: reason
            setattr(module, class_name, functools.partial(FakeEngine, name))
            modules[module_name] = module
        util = types.SimpleNamespace(find_spec=modules.get)
        fake = types.SimpleNamespace(util=util, import_module=modules.__getitem__)
        monkeypatch.setattr(select, "importlib", fake)

    return install


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"cuda": None, "host": None}, "cuda"),
        ({"cuda": "no device", "host": None}, "host"),
        ({"host": None}, "host"),
    ],
)
def test_auto_takes_the_fastest_that_can_run(engines, installed, chosen: str) -> None:
    engines(**installed)
    opened = gpu.open_engine(workers=3)
    assert (opened.name, opened.workers) == (chosen, 3)


def test_host_takes_small_tables_where_nothing_is_proved(engines) -> None:
    engines(host=None)
    assert gpu.open_engine(proving=False).table == "small"
    assert gpu.open_engine().table == "medium"
    assert gpu.open_engine(proving=False, table="large").table == "large"


def test_without_others_auto_is_ckzg_and_the_log_says_why(engines, caplog: pytest.LogCaptureFixture) -> None:
    engines(host="no AVX-512 IFMA")
    with caplog.at_level(logging.INFO, "cellar.engine"), gpu.open_engine(workers=1, proving=False) as opened:
        assert isinstance(opened, CkzgEngine)
        assert isinstance(opened, Engine)
    [record] = caplog.records
    message = record.getMessage()
    assert message.startswith("engine ckzg: ckzg=")
    assert "workers=1, precompute=0" in message
    assert "not cuda: this installation has no cuda engine; not host: no AVX-512 IFMA" in message


def test_a_forced_engine_is_that_one_or_an_error(engines) -> None:
    engines(cuda="no device", host=None)
    assert gpu.open_engine("host").name == "host"
    with pytest.raises(EngineUnavailable, match="no device; choose another") as caught:
        gpu.open_engine("cuda")
    assert caught.value.engine == "cuda"
    with gpu.open_engine("ckzg", workers=1, proving=False) as opened:
        assert opened.name == "ckzg"

    engines(cuda=None)
    with pytest.raises(EngineUnavailable, match="this installation has no host engine"):
        gpu.open_engine("host")


def test_auto_goes_on_when_an_engine_cannot_be_opened_after_all(engines, monkeypatch) -> None:
    engines(cuda=None, host=None)

    def fail(workers: int | None) -> FakeEngine:
        raise EngineUnavailable("cuda", "the device is full")

    monkeypatch.setattr(select.importlib.import_module("gpu.cuda.engine"), "CudaEngine", fail)
    assert gpu.open_engine().name == "host"
    with pytest.raises(EngineUnavailable, match="the device is full; choose another"):
        gpu.open_engine("cuda")


@pytest.mark.parametrize("name", ["", "CKZG", "gpu", "auto "])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match="must be one of auto, cuda, host, ckzg"):
        gpu.open_engine(name)


def test_importing_gpu_imports_no_device_library() -> None:
    code = "import gpu, sys; print([m for m in sys.modules if m.startswith(('cupy', 'gpu.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gpu.fallback', 'gpu.select']"


def test_public_names() -> None:
    assert list(gpu.__all__) == sorted(gpu.__all__)
    assert all(hasattr(gpu, name) for name in gpu.__all__)
