"""flow.yaml is read and never run; weights that do not fit are named."""

from pathlib import Path

import pytest
import torch

from tests._support.token2wav_checkpoint import TINY_FLOW, TINY_HIFT, flow_yaml, write_checkpoint
from tts.token2wav.checkpoint import load_flow, load_hift, plain_hift
from tts.token2wav.config import FlowConfig, HiftConfig, parse_flow_yaml
from tts.token2wav.flow import Flow
from tts.token2wav.hift import Hift

pytestmark = pytest.mark.torch


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path)
    return tmp_path


@pytest.mark.parametrize("config", [TINY_FLOW, FlowConfig()], ids=["tiny", "published"])
def test_shapes_are_read_from_flow_yaml(config: FlowConfig) -> None:
    assert parse_flow_yaml(flow_yaml(config)) == config


def test_defaults_are_those_of_the_classes() -> None:
    lines = [
        line
        for line in flow_yaml(FlowConfig()).splitlines()
        if not any(key in line for key in ("input_layer", "activation", "up_stride", "key_bias"))
    ]
    assert parse_flow_yaml("\n".join(lines)) == FlowConfig()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("!new:cosyvoice2.flow.decoder_dit.DiT", "!new:os.system", "must be a !new:...DiT"),
        ("!new:cosyvoice2.flow.decoder_dit.DiT", "!apply:os.system", "cannot be read"),
        ("!ref <speaker_size>", "!ref <speaker_size * 2>", "only a reference"),
        ("!ref <speaker_size>", "!ref <flow>", "leads nowhere"),
        ("!ref <speaker_size>", "!ref <nobody>", "leads nowhere"),
        ("'swish'", "'relu'", "activation_type = 'relu' is not implemented"),
        ("output_type: 'mel'", "output_kind: 'mel'", r"unknown keys \['output_kind'\]"),
        ("num_blocks: 2", "num_blocks: two", "num_blocks = 'two' is no positive integer"),
        ("in_channels: 32", "in_channels: 24", "does not fit the mel"),
        ("up_scale_factor: 2", "up_scale_factor: 3", "up_scale_factor"),
        ("attention_heads: 2", "attention_heads: 3", "do not fit together"),
        ("key_bias: true", "key_bias: 1", "neither true nor false"),
        ("inference_cfg_rate: 0.7", "inference_cfg_rate: 0", "no positive number"),
    ],
)
def test_what_is_not_implemented_is_refused_and_named(old: str, new: str, message: str) -> None:
    text = flow_yaml()
    assert old in text
    with pytest.raises(ValueError, match=message):
        parse_flow_yaml(text.replace(old, new))


def test_python_tags_construct_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for tag in (f"!!python/object/apply:pathlib.Path.touch [{trap}]", f"!new:os.mkdir [{trap}]"):
        with pytest.raises(ValueError, match=r"cannot be read|needs named arguments"):
            parse_flow_yaml(f"flow: {tag}")
    assert not trap.exists()
    for text in ("- 1", "flow: 1", "", "flow: !new:a.B"):
        with pytest.raises(ValueError, match=r"flow\.yaml"):
            parse_flow_yaml(text)


def test_a_checkpoint_is_loaded_as_written(checkpoint: Path) -> None:
    flow, hift = load_flow(checkpoint), load_hift(checkpoint)
    assert flow.config == TINY_FLOW
    assert hift.config == TINY_HIFT
    stored = torch.load(checkpoint / "flow.pt", weights_only=True)
    for name, tensor in flow.state_dict().items():
        torch.testing.assert_close(tensor, stored[name], rtol=0, atol=0)


def test_weight_norm_is_multiplied_out_under_both_names() -> None:
    direction, length = torch.randn(4, 3, 5), torch.rand(4, 1, 1) + 1
    norm = direction.flatten(1).norm(dim=1)[:, None, None]
    old = {"generator.ups.0.weight_g": length, "generator.ups.0.weight_v": direction}
    stem = "generator.ups.0.parametrizations.weight.original"
    for tensors in (old, {stem + "0": length, stem + "1": direction}):
        plain = plain_hift(tensors | {"generator.ups.0.bias": length})
        assert plain.keys() == {"ups.0.weight", "ups.0.bias"}
        torch.testing.assert_close(plain["ups.0.weight"], length * direction / norm)
    with pytest.raises(ValueError, match="without"):
        plain_hift({"generator.ups.0.weight_v": direction})


@pytest.mark.parametrize("name", ["flow", "hift"])
def test_weights_that_do_not_fit_are_named(checkpoint: Path, name: str) -> None:
    path = checkpoint / f"{name}.pt"
    tensors = torch.load(path, weights_only=True)
    names = [key for key in tensors if key.endswith("bias")]
    missing, wrong = names[0], names[1]
    del tensors[missing]
    tensors[wrong] = torch.zeros(7, 7)
    tensors["stranger"] = torch.zeros(1)
    torch.save(tensors, path)
    with pytest.raises(ValueError, match=rf"{name}\.pt does not fit") as caught:
        (load_flow if name == "flow" else load_hift)(checkpoint)
    message = str(caught.value)
    assert f"missing: {missing.removeprefix('generator.')};" in message
    assert "unexpected: stranger;" in message
    assert f"{wrong.removeprefix('generator.')} (7, 7) instead of" in message


def test_a_file_that_is_no_dictionary_of_tensors_is_refused(checkpoint: Path) -> None:
    torch.save([1, 2], checkpoint / "flow.pt")
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        load_flow(checkpoint)


def test_published_sizes() -> None:
    """Parameters of the published shapes, counted on the published modules."""
    with torch.device("meta"):
        flow, hift = Flow(FlowConfig()), Hift(HiftConfig())
    assert sum(p.numel() for p in flow.parameters()) == 155_802_352
    assert sum(p.numel() for p in hift.parameters()) == 20_806_557
