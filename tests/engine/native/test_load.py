"""From a directory to a model: what is read before the weights, and how they are taken in."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from engine.native.device_setup import NativeOptions
from engine.native.load import always_thinks, load_model
from engine.native.model.config import MINI_7B, R1_32B
from engine.native.model.decoder import _Layer
from tests._support.tiny_checkpoint import TINY, write_tiny_checkpoint


def test_r1_without_its_template_begins_with_a_think_block(tmp_path: Path) -> None:
    assert always_thinks(tmp_path, R1_32B)
    assert not always_thinks(tmp_path, MINI_7B)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": None}))
    assert always_thinks(tmp_path, R1_32B)


def test_a_template_decides_where_there_is_one(tmp_path: Path) -> None:
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps({"chat_template": "<|BOT|>assistant\n"}))
    assert not always_thinks(tmp_path, R1_32B)
    (tmp_path / "chat_template.jinja").write_text("<|BOT|>assistant\n<think>\n")
    assert always_thinks(tmp_path, MINI_7B)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_checkpoint_is_quantised_layer_by_layer_as_it_is_read(
    tmp_path: Path, bits: Literal[4, 8], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TINY.adaptor is not None
    shapes = replace(
        TINY,
        decoder=replace(TINY.decoder, layers=6, hidden=128, intermediate=256, heads=4, head_dim=32),
        adaptor=replace(TINY.adaptor, output=128),
    )
    write_tiny_checkpoint(tmp_path, shapes)
    allocated = {"now": 0, "most": 0}
    allocate, quantise = _Layer.allocate, _Layer.quantise

    def counted_allocate(layer: _Layer) -> None:
        allocated["now"] += 1
        allocated["most"] = max(allocated.values())
        allocate(layer)

    def counted_quantise(layer: _Layer, bits: Literal[4, 8]) -> None:
        allocated["now"] -= 1
        quantise(layer, bits)

    monkeypatch.setattr(_Layer, "allocate", counted_allocate)
    monkeypatch.setattr(_Layer, "quantise", counted_quantise)
    model = load_model(tmp_path, NativeOptions(weight_bits=bits, context_tokens=64), _ignore)
    model.brain.close()
    assert allocated["now"] == 0
    assert 1 <= allocated["most"] < 6
    whole = load_model(tmp_path, NativeOptions(context_tokens=64), _ignore)
    whole.brain.close()
    once, later = (each.brain.scheduler.runner.decoder for each in (model, whole))
    later.quantise(bits)
    for one, other in zip(once.layers, later.layers, strict=True):
        for name in ("qkv", "out", "gate_up", "down"):
            assert torch.equal(getattr(one, name).data, getattr(other, name).data)


def _ignore(what: str, share: float) -> None:
    """Nobody looks at the progress."""
