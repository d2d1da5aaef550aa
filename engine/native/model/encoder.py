"""Step-Audio's audio encoder over cached keys and values: whole clips, or a window at a time.

Architecture as in transformers' ``modeling_qwen2_audio.py`` (Whisper-large-v3's encoder, pooled in
time before its last norm). Frames are convolution frames, 20 ms each, before pooling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.kv_cache import BlockPool, Log
from engine.native.model.config import EncoderShape
from engine.native.model.decoder import Batch, Rows, make_batch
from engine.ops import dispatch as ops
from engine.ops.device import with_index

POOL_FRAMES = 2

Kind = TypeVar("Kind", bound=tuple[int, bool, bool])


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """One call's window of normalised log-mel, as `Encoder.window` makes it.

    ``mel`` [mels, W] starts with mel frame 0 if ``left_edge``, otherwise with frame 2 * i - 2 where
    i is the first frame put out. ``hidden`` frames at the end are seen by none.
    """

    mel: Tensor
    rows: Rows
    left_edge: bool
    right_edge: bool
    hidden: int = 0


def frames_of(columns: int, *, left_edge: bool, right_edge: bool) -> int:
    """Frames that a window of so many mel columns gives: two convolutions of kernel 3, of strides
    1 and 2, padded by one at edges of the clip only."""
    padding = left_edge + right_edge - 2
    return (columns + padding + padding - 1) // 2 + 1


class Encoder:
    """Weights; no call's state. Everything runs on the thread that owns the device."""

    def __init__(
        self,
        shape: EncoderShape,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.shape = shape
        self.device = device = with_index(device)
        self.dtype = dtype

        def empty(*size: int) -> Tensor:
            return torch.empty(size, device=device, dtype=dtype)

        state = shape.state
        self.conv1, self.conv1_bias = empty(state, shape.mels, 3), empty(state)
        self.conv2, self.conv2_bias = empty(state, state, 3), empty(state)
        self.positions = empty(shape.context, state)
        self.layers = [_Layer(shape, device, dtype) for _ in range(shape.layers)]
        self.norm = _Norm(state, device, dtype)
        # `rope_and_cache` also writes the cache; by an angle of zero it rotates nothing.
        half = state // shape.heads // 2
        self._cos = torch.ones(1, half, device=device)
        self._sin = torch.zeros(1, half, device=device)

    def destinations(self) -> dict[str, Tensor]:
        """Where a checkpoint's tensors go, by their names after ``encoder.``"""
        named = {
            "conv1.weight": self.conv1,
            "conv1.bias": self.conv1_bias,
            "conv2.weight": self.conv2,
            "conv2.bias": self.conv2_bias,
            "positional_embedding.weight": self.positions,
            **self.norm.destinations("after_norm"),
        }
        for index, layer in enumerate(self.layers):
            named |= {f"blocks.{index}.{k}": v for k, v in layer.destinations().items()}
        return named

    def pool(self, *, blocks: int, block_tokens: int = 16) -> BlockPool:
        """Memory for the keys and values of ``blocks * block_tokens`` frames of all calls."""
        heads = self.shape.heads
        return BlockPool(
            self.shape.layers,
            heads,
            self.shape.state // heads,
            blocks=blocks,
            block_tokens=block_tokens,
            device=self.device,
            dtype=self.dtype,
        )

    def window(
        self, mel: Tensor, log: Log, *, right_edge: bool = False, hidden: int = 0
    ) -> EncoderInput:
        """Make room in ``log``, which has the frames before the window's. ``mel`` [mels, W] may be
        on the host; see `EncoderInput` for the rest. To undo it, truncate the log.

        Raises:
            ValueError: no frame, or more frames than the encoder has positions.
            CacheFull: nothing has changed.
        """
        start, left_edge = log.length, log.length == 0
        count = frames_of(mel.shape[1], left_edge=left_edge, right_edge=right_edge)
        if count < 1 or start + count > self.shape.context:
            raise ValueError(
                f"{count} frames after {start}: not 1 to {self.shape.context - start} of them"
            )
        rows = Rows(log, log.extend(range(start, start + count)))
        return EncoderInput(mel, rows, left_edge, right_edge, hidden)

    @torch.inference_mode()
    def forward(self, windows: Sequence[EncoderInput], pool: BlockPool) -> list[Tensor]:
        """Encode the windows of several calls in one step; each frame sees its call's earlier
        frames and its own window.

        Returns:
            For each window its frames [F, state], before pooling and the last norm. Their keys
            and values are in the cache.
        """
        batch = make_batch([window.rows for window in windows], self.device)
        if any(window.hidden for window in windows):
            hidden = torch.tensor([w.hidden for w in windows], dtype=torch.int32)
            batch = replace(batch, contexts=batch.contexts - hidden.to(self.device))
        x = self.through_layers(self._stem(windows), batch, pool)
        return list(x.split([len(window.rows.slots) for window in windows]))

    def through_layers(self, x: Tensor, batch: Batch, pool: BlockPool) -> Tensor:
        """Frames [N, state] of the convolutions, after the layers."""
        x = x + F.embedding(batch.positions, self.positions)
        batch = replace(batch, positions=torch.zeros_like(batch.positions))
        for layer, keys, values in zip(self.layers, pool.keys, pool.values, strict=True):
            x = self._block(x, layer, batch, keys, values)
        return x

    def masked_stem(self, mel: Tensor, inside: Tensor) -> Tensor:
        """Frames [S, F, state] of windows ``mel`` [S, mels, 2 * F + 3] that are padded with zeros.

        ``inside`` [S, 2 * F + 1] says which results of the first convolution lie in their clip:
        the second sees zeros in place of the others, as it does at an edge. A window that starts
        with its clip has two columns of padding before it.
        """
        x = F.gelu(F.conv1d(mel, self.conv1, self.conv1_bias))
        x = x.masked_fill(~inside[:, None], 0)
        x = F.gelu(F.conv1d(x, self.conv2, self.conv2_bias, stride=2))
        return x.transpose(1, 2)

    def pooled(self, frames: Tensor) -> Tensor:
        """The encoder's output [F // 2, state] of an even-numbered frame and those after it."""
        pairs = frames[: len(frames) // POOL_FRAMES * POOL_FRAMES]
        return self.norm(pairs.unflatten(0, (-1, POOL_FRAMES)).mean(dim=1))

    def _stem(self, windows: Sequence[EncoderInput]) -> Tensor:
        """[N, state]; windows that are alike go through the convolutions together."""
        parts: list[Tensor] = [torch.empty(0)] * len(windows)
        kinds = [(w.mel.shape[1], w.left_edge, w.right_edge) for w in windows]
        for (_, left, right), members in alike(kinds):
            mel = torch.stack([windows[i].mel for i in members])
            frames = ops.conv_stem(
                mel.to(self.device, self.dtype),
                self.conv1,
                self.conv1_bias,
                self.conv2,
                self.conv2_bias,
                left_edge=left,
                right_edge=right,
            )
            for index, part in zip(members, frames, strict=True):
                parts[index] = part
        return torch.cat(parts)

    def _block(
        self, x: Tensor, layer: "_Layer", batch: Batch, keys: Tensor, values: Tensor
    ) -> Tensor:
        heads = self.shape.heads
        qkv = F.linear(layer.attention_norm(x), layer.qkv, layer.qkv_bias)
        query = ops.rope_and_cache(
            qkv, self._cos, self._sin, batch.positions, batch.slots, keys, values, heads
        )
        attended = ops.paged_attention(
            query,
            keys,
            values,
            batch.tables,
            batch.query_starts,
            batch.contexts,
            causal=False,
            max_query=batch.max_query,
            scale=query.shape[2] ** -0.5,
        )
        x = x + F.linear(attended.flatten(1), layer.out, layer.out_bias)
        inner = F.gelu(F.linear(layer.mlp_norm(x), layer.up, layer.up_bias))
        return x + F.linear(inner, layer.down, layer.down_bias)


class _Norm:
    """LayerNorm with torch's default epsilon."""

    def __init__(self, width: int, device: torch.device | str, dtype: torch.dtype) -> None:
        self._weight = torch.empty(width, device=device, dtype=dtype)
        self._bias = torch.empty(width, device=device, dtype=dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self._weight.shape, self._weight, self._bias)

    def destinations(self, name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": self._weight, f"{name}.bias": self._bias}


class _Layer:
    """Weights of one layer; query, key and value lie one below the other in one matrix."""

    def __init__(self, shape: EncoderShape, device: torch.device | str, dtype: torch.dtype) -> None:
        def empty(*size: int) -> Tensor:
            return torch.empty(size, device=device, dtype=dtype)

        state, inner = shape.state, 4 * shape.state
        self.attention_norm = _Norm(state, device, dtype)
        self.qkv = empty(3 * state, state)
        # The key has no bias, and no checkpoint writes over its part.
        self.qkv_bias = torch.zeros(3 * state, device=device, dtype=dtype)
        self.out, self.out_bias = empty(state, state), empty(state)
        self.mlp_norm = _Norm(state, device, dtype)
        self.up, self.up_bias = empty(inner, state), empty(inner)
        self.down, self.down_bias = empty(state, inner), empty(state)

    def destinations(self) -> dict[str, Tensor]:
        query, key, value = self.qkv.chunk(3)
        query_bias, _, value_bias = self.qkv_bias.chunk(3)
        return {
            "attn.query.weight": query,
            "attn.query.bias": query_bias,
            "attn.key.weight": key,
            "attn.value.weight": value,
            "attn.value.bias": value_bias,
            "attn.out.weight": self.out,
            "attn.out.bias": self.out_bias,
            **self.attention_norm.destinations("attn_ln"),
            "mlp.0.weight": self.up,
            "mlp.0.bias": self.up_bias,
            "mlp.2.weight": self.down,
            "mlp.2.bias": self.down_bias,
            **self.mlp_norm.destinations("mlp_ln"),
        }


def alike(kinds: Sequence[Kind]) -> Iterator[tuple[Kind, list[int]]]:
    """Each kind with its places, so that what is alike can go through a layer together."""
    order = sorted(range(len(kinds)), key=lambda index: kinds[index])
    for kind, places in groupby(order, lambda index: kinds[index]):
        yield kind, list(places)
