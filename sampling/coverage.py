"""How many clients make sure, together, that the data can be rebuilt from what they sampled.

One client that the adversary recognises can be served cells that no other client gets. Many cannot: N clients
with s cells each hold all but U cells of the matrix between them, and as soon as U < (R + 1) x 65 they can
rebuild the rest. Each cell is missed by all with probability p = (1 - s/M)^N.

The bound. Whether client i misses cell c is a draw without replacement, so its indicators over c are
negatively associated; clients are independent, and "all miss c" is a monotone function of its own
indicators; hence the U indicators are negatively associated too, and the Chernoff-Hoeffding bound for
independent ones holds for their sum:

    P(U >= d) <= exp(-M KL(d/M || p)),   d = (R + 1) x 65,  p < d/M.

It is an upper bound on failure, so the number of clients is on the safe side (a few per cent above what
simulation finds).

Source: Joag-Dev and Proschan 1983, Negative association of random variables (closure properties P4-P6);
Dubhashi and Ranjan 1998, Balls and bins: a study in negative dependence, proposition 5.
"""

from __future__ import annotations

from math import exp, log, log1p

from sampling.errors import InvalidConfidence, InvalidSampleCount
from sampling.soundness import total_cells, unrecoverable_threshold


def rebuild_failure_bound(rows: int, samples: int, clients: int) -> float:
    """Upper bound on the probability that `clients` clients cannot rebuild the data between them.

    Args:
        rows: data rows of the batch.
        samples: distinct uniform cells that each client holds, independently of the others.
        clients: how many such clients there are, 0 or more.

    Raises:
        InvalidRows, InvalidSampleCount: for a matrix or a number of cells that does not exist.
    """
    total, lost = total_cells(rows), unrecoverable_threshold(rows)
    if not 1 <= samples <= total:
        raise InvalidSampleCount(samples, total)

    if samples == total:
        return 0.0 if clients else 1.0
    log_p = clients * log1p(-samples / total)
    q, p = lost / total, exp(log_p)
    if p >= q:
        return 1.0
    divergence = q * (log(q) - log_p) + (1 - q) * (log(1 - q) - log1p(-p))
    return exp(-total * divergence)


def clients_needed(rows: int, samples: int, confidence: float) -> int:
    """The least number of clients for which `rebuild_failure_bound` is at most 1 - confidence.

    Raises:
        InvalidRows, InvalidSampleCount: for a matrix or a number of cells that does not exist.
        InvalidConfidence: unless 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise InvalidConfidence(confidence)
    allowed = 1 - confidence

    enough = 1
    while rebuild_failure_bound(rows, samples, enough) > allowed:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if rebuild_failure_bound(rows, samples, middle) > allowed:
            too_few = middle
        else:
            enough = middle
    return enough
