"""Repetition penalty over the tokens of an answer only, as all local brains have it.

vLLM's own counts the prompt, too: the words of the instructions, and what the caller said. This
module is imported by vLLM itself, in the process of its engine.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from engine.vllm.client import PENALTY, SAID


class AnswerPenalty(AdapterLogitsProcessor):  # type: ignore[misc]
    """Divides the scores of tokens that were said above 0, and multiplies those below it (Keskar et
    al., 2019, section 4.1)."""

    def is_argmax_invariant(self) -> bool:
        """Greedy answers change."""
        return False

    def new_req_logits_processor(
        self, params: SamplingParams
    ) -> Callable[[list[int], Tensor], Tensor] | None:
        """The penalty of one request; None if it has none."""
        extra = params.extra_args or {}
        penalty = extra.get(PENALTY, 1.0)
        if penalty == 1:
            return None
        said: list[int] = extra[SAID]

        def penalise(made: list[int], scores: Tensor) -> Tensor:
            seen = {token for token in (*said, *made) if token >= 0}  # -1: not known yet
            if seen:
                indices = torch.tensor(sorted(seen), device=scores.device)
                chosen = scores[indices]
                scores[indices] = torch.where(chosen > 0, chosen / penalty, chosen * penalty)
            return scores

        return penalise
