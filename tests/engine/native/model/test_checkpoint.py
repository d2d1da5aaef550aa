"""Tiny checkpoints with the published keys, and every way in which one can be wrong."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.native.model.adaptor import Adaptor
from engine.native.model.checkpoint import INDEX, CheckpointError, full_keys, load_checkpoint
from engine.native.model.config import StepAudioConfig, read_config
from engine.native.model.decoder import Decoder
from engine.native.model.encoder import Encoder
from tests._support.tiny_checkpoint import TINY, random_weights, write_shards, write_tiny_checkpoint

pytestmark = pytest.mark.torch

DECODER_LAYER = {
    "self_attn.q_proj.weight", "self_attn.q_proj.bias",
    "self_attn.k_proj.weight", "self_attn.k_proj.bias",
    "self_attn.v_proj.weight", "self_attn.v_proj.bias",
    "self_attn.o_proj.weight",
    "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight",
    "input_layernorm.weight", "post_attention_layernorm.weight",
}  # fmt: skip
ENCODER_LAYER = {
    "attn.query.weight", "attn.query.bias", "attn.key.weight",
    "attn.value.weight", "attn.value.bias", "attn.out.weight", "attn.out.bias",
    "attn_ln.weight", "attn_ln.bias", "mlp_ln.weight", "mlp_ln.bias",
    "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias",
}  # fmt: skip
OTHERS = {
    "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
    "encoder.conv1.weight", "encoder.conv1.bias", "encoder.conv2.weight", "encoder.conv2.bias",
    "encoder.positional_embedding.weight", "encoder.after_norm.weight", "encoder.after_norm.bias",
    "adapter.conv.weight", "adapter.conv.bias", "adapter.linear1.weight", "adapter.linear1.bias",
    "adapter.linear2.weight", "adapter.linear2.bias",
}  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_tiny_checkpoint(tmp_path)
    return tmp_path


def test_the_keys_are_the_published_ones(directory: Path) -> None:
    keys = set(json.loads((directory / INDEX).read_text())["weight_map"])
    assert keys == (
        OTHERS
        | {f"model.layers.{i}.{key}" for i in range(2) for key in DECODER_LAYER}
        | {f"encoder.blocks.{i}.{key}" for i in range(2) for key in ENCODER_LAYER}
    )


@pytest.mark.parametrize("nested", [True, False])
def test_every_tensor_arrives(tmp_path: Path, nested: bool) -> None:
    write_tiny_checkpoint(tmp_path, nested=nested, seed=3)
    destinations = poisoned(read_config(tmp_path))
    told: list[tuple[str, float]] = []
    load_checkpoint(tmp_path, destinations, lambda file, share: told.append((file, share)))
    for key, tensor in random_weights(TINY, seed=3).items():
        assert torch.equal(destinations[key], tensor.float()), key
    shares = [share for _, share in told]
    assert len(told) == len(destinations)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {file for file, _ in told} == {f"model-0000{i}.safetensors" for i in (1, 2, 3)}


def test_the_modules_take_every_tensor(directory: Path) -> None:
    assert TINY.encoder
    assert TINY.adaptor
    decoder, encoder, adaptor = Decoder(TINY.decoder), Encoder(TINY.encoder), Adaptor(TINY.adaptor)
    destinations = full_keys(decoder.destinations(), encoder.destinations(), adaptor.destinations())
    load_checkpoint(directory, destinations, ignore)
    weights = random_weights(TINY)
    assert all(torch.equal(destinations[key], weights[key].float()) for key in weights)


def test_destinations_may_be_views_of_another_dtype(directory: Path) -> None:
    destinations = poisoned(TINY, torch.float16)
    fused = torch.full((64 + 32 + 32, 64), torch.nan, dtype=torch.float16)
    names = [f"model.layers.0.self_attn.{part}_proj.weight" for part in "qkv"]
    destinations |= dict(zip(names, fused.split((64, 32, 32)), strict=True))
    load_checkpoint(directory, destinations, ignore)
    weights = random_weights(TINY)
    assert torch.equal(fused, torch.cat([weights[name] for name in names]).half())


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    weights = random_weights(TINY)
    save_file(weights, tmp_path / "model.safetensors")
    destinations = poisoned(TINY, torch.bfloat16)
    load_checkpoint(tmp_path, destinations, ignore)
    assert all(torch.equal(destinations[key], weights[key]) for key in weights)


def test_parts_are_put_under_their_prefixes() -> None:
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    keys = full_keys({"lm_head.weight": one}, {"conv1.bias": two}, {"linear1.bias": three})
    assert keys == {"lm_head.weight": one, "encoder.conv1.bias": two, "adapter.linear1.bias": three}


@pytest.mark.parametrize("stored_head", [True, False])
def test_tied_embeddings_need_no_head(tmp_path: Path, stored_head: bool) -> None:
    write_shards(tmp_path, random_weights(stored := tied(not stored_head)))
    destinations = poisoned(replace(stored, decoder=tied(True).decoder))
    load_checkpoint(tmp_path, destinations, ignore, tied_embeddings=True)
    assert not any(tensor.isnan().any() for tensor in destinations.values())


def test_one_error_names_all_that_differs_and_nothing_is_copied(directory: Path) -> None:
    destinations = poisoned(TINY)
    for layer in range(2):
        for part in "qkv":
            del destinations[f"model.layers.{layer}.self_attn.{part}_proj.bias"]
    destinations["model.layers.2.mlp.up_proj.weight"] = torch.full((4, 4), torch.nan)
    destinations["adapter.linear2.bias"] = torch.full((63,), torch.nan)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(directory, destinations, ignore)
    message = str(caught.value)
    assert "1 missing (model.layers.2.mlp.up_proj.weight)" in message
    assert "6 unexpected (model.layers.0.self_attn.q_proj.bias, " in message
    assert "and 2 more)" in message
    assert "1 misshapen (adapter.linear2.bias is [64], not [63])" in message
    assert all(tensor.isnan().all() for tensor in destinations.values())


def test_a_missing_file_is_named(directory: Path) -> None:
    (directory / "model-00002.safetensors").unlink()
    refused(directory, r"names model-00002\.safetensors, which is not there")


def test_nothing_to_load_is_said(tmp_path: Path) -> None:
    refused(tmp_path, r"neither model\.safetensors\.index\.json nor model\.safetensors")


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"x": []}}']
)
def test_a_damaged_index_is_named(directory: Path, text: str) -> None:
    (directory / INDEX).write_text(text)
    refused(directory, r"model\.safetensors\.index\.json is no index")


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "..", "", "a\\b", "x/y.safetensors", "a\0"]
)
def test_an_index_stays_in_its_directory(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "inside"
    write_tiny_checkpoint(directory)
    save_file({"model.norm.weight": torch.zeros(64)}, tmp_path / "model.safetensors")
    point(directory, "model.norm.weight", name)
    refused(directory, "outside its directory")


def test_a_name_of_another_type_is_refused(directory: Path) -> None:
    point(directory, "model.norm.weight", 3)
    refused(directory, "outside its directory: 3")


@pytest.mark.parametrize("kept", [0, 4, 100, 5000])
def test_a_truncated_file_is_named(directory: Path, kept: int) -> None:
    path = directory / "model-00001.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refused(directory, r"model-00001\.safetensors cannot be read")


def test_a_header_that_promises_too_much_is_refused(directory: Path) -> None:
    path = directory / "model-00003.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])
    refused(directory, r"model-00003\.safetensors cannot be read")


def test_an_index_that_points_to_the_wrong_file_is_refused(directory: Path) -> None:
    point(directory, "model.embed_tokens.weight", "model-00003.safetensors")
    refused(directory, r"model-00003\.safetensors lacks .*: model\.embed_tokens\.weight")


def test_only_the_indexed_copy_of_a_tensor_counts(directory: Path) -> None:
    weights = random_weights(TINY)
    stray = {"model.norm.weight": torch.zeros(64), "scratch": torch.zeros(1)}
    save_file(stray, directory / "model-00009.safetensors")
    destinations = poisoned(TINY)
    load_checkpoint(directory, destinations, ignore)
    assert torch.equal(destinations["model.norm.weight"], weights["model.norm.weight"].float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint8])
def test_quantised_weights_are_refused(directory: Path, dtype: torch.dtype) -> None:
    weights = random_weights(TINY)
    key = "model.layers.1.mlp.up_proj.weight"
    weights[key] = weights[key].to(dtype)
    write_shards(directory, weights)
    refused(directory, rf"{key} is stored as .*; quantised checkpoints cannot be loaded")


def tied(value: bool) -> StepAudioConfig:
    return replace(TINY, decoder=replace(TINY.decoder, tied_embeddings=value))


def poisoned(config: StepAudioConfig, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {
        key: torch.full(shape, torch.nan, dtype=dtype) for key, shape in config.tensors().items()
    }


def refused(directory: Path, message: str) -> None:
    destinations = poisoned(TINY)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(directory, destinations, ignore)
    assert all(tensor.isnan().all() for tensor in destinations.values())


def point(directory: Path, key: str, file: object) -> None:
    """Let the index say that ``key`` is in ``file``."""
    index = json.loads((directory / INDEX).read_text())
    index["weight_map"][key] = file
    (directory / INDEX).write_text(json.dumps(index))


def ignore(_: str, __: float) -> None:
    pass
