"""The adaptor: its count of latents, and that windows of a clip give the clip's latents."""

import pytest
import torch
from torch import nn

from engine.native.model.adaptor import Adaptor, latent_count
from engine.native.model.config import AdaptorShape
from tests._support.published_ear import ADAPTOR, difference, tiny_adaptor

pytestmark = pytest.mark.torch

NO_CONVOLUTION = AdaptorShape(state=32, hidden=24, output=20, stride=-1)


@pytest.mark.parametrize(
    ("seconds", "latents"),
    [(0.5, 6), (1, 13), (2, 25), (5, 63), (10, 125), (25, 313), (29, 363), (29.9, 374)],
)
def test_latents_of_a_clip(seconds: float, latents: int) -> None:
    assert latent_count((int(seconds * 16_000) + 479) // 160) == latents


def test_the_fork_counts_one_more_for_two_remainders() -> None:
    for frames in range(3, 3001):
        extra = latent_count(frames, fork_count=True) - latent_count(frames)
        assert extra == (frames % 8 in {3, 4})


def test_without_convolution_each_pooled_frame_is_a_latent() -> None:
    assert latent_count(102, stride=-1) == 101 // 2 // 2
    adaptor = tiny_adaptor(NO_CONVOLUTION)
    assert "conv.weight" not in adaptor.destinations()
    frames = torch.randn(2, 7, 32)
    named = adaptor.destinations()
    x = torch.relu(nn.functional.linear(frames, named["linear1.weight"], named["linear1.bias"]))
    expected = nn.functional.linear(x, named["linear2.weight"], named["linear2.bias"])
    ours = adaptor.forward(frames, left_edge=False, right_edge=True)
    assert difference(ours, expected) < 1e-6


@pytest.mark.parametrize("shape", [ADAPTOR, NO_CONVOLUTION])
def test_destinations_are_the_checkpoints_tensors(shape: AdaptorShape) -> None:
    named = Adaptor(shape).destinations()
    assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shape.tensors()


@pytest.mark.parametrize("frames", range(1, 14))
def test_a_clip_is_the_published_pass(frames: int) -> None:
    adaptor = tiny_adaptor()
    conv = nn.Conv1d(32, 32, 3, stride=2, padding=1)
    first, second = nn.Linear(32, 24), nn.Linear(24, 20)
    modules = nn.ModuleDict({"conv": conv, "linear1": first, "linear2": second})
    modules.load_state_dict(adaptor.destinations())
    x = torch.randn(1, frames, 32)
    with torch.inference_mode():
        convolved = nn.functional.gelu(conv(x.transpose(1, 2))).transpose(1, 2)
        expected = second(torch.relu(first(convolved)))
    assert difference(adaptor.forward(x, left_edge=True, right_edge=True), expected) < 1e-5


@pytest.mark.parametrize("frames", range(9, 13))
def test_windows_give_the_latents_of_the_clip(frames: int) -> None:
    adaptor = tiny_adaptor()
    x = torch.randn(1, frames, 32)
    whole = adaptor.forward(x, left_edge=True, right_edge=True)
    parts = [
        adaptor.forward(x[:, :4], left_edge=True, right_edge=False),  # latents 0 and 1
        adaptor.forward(x[:, 3:8], left_edge=False, right_edge=False),  # 2 and 3
        adaptor.forward(x[:, 7:], left_edge=False, right_edge=True),
    ]
    assert difference(torch.cat(parts, dim=1), whole) < 1e-5


def test_another_convolution_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel 5, stride 2"):
        Adaptor(AdaptorShape(state=8, hidden=8, output=8, kernel=5))
