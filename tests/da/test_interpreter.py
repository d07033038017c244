"""No import of ours leaves the interpreter with other settings than it had."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import da
import erasure
import gpu
import kzg
import light_client
import sampling
from da import bootstrap, interpreter
from da.bootstrap import StartupError, check_interpreter
from da.settings import Settings

PACKAGES = (erasure, kzg, sampling, gpu, da, light_client)

# In a fresh process, so that nothing was imported before; numpy alone may add its warning filters.
WATCHED = """
import asyncio, decimal, gc, importlib, locale, logging, os, signal, socket, sys, threading, warnings
import numpy

def state():
    mask = os.umask(0o77)
    os.umask(mask)
    return {
        "recursion limit": sys.getrecursionlimit(),
        "digits of an int": sys.get_int_max_str_digits(),
        "garbage collector": (gc.isenabled(), gc.get_threshold()),
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "warning filters": list(warnings.filters),
        "logging": (logging.getLoggerClass(), logging.root.level, list(logging.root.handlers)),
        "event loops": type(asyncio.get_event_loop_policy()),
        "decimal context": repr(decimal.getcontext()),
        "stack size": threading.stack_size(),
        "exception hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "environment": dict(os.environ),
        "socket timeout": socket.getdefaulttimeout(),
        "umask": mask,
        "standard streams": (sys.stdin, sys.stdout, sys.stderr),
    }

before = state()

def compare(what):
    for name, value in state().items():
        if value != before[name]:
            sys.exit(f"{what} changed the interpreter's {name}: {before[name]} -> {value}")
"""

IMPORT_ALL = """
for name in sys.argv[1:]:
    importlib.import_module(name)
    compare("import of " + name)
"""

IMPORT_EACH_FIRST = """
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        importlib.import_module(name)
        compare("import of " + name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("guard the import of " + name)
"""

USE_A_KEYSTORE = """
from da import keystore
secret = bytes(31) + bytes([5])
keystore.create(sys.argv[1], secret, "password", iterations=2)
compare("keystore.create")
assert keystore.load(sys.argv[1], "password") == secret
compare("keystore.load")
"""

LOAD_A_KEYSTORE = """
from da import keystore
keystore.load(sys.argv[1], "password")
compare("keystore.load")
"""

COMPILE_THE_CONTRACT = """
from da.settlement import contract, evm
contract.bytecode()
compare("the compiler")
evm.Chain()
compare("an EVM")
"""


def run(code: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        found += [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [name for name in found if not name.endswith(("__main__", ".cellar_host"))]  # a C library


def test_no_module_changes_the_interpreter() -> None:
    names = modules()
    assert {"da.keystore", "da.settlement.evm", "da.demo.transactions", "light_client.cli"} <= set(names)
    run(IMPORT_ALL, *names)


def guarded(node: ast.With) -> bool:
    names = {name.id for item in node.items for name in ast.walk(item) if isinstance(name, ast.Name)}
    return bool(names & {"recursion_limit_kept", "decimal"})


def unguarded_imports(tree: ast.AST) -> Iterator[str]:
    """Modules of other packages that are imported outside a `with` that keeps the interpreter's settings."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module
        elif not (isinstance(node, ast.With) and guarded(node)):
            yield from unguarded_imports(node)


def test_no_package_that_changes_the_interpreter_is_imported_without_a_guard() -> None:
    ours = {package.__name__ for package in PACKAGES}
    found = {
        name
        for package in PACKAGES
        for path in Path(package.__path__[0]).rglob("*.py")
        for name in unguarded_imports(ast.parse(path.read_bytes()))
    }
    others = {name for name in found if name.split(".")[0] not in ours | sys.stdlib_module_names}
    assert {"eth_abi", "uvicorn", "numpy"} <= others
    run(IMPORT_EACH_FIRST, *sorted(others))


def test_no_use_of_a_keystore_changes_the_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    run(USE_A_KEYSTORE, path)
    run(LOAD_A_KEYSTORE, path)  # the first import of the library in its process


def test_neither_compiler_nor_evm_changes_the_interpreter() -> None:
    run(COMPILE_THE_CONTRACT)


def test_the_limit_is_put_back_whatever_happens_within() -> None:
    before = sys.getrecursionlimit()
    with pytest.raises(KeyError), interpreter.recursion_limit_kept():  # noqa: PT012
        sys.setrecursionlimit(50_000)
        with interpreter.recursion_limit_kept():
            sys.setrecursionlimit(100_000)
        assert sys.getrecursionlimit() == before
        sys.setrecursionlimit(60_000)
        raise KeyError
    assert sys.getrecursionlimit() == before


def test_threads_that_overlap_do_not_keep_each_others_limit() -> None:
    before = sys.getrecursionlimit()
    raised, entered = threading.Event(), threading.Event()

    def second() -> None:
        assert raised.wait(10)
        with interpreter.recursion_limit_kept():  # entered while the limit is raised
            entered.set()
            first_left.wait(10)

    first_left = threading.Event()
    thread = threading.Thread(target=second)
    thread.start()
    with interpreter.recursion_limit_kept():
        sys.setrecursionlimit(100_000)
        raised.set()
        assert entered.wait(10)
    first_left.set()
    thread.join()
    assert sys.getrecursionlimit() == before


def test_a_node_does_not_start_with_a_raised_limit() -> None:
    check_interpreter()
    with interpreter.recursion_limit_kept():
        sys.setrecursionlimit(interpreter.RECURSION_LIMIT_MAX)
        check_interpreter()
        sys.setrecursionlimit(interpreter.RECURSION_LIMIT_MAX + 1)
        with pytest.raises(StartupError, match="recursion limit is 3001"):
            check_interpreter()


def test_the_highest_limit_is_one_that_a_stack_takes() -> None:
    code = """
import json, sys, threading
sys.setrecursionlimit(int(sys.argv[1]))
nested, other = [], []
for _ in range(10_000):
    nested, other = [nested], [other]

def call_back(_):
    return sorted([1], key=call_back)

failed = []

def run():
    calls = (
        lambda: call_back(1),
        lambda: json.loads("[" * 10_000),
        lambda: repr(nested),
        lambda: nested == other,
    )
    for deep in calls:
        try:
            deep()
        except RecursionError:
            failed.append(deep)

thread = threading.Thread(target=run)
thread.start()
thread.join()
assert len(failed) == 4
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(interpreter.RECURSION_LIMIT_MAX)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_node_checks_the_limit_after_it_has_loaded_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        sys.setrecursionlimit(100_000)

    monkeypatch.setattr(bootstrap, "identify", load)
    files = {name: tmp_path / name for name in ("data_dir", "committee_file", "keystore_file")}
    with interpreter.recursion_limit_kept(), pytest.raises(StartupError, match="recursion limit is 100000"):
        bootstrap.run(Settings(**files), "password")
