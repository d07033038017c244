from __future__ import annotations

import functools
import logging
import subprocess
import sys
import types

import pytest

import gpu
from gpu import EngineOptions, FallbackEngine, FallbackVerifier, select
from kzg.ckzg_engine import CkzgEngine, CkzgVerifier
from kzg.engine import Engine, Prover, Verifier
from kzg.errors import EngineUnavailable


class Fake:
    """Stands for an accelerated engine or verifier; remembers how it was opened."""

    def __init__(self, part: str, name: str, workers: int | None, table: str | None = None) -> None:
        self.part, self.name, self.workers, self.table = part, name, workers, table

    def describe(self) -> dict[str, object]:
        return {"engine": self.name, "workers": self.workers}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch):
    """A function that sets which accelerated engines there are, and why each cannot run (None: it can)."""

    def install(**reasons: str | None) -> None:
        modules = {}
        for name, reason in reasons.items():
            module = types.ModuleType(f"gpu.{name}")
            module.available = lambda reason=reason: reason
            for part in ("Engine", "Verifier"):
                setattr(module, f"{name.capitalize()}{part}", functools.partial(Fake, part, name))
            modules[f"gpu.{name}"] = module
        util = types.SimpleNamespace(find_spec=modules.get)
        fake = types.SimpleNamespace(util=util, import_module=modules.__getitem__)
        monkeypatch.setattr(select, "importlib", fake)

    return install


OPEN = pytest.mark.parametrize(
    ("open_it", "part"), [(gpu.open_engine, "Engine"), (gpu.open_verifier, "Verifier")]
)


@OPEN
@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"cuda": None, "host": None}, "cuda"),
        ({"cuda": "no device", "host": None}, "host"),
        ({"host": None}, "host"),
    ],
)
def test_auto_takes_the_fastest_that_can_run(engines, installed, chosen: str, open_it, part: str) -> None:
    engines(**installed)
    opened = open_it(EngineOptions(workers=3))
    assert (opened.part, opened.name, opened.workers) == (part, chosen, 3)


def test_only_a_prover_on_the_host_engine_has_a_choice_of_tables(engines) -> None:
    engines(host=None, cuda=None)
    assert gpu.open_engine(EngineOptions("host")).table == "medium"
    assert gpu.open_engine(EngineOptions("host", table="large")).table == "large"
    assert gpu.open_engine(EngineOptions("cuda", table="large")).table is None
    assert gpu.open_verifier(EngineOptions("host", table="large")).table is None


def test_without_others_auto_is_ckzg_and_logs_the_reasons(engines, caplog: pytest.LogCaptureFixture) -> None:
    engines(host="no AVX-512 IFMA")
    options = EngineOptions(workers=1)
    with caplog.at_level(logging.INFO, "cellar.engine"), gpu.open_verifier(options) as opened:
        assert type(opened) is CkzgVerifier
        assert isinstance(opened, Verifier)
        assert not isinstance(opened, Prover)
    [record] = caplog.records
    message = record.getMessage()
    assert message.startswith("engine ckzg: ckzg=")
    assert "workers=1, precompute=0" in message
    assert "not cuda: this installation has no cuda engine; not host: no AVX-512 IFMA" in message


def test_a_forced_engine_is_that_one_or_an_error(engines) -> None:
    engines(host=None, cuda="the driver is too old")
    assert gpu.open_engine(EngineOptions("host")).name == "host"
    with pytest.raises(EngineUnavailable, match="the driver is too old; choose another engine, or 'auto'"):
        gpu.open_engine(EngineOptions("cuda"))
    with gpu.open_engine(EngineOptions("ckzg", workers=1)) as opened:
        assert type(opened) is CkzgEngine
        assert isinstance(opened, Engine)

    engines(cuda=None)
    with pytest.raises(EngineUnavailable, match="this installation has no host engine"):
        gpu.open_engine(EngineOptions("host"))


def test_auto_continues_when_an_engine_fails_to_open(engines, monkeypatch) -> None:
    engines(cuda=None, host=None)

    def fail(workers: int | None) -> Fake:
        raise EngineUnavailable("cuda", "the device is full")

    monkeypatch.setattr(select.importlib.import_module("gpu.cuda"), "CudaEngine", fail)
    assert gpu.open_engine().name == "host"
    with pytest.raises(EngineUnavailable, match="the device is full; choose another"):
        gpu.open_engine(EngineOptions("cuda"))


@OPEN
def test_a_fallback_is_opened_when_the_first_breaks_down(engines, open_it, part: str) -> None:
    engines(cuda=None, host=None)
    opened = open_it(EngineOptions("cuda", workers=2, fallback="host"))
    assert isinstance(opened, FallbackEngine if part == "Engine" else FallbackVerifier)
    assert (opened.name, opened.fallbacks) == ("cuda", 0)
    second = opened._open_second()
    assert (second.part, second.name, second.workers) == (part, "host", 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({"name": name}, "engine must be one of auto, cuda, host, ckzg") for name in ("", "CKZG", "gpu")),
        ({"fallback": "gpu"}, "fallback must be one of auto, cuda, host, ckzg; got 'gpu'"),
        ({"table": "huge"}, "table must be one of small, medium, large; got 'huge'"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_options_are_checked_when_they_are_made(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineOptions(**fields)


def test_importing_gpu_imports_no_device_library() -> None:
    code = "import gpu, sys; print([m for m in sys.modules if m.startswith(('cupy', 'gpu.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gpu.fallback', 'gpu.options', 'gpu.select']"


def test_public_names() -> None:
    assert list(gpu.__all__) == sorted(gpu.__all__)
    assert all(hasattr(gpu, name) for name in gpu.__all__)
