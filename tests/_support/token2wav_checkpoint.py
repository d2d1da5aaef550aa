"""Tiny token2wav checkpoints with random weights, laid out as Step-Audio's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tts.token2wav.config import DitConfig, EncoderConfig, FlowConfig, HiftConfig
from tts.token2wav.flow import Flow
from tts.token2wav.hift import Hift
from tts.token2wav.prompt import VoicePrompt

TINY_FLOW = FlowConfig(
    input_size=16,
    mels=8,
    speaker=12,
    encoder=EncoderConfig(input_size=16, size=16, heads=2, feed_forward=24, blocks=2, up_blocks=2),
    dit=DitConfig(inputs=32, mels=8, hidden=16, depth=2, heads=2, head_dim=8, mlp_ratio=2.0),
)
TINY_HIFT = HiftConfig(mels=8, channels=16, f0_channels=8)

YAML = """
speaker_size: {speaker}
flow: !new:cosyvoice2.flow.flow.CausalMaskedDiffWithXvec
  input_size: {input_size}
  output_size: {mels}
  spk_embed_dim: !ref <speaker_size>
  output_type: 'mel'
  vocab_size: {vocab}
  encoder: !new:cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2
    input_size: {encoder.input_size}
    output_size: {encoder.size}
    input_layer: 'linear'
    pre_lookahead_len: {encoder.lookahead}
    num_blocks: {encoder.blocks}
    num_up_blocks: {encoder.up_blocks}
    up_stride: {encoder.up_rate}
    up_scale_factor: {encoder.up_rate}
    attention_heads: {encoder.heads}
    pos_enc_layer_type: 'rel_pos_espnet'
    selfattention_layer_type: 'rel_selfattn'
    key_bias: {key_bias}
    linear_units: {encoder.feed_forward}
    dropout_rate: 0.1
    positional_dropout_rate: 0.1
    attention_dropout_rate: 0.1
    normalize_before: true
    activation_type: 'swish'
  decoder: !new:cosyvoice2.flow.flow_matching.CausalConditionalCFM
    inference_cfg_rate: {guidance}
    estimator: !new:cosyvoice2.flow.decoder_dit.DiT
      in_channels: {dit.inputs}
      out_channels: {dit.mels}
      mlp_ratio: {dit.mlp_ratio}
      depth: {dit.depth}
      num_heads: {dit.heads}
      head_dim: {dit.head_dim}
      hidden_size: {dit.hidden}
"""


def flow_yaml(config: FlowConfig = TINY_FLOW) -> str:
    """``flow.yaml`` of ``config``."""
    names = {name: getattr(config, name) for name in config.__slots__}
    return YAML.format(key_bias=str(config.encoder.key_bias).lower(), **names)


def random_prompt(config: FlowConfig = TINY_FLOW, codes: int = 20, seed: int = 0) -> VoicePrompt:
    """A prompt of ``codes`` random codes."""
    rng = np.random.default_rng(seed)
    return VoicePrompt(
        rng.integers(0, config.vocab, codes),
        rng.normal(size=config.speaker).astype(np.float32),
        rng.normal(size=(2 * codes, config.mels)).astype(np.float32),
    )


def with_weight_norm(tensors: dict[str, Tensor], plain: frozenset[str]) -> dict[str, Tensor]:
    """As in ``hift.pt``: prefixed, and each convolution as length and direction but ``plain``."""
    stored = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 3 and name.split(".")[0] not in plain:
            stem = f"generator.{name.removesuffix('.weight')}.parametrizations.weight.original"
            stored[stem + "0"] = torch.linalg.vector_norm(tensor, dim=(1, 2), keepdim=True)
            stored[stem + "1"] = tensor.clone()
        else:
            stored[f"generator.{name}"] = tensor.clone()
    return stored


def write_checkpoint(
    directory: Path, flow: FlowConfig = TINY_FLOW, hift: HiftConfig = TINY_HIFT, seed: int = 0
) -> VoicePrompt:
    """``flow.yaml``, ``flow.pt``, ``hift.pt`` and ``prompt.npz`` in ``directory``; the prompt.

    Sizes that no file says (the vocoder's kernels and rates) are the published ones.
    """
    directory.mkdir(parents=True, exist_ok=True)
    hift = replace(hift, mels=flow.mels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow_weights, hift_weights = Flow(flow).state_dict(), Hift(hift).state_dict()
    (directory / "flow.yaml").write_text(flow_yaml(flow), "utf-8")
    torch.save(flow_weights, directory / "flow.pt")
    torch.save(with_weight_norm(hift_weights, frozenset({"source_downs"})), directory / "hift.pt")
    prompt = random_prompt(flow, seed=seed)
    prompt.save(directory / "prompt.npz")
    return prompt
