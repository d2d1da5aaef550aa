"""Pronounces words that no dictionary holds: the g2p_en network (Apache-2.0), in numpy.

It needs no runtime, because it is one small recurrence and runs only for such words.

A character GRU reads the word, a phoneme GRU started from its last state writes the
pronunciation greedily. Symbols and shapes are those of the published checkpoint
(kyubyong/g2p, ``checkpoint20.npz``); the recurrence is that of PyTorch's GRU.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_LETTERS = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz", start=3)}
_END_OF_WORD = 2
_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH",
    "T", "TH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
# The checkpoint's order is alphabetical and has a bare UW next to its stressed forms.
_PHONES = (
    "<pad>", "<unk>", "<s>", "</s>",
    *sorted([v + d for v in _VOWELS for d in "012"] + list(_CONSONANTS)),
)  # fmt: skip
_START, _STOP = 2, 3
MAX_PHONES = 40  # longer than any word; the network may loop


class NeuralG2P:
    """The loaded network; safe to share between threads."""

    def __init__(self, checkpoint: Path) -> None:
        with np.load(checkpoint, allow_pickle=False) as arrays:
            self._w: dict[str, Array] = {name: arrays[name] for name in arrays.files}
        if self._w["fc_w"].shape[0] != len(_PHONES):
            raise ValueError(f"{checkpoint}: not the g2p_en network (wrong number of phonemes)")

    def __call__(self, word: str) -> list[str]:
        """ARPAbet symbols for ``word``. Letters other than a-z are ignored."""
        state: Array = np.zeros(self._w["enc_w_hh"].shape[1], np.float32)
        for index in [*(_LETTERS[c] for c in word.lower() if c in _LETTERS), _END_OF_WORD]:
            state = self._step("enc", index, state)
        phones: list[str] = []
        last = _START
        while len(phones) < MAX_PHONES:
            state = self._step("dec", last, state)
            last = int(np.argmax(self._w["fc_w"] @ state + self._w["fc_b"]))
            if last == _STOP:
                break
            if last > _STOP:
                phones.append(_PHONES[last])
        return phones

    def _step(self, net: str, index: int, state: Array) -> Array:
        """One GRU step on embedding row ``index``; state: [H]. Gate order r, z, n."""
        w = self._w
        given = w[f"{net}_w_ih"] @ w[f"{net}_emb"][index] + w[f"{net}_b_ih"]
        kept = w[f"{net}_w_hh"] @ state + w[f"{net}_b_hh"]
        given_r, given_z, given_n = np.split(given, 3)
        kept_r, kept_z, kept_n = np.split(kept, 3)
        reset = _sigmoid(given_r + kept_r)
        update = _sigmoid(given_z + kept_z)
        new = np.tanh(given_n + reset * kept_n)
        return np.asarray((1 - update) * new + update * state, np.float32)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
