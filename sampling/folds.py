"""The sampler of folded columns: by chance from a few, or by knowledge from 64.

A valid fold says that whoever answered holds the whole column, and 64 whole columns are the batch. So:
- the run begins with s random columns; when all of them are valid, the batch is AVAILABLE but for the chance
  that fewer than 64 columns can be had and all s are among them (`fold_failure_probability`);
- once a column of these is settled without a valid fold, or from the start of a thorough run, columns are
  asked for in their random order until 64 are valid: AVAILABLE by knowledge, without chance;
- when 65 columns are withheld, 64 cannot be had: UNAVAILABLE. What could not be asked leaves it UNDECIDED.

So a coalition changes a verdict to UNAVAILABLE only when it holds every copy of 65 columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB
from sampling.asking import Asking, SampleState, Verdict
from sampling.errors import InvalidSampleCount

NEEDED = CELLS_PER_BLOB


class FoldSampler(Asking[int]):
    """One sampling run over folds of columns.

    Args:
        columns: all 128 columns in the order they were drawn.
        samples: how many of the first are the sample, 1..64.
        thorough: ask for 64 at once.
        holders, rng, others, refusals_max, attempts_max, retention_over: as `Asking`.

    Raises:
        InvalidSampleCount: not each column once, or a sample that is no part of 64 columns.
        InvalidHolders: a column without holders.
    """

    def __init__(
        self,
        columns: Sequence[int],
        samples: int,
        holders: Sequence[Sequence[int]],
        rng: Random,
        *,
        thorough: bool = False,
        others: Sequence[Sequence[int]] | None = None,
        refusals_max: int = 2,
        attempts_max: int = 4,
        retention_over: bool = False,
    ) -> None:
        if sorted(columns) != list(range(CELLS_PER_EXT_BLOB)) or not 1 <= samples <= NEEDED:
            raise InvalidSampleCount(samples, NEEDED)
        super().__init__(
            columns,
            holders,
            rng,
            others=others,
            refusals_max=refusals_max,
            attempts_max=attempts_max,
            retention_over=retention_over,
        )
        self.samples = samples
        self._all = thorough

    @property
    def by_knowledge(self) -> bool:
        """Whether 64 columns are known to be there."""
        return self.count(SampleState.VALID) >= NEEDED

    @property
    def verdict(self) -> Verdict:
        """The verdict on what is known so far; final once `finished`, or at the driver's deadline."""
        if self.by_knowledge or (not self._all and self._sample_is_valid):
            return Verdict.AVAILABLE
        if self.count(SampleState.WITHHELD) > CELLS_PER_EXT_BLOB - NEEDED:
            return Verdict.UNAVAILABLE
        return Verdict.UNDECIDED

    @property
    def finished(self) -> bool:
        """True when no request, event or verification can change anything any more."""
        if self._busy:
            return False
        return self.verdict is not Verdict.UNDECIDED or not self._wanted()

    @property
    def _sample_is_valid(self) -> bool:
        return all(self.state(position) is SampleState.VALID for position in range(self.samples))

    def _wanted(self) -> Sequence[int]:
        """The sample; and when that is not enough, as many more, in their order, as may make 64."""
        if self.verdict is not Verdict.UNDECIDED:
            return ()
        settled = (SampleState.WITHHELD, SampleState.UNREACHED)
        if any(self.state(position) in settled for position in range(self.samples)):
            self._all = True
        reach = NEEDED if self._all else self.samples
        wanted = []
        for position in range(len(self.items)):
            if reach == 0:
                break
            state = self.state(position)
            if state not in settled:
                reach -= 1
            if state is SampleState.WAITING:
                wanted.append(position)
        return wanted
