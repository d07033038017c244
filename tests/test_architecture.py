"""The house: which module may import which, and what each program loads when it starts.

The floors are import-linter's (pyproject.toml); here is what its contracts do not say.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import da

ROOT = Path(da.__file__).parent.parent
PACKAGES = ("da", "erasure", "gpu", "kzg", "light_client", "sampling")

# Hidden from the interpreter, and so unable to be loaded in either order: none but these.
HIDDEN: set[str] = set()

# What a program loads is what every start of it pays for, and what its users have to trust.
SERVER = {"fastapi", "starlette", "uvicorn", "uvloop", "prometheus_client"}
ENGINES = {"gpu", "cupy", "multiprocessing"}
CONTRACTS = {"vyper", "eth", "eth_tester", "eth_abi"}
NODE = {
    "da.api.app",
    "da.bootstrap",
    "da.disperser",
    "da.member",
    "da.node",
    "da.runtime.context",
    "da.store.embedded",
    "da.transport",
}
FORBIDDEN = {
    "da.cli": SERVER | ENGINES | CONTRACTS | NODE | {"aiohttp", "sqlite3", "light_client", "sampling"},
    "da.client": SERVER
    | ENGINES
    | CONTRACTS
    | NODE
    | {"aiohttp", "sqlite3", "typer", "pydantic", "da.store", "da.api", "da.runtime", "da.settings"}
    | {"da.commands", "light_client", "sampling"},
    "da.protocol": SERVER
    | ENGINES
    | CONTRACTS
    | NODE
    | {"aiohttp", "httpx", "sqlite3", "typer", "rich", "pydantic", "asyncio", "da.store", "da.api"},
    "da.bootstrap": CONTRACTS | {"cupy", "typer", "da.client", "da.commands", "da.devnet", "light_client"},
    "light_client": SERVER | ENGINES | CONTRACTS | NODE | {"typer", "da.store", "da.client", "da.commands"},
    "light_client.cli": SERVER
    | (ENGINES - {"gpu"})  # it chooses its engine; the kernels load with it
    | CONTRACTS
    | NODE
    | {"da.store", "da.client", "da.commands", "da.settings"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The name and the syntax tree of each module of the product."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text(), str(path))


def hidden_imports(tree: ast.Module) -> list[str]:
    """Modules of the product that are imported under `if TYPE_CHECKING`."""
    found: list[str] = []
    for block in ast.walk(tree):
        if not (isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)):
            continue
        for node in ast.walk(block):
            if isinstance(node, ast.ImportFrom):
                found.append(node.module or ".")
            elif isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
    return [name for name in found if name.split(".")[0] in (*PACKAGES, "")]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("if TYPE_CHECKING:\n    from da.node import Node", ["da.node"]),
        ("if typing.TYPE_CHECKING:\n    import kzg.engine", ["kzg.engine"]),
        ("if TYPE_CHECKING:\n    from . import x", ["."]),
        ("if TYPE_CHECKING:\n    from numpy.typing import NDArray", []),
        ("from da.node import Node", []),
    ],
)
def test_hidden_imports_are_found(code: str, found: list[str]) -> None:
    assert hidden_imports(ast.parse(code)) == found


def test_no_import_of_our_own_is_hidden_from_the_interpreter() -> None:
    hiding = {name: found for name, tree in modules() if (found := hidden_imports(tree))}
    assert set(hiding) <= HIDDEN, hiding


def test_no_modules_import_each_other() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=True)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in sorted(graph.modules)}
    assert "da.node.lookup" in imports["da.node.log"]
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("program", FORBIDDEN)
def test_what_a_program_loads(program: str) -> None:
    code = f"import sys, {program}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert program in loaded
    assert loaded & FORBIDDEN[program] == set()


def test_what_is_forbidden_exists() -> None:
    """A name that nothing has would forbid nothing."""
    ours = {name for name, _ in modules()}
    for name in set().union(*FORBIDDEN.values()):
        if name.split(".")[0] in PACKAGES:
            assert name in ours, name
