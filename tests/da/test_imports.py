"""No module needs another one to have been imported before it."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import da
from da import disperser, member, node

IMPORT_EACH_FIRST = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [module for module in sys.modules if module.split(".")[0] == "da"]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""


def test_each_module_of_a_node_can_be_imported_first() -> None:
    names = [
        module.name for module in pkgutil.iter_modules(da.__path__, "da.") if module.name != "da.__main__"
    ]
    for package in (disperser, member, node):
        names += [module.name for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
    assert "da.disperser.dispersal" in names
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH_FIRST, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
