"""How many cells a client must sample, exactly.

The matrix of a batch has 2R rows (R data, R parity) and 128 columns. A client draws s distinct cells
uniformly. If w cells are withheld, it fails to notice with the hypergeometric probability

    P(miss) = C(M - w, s) / C(M, s),   M = 2R * 128,

without replacement and without approximation; it falls with w, so the worst adversary withholds as little
as it can. The least it can withhold, so that not all data can be rebuilt, is (R + 1) x 65 cells.

Proof. The matrix is a codeword of a product code: any 64 cells determine a row, any R cells a column.
(Enough:) Take the cells still unknown when repair of rows and columns in turn has stopped short. Each row
with an unknown cell then has at least 65 of them (64 known ones would have rebuilt it), and each of those
65 columns has an unknown cell, hence at least R + 1 of them: at least 65 (R + 1) in all, every one withheld.
(Needed:) Withhold the crossing of any R + 1 rows with any 65 columns: every row keeps either 128 cells or
63, every column either 2R or R - 1, so nothing can be repaired; and since each of the two codes has words
of weight 65 and R + 1 on any positions of that number, their product is a nonzero codeword that lies wholly
inside the hole: two matrices agree on all that is left. The commitments say which of the two it is, but do
not give the cells back: what is missing has the entropy of at least one cell.

For R = 1 that is 130 of 256 cells, more than half; it falls towards 65/256, a little over a quarter, as R
grows. Probabilities are Fractions throughout; floats appear only where a caller asks for them.

What this does not cover: one client whose requests the adversary recognises and answers
selectively. That client is served; the data is lost to the rest. `coverage` counts how many clients make
that impossible.

Source: Al-Bassam, Sonnino, Buterin 2018 (arXiv:1809.09044), theorem 1 and corollary 1, for square matrices.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

from erasure.constants import CELLS_PER_BLOB, CELLS_PER_EXT_BLOB, MAX_ROWS
from sampling.errors import InvalidConfidence, InvalidRows, InvalidSampleCount


def total_cells(rows: int) -> int:
    """Cells of the 2R x 128 matrix that a batch of `rows` data rows spans.

    Raises:
        InvalidRows: unless 1 <= rows <= MAX_ROWS.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise InvalidRows(rows)
    return 2 * rows * CELLS_PER_EXT_BLOB


def unrecoverable_threshold(rows: int) -> int:
    """The least number of withheld cells with which some of the data cannot be rebuilt: (R + 1) x 65.

    Raises:
        InvalidRows: unless 1 <= rows <= MAX_ROWS.
    """
    total_cells(rows)
    return (rows + 1) * (CELLS_PER_BLOB + 1)


def miss_probability(total: int, withheld: int, samples: int) -> Fraction:
    """Probability that `samples` distinct uniform cells of `total` avoid all `withheld` ones.

    Raises:
        InvalidSampleCount: unless 1 <= samples <= total, or when more cells are withheld than there are.
    """
    if not 1 <= samples <= total:
        raise InvalidSampleCount(samples, total)
    if not 0 <= withheld <= total:
        raise InvalidSampleCount(withheld, total)
    return Fraction(comb(total - withheld, samples), comb(total, samples))


def failure_probability(rows: int, samples: int) -> Fraction:
    """Probability that all `samples` cells are there although the data of `rows` rows is lost, at worst.

    Raises:
        InvalidRows, InvalidSampleCount: for a matrix or a number of cells that does not exist.
    """
    return miss_probability(total_cells(rows), unrecoverable_threshold(rows), samples)


def confidence_of(rows: int, samples: int) -> Fraction:
    """1 - failure_probability: what a client may claim after `samples` valid cells.

    Raises:
        InvalidRows, InvalidSampleCount: for a matrix or a number of cells that does not exist.
    """
    return 1 - failure_probability(rows, samples)


def samples_needed(rows: int, confidence: Fraction | float) -> int:
    """The least number of distinct cells whose validity gives `confidence` that the data is recoverable.

    Args:
        rows: data rows of the batch.
        confidence: strictly between 0 and 1. A float means its shortest decimal: 0.9999 is 9999/10000.

    Raises:
        InvalidRows: unless 1 <= rows <= MAX_ROWS.
        InvalidConfidence: unless 0 < confidence < 1.
    """
    total, withheld = total_cells(rows), unrecoverable_threshold(rows)
    allowed = 1 - parse_confidence(confidence)

    # C(M-w, s) / C(M, s) is the product of (M-w-i) / (M-i) over i < s; numerator and denominator stay
    # apart so that no common divisor is ever sought. It is 0 at s = M-w+1, so the loop ends.
    missed, drawn, samples = 1, 1, 0
    while missed * allowed.denominator > drawn * allowed.numerator:
        missed *= total - withheld - samples
        drawn *= total - samples
        samples += 1
    return max(samples, 1)


def fold_failure_probability(samples: int) -> Fraction:
    """Probability that folds of `samples` random columns are all valid although fewer than 64 can be had.

    Of 128 columns at most 63 can, so it is at most C(63, s) / C(128, s), whatever the number of rows.

    Raises:
        InvalidSampleCount: unless 1 <= samples <= 128.
    """
    if not 1 <= samples <= CELLS_PER_EXT_BLOB:
        raise InvalidSampleCount(samples, CELLS_PER_EXT_BLOB)
    return Fraction(comb(CELLS_PER_BLOB - 1, samples), comb(CELLS_PER_EXT_BLOB, samples))


def folds_needed(confidence: Fraction | float) -> int:
    """The least number of folds whose validity gives `confidence` that the data is recoverable: 64 at most.

    Raises:
        InvalidConfidence: unless 0 < confidence < 1.
    """
    allowed = 1 - parse_confidence(confidence)
    samples = 1
    while fold_failure_probability(samples) > allowed:
        samples += 1
    return samples


def parse_confidence(confidence: Fraction | float) -> Fraction:
    """A confidence as an exact fraction.

    Raises:
        InvalidConfidence: for numbers outside (0, 1), and for what is not a number.
    """
    try:
        exact = Fraction(repr(confidence)) if isinstance(confidence, float) else Fraction(confidence)
    except ValueError as error:
        raise InvalidConfidence(confidence) from error
    if not 0 < exact < 1:
        raise InvalidConfidence(confidence)
    return exact
