"""Which library computes, and who may import it."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from da import bls
from tests.da.bls.conftest import LIBRARIES

ROOT = Path(bls.__file__).resolve().parents[2]
IMPORT_WITHOUT = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from da import bls
print(bls.describe()["library"])
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_module_imports_it(library: str):
    packages = ("da", "erasure", "gpu", "kzg", "light_client", "sampling")
    importers = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(name.name.split(".")[0] == library for name in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
    }
    assert importers == {f"{LIBRARIES[library][0].replace('.', '/')}.py"}


def imported_without(*libraries: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT, *libraries], text=True, capture_output=True, check=False
    )


def test_blspy_computes_where_it_is_installed():
    pytest.importorskip("blspy")
    assert imported_without().stdout == "blspy\n"


def test_pyblst_computes_where_blspy_is_not_installed():
    pytest.importorskip("pyblst")
    assert imported_without("blspy").stdout == "pyblst\n"


def test_an_installation_with_neither_does_not_start():
    refused = imported_without("blspy", "pyblst")
    assert refused.returncode != 0
    assert "pyblst" in refused.stderr


def test_the_library_in_use_is_named_with_its_version():
    library = bls.describe()["library"]
    assert bls.describe()["version"] == importlib.metadata.version(library)
    assert library in LIBRARIES


def test_generated_secrets_are_drawn_from_the_whole_range(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("secrets.randbelow", lambda below: below - 1)
    assert int.from_bytes(bls.generate_secret(), "big") == bls.scheme.BLS_MODULUS - 1
    monkeypatch.setattr("secrets.randbelow", lambda below: 0)
    assert int.from_bytes(bls.generate_secret(), "big") == 1
