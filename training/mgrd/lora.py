"""Low-rank updates of a decoder (LoRA, Hu et al. 2021), in place: it stays a plain model.

The adaptor before the decoder is trained whole.
"""

import re

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import Qwen2ForCausalLM

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_BASE, _UPDATE = re.compile(r"\.base_layer\."), re.compile(r"\.lora_")


def add_lora(model: Qwen2ForCausalLM, rank: int) -> None:
    """Freeze the decoder but for updates of this rank."""
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS)), model
    )
    embedding = model.get_input_embeddings()
    assert isinstance(embedding.adapter, nn.Module)
    embedding.adapter.requires_grad_(True)


def merged(model: Qwen2ForCausalLM) -> dict[str, Tensor]:
    """The weights under their plain names, with the updates in them; the model stays as it is."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer.merge()
    weights = {
        _BASE.sub(".", key): weight.detach().clone()
        for key, weight in model.state_dict().items()
        if not _UPDATE.search(key)
    }
    for layer in layers:
        layer.unmerge()
    return weights
