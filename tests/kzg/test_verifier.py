"""The verifying half of every engine: it answers as the engine does, and cannot prove."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import gpu
from kzg.engine import Engine, Prover, Verifier
from tests.kzg.conftest import opened_engine

SMALL_BYTES = 1 << 20
"""More than any table of a verifier; the smallest of a prover is 18 MiB."""


def test_it_is_a_verifier_alone(verifier) -> None:
    assert isinstance(verifier, Verifier)
    assert not isinstance(verifier, Prover)
    assert not isinstance(verifier, Engine)
    assert not any(hasattr(verifier, name) for name in ("commit", "extend", "prove", "recover_with_proofs"))


def test_it_has_no_tables_for_proving(verifier) -> None:
    assert verifier.describe()["engine"] == verifier.name
    assert verifier.describe()["table_bytes"] < SMALL_BYTES


def test_it_verifies_recovers_and_derives(verifier, matrix) -> None:
    rows, columns = [0, 1, 2, 0], [0, 64, 127, 5]
    cells, proofs = matrix.at(rows, columns)
    assert verifier.verify_cells(matrix.commitments[rows], columns, cells, proofs) is True
    assert verifier.verify_cells(matrix.commitments[rows[::-1]], columns, cells, proofs) is False

    rows = [0, 4, 5]
    cells, proofs = matrix.at(rows, [7, 7, 99])
    assert verifier.verify_matrix_cells(matrix.data_commitments, rows, [7, 7, 99], cells, proofs) is True
    assert verifier.verify_matrix_cells(matrix.data_commitments, rows, [7, 8, 99], cells, proofs) is False

    known = list(range(30, 94))
    assert (verifier.recover(known, matrix.cells[:2, known]) == matrix.cells[:2]).all()
    assert (verifier.parity_cells(matrix.cells[:3, :2]) == matrix.cells[3:, :2]).all()
    assert (verifier.parity_proofs(matrix.proofs[:3, 9]) == matrix.proofs[3:, 9]).all()


class Watched:
    """Notes what Python would report to an auditor: files, sockets, processes, foreign functions."""

    def __init__(self) -> None:
        self.on = False
        self.events: list[str] = []
        sys.addaudithook(self._note)  # for good: a hook cannot be removed, so this one is turned off

    def _note(self, event: str, _: Any) -> None:
        if self.on and not event.startswith(("object.__getattr__", "sys._getframe")):
            self.events.append(event)


def test_describing_does_no_io() -> None:
    """What it answers was known at opening: it is the same when the workers, locks and handles are gone."""
    watched = Watched()
    names = [name for name in gpu.ENGINE_NAMES if name == "ckzg" or gpu.select.why_not(name) is None]
    for name in set(names) - {"auto"}:
        for open_it in (
            lambda name: opened_engine(name, workers=1),
            lambda name: gpu.open_verifier(gpu.EngineOptions(name, workers=1)),
            lambda name: gpu.open_verifier(gpu.EngineOptions(name, workers=1, fallback="ckzg")),
        ):
            with open_it(name) as opened:
                before = opened.describe()
            for attribute in ("_pool", "_library", "_handle", "_idle", "_lock"):
                opened.__dict__.pop(attribute, None)
            watched.on = True
            described, known_as = opened.describe(), opened.name
            watched.on = False
            assert (described, known_as) == (before, name)
            assert watched.events == []
            described["engine"] = "changed by a caller"
            assert opened.describe() == before


def test_a_verifier_of_random_cells_agrees_with_its_engine(engine, verifier) -> None:
    cells = np.random.default_rng(3).integers(0, 64, (3, 2, 2048), dtype=np.uint8)
    assert (verifier.parity_cells(cells) == engine.parity_cells(cells)).all()
