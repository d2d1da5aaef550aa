"""A taught policy as a checkpoint that `engine.native` loads: Step-Audio's names and files."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import Qwen2ForCausalLM

from engine.native.model.encoder import Encoder
from engine.text.thought_filter import THINK_OPEN
from training.mgrd.hearing import KERNEL, STRIDE
from training.mgrd.policy import Policy
from training.mgrd.tokens import STOP, id_of

_ADAPTER = "model.embed_tokens.adapter."


def export(policy: Policy, tower: Encoder, directory: Path) -> None:
    """Write the checkpoint. The encoder is the frozen one that the policy was taught with.

    Raises:
        ValueError: the tower is another one than the adaptor was made for.
        OSError: the files cannot be written.
    """
    embedding: Any = policy.model.get_input_embeddings()
    if embedding.sounds.state != tower.shape.state:
        raise ValueError(
            f"an adaptor for frames of {embedding.sounds.state}, a tower of {tower.shape.state}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(policy.model, tower), directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(_config(policy, tower), indent=1))
    policy.text.save(str(directory / "tokenizer.json"))
    # By this the engine knows that answers begin with a think block; it has the format itself.
    (directory / "chat_template.jinja").write_text(f"<|BOT|>assistant\n{THINK_OPEN}\n")


def _tensors(model: Qwen2ForCausalLM, tower: Encoder) -> dict[str, Tensor]:
    if any(".lora_" in key for key in model.state_dict()):
        from training.mgrd.lora import merged

        weights = merged(model)
    else:
        weights = model.state_dict()
    embedding: Any = model.get_input_embeddings()
    named = {key: weight for key, weight in weights.items() if not key.startswith(_ADAPTER)}
    named |= {f"adapter.{key}": weight for key, weight in embedding.adapter.plain().items()}
    whole = {key: weight.float() for key, weight in named.items()}
    whole |= {f"encoder.{k}": weight.half() for k, weight in tower.destinations().items()}
    return {key: weight.cpu().contiguous().clone() for key, weight in whole.items()}


def _config(policy: Policy, tower: Encoder) -> dict[str, Any]:
    shape: Any = policy.model.config
    ear = tower.shape
    return {
        "model_type": "step_audio_2",
        "architectures": ["StepAudio2ForCausalLM"],
        "text_config": {
            "model_type": "step_audio_2_text",
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.num_hidden_layers,
            "num_attention_heads": shape.num_attention_heads,
            "num_key_value_heads": shape.num_key_value_heads,
            "vocab_size": shape.vocab_size,
            "rms_norm_eps": shape.rms_norm_eps,
            "rope_theta": shape.rope_parameters["rope_theta"],
            "max_position_embeddings": shape.max_position_embeddings,
            "tie_word_embeddings": False,
            "eos_token_id": [id_of(policy.text, STOP)],
        },
        "audio_encoder_config": {
            "model_type": "step_audio_2_encoder",
            "n_mels": ear.mels,
            "n_audio_ctx": ear.context,
            "n_audio_state": ear.state,
            "n_audio_head": ear.heads,
            "n_audio_layer": ear.layers,
            "llm_dim": shape.hidden_size,
            "kernel_size": KERNEL,
            "adapter_stride": STRIDE,
        },
    }
