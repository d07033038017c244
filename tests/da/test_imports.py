"""No module needs another one to have been imported before it."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

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


def test_the_size_of_a_record_is_defined_in_one_place() -> None:
    root = Path(__file__).parents[2]
    packages = ("da", "light_client", "sampling", "benchmarks")
    sources = {path: path.read_text() for package in packages for path in (root / package).rglob("*.py")}
    assert len(sources) > 100
    definition = re.compile(r"^RECORD_BYTES\b.*=", re.MULTILINE)
    detour = re.compile(r"^from (?!da\.protocol\b)\S+ import .*\bRECORD_BYTES\b", re.MULTILINE)
    homes = [str(path.relative_to(root)) for path, text in sources.items() if definition.search(text)]
    detours = [str(path.relative_to(root)) for path, text in sources.items() if detour.search(text)]
    assert homes == ["da/protocol/push.py"]
    assert detours == [], "imported from a module that only imports it"


DECLARES_VERIFIED = {
    "da/disperser/batcher.py",  # computed from the rows that are committed to
    "da/member/fetch.py",  # from peers, verified in one call of the engine
    "da/member/ingest.py",  # from a push, likewise
    "da/member/repair.py",  # recovered, likewise
    "da/member/rescue.py",  # solved from verified equations, likewise
    "da/node/payloads.py",  # read from the store
    "da/store/reader.py",  # read with its checksum
}


def test_few_places_declare_records_verified() -> None:
    root = Path(__file__).parents[2]
    declaration = re.compile(r"\bVerifiedRecords\(|\bmap\(VerifiedRecords\b")
    places = {
        path.relative_to(root).as_posix()
        for path in (root / "da").rglob("*.py")
        if declaration.search(path.read_text())
    }
    assert places == DECLARES_VERIFIED


def test_verified_proposals_come_from_a_check_or_from_the_store() -> None:
    root = Path(__file__).parents[2]
    makers = {
        path.relative_to(root).as_posix()
        for package in ("da", "light_client")
        for path in (root / package).rglob("*.py")
        if re.search(r"(?<!class )\bVerifiedProposal\(", path.read_text())
    }
    assert makers == {"da/protocol/proposal.py", "da/store/base.py"}
