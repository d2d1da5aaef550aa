"""What is played for the lost packets of a line."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from duplex.audio.formats import Samples

_HIGHEST_HZ, _LOWEST_HZ = 200, 66.7  # of a voice
_TEMPLATE_S = 0.01
_FADE_S = 0.06  # as in G.711 appendix I


class Concealer:
    """Plays packets, and something like speech where some are missing.

    The last period of what was played is repeated, fading until it is silent after 60 ms. What
    comes next is not touched. Of four ways this one served a recogniser best
    (docs/decisions/0030-packet-loss-concealment.md).
    """

    def __init__(self, rate_hz: int = 8_000) -> None:
        self._lags = np.arange(round(rate_hz / _HIGHEST_HZ), round(rate_hz / _LOWEST_HZ) + 1)
        self._template = round(rate_hz * _TEMPLATE_S)
        self._fade_samples = round(rate_hz * _FADE_S)
        kept = int(self._lags[-1]) + self._template
        self._played: Samples = np.zeros(kept, np.float32)  # of packets
        self._period = 0  # of its end; set when a gap begins
        self._missing = 0  # samples in a row

    def play(self, samples: Samples) -> Samples:
        """A packet is there; returns what is heard of it."""
        self._missing = 0
        self._played = np.concatenate([self._played, samples])[-len(self._played) :]
        return samples

    def conceal(self, count: int) -> Samples:
        """``count`` samples are missing; returns what is heard in their place."""
        if self._missing == 0:
            self._period = self._best_period()
        at = self._missing + np.arange(count)
        self._missing += count
        cycle = self._played[-self._period :]
        fade = np.clip(1 - at / self._fade_samples, 0, 1)
        return (cycle[at % self._period] * fade).astype(np.float32)

    def _best_period(self) -> int:
        """The lag at which what was just played repeats itself best."""
        played = self._played.astype(np.float64)
        end = played[-self._template :]
        before = sliding_window_view(played, self._template)[-1 - self._lags]
        match = np.maximum(before @ end, 0)
        score = match**2 / np.maximum(np.einsum("nk,nk->n", before, before), 1e-12)
        return int(self._lags[score.argmax()] if score.any() else self._lags[-1])
