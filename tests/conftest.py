"""Fixtures that every package's tests may use: real inputs and the official vectors."""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# A loaded machine must not fail a test: no example has a deadline by the clock.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_ROOT = Path(__file__).resolve().parent.parent
_SHARED_DATA = Path(os.environ.get("CELLAR_TEST_DATA", _ROOT.parent / "shared" / "data"))


def _require(name: str) -> Path:
    path = _SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"test input {name} is not there (looked in {_SHARED_DATA}; set CELLAR_TEST_DATA)")
    return path


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that runs in this process sends its log to a stream which is gone when its test is over."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:  # pytest's own are of other types
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def shared_data():
    """A function from a file's name to its path; the test skips, by name, where the file is absent."""
    return _require


@pytest.fixture(scope="session")
def official_vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the 344 official EIP-4844 and EIP-7594 cases: <function>/kzg-mainnet/<case>/data.yaml."""
    archive = _require("eip4844_eip7594_vectors.tar.xz")
    target = tmp_path_factory.mktemp("vectors")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return target
