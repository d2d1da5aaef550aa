"""A model that is being taught: its weights, its tokenizer, and how it is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from engine.native.model.gguf_weights import GgufModel
from training.mgrd import sampling, tokens
from training.mgrd.config import Decoder, Scale
from training.mgrd.device import device
from training.mgrd.hearing import SoundTable, hearing_model, with_hearing
from training.mgrd.prompts import Writer
from training.mgrd.tasks import Question
from training.mgrd.tokens import PAD, STOP, IdTokenizer, id_of

MAX_POSITIONS = 4096
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
# Rows of the text model that stand in for those of tokens that it has never seen.
ALIKE = {
    "<|BOT|>": "<|im_start|>",
    "<|EOT|>": "<|im_end|>",
    "<audio_start>": "<|im_start|>",
    "<audio_end>": "<|im_end|>",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the stages pass on; they train ``model`` in place."""

    scale: Scale
    model: Qwen2ForCausalLM
    text: Tokenizer
    tokenizer: IdTokenizer
    writer: Writer

    def complete(self, prompts: Sequence[Sequence[int]], samples: int = 0) -> list[list[str]]:
        """Completions of each prompt: ``samples`` drawn ones, or with 0 the greedy one."""
        return sampling.complete(
            self.model,
            self.tokenizer,
            prompts,
            max_new_tokens=self.scale.max_new_tokens,
            samples=samples or 1,
            temperature=self.scale.temperature if samples else 0.0,
        )

    def save(self, path: Path) -> None:
        """Keep the weights for the next stage."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        save_file({k: v.contiguous() for k, v in self.model.state_dict().items()}, fresh)
        fresh.replace(path)

    def load(self, path: Path) -> None:
        """Take the weights of another stage.

        Raises:
            RuntimeError: they are of another scale.
        """
        self.model.load_state_dict(load_file(path))

    def standardise(self, questions: Sequence[Question]) -> None:
        """See `HearingAdaptor.standardise`; do it before anything is learnt."""
        embedding: Any = self.model.get_input_embeddings()
        frames = np.concatenate([question.frames for question in questions])
        embedding.adapter.standardise(torch.from_numpy(frames))

    @property
    def parameters(self) -> int:
        """Number of weights that are trained."""
        return sum(w.numel() for w in self.model.parameters() if w.requires_grad)


def new_policy(scale: Scale, sounds: SoundTable, seed: int, gguf: Path | None = None) -> Policy:
    """A policy that knows nothing; ``gguf``: the file of the text model that scale M starts from.

    Raises:
        ValueError: a scale without a decoder of its own, and no file.
    """
    torch.manual_seed(seed)
    if scale.decoder is None:
        if gguf is None:
            raise ValueError(f"scale {scale.name} starts from a text model, and none is given")
        text, model = _from_text(gguf, sounds)
    else:
        text = tokens.build(tokens.closed_vocabulary())
        model = hearing_model(_shapes(scale.decoder, text), sounds)
    if scale.lora_rank:
        from training.mgrd.lora import add_lora

        add_lora(model, scale.lora_rank)
    model.to(device())  # type: ignore[arg-type]
    model.generation_config.eos_token_id = id_of(text, STOP)
    model.generation_config.pad_token_id = id_of(text, PAD)
    return Policy(scale, model, text, tokens.for_trainers(text), Writer(text, model))


def _shapes(decoder: Decoder, text: Tokenizer) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=text.get_vocab_size(),
        hidden_size=decoder.hidden,
        intermediate_size=decoder.intermediate,
        num_hidden_layers=decoder.layers,
        num_attention_heads=decoder.heads,
        num_key_value_heads=decoder.kv_heads,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False,
        eos_token_id=id_of(text, STOP),
        pad_token_id=id_of(text, PAD),
    )


def _from_text(path: Path, sounds: SoundTable) -> tuple[Tokenizer, Qwen2ForCausalLM]:
    """Qwen2's weights, dequantised, with a head of their own and rows more for Step-Audio's
    special tokens."""
    stored = GgufModel(path)
    text, shape = stored.tokenizer(), stored.config.decoder
    tokens.add_special(text)
    config = Qwen2Config(
        vocab_size=max(text.get_vocab_size(), shape.vocab),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.max_positions,
        rms_norm_eps=shape.eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config)
    weights = model.state_dict()
    tables = {name: weights[name][: shape.vocab] for name in TABLES}
    head = tables["lm_head.weight"]
    destinations = {**weights, **tables}
    if shape.tied_embeddings:
        del destinations["lm_head.weight"]
    stored.load(destinations, lambda _, __: None)
    if shape.tied_embeddings:
        head.copy_(tables["model.embed_tokens.weight"])
    for token, known in ALIKE.items():
        for name in TABLES:
            weights[name][id_of(text, token)] = weights[name][id_of(text, known)]
    return text, with_hearing(model, sounds)
