"""`TokenLog` on transformers: any causal language model whose cache can be cropped."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from engine.brain.token_log import check_cut


class TorchTokenLog:
    """One call's cache over a shared model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tokens: list[int] = []
        self._cache = DynamicCache()
        self._scores: NDArray[np.float32] | None = None  # of the token after self._tokens

    @property
    def tokens(self) -> Sequence[int]:
        return self._tokens

    @torch.inference_mode()
    def append(self, tokens: Sequence[int]) -> None:
        if not tokens:
            raise ValueError("nothing to append")
        ids = torch.tensor([list(tokens)], device=self._model.device)
        try:
            output = self._model(
                input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
        except BaseException:
            self._crop(len(self._tokens))
            raise
        self._tokens.extend(tokens)
        self._scores = output.logits[0, -1].float().cpu().numpy()

    def truncate(self, length: int) -> None:
        check_cut(len(self._tokens), length)
        if length < len(self._tokens):
            del self._tokens[length:]
            self._crop(length)
            self._scores = None

    def logits(self) -> NDArray[np.float32]:
        if not self._tokens:
            raise ValueError("an empty log has no next token")
        if self._scores is None:
            last = self._tokens[-1]
            self.truncate(len(self._tokens) - 1)
            self.append([last])
            assert self._scores is not None
        return self._scores

    def close(self) -> None:
        self._tokens = []
        self._scores = None
        self._cache = DynamicCache()

    def _crop(self, length: int) -> None:
        if not length:
            self._cache = DynamicCache()
        layers: list[Any] = self._cache.layers
        for layer in layers:  # a step that failed has reached only some of them
            layer.crop(-max(0, layer.get_seq_length() - length))
