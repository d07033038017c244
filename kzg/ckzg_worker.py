"""The process in which c-kzg runs: a fork server that loads the setup once and forks workers.

It runs as a file (`python -P ckzg_worker.py SETUP_FD CONTROL_FD PRECOMPUTE`) and needs only the standard
library and ckzg, so that a worker stays small and starts fast. `worker_pool` imports the wire format from it.

Flow:
- The fork server loads the setup: 1.4 to 2 s, and with PRECOMPUTE = 8 a table of 96 MiB.
- It sends READY on the control socket, or the reason why it could not load it.
- For each socket that arrives over the control socket, it forks a worker that serves it. Workers share the
  setup's memory with the fork server (copy on write), and start in a millisecond.
- A worker answers one request after another until its socket ends.

Nothing outlives the program: when the control socket ends (the program closed the engine, or was killed) the
fork server exits, and the kernel kills its workers (PR_SET_PDEATHSIG; on other systems they exit when their
socket closes).

Requests come from the program that started it, already validated.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import ckzg

# operation, number of rows or cells, number of known cells a row (recovery only), bytes that follow
REQUEST = struct.Struct("<BIIQ")
# status, bytes that follow
RESPONSE = struct.Struct("<BQ")

COMMIT, EXTEND, PROVE, VERIFY, RECOVER = range(1, 6)
DONE, REFUSED = 0, 1
READY = b"ready"

_BYTES_PER_BLOB = 131072
_BYTES_PER_CELL = 2048
_BYTES_PER_POINT = 48
_PR_SET_PDEATHSIG = 1


def receive_exactly(connection: socket.socket, view: memoryview) -> bool:
    """Fills the view; False when the peer has closed the connection."""
    while view:
        received = connection.recv_into(view, 0, socket.MSG_WAITALL)
        if received == 0:
            return False
        view = view[received:]
    return True


def _pieces(data: memoryview, size: int) -> Iterator[bytes]:
    return (bytes(data[start : start + size]) for start in range(0, len(data), size))


def _commit(setup: object, count: int, known: int, data: memoryview) -> list[bytes]:
    return [ckzg.blob_to_kzg_commitment(blob, setup) for blob in _pieces(data, _BYTES_PER_BLOB)]


def _extend(setup: object, count: int, known: int, data: memoryview) -> list[bytes]:
    return [cell for blob in _pieces(data, _BYTES_PER_BLOB) for cell in ckzg.compute_cells(blob, setup)]


def _cells_then_proofs(rows: list[tuple[list[bytes], list[bytes]]]) -> list[bytes]:
    return [cell for cells, _ in rows for cell in cells] + [proof for _, proofs in rows for proof in proofs]


def _prove(setup: object, count: int, known: int, data: memoryview) -> list[bytes]:
    blobs = _pieces(data, _BYTES_PER_BLOB)
    return _cells_then_proofs([ckzg.compute_cells_and_kzg_proofs(blob, setup) for blob in blobs])


def _recover(setup: object, count: int, known: int, data: memoryview) -> list[bytes]:
    indices = list(data[:known])
    cells = list(_pieces(data[known:], _BYTES_PER_CELL))
    rows = (cells[row * known : (row + 1) * known] for row in range(count))
    return _cells_then_proofs([ckzg.recover_cells_and_kzg_proofs(indices, row, setup) for row in rows])


def _verify(setup: object, count: int, known: int, data: memoryview) -> list[bytes]:
    points = count * _BYTES_PER_POINT
    commitments = list(_pieces(data[:points], _BYTES_PER_POINT))
    proofs = list(_pieces(data[points : 2 * points], _BYTES_PER_POINT))
    indices = list(data[2 * points : 2 * points + count])
    cells = list(_pieces(data[2 * points + count :], _BYTES_PER_CELL))
    right = ckzg.verify_cell_kzg_proof_batch(commitments, indices, cells, proofs, setup)
    return [b"\x01" if right else b"\x00"]


_OPERATIONS: dict[int, Callable[[object, int, int, memoryview], list[bytes]]] = {
    COMMIT: _commit,
    EXTEND: _extend,
    PROVE: _prove,
    VERIFY: _verify,
    RECOVER: _recover,
}


def serve(connection: socket.socket, setup: object) -> None:
    """Answers requests until the socket is closed."""
    header = bytearray(REQUEST.size)
    while receive_exactly(connection, memoryview(header)):
        operation, count, known, length = REQUEST.unpack(header)
        data = bytearray(length)
        if not receive_exactly(connection, memoryview(data)):
            return
        status = DONE
        try:
            answer = b"".join(_OPERATIONS[operation](setup, count, known, memoryview(data)))
        except (RuntimeError, ValueError) as error:  # what ckzg raises, always without the reason
            status, answer = REFUSED, str(error).encode()
        connection.sendall(RESPONSE.pack(status, len(answer)))
        connection.sendall(answer)


def _die_with(parent: int) -> None:
    """Asks Linux to kill this process when the fork server exits; elsewhere the closed socket ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(0)


def _fork_worker(connection: socket.socket, control: socket.socket, setup: object) -> None:
    fork_server = os.getpid()
    if os.fork() != 0:
        return
    code = 1
    try:
        _die_with(fork_server)
        control.close()
        serve(connection, setup)
        code = 0
    except ConnectionError:  # the program has exited
        code = 0
    except (OSError, MemoryError) as error:
        print(f"cellar: c-kzg worker exits: {error!r}", file=sys.stderr)
    finally:
        os._exit(code)


def _fork_on_request(control: socket.socket, setup: object) -> None:
    """Forks a worker for each socket that arrives, until the program exits."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as connection:
                try:
                    _fork_worker(connection, control, setup)
                except OSError as error:  # the machine is full: the program sees the socket end
                    print(f"cellar: cannot fork a c-kzg worker: {error}", file=sys.stderr)


def main() -> None:
    setup_fd, control_fd, precompute = (int(argument) for argument in sys.argv[1:])
    # Ctrl-C belongs to the program, which then closes the engine.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers that end are reaped by the kernel
    control = socket.socket(fileno=control_fd)
    try:
        try:
            setup = ckzg.load_trusted_setup(f"/dev/fd/{setup_fd}", precompute)
        except (RuntimeError, ValueError, OSError, MemoryError) as error:
            control.sendall(f"c-kzg cannot load the trusted setup: {error}".encode())
            return
        os.close(setup_fd)
        gc.freeze()
        control.sendall(READY)
        _fork_on_request(control, setup)
    except ConnectionError:  # the program has exited
        return


if __name__ == "__main__":
    main()
