"""The convolution stem of the encoder and the adaptor, in torch."""

from torch import Tensor
from torch.nn.functional import conv1d, gelu, linear, pad, relu


def conv_stem(
    mel: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    *,
    left_edge: bool,
    right_edge: bool,
) -> Tensor:
    """Two convolutions of kernel 3, strides 1 and 2, with exact GELU, on a window of a clip.

    Zero padding is put only at edges of the clip, so windows give the frames of the whole clip:
    with `left_edge` the first column is mel frame 0, otherwise frame 2 * i - 2 where i is the first
    frame put out; with `right_edge` the last column is the last of the clip.

    Args:
        mel: [B, M, W].
        w1: [C, M, 3]; b1: [C].
        w2: [C, C, 3]; b2: [C].
        left_edge: the window starts at the start of the clip.
        right_edge: the window ends at the end of the clip.

    Returns:
        [B, F, C] frames.
    """
    edges = (int(left_edge), int(right_edge))
    x = gelu(conv1d(pad(mel, edges), w1, b1))
    return gelu(conv1d(pad(x, edges), w2, b2, stride=2)).transpose(1, 2)


def adaptor(
    frames: Tensor,
    conv_w: Tensor,
    conv_b: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    *,
    left_edge: bool,
    right_edge: bool,
) -> Tensor:
    """GELU(convolution, kernel 3, stride 2), linear, ReLU, linear, on a window of a clip.

    The convolution pads one zero frame at edges of the clip only.

    Args:
        frames: [B, W, C] of the encoder.
        conv_w: [C, C, 3]; conv_b: [C].
        w1: [hidden, C]; b1: [hidden].
        w2: [O, hidden]; b2: [O].
        left_edge: the window starts at the start of the clip.
        right_edge: the window ends at the end of the clip.

    Returns:
        [B, n, O] latents.
    """
    edges = (int(left_edge), int(right_edge))
    x = gelu(conv1d(pad(frames.transpose(1, 2), edges), conv_w, conv_b, stride=2))
    return linear(relu(linear(x.transpose(1, 2), w1, b1)), w2, b2)
