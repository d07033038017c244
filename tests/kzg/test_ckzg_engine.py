"""What is the ckzg engine's own: processes that die, a pool that is closed, programs that are killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kzg import ckzg_worker, trusted_setup, worker_pool
from kzg.ckzg_engine import MAX_PRECOMPUTE, MAX_WORKERS, CkzgEngine
from kzg.errors import EngineClosed, EngineFailed, EngineUnavailable
from kzg.types import Bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc and pidfds")

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def fragile() -> Iterator[CkzgEngine]:
    """An engine of one worker, for tests that break it: it has to be whole again for the next one."""
    with CkzgEngine(workers=1, precompute=0) as opened:
        yield opened


@pytest.fixture
def one_row(matrix) -> Bytes:
    return matrix.blobs[:1]


@pytest.fixture
def in_thread() -> Iterator[Callable[..., Future]]:
    with ThreadPoolExecutor(4) as threads:
        yield threads.submit


def fork_server_of(engine: CkzgEngine) -> int:
    return engine._pool._fork_server._process.pid


def workers_of(engine: CkzgEngine) -> list[int]:
    return children_of(fork_server_of(engine))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_end(pid: int) -> None:
    """Returns when the process has ended; fails the test when it does not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], TIMEOUT_S)
        assert ended, f"process {pid} lives on"
    finally:
        os.close(descriptor)


class Gate:
    """Tells when a task is on its way to a worker, which is held (SIGSTOP) so that it cannot answer."""

    def __init__(self, engine: CkzgEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = threading.Event()
        [self.worker] = workers_of(engine)
        os.kill(self.worker, signal.SIGSTOP)
        exchange = worker_pool._exchange

        def exchange_and_tell(connection: object, task: object) -> None:
            self.sent.set()
            exchange(connection, task)

        monkeypatch.setattr(worker_pool, "_exchange", exchange_and_tell)

    def wait(self) -> None:
        assert self.sent.wait(TIMEOUT_S)


@pytest.fixture
def held(fragile: CkzgEngine, one_row: Bytes, monkeypatch: pytest.MonkeyPatch) -> Gate:
    fragile.commit(one_row)  # so that there is a worker
    return Gate(fragile, monkeypatch)


# --- processes that die


def test_a_worker_that_dies_fails_its_call_and_is_replaced(fragile, one_row, matrix, in_thread, held) -> None:
    call = in_thread(fragile.commit, one_row)
    held.wait()
    os.kill(held.worker, signal.SIGKILL)
    with pytest.raises(EngineFailed, match="worker process died"):
        call.result(TIMEOUT_S)
    assert (fragile.commit(one_row) == matrix.commitments[0]).all()
    assert workers_of(fragile) != [held.worker]


def test_a_fork_server_that_dies_fails_the_call_and_is_replaced(
    fragile, one_row, matrix, in_thread, held
) -> None:
    fork_server = fork_server_of(fragile)
    call = in_thread(fragile.commit, one_row)
    held.wait()
    os.kill(fork_server, signal.SIGKILL)
    with pytest.raises(EngineFailed, match="during this call"):
        call.result(TIMEOUT_S)
    assert (fragile.commit(one_row) == matrix.commitments[0]).all()
    assert fork_server_of(fragile) != fork_server
    wait_for_end(held.worker)


def test_only_the_call_of_a_dead_worker_fails(fragile, matrix, in_thread, held) -> None:
    first = in_thread(fragile.commit, matrix.blobs[:1])
    held.wait()
    waiting = [in_thread(fragile.commit, matrix.blobs[row : row + 1]) for row in (1, 2)]
    os.kill(held.worker, signal.SIGKILL)
    with pytest.raises(EngineFailed):
        first.result(TIMEOUT_S)
    for row, call in zip((1, 2), waiting, strict=True):
        assert (call.result(TIMEOUT_S) == matrix.commitments[row]).all()


@pytest.mark.parametrize("victim", ["worker", "fork server"])
def test_processes_that_die_while_idle_are_replaced_silently(fragile, one_row, matrix, victim: str) -> None:
    fragile.commit(one_row)
    fork_server, [worker] = fork_server_of(fragile), workers_of(fragile)
    os.kill(fork_server if victim == "fork server" else worker, signal.SIGKILL)
    wait_for_end(worker)
    assert (fragile.commit(one_row) == matrix.commitments[0]).all()
    assert workers_of(fragile) != [worker]


def test_a_setup_that_cannot_be_loaded_is_reported(monkeypatch: pytest.MonkeyPatch, one_row: Bytes) -> None:
    monkeypatch.setattr(trusted_setup.TrustedSetup, "to_text", lambda self: b"4096\n65\n00\n")
    with CkzgEngine(workers=1, precompute=0) as engine:
        for _ in range(2):  # each call tries again
            with pytest.raises(EngineFailed, match="cannot load the trusted setup"):
                engine.commit(one_row)


def test_an_interpreter_that_cannot_be_started_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EngineUnavailable, match="cannot be started"):
        CkzgEngine(workers=1)
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EngineUnavailable, match=r"sys\.executable"):
        CkzgEngine(workers=1)


def test_a_task_that_the_library_refuses_fails_the_call(fragile) -> None:
    """Validation stands before the pool, so no caller's mistake gets this far."""
    blob = np.full(131072, 0xFF, dtype=np.uint8)
    answer = np.empty(48, dtype=np.uint8)
    task = worker_pool.Task(ckzg_worker.COMMIT, 1, [blob.data], [answer.data])
    with pytest.raises(worker_pool.TaskRefused, match="blob_to_kzg_commitment failed"):
        fragile._pool.run([task])
    assert issubclass(worker_pool.TaskRefused, EngineFailed)


