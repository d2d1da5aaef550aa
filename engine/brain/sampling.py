"""From next-token scores to a token."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from engine.types import GenerationOptions


def sample(
    logits: NDArray[np.float32],
    options: GenerationOptions,
    seen: Collection[int],
    random: np.random.Generator,
) -> int:
    """Choose a token from ``logits`` [V].

    ``seen`` are the tokens of this answer so far: the repetition penalty (Keskar et al., 2019,
    section 4.1) is for loops, so the system prompt and the caller's words are left alone.

    Raises:
        ValueError: an option is out of its range.
    """
    if options.temperature < 0 or not 0 < options.top_p <= 1 or options.repetition_penalty <= 0:
        raise ValueError(f"options out of range: {options}")
    scores = logits
    if seen and options.repetition_penalty != 1:
        scores = logits.copy()
        indices = np.fromiter(seen, np.int64)
        chosen = scores[indices]
        penalty = options.repetition_penalty
        scores[indices] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    if options.temperature == 0:
        return int(scores.argmax())
    return _nucleus(scores / options.temperature, options.top_p, random)


def _nucleus(scores: NDArray[np.float32], top_p: float, random: np.random.Generator) -> int:
    """Sample from the smallest set of likeliest tokens whose share reaches ``top_p`` (Holtzman
    et al., 2020, section 3.1)."""
    # Those e^-20 below the best have no share worth sorting 150,000 scores for.
    candidates = np.flatnonzero(scores > scores.max() - 20)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    weights = np.exp(scores[candidates] - scores[candidates[0]], dtype=np.float64)
    share = np.cumsum(weights / weights.sum())
    kept = int(np.searchsorted(share, min(top_p, share[-1]))) + 1
    return int(candidates[np.searchsorted(share[:kept], random.random() * share[kept - 1])])
