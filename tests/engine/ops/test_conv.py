"""The convolution stem and the adaptor: windows of a clip, kernel against reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.ops.conv.reference import adaptor, conv_stem
from tests._support.kernels import close, draw, wide

pytestmark = pytest.mark.kernels


def stem_weights(
    mels: int, channels: int, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    shapes = [(channels, mels, 3), (channels,), (channels, channels, 3), (channels,)]
    return [draw(*shape, device=device, dtype=dtype) / 4 for shape in shapes]


def adaptor_weights(
    channels: int,
    hidden: int,
    outputs: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    shapes = [(channels, channels, 3), (channels,), (hidden, channels), (hidden,)]
    shapes += [(outputs, hidden), (outputs,)]
    return [draw(*shape, device=device, dtype=dtype) / 4 for shape in shapes]


@given(st.integers(8, 41), st.data())
@settings(max_examples=15, deadline=None)
def test_windows_of_the_stem_give_the_frames_of_the_clip(columns: int, data: st.DataObject) -> None:
    mel = draw(2, 3, columns, device="cpu", dtype=torch.float64)
    weights = stem_weights(3, 4, dtype=torch.float64)
    whole = conv_stem(mel, *weights, left_edge=True, right_edge=True)
    assert whole.shape == (2, (columns + 1) // 2, 4)
    first = data.draw(st.integers(1, whole.shape[1] - 2))
    last = data.draw(st.integers(first + 1, whole.shape[1] - 1))
    head = conv_stem(mel[..., : 2 * first + 1], *weights, left_edge=True, right_edge=False)
    # Frame i needs mel frames 2i - 2 to 2i + 2.
    middle = conv_stem(
        mel[..., 2 * first - 2 : 2 * last + 1], *weights, left_edge=False, right_edge=False
    )
    tail = conv_stem(mel[..., 2 * last - 2 :], *weights, left_edge=False, right_edge=True)
    torch.testing.assert_close(torch.cat((head, middle, tail), 1), whole)


@pytest.mark.parametrize("edges", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("size", [(1, 20, 24, 7), (2, 8, 40, 30), (1, 130, 9, 90)])
def test_stem_kernel(
    device: str, dtype: torch.dtype, size: tuple[int, int, int, int], edges: tuple[bool, bool]
) -> None:
    from engine.ops.conv import triton

    batch, mels, channels, columns = size
    mel = draw(batch, mels, columns, device=device, dtype=dtype)
    weights = stem_weights(mels, channels, device, dtype)
    sides = {"left_edge": edges[0], "right_edge": edges[1]}
    out = triton.conv_stem(mel, *weights, **sides)
    assert out.dtype == dtype
    assert close(out, conv_stem(*wide(mel, *weights), **sides), slack=2)


def test_weights_may_lie_tap_by_tap(device: str) -> None:
    from engine.ops.conv import triton

    mel = draw(1, 8, 11, device=device, dtype=torch.float32)
    weights = stem_weights(8, 20, device)
    expected = triton.conv_stem(mel, *weights, left_edge=True, right_edge=True)
    for index in (0, 2):
        weights[index] = weights[index].permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(triton.conv_stem(mel, *weights, left_edge=True, right_edge=True), expected)


@pytest.mark.parametrize("edges", [(True, True), (False, False)])
@pytest.mark.parametrize("size", [(1, 5, 24, 40, 17), (2, 70, 20, 17, 33)])
def test_adaptor_kernel(
    device: str, dtype: torch.dtype, size: tuple[int, int, int, int, int], edges: tuple[bool, bool]
) -> None:
    from engine.ops.conv import triton

    batch, columns, channels, hidden, outputs = size
    frames = draw(batch, columns, channels, device=device, dtype=dtype)
    weights = adaptor_weights(channels, hidden, outputs, device, dtype)
    sides = {"left_edge": edges[0], "right_edge": edges[1]}
    out = triton.adaptor(frames, *weights, **sides)
    assert out.dtype == dtype
    assert close(out, adaptor(*wide(frames, *weights), **sides), slack=2)


def test_a_window_too_short_for_a_frame_gives_none(device: str) -> None:
    from engine.ops.conv import triton

    frames = draw(1, 2, 8, device=device, dtype=torch.float32)
    weights = adaptor_weights(8, 16, 5, device)
    out = triton.adaptor(frames, *weights, left_edge=False, right_edge=False)
    assert out.shape == (1, 0, 5)
