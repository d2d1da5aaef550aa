"""The plugin reads the configurations that engine.native reads, to the same sizes."""

import json
from pathlib import Path
from typing import Any

import pytest
from duplex_vllm.config import FlatStepAudio2Config, StepAudio2Config, StepAudioEncoderConfig

from engine.native.model.config import R1_32B, STEP_STOP_IDS, StepAudioConfig
from tests._support.tiny_checkpoint import TINY, write_config

pytestmark = pytest.mark.torch


def read(directory: Path, config: StepAudioConfig, *, nested: bool) -> StepAudio2Config:
    write_config(directory, config, nested=nested)
    name = "config.json" if nested else "config_origin.json"
    values: dict[str, Any] = json.loads((directory / name).read_text())
    return (StepAudio2Config if nested else FlatStepAudio2Config)(**values)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("shapes", [TINY, R1_32B], ids=["tiny", "R1"])
def test_sizes(tmp_path: Path, shapes: StepAudioConfig, nested: bool) -> None:
    config = read(tmp_path, shapes, nested=nested)
    text, audio = config.text_config, config.audio_encoder_config
    decoder, encoder = shapes.decoder, shapes.encoder
    assert encoder is not None
    assert config.get_text_config() is text
    assert (text.hidden_size, text.intermediate_size, text.num_hidden_layers) == (
        decoder.hidden, decoder.intermediate, decoder.layers,
    )  # fmt: skip
    assert (text.num_attention_heads, text.num_key_value_heads) == (decoder.heads, decoder.kv_heads)
    assert (text.rms_norm_eps, text.vocab_size) == (decoder.eps, decoder.vocab)
    assert text.rope_parameters == {"rope_theta": decoder.rope_theta, "rope_type": "default"}
    assert text.max_position_embeddings == decoder.max_positions
    assert not text.tie_word_embeddings
    assert config.eos_token_id == text.eos_token_id == list(shapes.stop_ids)
    assert (audio.n_audio_state, audio.n_audio_layer, audio.n_audio_head, audio.llm_dim) == (
        encoder.state, encoder.layers, encoder.heads, decoder.hidden,
    )  # fmt: skip


def test_written_and_read_again(tmp_path: Path) -> None:
    config = read(tmp_path, TINY, nested=True)
    again = StepAudio2Config(**json.loads(config.to_json_string(use_diff=False)))
    assert again.text_config.to_dict() == config.text_config.to_dict()
    assert again.audio_encoder_config.to_dict() == config.audio_encoder_config.to_dict()


def test_published_stop_ids_are_added() -> None:
    config = StepAudio2Config({"vocab_size": 158720, "eos_token_id": 151643}, {"llm_dim": 4096})
    assert config.eos_token_id == list(STEP_STOP_IDS)


@pytest.mark.parametrize(
    ("text", "audio", "fault"),
    [
        ({"num_attention_groups": 4, "num_key_value_heads": 8}, {}, "num_attention_groups"),
        ({"hidden_size": 64, "num_attention_heads": 4}, {"llm_dim": 128}, "llm_dim 128"),
        ({}, {"kernel_size": 5}, "kernel 5"),
        ({}, {"adapter_stride": 3}, "stride 3"),
        ({}, {"n_audio_head": 7}, "no multiple of 7"),
    ],
)
def test_refused(text: dict[str, Any], audio: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        StepAudio2Config(text, audio)


def test_defaults_are_the_published_sizes() -> None:
    audio, encoder = StepAudioEncoderConfig(), R1_32B.encoder
    assert encoder is not None
    assert (audio.n_mels, audio.n_audio_ctx, audio.n_audio_state) == (
        encoder.mels, encoder.context, encoder.state,
    )  # fmt: skip
