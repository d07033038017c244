"""Worker processes for an engine whose library holds the interpreter's lock.

ckzg computes for 35 to 250 ms a row without releasing the lock, so threads gain nothing and would stop an
event loop. `WorkerPool` keeps one thread here for each worker process there. A call is a list of tasks; the
threads take tasks from all waiting calls in turn, so that verifying a few cells never waits for a whole
matrix to be proved.

Flow:
- The fork server process (see `ckzg_worker`) starts at once, in the background: only the first call waits
  for its 2 seconds.
- A thread that has a task and no worker asks the fork server to fork one, sends the task, reads the answer
  straight into the caller's array.
- A worker or fork server that dies while idle is replaced silently; while busy, it fails only that call, with
  EngineFailed, and the next task gets a new one.
- `close` ends everything at once; calls that wait or run raise EngineClosed.

The fork server is in its own process group, so Ctrl-C reaches only this program.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kzg import ckzg_worker, trusted_setup
from kzg.errors import EngineClosed, EngineError, EngineFailed, EngineUnavailable

_MAX_REASON_BYTES: Final = 4096


@dataclass(slots=True, eq=False)
class Task:
    """One request to a worker.

    Attributes:
        operation: COMMIT, EXTEND, PROVE, VERIFY or RECOVER of `ckzg_worker`.
        count: rows or cells in it.
        known: known cells of a row (RECOVER), else 0.
        inputs: what is sent, one after the other.
        outputs: where the answer goes, filled one after the other.
    """

    operation: int
    count: int
    inputs: Sequence[memoryview]
    outputs: Sequence[memoryview]
    known: int = 0


class TaskRefused(EngineFailed):
    """The library refused a task; it never reports why."""

    def __init__(self, task: Task, message: str) -> None:
        super().__init__(message)
        self.task = task


@dataclass(slots=True, eq=False)
class _Call:
    pending: deque[Task]
    unfinished: int
    error: EngineError | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def fail(self, error: EngineError) -> None:
        self.pending.clear()
        self.error = self.error or error
        self.finished.set()


class _ForkServer:
    """The process that forks workers."""

    def __init__(self, precompute: int) -> None:
        if not sys.executable:
            raise EngineUnavailable(
                "ckzg", "worker processes need a Python interpreter, but sys.executable is empty"
            )
        self._message = b""
        self._control, theirs = socket.socketpair()
        # c-kzg's binding reads the setup from a path only; this file has no name and ends with its readers.
        with theirs, tempfile.TemporaryFile() as setup:
            setup.write(trusted_setup.load().to_text())
            setup.seek(0)
            arguments = [str(setup.fileno()), str(theirs.fileno()), str(precompute)]
            # -P: this package's types.py and errors.py must not hide the standard library's
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(Path(ckzg_worker.__file__)), *arguments],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(setup.fileno(), theirs.fileno()),
                    process_group=0,
                )
            except OSError as error:
                self._control.close()
                raise EngineUnavailable("ckzg", f"its worker process cannot be started: {error}") from error

    def alive(self) -> bool:
        """Whether it can fork workers, now or when the setup is loaded."""
        try:
            while received := self._control.recv(_MAX_REASON_BYTES, socket.MSG_DONTWAIT):
                self._message += received
        except BlockingIOError:
            return True
        except OSError:
            pass  # reset, or closed by us
        return False

    def fork_worker(self) -> socket.socket:
        """A socket to a new worker; what is sent before the setup is loaded waits in the socket.

        Raises:
            OSError: the fork server has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"w"], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def exit_reason(self) -> str:
        """Why it ended, if it has, else that only a worker did."""
        if self.alive():
            return "a c-kzg worker process died"
        if self._message and self._message != ckzg_worker.READY:
            return self._message.decode("utf-8", "replace")
        return f"the c-kzg fork server exited with status {self._process.wait()}"

    def stop(self) -> None:
        """Kills it, and with it the workers."""
        self._control.close()
        self._process.kill()
        self._process.wait()


