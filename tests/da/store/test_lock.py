"""One owner for a directory, whatever happens to the owner."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from da.store import StoreLocked, StoreReadOnly
from da.store.embedded import EmbeddedStore
from da.store.lock import DirectoryLock
from tests.da.store.support import make_batch

_OPEN_AND_WAIT = """
import sys
from da.store.embedded import EmbeddedStore
store = EmbeddedStore(sys.argv[1], reserve_bytes=0)
print("open", flush=True)
sys.stdin.read()
"""


def _owner(directory: Path) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OPEN_AND_WAIT, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "open\n"
    return owner


def test_a_second_process_is_told_the_first_ones_pid(directory: Path) -> None:
    with _owner(directory) as owner:
        with pytest.raises(StoreLocked) as caught:
            EmbeddedStore(directory, reserve_bytes=0)
        assert caught.value.pid == owner.pid
        assert str(owner.pid) in str(caught.value)
        owner.send_signal(signal.SIGKILL)
        owner.wait(30)
        EmbeddedStore(directory, reserve_bytes=0).close()


def test_a_second_opening_in_one_process_is_refused(open_store: Callable[..., Any]) -> None:
    store = open_store()
    with pytest.raises(StoreLocked) as caught:
        open_store()
    assert caught.value.pid == os.getpid()
    make_batch(1).put(store)
    store.close()
    make_batch(1).check(open_store())


def test_a_failed_opening_gives_the_directory_free(tmp_path: Path) -> None:
    (tmp_path / "staging").write_bytes(b"not a directory")
    with pytest.raises(StoreReadOnly, match="staging"):
        EmbeddedStore(tmp_path, reserve_bytes=0)
    DirectoryLock(tmp_path).release()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    context = multiprocessing.get_context("fork")
    parent, child = context.Pipe()

    def wait() -> None:
        child.send("ready")
        child.recv()

    process = context.Process(target=wait, daemon=True)
    process.start()
    assert parent.recv() == "ready"
    with pytest.raises(StoreLocked):  # the parent's own lock is as it was
        DirectoryLock(tmp_path)
    lock.release()
    DirectoryLock(tmp_path).release()
    parent.send("end")
    process.join(30)
    assert process.exitcode == 0


def test_an_unreadable_pid_is_none(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    (tmp_path / "lock").write_bytes(b"\xff\xff")
    with pytest.raises(StoreLocked) as caught:
        DirectoryLock(tmp_path)
    assert caught.value.pid is None
    lock.release()