def test_an_answer_of_another_length_fails_the_call(fragile, one_row, matrix) -> None:
    task = worker_pool.Task(ckzg_worker.COMMIT, 1, [one_row[0].data], [np.empty(47, dtype=np.uint8).data])
    with pytest.raises(EngineFailed, match="sent 48 bytes, expected 47"):
        fragile._pool.run([task])
    assert (fragile.commit(one_row) == matrix.commitments[0]).all()


# --- closing


def test_closing_ends_the_processes(one_row) -> None:
    engine = CkzgEngine(workers=2, precompute=0)
    engine.commit(np.repeat(one_row, 4, axis=0))
    processes = [fork_server_of(engine), *workers_of(engine)]
    engine.close()
    for process in processes:
        wait_for_end(process)
    engine.close()
    for call in (engine.commit, engine.extend, engine.prove):
        with pytest.raises(EngineClosed):
            call(one_row)
    with pytest.raises(EngineClosed):
        engine.commit(one_row[:0])


def test_closing_while_the_setup_loads() -> None:
    engine = CkzgEngine(workers=1, precompute=0)
    fork_server = fork_server_of(engine)
    engine.close()
    wait_for_end(fork_server)


def test_calls_that_run_or_wait_raise_when_the_engine_closes(matrix, in_thread, monkeypatch) -> None:
    engine = CkzgEngine(workers=1, precompute=0)
    engine.commit(matrix.blobs[:1])
    gate = Gate(engine, monkeypatch)
    running = in_thread(engine.commit, matrix.blobs[:1])
    gate.wait()
    waiting = in_thread(engine.prove, matrix.blobs)
    engine.close()
    for call in (running, waiting):
        with pytest.raises(EngineClosed):
            call.result(TIMEOUT_S)


def test_a_forked_child_cannot_use_its_parents_engine(fragile, one_row, matrix) -> None:
    fragile.commit(one_row)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            fragile.commit(one_row)
        except EngineClosed as error:
            os.write(write, str(error).encode())
        finally:
            fragile.close()  # a with block ends: the parent's processes must live on
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as told:
        assert b"before a fork" in told.read()
    os.waitpid(child, 0)
    assert (fragile.commit(one_row) == matrix.commitments[0]).all()


# --- sharing


def test_calls_take_turns(fragile, matrix, in_thread, held) -> None:
    """A short call does not wait for all rows of a long one."""
    order: list[str] = []

    def note(name: str, blobs: Bytes) -> None:
        fragile.commit(blobs)
        order.append(name)

    long = in_thread(note, "long", np.repeat(matrix.blobs, 4, axis=0))
    held.wait()
    short = in_thread(note, "short", matrix.blobs[:1])
    while len(fragile._pool._calls) < 2:  # both wait for the one worker
        assert not short.done()
    os.kill(held.worker, signal.SIGCONT)
    short.result(TIMEOUT_S)
    long.result(TIMEOUT_S)
    assert order == ["short", "long"]


def test_all_workers_are_used(matrix) -> None:
    with CkzgEngine(workers=3, precompute=0) as engine:
        assert (
            engine.commit(np.repeat(matrix.blobs, 2, axis=0)) == np.repeat(matrix.commitments, 2, axis=0)
        ).all()
        assert len(workers_of(engine)) == 3


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"workers": MAX_WORKERS + 1}, {"precompute": -1}, {"precompute": MAX_PRECOMPUTE + 1}],
)
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be in"):
        CkzgEngine(**options)


def test_precompute_changes_memory_not_bytes(matrix) -> None:
    with CkzgEngine(workers=1, precompute=3) as engine:
        assert engine.describe()["table_bytes"] == 3 * 2**20
        assert (engine.prove(matrix.blobs[:1])[1] == matrix.proofs[:1]).all()


# --- programs

PROGRAM = """
    import signal
    import numpy as np
    from kzg.ckzg_engine import CkzgEngine

    def main():
        # A shell starts what runs in its background with Ctrl-C ignored, and the tests may be there.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with CkzgEngine(workers=1, precompute=0) as engine:
            engine.commit(np.zeros((1, 131072), dtype=np.uint8))
            fork_server = engine._pool._fork_server._process.pid
            children = open(f"/proc/{fork_server}/task/{fork_server}/children").read()
            try:
                print(fork_server, children, flush=True)
                engine.prove(np.zeros((256, 131072), dtype=np.uint8))
            except KeyboardInterrupt:
                print("interrupted", flush=True)

    main()
"""


@pytest.fixture
def program() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program in the middle of a long call, in a process group of its own, and its engine's processes."""
    arguments = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, process_group=0) as process:
        assert process.stdout is not None
        processes = [int(pid) for pid in process.stdout.readline().split()]
        assert len(processes) == 2
        yield process, processes
        process.kill()


def test_ctrl_c_reaches_only_the_program(program) -> None:
    process, processes = program
    assert os.getpgid(process.pid) not in {os.getpgid(pid) for pid in processes}
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
    for pid in processes:
        wait_for_end(pid)


@pytest.mark.parametrize("killer", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_killed_program(program, killer: signal.Signals) -> None:
    process, processes = program
    process.send_signal(killer)
    _, err = process.communicate(timeout=TIMEOUT_S)
    for pid in processes:
        wait_for_end(pid)
    assert err == ""
