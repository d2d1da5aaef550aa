"""Answers of a model to many prompts."""

from collections.abc import Sequence

import torch
from transformers import Qwen2ForCausalLM

from training.mgrd.tokens import IdTokenizer

ROWS = 96  # at once


@torch.inference_mode()
def complete(
    model: Qwen2ForCausalLM,
    tokenizer: IdTokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    samples: int = 1,
    temperature: float = 0.0,
) -> list[list[str]]:
    """``samples`` completions as text for each prompt; temperature 0 is greedy. Draws are those of
    torch's global generator."""
    was_training = model.training
    model.train(False)
    # Those of like length go together, or they are mostly padding.
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    rows = [at for at in order for _ in range(samples)]
    found: list[list[str]] = [[] for _ in prompts]
    for first in range(0, len(rows), ROWS):
        part = rows[first : first + ROWS]
        made = _generate(
            model, tokenizer, [prompts[at] for at in part], max_new_tokens, temperature
        )
        for at, text in zip(part, made, strict=True):
            found[at].append(text)
    model.train(was_training)
    return found


def _generate(
    model: Qwen2ForCausalLM,
    tokenizer: IdTokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float,
) -> list[str]:
    pad, longest = tokenizer.pad_token_id, max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    made = model.generate(  # type: ignore[misc]
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id,
        **(drawn if temperature else {"do_sample": False}),
    )
    texts: list[str] = tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
    return texts
