"""Which prompts RL sees: by how often the policy before it is right (pass@K)."""

from collections.abc import Mapping

import numpy as np

from training.mgrd.config import PASS_K, PASS_WINDOW, Select


def select(counts: Mapping[str, int], which: Select, size: int, seed: int) -> list[str]:
    """``size`` questions by their number of right answers of K, or as many as there are: those in
    the window, those that always failed, or any."""
    low, high = {"3-6": PASS_WINDOW, "0": (0, 0), "all": (0, PASS_K)}[which]
    fitting = sorted(id_ for id_, right in counts.items() if low <= right <= high)
    random = np.random.default_rng([seed, 3])
    return [str(id_) for id_ in random.permutation(fitting)[:size]]


def histogram(counts: Mapping[str, int]) -> list[int]:
    """How many questions were answered right 0, 1, ... K times."""
    found = np.bincount(list(counts.values()), minlength=PASS_K + 1)
    return [int(number) for number in found]