class WorkerPool:
    """Runs tasks on `workers` processes; thread-safe."""

    def __init__(self, *, workers: int, precompute: int) -> None:
        self._precompute = precompute
        self._owner = os.getpid()
        self._wake = threading.Condition()
        self._calls: deque[_Call] = deque()  # those with pending tasks, the next to be served first
        self._closed = False
        self._fork_server_lock = threading.Lock()
        self._fork_server = _ForkServer(precompute)
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"ckzg-{slot}", daemon=True)
            for slot in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, tasks: Sequence[Task]) -> None:
        """Returns when all tasks are done and their outputs filled.

        Raises:
            EngineFailed: a process died, or the library refused a task (TaskRefused); outputs are undefined.
            EngineClosed: closed before or during the call, or the pool belongs to another process.
        """
        if os.getpid() != self._owner:
            raise EngineClosed("this engine was opened before a fork; open one in this process")
        call = _Call(deque(tasks), len(tasks))
        with self._wake:
            if self._closed:
                raise EngineClosed("the engine is closed")
            if not tasks:
                return
            self._calls.append(call)
            self._wake.notify(len(tasks))
        try:
            call.finished.wait()
        finally:  # also on KeyboardInterrupt: tasks that have not started must not start
            with self._wake:
                self._forget(call)
        if call.error is not None:
            raise call.error

    def close(self) -> None:
        """Ends all processes; calls that wait or run raise EngineClosed. Closing twice is fine."""
        if os.getpid() != self._owner:
            return
        with self._wake:
            if self._closed:
                return
            self._closed = True
            for call in self._calls:
                call.fail(EngineClosed("the engine was closed while this call waited"))
            self._calls.clear()
            self._wake.notify_all()
        with self._fork_server_lock:
            self._fork_server.stop()
        for thread in self._threads:  # a thread that waited for a worker now reads the end of its socket
            thread.join()

    def _forget(self, call: _Call) -> None:
        call.pending.clear()
        if call in self._calls:
            self._calls.remove(call)

    def _next(self) -> tuple[_Call, Task] | None:
        """The next task, calls in turn; waits for one. None when the pool is closed."""
        with self._wake:
            while not self._calls:
                if self._closed:
                    return None
                self._wake.wait()
            call = self._calls.popleft()
            task = call.pending.popleft()
            if call.pending:
                self._calls.append(call)
            return call, task

    def _serve(self, slot: int) -> None:
        """The loop of one thread, which has a worker process of its own."""
        connection: socket.socket | None = None
        while (item := self._next()) is not None:
            call, task = item
            error: EngineError | None = None
            try:
                connection = self._connected(connection)
                _exchange(connection, task)
            except EngineError as failure:  # refused, or closed meanwhile: the connection is still good
                error = failure
            except OSError as broken:
                error = self._explain(broken)
                if connection is not None:
                    connection.close()
                connection = None
            with self._wake:
                if error is not None:
                    call.fail(error)
                    self._forget(call)
                call.unfinished -= 1
                if call.unfinished == 0:
                    call.finished.set()
        if connection is not None:
            connection.close()

    def _connected(self, connection: socket.socket | None) -> socket.socket:
        """The connection, or one to a new worker if it has none or it died while idle."""
        if connection is not None:
            if not _ended(connection):
                return connection
            connection.close()
        with self._fork_server_lock:
            if self._closed:
                raise EngineClosed("the engine was closed during this call")
            if not self._fork_server.alive():
                self._fork_server.stop()
                self._fork_server = _ForkServer(self._precompute)
            return self._fork_server.fork_worker()

    def _explain(self, broken: OSError) -> EngineError:
        if self._closed:
            return EngineClosed("the engine was closed during this call")
        with self._fork_server_lock:
            reason = self._fork_server.exit_reason()
        return EngineFailed(f"{reason} during this call ({broken})")


def _ended(connection: socket.socket) -> bool:
    """Whether the worker has exited: an idle one sends nothing, so a readable socket is a closed one."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _exchange(connection: socket.socket, task: Task) -> None:
    """Sends the task and fills its outputs.

    Raises:
        TaskRefused: the worker answered that the library refused it.
        OSError: the worker has exited, or its answer is not of the protocol.
    """
    length = sum(len(part) for part in task.inputs)
    connection.sendall(ckzg_worker.REQUEST.pack(task.operation, task.count, task.known, length))
    for part in task.inputs:
        connection.sendall(part)

    header = bytearray(ckzg_worker.RESPONSE.size)
    _receive(connection, memoryview(header))
    status, length = ckzg_worker.RESPONSE.unpack(header)
    if status != ckzg_worker.DONE:
        reason = bytearray(length)
        _receive(connection, memoryview(reason))
        raise TaskRefused(task, reason.decode("utf-8", "replace"))
    expected = sum(len(view) for view in task.outputs)
    if length != expected:
        raise ConnectionAbortedError(f"the worker sent {length} bytes, expected {expected}")
    for view in task.outputs:
        _receive(connection, view)


def _receive(connection: socket.socket, view: memoryview) -> None:
    if not ckzg_worker.receive_exactly(connection, view):
        raise ConnectionResetError("the worker closed its socket")
