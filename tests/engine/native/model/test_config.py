"""Shapes from config.json, against the published checkpoints' own numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.native.model.config import (
    MINI_7B,
    R1_32B,
    STEP_STOP_IDS,
    AdaptorShape,
    EncoderShape,
    StepAudioConfig,
    count_parameters,
    read_config,
)
from tests._support.tiny_checkpoint import TINY, write_config


@pytest.mark.parametrize(
    ("config", "parameters", "tensors", "adaptor", "cache"),
    [
        (R1_32B, 33_487_033_600, 1264, 18_030_848, 256),
        (MINI_7B, 8_315_179_264, 832, 14_883_584, 56),
    ],
)
def test_the_published_models_count_as_published(
    config: StepAudioConfig, parameters: int, tensors: int, adaptor: int, cache: int
) -> None:
    assert config.encoder
    assert config.adaptor
    assert config.parameters == parameters
    assert len(config.tensors()) == tensors
    assert count_parameters(config.encoder.tensors()) == 636_968_960
    assert len(config.encoder.tensors()) == 487
    assert count_parameters(config.adaptor.tensors()) == adaptor
    assert len(config.adaptor.tensors()) == 6
    assert config.decoder.kv_bytes_per_token() == cache * 1024


@pytest.mark.parametrize("config", [R1_32B, MINI_7B])
@pytest.mark.parametrize("nested", [True, False])
def test_published_configurations_are_read(
    tmp_path: Path, config: StepAudioConfig, nested: bool
) -> None:
    write_config(tmp_path, replace(config, stop_ids=(151643,)), nested=nested)
    assert read_config(tmp_path) == config


@given(
    layers=st.integers(1, 80),
    kv_heads=st.integers(1, 8),
    group=st.integers(1, 7),
    head_dim=st.sampled_from([16, 64, 128]),
    stride=st.sampled_from([1, 2]),
    tied=st.booleans(),
    nested=st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    layers: int,
    kv_heads: int,
    group: int,
    head_dim: int,
    stride: int,
    tied: bool,
    nested: bool,
) -> None:
    assert TINY.encoder
    heads = kv_heads * group
    hidden = heads * head_dim
    decoder = replace(
        TINY.decoder, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        hidden=hidden, tied_embeddings=tied,
    )  # fmt: skip
    adaptor = AdaptorShape(TINY.encoder.state, 2048, hidden, stride=stride)
    config = replace(TINY, decoder=decoder, adaptor=adaptor)
    directory = tmp_path_factory.mktemp("config")
    write_config(directory, config, nested=nested)
    assert read_config(directory) == config


def test_a_flat_file_may_leave_the_encoder_out(tmp_path: Path) -> None:
    write_config(tmp_path, MINI_7B, nested=False)
    edit(tmp_path / "config_origin.json", lambda top: top.pop("audio_encoder_config"))
    assert read_config(tmp_path) == MINI_7B


def test_config_json_comes_before_the_original(tmp_path: Path) -> None:
    write_config(tmp_path, TINY)
    write_config(tmp_path, MINI_7B, nested=False)
    assert read_config(tmp_path) == TINY


def test_a_plain_qwen2_directory_has_no_ear(tmp_path: Path) -> None:
    plain = replace(TINY, encoder=None, adaptor=None)
    write_config(tmp_path, plain)
    assert read_config(tmp_path) == plain


def test_transformers_5_writes_rope_elsewhere(tmp_path: Path) -> None:
    write_config(tmp_path, replace(TINY, encoder=None, adaptor=None))

    def move(top: dict[str, Any]) -> None:
        del top["rope_scaling"]
        top["rope_parameters"] = {"rope_type": "default", "rope_theta": top.pop("rope_theta")}

    edit(tmp_path / "config.json", move)
    assert read_config(tmp_path).decoder == TINY.decoder


def test_stop_ids_come_from_both_files(tmp_path: Path) -> None:
    write_config(tmp_path, replace(TINY, stop_ids=(7,)))
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [9, 7]}')
    assert read_config(tmp_path).stop_ids == (7, 9)


def test_the_published_vocabulary_has_the_published_stop_ids(tmp_path: Path) -> None:
    write_config(tmp_path, MINI_7B)
    edit(tmp_path / "config.json", lambda top: top["text_config"].pop("eos_token_id"))
    assert read_config(tmp_path).stop_ids == STEP_STOP_IDS


@pytest.mark.parametrize(
    "key", ["n_mels", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
            "llm_dim", "adapter_stride"],
)  # fmt: skip
def test_sections_must_give_the_encoder(tmp_path: Path, key: str) -> None:
    write_config(tmp_path, TINY)
    edit(tmp_path / "config.json", lambda top: top["audio_encoder_config"].pop(key))
    with pytest.raises(ValueError, match=rf"audio_encoder_config: {key} is missing"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("text_config", "rope_scaling", {"type": "yarn"}, "rope_scaling .* is not supported"),
        ("text_config", "use_sliding_window", True, "use_sliding_window .* is not supported"),
        ("text_config", "hidden_act", "gelu", "hidden_act .* is not supported"),
        ("text_config", "num_attention_groups", 4, "num_key_value_heads .* differ"),
        ("text_config", "num_attention_heads", 5, "hidden_size 64 is no multiple of 5"),
        ("text_config", "rms_norm_eps", None, "rms_norm_eps is missing"),
        ("text_config", "hidden_size", "64", "hidden_size must be a positive integer"),
        ("text_config", "vocab_size", True, "vocab_size must be a positive integer"),
        ("text_config", "rope_theta", 0, "rope_theta must be a positive number"),
        ("text_config", "eos_token_id", ["x"], "eos_token_id 'x' is no token id"),
        ("audio_encoder_config", "llm_dim", 63, "llm_dim 63 is not hidden_size 64"),
        ("audio_encoder_config", "adapter_stride", 4, "adapter_stride = 4 is not supported"),
        ("audio_encoder_config", "kernel_size", 5, "kernel_size = 5 is not supported"),
        ("audio_encoder_config", "n_audio_head", 7, "no multiple of n_audio_head"),
    ],
)
def test_what_is_not_supported_is_named(
    tmp_path: Path, section: str, key: str, value: object, message: str
) -> None:
    write_config(tmp_path, TINY)
    edit(tmp_path / "config.json", lambda top: top[section].update({key: value}))
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"model_type": "llama"}', "'llama' is neither"),
        ('{"model_type": "step_audio_2"}', "text_config is missing"),
        ('{"model_type": "step_audio_2", "text_config": 3}', "text_config is no object"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path)


def test_a_directory_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json"):
        read_config(tmp_path)


def test_the_encoder_defaults_are_the_published_ones() -> None:
    assert EncoderShape() == R1_32B.encoder == MINI_7B.encoder


def edit(path: Path, change: Any) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
