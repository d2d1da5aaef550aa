"""Two answers to each question: which way of asking, or which server, is better?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

RESAMPLES = 2000
Z = 1.959964  # of 95 %


@dataclass(frozen=True, slots=True)
class Paired:
    """``first`` and ``second`` are the mean scores of the ``n`` questions that both answered.

    ``difference`` is second less first, with its 95 % interval. ``only_first`` and
    ``only_second`` are the questions that only one has right; ``p`` is McNemar's exact test of
    those, None for scores that are not right or wrong.
    """

    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float | None


def paired(pairs: Sequence[tuple[float, float]], seed: int = 0) -> Paired | None:
    """Compare the scores of the same questions, or None of no pairs.

    Of right and wrong, the interval is Agresti and Min's (Statistics in Medicine 24, 2005), which
    is not empty where no pair differs; of scores in between, questions are resampled (Efron 1979).
    McNemar's test is the exact one, a binomial of the discordant pairs.
    """
    from scipy.stats import binomtest

    if not pairs:
        return None
    scores = np.array(pairs, dtype=np.float64)
    differences = scores[:, 1] - scores[:, 0]
    first, second = (int((differences * sign > 0).sum()) for sign in (-1, 1))
    p = None
    if np.isin(scores, (0.0, 1.0)).all():
        p = float(binomtest(first, first + second).pvalue) if first + second else 1.0
        low, high = _matched(first, second, len(pairs))
    else:
        drawn = np.random.default_rng(seed).integers(len(pairs), size=(RESAMPLES, len(pairs)))
        low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return Paired(
        n=len(pairs),
        first=float(scores[:, 0].mean()),
        second=float(scores[:, 1].mean()),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        only_first=first,
        only_second=second,
        p=p,
    )


def _matched(first: int, second: int, n: int) -> tuple[float, float]:
    """Agresti and Min: Wald's interval with half a pair added to each cell of the table."""
    more, total = second - first, n + 2
    error = sqrt(first + second + 1 - more**2 / total) / total
    return max(-1.0, more / total - Z * error), min(1.0, more / total + Z * error)
