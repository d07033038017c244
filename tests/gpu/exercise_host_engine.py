"""Every operation of the host engine over awkward sizes, with the library in the directory given: a program.

tests/gpu/test_sanitizers.py runs it on a build that stops at the first bad access or undefined step.
"""

from __future__ import annotations

import contextlib
import sys

import numpy as np

import gpu
from gpu.host_engine import HostEngine
from kzg.errors import KzgError


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

    blobs[2, -32:] = 0xFF
    for operation in (engine.commit, engine.extend, engine.prove):
        with contextlib.suppress(KzgError):
            operation(blobs)
            raise AssertionError("an element beyond the modulus was taken")


if __name__ == "__main__":
    gpu.__path__ = [sys.argv[1]]
    for table in ("small", "medium"):
        with HostEngine(workers=2, table=table) as opened:
            exercise(opened, np.random.default_rng(7))
    print("exercised")
