"""Complete Step-Audio checkpoints with random weights, small enough for every test.

Keys, files and configuration are those of the published checkpoints; only the sizes differ. The
tokenizer knows bytes and the special tokens under their true names, with ids of its own; sampled
text is mostly printable ASCII.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from torch import Tensor

from engine.native.model.config import (
    ADAPTOR_HIDDEN,
    AdaptorShape,
    DecoderShape,
    EncoderShape,
    StepAudioConfig,
)

AUDIO_CODES = 64
BYTES = 256
# In the order of their published ids, and as far as known without gaps.
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>",
    "<|EOT|>", "<|BOT|>", "<|CALL_START|>", "<|CALL_END|>", "<|THINK_START|>", "<|THINK_END|>",
    "<audio_start>", "<audio_end>", "<audio_patch>", "<audio_patch_pad>", "<|SC|>",
    "<tts_start>", "<tts_end>", "<tts_pad>",
)  # fmt: skip
AUDIO = tuple(f"<audio_{code}>" for code in [*range(AUDIO_CODES), 6561])
VOCABULARY = BYTES + len(SPECIAL) + len(AUDIO)
SHARDS = 3
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TINY = StepAudioConfig(
    decoder=DecoderShape(
        layers=2, hidden=64, intermediate=96, heads=4, kv_heads=2, head_dim=16,
        vocab=VOCABULARY, eps=1e-5, rope_theta=1e6, max_positions=4096,
    ),
    encoder=EncoderShape(mels=128, context=1500, state=64, heads=4, layers=2),
    adaptor=AdaptorShape(state=64, hidden=ADAPTOR_HIDDEN, output=64),
    stop_ids=tuple(
        sorted(BYTES + SPECIAL.index(t) for t in ("<|endoftext|>", "<|im_end|>", "<|EOT|>"))
    ),
)  # fmt: skip


def write_tiny_checkpoint(
    directory: Path,
    config: StepAudioConfig = TINY,
    *,
    nested: bool = True,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
) -> StepAudioConfig:
    """Write a checkpoint of these shapes and return them.

    Take other shapes with ``dataclasses.replace``. Without an encoder it is a plain Qwen2
    directory. ``nested``: the sections of config.json, or the flat form of config_origin.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_config(directory, config, nested=nested)
    write_tokenizer(directory)
    write_shards(directory, random_weights(config, seed=seed, dtype=dtype))
    return config


def random_weights(
    config: StepAudioConfig, *, seed: int = 0, dtype: torch.dtype = torch.bfloat16
) -> dict[str, Tensor]:
    """Every tensor of the checkpoint; activations keep about the size of their inputs."""
    generator = torch.Generator().manual_seed(seed)

    def weight(key: str, shape: tuple[int, ...]) -> Tensor:
        noise = torch.randn(shape, generator=generator)
        if key.endswith("bias"):
            return 0.1 * noise
        if len(shape) == 1:  # a norm
            return 1 + 0.1 * noise
        if key == "lm_head.weight":
            # Large logits for printable bytes, little for all else: text, not noise. Of what
            # all embeddings have in common, spaces are made: something like words.
            noise *= torch.where(_printable(config.decoder.vocab), 2.4, 0.2) / shape[1] ** 0.5
            noise[ord(" "), 0] = 1.5
            return noise
        if "embed" in key:
            noise *= 0.5
            noise[:, 0] = 1.5
            return noise
        return noise / math.prod(shape[1:]) ** 0.5

    return {key: weight(key, shape).to(dtype) for key, shape in config.tensors().items()}


def write_shards(directory: Path, tensors: dict[str, Tensor], shards: int = SHARDS) -> None:
    """Files named as in R1.1, without "-of-", and their index."""
    keys = list(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}.safetensors"
        part = keys[len(keys) * number // shards : len(keys) * (number + 1) // shards]
        save_file({key: tensors[key] for key in part}, directory / name)
        weight_map |= dict.fromkeys(part, name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def write_config(directory: Path, config: StepAudioConfig, *, nested: bool = True) -> None:
    """config.json with sections or for plain Qwen2, else the flat config_origin.json."""
    if config.encoder is None:
        values = {"model_type": "qwen2", **_text_fields(config)}
    elif nested:
        values = {
            "model_type": "step_audio_2",
            "architectures": ["StepAudio2ForCausalLM"],
            "text_config": {"model_type": "step_audio_2_text", **_text_fields(config)},
            "audio_encoder_config": {"model_type": "step_audio_2_encoder", **_audio_fields(config)},
        }
    else:
        values = {
            "model_type": "step_audio_qwen2",
            "architectures": ["StepAudioForCausalLMV2"],
            **_text_fields(config),
            "audio_encoder_config": _audio_fields(config),
        }
    flat = config.encoder is not None and not nested
    path = directory / ("config_origin.json" if flat else "config.json")
    path.write_text(json.dumps(values, indent=1))


def write_tokenizer(directory: Path) -> None:
    """The four files of a Qwen2 tokenizer."""
    vocabulary = {byte: i for i, byte in enumerate(_bytes())}
    added = {token: BYTES + i for i, token in enumerate(SPECIAL + AUDIO)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [AddedToken(token, special="tool_call" not in token, normalized=False) for token in added]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n")
    (directory / "added_tokens.json").write_text(json.dumps(added))


def _bytes() -> list[str]:
    """The letters that byte-level BPE writes bytes 0 to 255 as (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(BYTES)]


def _printable(rows: int) -> Tensor:
    """[rows, 1]: which ids are printable ASCII; an id below 256 is the byte of that number."""
    ids = torch.arange(rows)[:, None]
    return (ids >= 32) & (ids < 127)


def _text_fields(config: StepAudioConfig) -> dict[str, Any]:
    shape = config.decoder
    step = {"num_attention_groups": shape.kv_heads, "max_seq_len": shape.max_positions}
    return {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        **(step if config.encoder else {}),
        **({} if shape.head_dim * shape.heads == shape.hidden else {"head_dim": shape.head_dim}),
        "vocab_size": shape.vocab,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "max_position_embeddings": shape.max_positions,
        "tie_word_embeddings": shape.tied_embeddings,
        "eos_token_id": list(config.stop_ids),
        "pad_token_id": config.stop_ids[0],
        "torch_dtype": "bfloat16",
    }


def _audio_fields(config: StepAudioConfig) -> dict[str, Any]:
    encoder, adaptor = config.encoder, config.adaptor
    assert encoder is not None
    assert adaptor is not None
    return {
        "n_mels": encoder.mels,
        "n_audio_ctx": encoder.context,
        "n_audio_state": encoder.state,
        "n_audio_head": encoder.heads,
        "n_audio_layer": encoder.layers,
        "n_codebook_size": 4096,
        "llm_dim": adaptor.output,
        "kernel_size": adaptor.kernel,
        "adapter_stride": adaptor.stride if adaptor.stride > 1 else -1,
    }
