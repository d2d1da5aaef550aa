"""A Qwen2 GGUF file as the folder that vLLM and transformers read.

The weights are those of the file without its quantisation, in bfloat16: what vLLM serves is the
model that the embedded and the native engine run.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from engine.native.model.gguf_weights import GgufModel

RECIPE = "qwen2 of bfloat16 2"  # changes with the output


def write_folder(gguf: Path, target: Path, progress: Callable[[str, float], None]) -> None:
    """Write the model in ``gguf`` to the directory ``target``: weights, tokenizer, chat template.
    ``progress`` is called with what is copied and the share that is done.

    Raises:
        ValueError: the file is damaged or is another kind of model.
        OSError: it cannot be read, or ``target`` cannot be written.
    """
    model = GgufModel(gguf)
    shapes = model.config.tensors()
    weights = {name: torch.empty(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}
    model.load(weights, progress)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    tokenizer = model.tokenizer()
    tokenizer.save(str(target / "tokenizer.json"))
    shape, stops = model.config.decoder, list(model.config.stop_ids)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": shape.eps,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied_embeddings,
        "eos_token_id": stops[0],
        "torch_dtype": "bfloat16",
        # Without it a local folder is taken for an old Mistral's, and its tokenizer is doubted.
        "transformers_version": "5.0.0",
    }
    _write(target / "config.json", config)
    _write(target / "generation_config.json", {"eos_token_id": stops})
    _write(target / "tokenizer_config.json", _tokenizer_settings(tokenizer, stops))
    (target / "chat_template.jinja").write_text(model.chat_template, "utf-8")


def _tokenizer_settings(tokenizer: Tokenizer, stops: list[int]) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": tokenizer.id_to_token(stops[0]),
        "pad_token": tokenizer.id_to_token(stops[-1]),
        "clean_up_tokenization_spaces": False,
    }


def _write(path: Path, settings: dict[str, object]) -> None:
    path.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
