"""The sampler of cells: available when every drawn cell is valid.

`verdict` is UNAVAILABLE when for some cell every holder was asked and answered without a valid cell,
UNDECIDED when some holder could not be asked.

Source: sampling/soundness.py says what the verdict is worth.
"""

from __future__ import annotations

from sampling.asking import Asking, SampleState, Verdict
from sampling.selection import Coordinates


class Sampler(Asking[Coordinates]):
    """One sampling run over a fixed set of cells; see `Asking` for its arguments."""

    @property
    def verdict(self) -> Verdict:
        """The verdict on what is known so far; final once `finished`, or at the driver's deadline."""
        if self.count(SampleState.WITHHELD):
            return Verdict.UNAVAILABLE
        if self.count(SampleState.VALID) == len(self.items):
            return Verdict.AVAILABLE
        return Verdict.UNDECIDED

    @property
    def finished(self) -> bool:
        """True when no request, event or verification can change anything any more."""
        if self._busy:
            return False
        waiting = self._positions(SampleState.WAITING)
        if not waiting or self.verdict is not Verdict.UNAVAILABLE:
            return not waiting
        return all(attempts.asked for position in waiting for attempts in self._attempts[position].values())
