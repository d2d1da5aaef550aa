"""The same weights in transformers: `generate`, side by side with this engine."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor

from benchmarks.native.bed import Bed
from benchmarks.native.decoding import decode, random_ids
from benchmarks.native.timing import now, spread, times, wait_for
from engine.native.kv_cache import Log
from engine.native.model.decoder import Decoder
from engine.native.runtime.runner import Runner, StepInput


def share_weights(decoder: Decoder) -> Any:
    """A Qwen2ForCausalLM whose parameters are views of the decoder's matrices.

    Raises:
        RuntimeError: transformers has other tensors than a published checkpoint.
    """
    import transformers

    shape = decoder.shape
    settings: dict[str, Any] = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": shape.eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "tie_word_embeddings": shape.tied_embeddings,
        "attn_implementation": "sdpa",
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    config = transformers.Qwen2Config(**settings)
    with torch.device("meta"):
        model: Any = transformers.Qwen2ForCausalLM(config)
    model.eval()
    model.load_state_dict(decoder.destinations(), strict=True, assign=True)
    rotary = type(model.model.rotary_emb)  # its tables are in no checkpoint
    model.model.rotary_emb = rotary(config=config).to(decoder.device)
    empty = [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_meta]
    if empty:
        raise RuntimeError(f"transformers has {len(empty)} tensors that were not given")
    return model


def _generate(model: Any, ids: Tensor, tokens: int) -> Tensor:
    """Greedy ids [B, tokens] after ids [B, T]."""
    made: Tensor = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        use_cache=True,
    )
    return made[:, ids.shape[1] :]


def theirs(bed: Bed, model: Any, ids: Tensor, tokens: int, repetitions: int) -> dict[str, Any]:
    """Prefill of ``ids``, and what each further token takes."""

    def forward() -> None:
        model(ids, use_cache=True, logits_to_keep=1)

    first = times(forward, bed.device, repetitions)
    short = times(lambda: _generate(model, ids, 1), bed.device, repetitions, warm=1)
    whole = times(lambda: _generate(model, ids, tokens), bed.device, repetitions, warm=1)
    per_token = (min(whole) - min(short)) / (tokens - 1)
    return {
        "prefill_ms": spread(first),
        "generate_ms": spread(whole),
        "step_ms": round(1e3 * per_token, 3),
        "tokens_per_s": round(len(ids) / per_token, 1),
    }


def ours(
    bed: Bed, prompts: list[list[int]], tokens: int, repetitions: int
) -> tuple[dict[str, Any], list[list[int]]]:
    """As `theirs`; and the tokens [B][tokens]."""
    runner, first, steps = Runner(bed.decoder, bed.pool, bed.graphs), [], []
    for _ in range(repetitions + 1):
        logs: list[Log] = [bed.pool.open() for _ in prompts]
        try:
            wait_for(bed.device)
            start = now()
            feeds = [
                StepInput(log, ids, None, True) for log, ids in zip(logs, prompts, strict=True)
            ]
            scores = runner.step(feeds).scores
            assert scores is not None
            begin = scores.argmax(-1).tolist()
            first.append(now() - start)
            made = decode(bed, runner, logs, begin, tokens - 1)
            steps.append(sum(made.steps))
        finally:
            for log in logs:
                log.close()
    said = [list(row) for row in zip(begin, *made.tokens, strict=True)]
    per_token = min(steps[1:]) / (tokens - 1)
    return {
        "prefill_ms": spread(first[1:]),
        "step_ms": round(1e3 * per_token, 3),
        "tokens_per_s": round(len(prompts) / per_token, 1),
    }, said


def agreement(model: Any, prompt: Tensor, said: list[int], greedy: list[int]) -> dict[str, Any]:
    """Of our tokens: how many are theirs before the first that differs, and how many are what
    they would say next after the same words. Also how close the two best scores are there, which
    random weights make a matter of rounding."""
    own = torch.tensor([said], device=prompt.device)
    scores = model(torch.cat([prompt, own[:, :-1]], dim=1)).logits[0, prompt.shape[1] - 1 :].float()
    same = scores.argmax(-1).tolist()
    first = next((i for i, (a, b) in enumerate(zip(said, greedy, strict=True)) if a != b), None)
    best = scores.topk(2, dim=-1).values
    misses = [i for i, (a, b) in enumerate(zip(said, same, strict=True)) if a != b]
    behind = [float(best[i, 0] - scores[i, said[i]]) for i in misses]
    return {
        "tokens": len(said),
        "equal_before_first_difference": len(said) if first is None else first,
        "equal_after_same_words": len(said) - len(misses),
        "median_lead_of_the_best": round(float((best[:, 0] - best[:, 1]).median()), 4),
        "most_behind_where_different": round(max(behind, default=0.0), 4),
    }


@torch.inference_mode()
def side_by_side(
    bed: Bed, *, rows: list[int], prompt: int, tokens: int, repetitions: int
) -> dict[str, Any]:
    """Greedy text, prefill and decode of both on the same weights and prompts."""
    import transformers

    model = share_weights(bed.decoder)
    result: dict[str, Any] = {"transformers": transformers.__version__, "prompt": prompt}
    result["rows"] = []
    for count in rows:
        prompts = [random_ids(bed, prompt, seed) for seed in range(count)]
        ids = torch.tensor(prompts, device=bed.device)
        figures, said = ours(bed, prompts, tokens, repetitions)
        greedy = _generate(model, ids, tokens).tolist()
        result["rows"].append(
            {
                "rows": count,
                "ours": figures,
                "transformers": theirs(bed, model, ids, tokens, repetitions),
                "agreement": [
                    agreement(model, ids[row : row + 1], said[row], greedy[row])
                    for row in range(count)
                ],
            }
        )
    return result
