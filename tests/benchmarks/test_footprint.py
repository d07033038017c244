"""Memory of a process and of those below it."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.footprint import family, of_fresh_process, peak_bytes

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


def test_children_of_children_count() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        found = family(os.getpid())
        parent.communicate("\n")
    assert found[0] == os.getpid()
    assert {parent.pid, grandchild} <= set(found)


def test_a_peak_is_that_of_resident_memory() -> None:
    assert peak_bytes() > 10 * 2**20


def test_a_fresh_process_says_what_it_took() -> None:
    found = of_fresh_process("nothing", "", (1, 200))
    assert found.table_bytes == 0
    assert found.opened_bytes <= found.peak_bytes["1"]
    assert found.peak_bytes["200"] - found.opened_bytes > 20 * 2**20
