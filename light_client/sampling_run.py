"""The two runs of a light client: over folds of columns, and over single cells.

Invariants: the seed, columns and cells of a batch are durable before the first request, and are never drawn
again.

Does not: draw them (client.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kzg.folds import fold_commitments, fold_scalars
from kzg.types import Bytes, IndexArray
from light_client.asking_run import WRONG, AskingRun, Parts
from light_client.peers import MemberClient, SampleAnswer
from light_client.witness import Fault
from sampling import Coordinates, FoldSampler


class CellRun(AskingRun[Coordinates]):
    """Samples cells."""

    async def _request(
        self, member: MemberClient, items: Sequence[Coordinates], timeout_s: float
    ) -> list[SampleAnswer]:
        return await member.cells(self.batch.header_hash, items, timeout_s)

    def _places(self, items: Sequence[Coordinates]) -> tuple[Bytes, IndexArray, IndexArray]:
        rows = np.array([cell.row for cell in items])
        return self.batch.commitments, rows, np.array([cell.column for cell in items])

    def _accuse(self, member: int, item: Coordinates, record: bytes) -> None:
        self._witness.accuse(member, Fault.INVALID_CELL, WRONG, record, row=item.row, column=item.column)


class FoldRun(AskingRun[int]):
    """Samples folds of columns under a seed, bytes[32]."""

    def __init__(self, parts: Parts[int], sampler: FoldSampler, seed: bytes) -> None:
        super().__init__(parts)
        self.folds = sampler
        self.seed = seed
        self._commitment: Bytes | None = None

    async def _request(
        self, member: MemberClient, items: Sequence[int], timeout_s: float
    ) -> list[SampleAnswer]:
        return await member.folds(self.batch.header_hash, self.seed, items, timeout_s)

    def _places(self, items: Sequence[int]) -> tuple[Bytes, IndexArray, IndexArray]:
        """Folds are the cells of one row, whose commitment is the fold of the batch's."""
        if self._commitment is None:
            scalars = fold_scalars(self.seed, self.batch.header_hash, len(self.batch.commitments))
            self._commitment = fold_commitments(self.batch.commitments, scalars[np.newaxis])
        return self._commitment, np.zeros(len(items), dtype=np.int64), np.array(items)

    def _accuse(self, member: int, item: int, record: bytes) -> None:
        evidence = self.seed + record
        self._witness.accuse(member, Fault.INVALID_FOLD, WRONG, evidence, column=item)
