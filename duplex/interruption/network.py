"""What a sound over an answer is: small recurrent networks that judge it by its first 100 to
300 ms, and one of the same kind that judges all of it.

Trained by benchmarks/turn_taking/train_interruption.py; see there, and
benchmarks/results/interruptions.json, for
what on and what they are worth. They are shared by all calls; a call's state is passed in and out.
"""

from collections.abc import Iterable
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from duplex.interruption.echo_path import BANDS, Bands

Vector = NDArray[np.float32]

FEATURES = 2 * BANDS + 3
_FLOOR_DB = -50.0  # below the loudest band so far


class Probe:
    """Gated recurrent units (Cho et al. 2014, as in torch.nn.GRU) with logistic outputs: one
    network, or several whose scores are averaged.

    Args:
        weights: input [3H, FEATURES], hidden [3H, H], their biases [3H], output [H] and bias [1],
            each with a leading axis [N] if there are several.
    """

    def __init__(self, weights: dict[str, Vector]) -> None:
        width = weights["hidden"].shape[-1]
        self._input = weights["input"].reshape(-1, weights["input"].shape[-1])  # [N * 3H, FEATURES]
        self._hidden = weights["hidden"].reshape(-1, 3 * width, width)
        self._input_bias = weights["input_bias"].reshape(-1, 3 * width)
        self._hidden_bias = weights["hidden_bias"].reshape(-1, 3 * width)
        self._output = weights["output"].ravel() / len(self._hidden)
        self._output_bias = float(weights["output_bias"].mean())
        self._width = width

    def start(self) -> Vector:
        """The state before the first frame, [N, H]."""
        return np.zeros((len(self._hidden), self._width), np.float32)

    def step(self, features: Vector, state: Vector) -> tuple[float, Vector]:
        """One frame, [FEATURES]: the probability of an interruption, and the new state."""
        width = self._width
        given = (self._input @ features).reshape(self._input_bias.shape) + self._input_bias
        kept = (self._hidden @ state[..., None])[..., 0] + self._hidden_bias
        gates = 1 / (1 + np.exp(-(given[:, : 2 * width] + kept[:, : 2 * width])))
        reset, update = gates[:, :width], gates[:, width:]
        candidate = np.tanh(given[:, 2 * width :] + reset * kept[:, 2 * width :])
        state = (1 - update) * candidate + update * state
        score = float(self._output @ state.ravel()) + self._output_bias
        return float(1 / (1 + np.exp(-score))), state

    def run(self, frames: Iterable[Vector]) -> float:
        """The probability after the last of some frames; 0.5 after none."""
        probability, state = 0.5, self.start()
        for features in frames:
            probability, state = self.step(features, state)
        return probability


@cache
def default_probe() -> Probe:
    """The networks for the first stage that come with the package."""
    return _packed("first_syllable")


@cache
def default_verdict() -> Probe:
    """The one for the second stage: run over a whole utterance, it gives the probability that it
    is no interruption."""
    return _packed("whole_utterance")


def _packed(name: str) -> Probe:
    with (
        resources.files("duplex.interruption").joinpath("weights", f"{name}.npz").open("rb") as file
    ):
        return Probe(dict(np.load(file)))


class ProbeInput:
    """The network's features of one stream of frames, without its absolute level."""

    def __init__(self) -> None:
        self._loudest = 1e-9

    def features(
        self, powers: Bands, probability: float, unexplained: float, level_db: float | None
    ) -> Vector:
        """One frame.

        Args:
            powers: of its two hops, [2, BANDS].
            probability: of speech.
            unexplained: the share of its power that is not our echo.
            level_db: its level against the caller's usual speech, None if that is not known.
        """
        # Falls by 3 dB a second: an onset is seen against what was loud before.
        self._loudest = max(float(powers.max()), 0.978 * self._loudest, 1e-9)
        shape = 10 * np.log10(np.maximum(powers, 1e-12) / self._loudest)
        found = np.empty(FEATURES, np.float32)
        found[: 2 * BANDS] = np.clip(shape, _FLOOR_DB, 0).ravel() / 20 + 1
        level = 0.0 if level_db is None else float(np.clip(level_db, -40, 20))
        found[2 * BANDS :] = probability, unexplained, level / 20
        return found
