"""Every function of the host library over awkward sizes and random bytes, with the library in the directory
given: a program.

tests/gpu/test_sanitizers.py runs it on a build that stops at the first bad access or undefined step. It
prints the names of the functions that were called, so that none is forgotten.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading

import numpy as np
from py_arkworks_bls12381 import G1Point, G2Point

import gpu.host
from gpu.host import engine as host_engine
from gpu.host import library as host_library
from gpu.host import pairing
from gpu.host.engine import HostEngine
from gpu.host.verifier import HostVerifier
from kzg.errors import EngineClosed, KzgError


def exercise(engine: HostEngine, rng: np.random.Generator) -> None:
    blobs = rng.integers(0, 256, (3, 4096, 32), dtype=np.uint8)
    blobs[:, :, 0] &= 0x3F
    blobs[1] = 0
    blobs = blobs.reshape(3, -1)
    commitments, (cells, proofs) = engine.commit(blobs), engine.prove(blobs)
    assert np.array_equal(engine.extend(blobs), cells)
    assert np.array_equal(engine.prove(blobs[:1])[1], proofs[:1])  # by several threads
    assert engine.commit(blobs[:0]).shape == (0, 48)
    assert engine.prove(blobs[:0])[1].shape == (0, 128, 48)

    for rows in (7, 8, 10):
        many = np.resize(blobs, (rows, *blobs.shape[1:]))
        assert np.array_equal(engine.commit(many), np.resize(commitments, (rows, 48)))
        assert np.array_equal(engine.prove(many)[1], np.resize(proofs, (rows, 128, 48)))

    for known_count in (64, 65, 127, 128):
        known = np.sort(rng.permutation(128)[:known_count])
        assert np.array_equal(engine.recover(known, cells[:, known]), cells)
        assert np.array_equal(engine.recover_with_proofs(known, cells[:, known])[1], proofs)

    assert np.array_equal(
        engine.recover_proofs(range(64, 128), proofs[:, 64:], [0, 63, 127]), proofs[:, [0, 63, 127]]
    )

    for count in (1, 7, 8, 9, 88, 89, 128, 129, 384):
        rows, columns = np.divmod(rng.permutation(384)[:count], 128)
        batch = [commitments[rows], columns, cells[rows, columns], proofs[rows, columns]]
        assert engine.verify_cells(*batch)
        broken = [array.copy() for array in batch]
        which = 2 * rng.integers(0, 2)
        broken[which][0, rng.integers(0, broken[which].shape[1])] ^= 1 << rng.integers(0, 8)
        with contextlib.suppress(KzgError):
            engine.verify_cells(*broken)

    for height in (1, 2, 3):
        assert engine.parity_cells(cells[:height]).shape == (height, 128, 2048)
        assert engine.parity_proofs(proofs[:height, 3]).shape == (height, 48)
    assert engine.parity_proofs(proofs[0], [0, 127]).shape == (2, 48)

    for height in (0, 1, 8, 9, 129):
        column = rng.permutation(384)[:height]
        scalars = rng.integers(0, 256, (2, height, 16), dtype=np.uint8)
        both = [np.tile(array.reshape(384, -1)[column], (2, 1, 1)) for array in (cells, proofs)]
        assert engine.fold_columns(*both, scalars)[0].shape == (2, 2048)
        assert engine.fold_commitments(both[1][0], scalars).shape == (2, 48)

    blobs[2, -32:] = 0xFF
    for operation in (engine.commit, engine.extend, engine.prove):
        with contextlib.suppress(KzgError):
            operation(blobs)
            raise AssertionError("an element beyond the modulus was taken")


def send_garbage(engine: HostEngine, rng: np.random.Generator) -> None:
    """Bytes that mean nothing, beside bytes that are almost right: refused or wrong, never more."""
    points = engine.commit(np.zeros((1, 131072), dtype=np.uint8))
    for count in (1, 8, 13, 100, 300):
        for kind in ("random", "one bit", "flags"):
            commitments, proofs = (np.repeat(points, count, axis=0) for _ in range(2))
            cells = np.zeros((count, 2048), dtype=np.uint8)
            for array in (commitments, proofs, cells):
                at = rng.integers(count)
                if kind == "random":
                    array[at] = rng.integers(0, 256, array.shape[1])
                elif kind == "one bit":
                    array[at, rng.integers(array.shape[1])] ^= 1 << rng.integers(8)
                else:
                    array[:, 0] = rng.integers(0, 256, count)
            columns, rows = rng.integers(0, 128, count), rng.integers(0, 2 * min(count, 256), count)
            with contextlib.suppress(KzgError):
                engine.verify_cells(commitments, columns, cells, proofs)
            with contextlib.suppress(KzgError):
                engine.verify_matrix_cells(commitments[:256], rows, columns, cells, proofs)
            with contextlib.suppress(KzgError):
                engine.parity_proofs(proofs[:256], [0])
            with contextlib.suppress(KzgError):
                engine.parity_cells(cells[:256, None])
    for width in (1, 3):  # heights at and beside powers of two
        for height in (64, 65, 255, 256):
            engine.parity_cells(np.zeros((height, width, 2048), dtype=np.uint8))


def verify_without_tables() -> None:
    """A row of zeros: its commitment and all of its proofs are the point at infinity."""
    infinity = np.zeros((128, 48), dtype=np.uint8)
    infinity[:, 0] = 0xC0
    cells = np.zeros((1, 128, 2048), dtype=np.uint8)
    with HostVerifier(workers=2) as verifier:
        assert verifier.verify_cells(infinity, range(128), cells[0], infinity)
        assert np.array_equal(verifier.recover(range(64), cells[:, :64]), cells)
        assert np.array_equal(
            verifier.recover_proofs(range(64), infinity[np.newaxis, :64], [99])[0], infinity[:1]
        )
        assert np.array_equal(verifier.parity_cells(cells), cells)


def prove_the_complete_way(rows: int) -> None:
    """Blinding that is no blinding: points meet, and rows are done again."""
    drawn = host_engine._blinding_scalars
    host_engine._blinding_scalars = lambda: [1] * 128
    try:
        with HostEngine(workers=2, table="small") as engine:
            engine.prove(np.zeros((rows, 131072), dtype=np.uint8))
            assert engine.rows_redone == rows
    finally:
        host_engine._blinding_scalars = drawn


def close_while_busy(rng: np.random.Generator) -> None:
    """The call ends, and the library is left alone after it."""
    engine = HostEngine(workers=2, table="small")
    blobs = rng.integers(0, 64, (64, 131072), dtype=np.uint8)
    begun = threading.Event()

    def work() -> None:
        with contextlib.suppress(EngineClosed):
            while True:
                begun.set()
                engine.prove(blobs)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    engine.close()
    for thread in threads:
        thread.join()


def probe(library: ctypes.CDLL, rng: np.random.Generator) -> None:
    """The windows that tests look through."""
    values = rng.integers(0, 1 << 51, (4, 16, 8), dtype=np.uint64)
    a, b, c, out = (ctypes.c_void_p(array.ctypes.data) for array in values)
    for base_field in (0, 1):
        for op in range(13):
            library.cellar_probe_field(base_field, op, a, b, c, out, 16)
    scalars = rng.integers(0, 1 << 62, (2, 16, 4), dtype=np.uint64)
    library.cellar_probe_recode(*(ctypes.c_void_p(array.ctypes.data) for array in scalars), 16)
    points = rng.integers(0, 1 << 60, (3, 16, 24), dtype=np.uint64)
    p, q, out = (ctypes.c_void_p(array.ctypes.data) for array in points)
    for lanes in (0, 1):
        for op in range(7 if lanes else 4):
            library.cellar_probe_group(lanes, op, p, q, out, 16)
    encoded = rng.integers(0, 256, (3, 16, 48), dtype=np.uint8)
    lines, frobenius = pairing.line_bytes(G2Point(), G2Point()), pairing.frobenius_bytes()
    constants = [ctypes.c_void_p(array.ctypes.data) for array in (lines, frobenius)]
    for side in (bytes(G1Point().to_compressed_bytes()), b"\xc0" + bytes(47), rng.bytes(48)):
        library.cellar_probe_pairing(*constants, side, side)
    library.cellar_probe_accumulate(*(ctypes.c_void_p(array.ctypes.data) for array in encoded), 16)


class Watched:
    """The library, and the names that were asked of it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.called.add(name)
        return getattr(self.library, name)


def main(directory: str) -> None:
    gpu.host.__path__ = [directory]
    watched = Watched(host_library.load())
    host_library.load = lambda: watched
    for table in ("small", "medium"):
        with HostEngine(workers=2, table=table) as opened:
            exercise(opened, np.random.default_rng(7))
            send_garbage(opened, np.random.default_rng(8))
    verify_without_tables()
    prove_the_complete_way(2)
    close_while_busy(np.random.default_rng(9))
    probe(watched, np.random.default_rng(10))
    print("exercised", *sorted(watched.called))


if __name__ == "__main__":
    main(sys.argv[1])
