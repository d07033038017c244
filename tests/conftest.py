"""Fixtures that every package's tests may use: real inputs and the official vectors."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_SHARED_DATA = Path(os.environ.get("CELLAR_TEST_DATA", _ROOT.parent / "shared" / "data"))


def _require(name: str) -> Path:
    path = _SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"test input {name} is not there (looked in {_SHARED_DATA}; set CELLAR_TEST_DATA)")
    return path


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
