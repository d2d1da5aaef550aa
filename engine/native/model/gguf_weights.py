"""A Qwen2 text model from a GGUF file: shapes, tokenizer, and weights without quantisation.

llama.cpp stores Qwen2 as Hugging Face does, under other names: no permutation of q and k.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from engine.brain.gguf_tokenizer import build_tokenizer
from engine.native.model.checkpoint import CheckpointError, compare_shapes
from engine.native.model.config import DecoderShape, StepAudioConfig

_ROWS_AT_ONCE = 8192  # as floats, a whole embedding takes half a gigabyte and more
_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


class GgufModel:
    """A memory-mapped GGUF file of the architecture ``qwen2``; ``config`` has its shapes."""

    def __init__(self, path: Path) -> None:
        """Raises:
        CheckpointError: the file is damaged or is another kind of model.
        ImportError: the package ``gguf`` is missing.
        """
        from gguf import GGUFReader

        self._path = path
        try:
            reader = GGUFReader(path)
        except (ValueError, OSError, IndexError, KeyError) as error:
            raise CheckpointError(f"{path} cannot be read as GGUF: {error}") from error
        self._fields = reader.fields
        self._tensors = {_name(tensor.name): tensor for tensor in reader.tensors}
        if (architecture := self._get("general.architecture")) != "qwen2":
            raise CheckpointError(f"{path} is a {architecture!r} model, not qwen2")
        self.config = StepAudioConfig(self._shape(), None, None, tuple(self._stop_ids()))

    def tokenizer(self) -> Tokenizer:
        """The file's tokenizer.

        Raises:
            ValueError: it is not the byte-level BPE of Qwen2.
        """
        return build_tokenizer(self._get)

    @property
    def chat_template(self) -> str:
        """The Jinja text that writes a conversation.

        Raises:
            CheckpointError: the file has none.
        """
        return str(self._get("tokenizer.chat_template"))

    def load(
        self, destinations: Mapping[str, Tensor], progress: Callable[[str, float], None]
    ) -> None:
        """Copy every tensor, dequantised, to the destination of its Hugging Face name.

        ``progress`` is called after each with the name and the share of all weights, 0 to 1.

        Raises:
            CheckpointError: the file's tensors are not those of ``destinations``.
        """
        shapes = {key: _shape(tensor) for key, tensor in self._tensors.items()}
        compare_shapes(self._path, shapes, destinations)
        total, done = sum(to.numel() for to in destinations.values()), 0
        for key, tensor in self._tensors.items():
            to = destinations[key]
            for first, rows in _dequantised(tensor):
                part = to[first : first + len(rows)] if to.dim() > 1 else to
                part.copy_(rows.reshape(part.shape))
            done += to.numel()
            progress(key, done / total)

    def _shape(self) -> DecoderShape:
        hidden = self._get("qwen2.embedding_length")
        heads = self._get("qwen2.attention.head_count")
        if (embedding := self._tensors.get("model.embed_tokens.weight")) is None:
            raise CheckpointError(f"{self._path} has no token_embd.weight")
        return DecoderShape(
            layers=self._get("qwen2.block_count"),
            hidden=hidden,
            intermediate=self._get("qwen2.feed_forward_length"),
            heads=heads,
            kv_heads=self._get("qwen2.attention.head_count_kv"),
            head_dim=hidden // heads,
            vocab=_shape(embedding)[0],
            eps=self._get("qwen2.attention.layer_norm_rms_epsilon"),
            rope_theta=self._get("qwen2.rope.freq_base"),
            max_positions=self._get("qwen2.context_length"),
            tied_embeddings="lm_head.weight" not in self._tensors,
        )

    def _stop_ids(self) -> Iterator[int]:
        """The end of a message and, where the file pads with it, the end of text."""
        yield self._get("tokenizer.ggml.eos_token_id")
        if "tokenizer.ggml.padding_token_id" in self._fields:
            yield self._get("tokenizer.ggml.padding_token_id")

    def _get(self, key: str) -> Any:
        if key not in self._fields:
            raise CheckpointError(f"{self._path} has no {key!r}")
        return self._fields[key].contents()


def _name(name: str) -> str:
    """The Hugging Face name of a GGUF tensor; one that has none keeps its own."""
    if name in _WHOLE:
        return _WHOLE[name]
    match name.split("."):
        case ["blk", layer, part, kind] if part in _LAYER:
            return f"model.layers.{layer}.{_LAYER[part]}.{kind}"
    return name


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in reversed(tensor.shape))  # GGUF says columns first


def _dequantised(tensor: Any) -> Iterator[tuple[int, Tensor]]:
    """The tensor as floats, some rows at a time, each part with the number of its first row."""
    from gguf import dequantize

    rows = _shape(tensor)[0] if len(tensor.shape) > 1 else 1
    data = tensor.data.reshape(rows, -1)
    for first in range(0, rows, _ROWS_AT_ONCE):
        part = dequantize(data[first : first + _ROWS_AT_ONCE], tensor.tensor_type)
        yield first, torch.from_numpy(np.array(part, np.float32))
