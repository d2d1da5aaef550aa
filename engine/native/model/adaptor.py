"""Frames of the audio encoder to latents, which stand in place of token embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.model.config import AdaptorShape
from engine.ops import dispatch as ops


def latent_count(mel_frames: int, *, stride: int = 2, fork_count: bool = False) -> int:
    """Latents of a clip: ``compute_token_num`` of step-audio2's utils.py.

    The published code leaves out two mel frames first; StepFun's vLLM fork does not
    (``fork_count``), and gets one latent more when ``mel_frames % 8`` is 3 or 4. A ``stride`` of 1
    or less is an adaptor without convolution.
    """
    frames = mel_frames if fork_count else mel_frames - 2
    pooled = (frames + 1) // 2 // 2
    return (pooled - 1) // 2 + 1 if stride > 1 else pooled


class Adaptor:
    """Weights; no call's state. Everything runs on the thread that owns the device."""

    def __init__(
        self,
        shape: AdaptorShape,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Allocate.

        Raises:
            ValueError: a convolution that is neither absent nor of kernel 3 and stride 2.
        """
        self.stride = max(shape.stride, 1)
        if (shape.kernel, self.stride) != (3, 2) and self.stride != 1:
            raise ValueError(f"an adaptor of kernel {shape.kernel}, stride {shape.stride}")

        def empty(*size: int) -> Tensor:
            return torch.empty(size, device=device, dtype=dtype)

        self.shape = shape
        self._conv = empty(shape.state, shape.state, 3) if self.stride == 2 else None
        self._conv_bias = empty(shape.state)
        self._linear1, self._linear1_bias = empty(shape.hidden, shape.state), empty(shape.hidden)
        self._linear2, self._linear2_bias = empty(shape.output, shape.hidden), empty(shape.output)

    def destinations(self) -> dict[str, Tensor]:
        """Where a checkpoint's tensors go, by their names after ``adapter.``"""
        named = {
            "linear1.weight": self._linear1,
            "linear1.bias": self._linear1_bias,
            "linear2.weight": self._linear2,
            "linear2.bias": self._linear2_bias,
        }
        if self._conv is not None:
            named |= {"conv.weight": self._conv, "conv.bias": self._conv_bias}
        return named

    @torch.inference_mode()
    def forward(self, frames: Tensor, *, left_edge: bool, right_edge: bool) -> Tensor:
        """Latents [B, n, output] of windows of pooled encoder frames [B, W, state].

        With ``left_edge`` a window starts at frame 0 of its clip, otherwise at frame 2 * j - 1
        where j is the first latent put out; with ``right_edge`` it ends with its clip. Without a
        convolution each frame is a latent and there are no edges.
        """
        if self._conv is not None:
            return ops.adaptor(
                frames,
                self._conv,
                self._conv_bias,
                self._linear1,
                self._linear1_bias,
                self._linear2,
                self._linear2_bias,
                left_edge=left_edge,
                right_edge=right_edge,
            )
        inner = F.relu(F.linear(frames, self._linear1, self._linear1_bias))
        return F.linear(inner, self._linear2, self._linear2_bias)
