"""A Qwen2 that hears: latents are token ids above its vocabulary, so that TRL needs no patch.

An id below the vocabulary's size is text. Id ``vocabulary + i`` stands for the latent that the
adaptor makes of frames ``2 i - 1``, ``2 i`` and ``2 i + 1`` of one long table of frames. There are
no rows for these ids in the output, so the model cannot emit one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from engine.native.model.config import ADAPTOR_HIDDEN, AdaptorShape
from training.mgrd.features import Frames, latents_of

STRIDE = 2
LEAST_DEVIATION = 1e-3
KERNEL = 3


class SoundTable:
    """The frames of all clips, one behind the other, with zeros between: what the adaptor's
    convolution sees beyond a clip's edge. It is shared, so a deep copy of a model has the same."""

    def __init__(self, state: int) -> None:
        self.state = state
        self._parts: list[Frames] = []
        self._rows = 0
        self._table: Tensor | None = None
        self._known: dict[bytes, range] = {}

    def add(self, frames: Frames) -> range:
        """Take a clip in; returns the numbers of its latents."""
        key = frames.tobytes()
        if key not in self._known:
            padded = np.zeros((STRIDE * (latents_of(frames) + 1), self.state), np.float16)
            padded[STRIDE : STRIDE + len(frames)] = frames
            first = self._rows // STRIDE + 1
            self._known[key] = range(first, first + latents_of(frames))
            self._parts.append(padded)
            self._rows += len(padded)
            self._table = None
        return self._known[key]

    def windows(self, latents: Tensor) -> Tensor:
        """[n, kernel, state] frames of the latents of these numbers."""
        if self._table is None:
            end = np.zeros((1, self.state), np.float16)
            self._table = torch.from_numpy(np.concatenate([*self._parts, end]))
        around = torch.arange(KERNEL) - KERNEL // 2
        return self._table[STRIDE * latents.cpu()[:, None] + around].to(latents.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> "SoundTable":
        return self


class HearingAdaptor(nn.Module):
    """Step-Audio's adaptor as a function of each latent's own frames, with its names."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: AdaptorShape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape.state))
        self.register_buffer("deviation", torch.ones(shape.state))
        self.conv = nn.Conv1d(shape.state, shape.state, KERNEL, STRIDE)
        self.linear1 = nn.Linear(shape.state, shape.hidden)
        self.linear2 = nn.Linear(shape.hidden, shape.output)

    def forward(self, windows: Tensor) -> Tensor:
        """Latents [n, output] of frames [n, kernel, state]."""
        frames = (windows.to(self.conv.weight.dtype) - self.mean) / self.deviation
        conv = F.gelu(self.conv(frames.transpose(1, 2)).squeeze(2))
        latents: Tensor = self.linear2(F.relu(self.linear1(conv)))
        return latents

    def standardise(self, frames: Tensor) -> None:
        """Take frames in by their distance from the usual: most of a frame of Whisper's is the
        same in all sounds. ``frames`` [n, state] are those of training."""
        self.mean.copy_(frames.float().mean(0))
        self.deviation.copy_(frames.float().std(0).clamp(min=LEAST_DEVIATION))

    def plain(self) -> dict[str, Tensor]:
        """The same function of frames as they are, under the names of Step-Audio's adaptor."""
        weight = self.conv.weight / self.deviation[:, None]
        assert self.conv.bias is not None
        bias = self.conv.bias - (weight * self.mean[:, None]).sum((1, 2))
        inner = {f"conv.{name}": value for name, value in (("weight", weight), ("bias", bias))}
        outer = {
            f"{name}.{part}": value
            for name in ("linear1", "linear2")
            for part, value in getattr(self, name).state_dict().items()
        }
        return {name: value.detach() for name, value in {**inner, **outer}.items()}


class HearingEmbedding(nn.Module):
    """In place of the decoder's embedding: ids of text and of latents to rows."""

    def __init__(self, embedding: nn.Embedding, shape: AdaptorShape, sounds: SoundTable) -> None:
        super().__init__()
        self.weight = embedding.weight
        self.num_embeddings, self.embedding_dim = embedding.weight.shape
        self.adapter = HearingAdaptor(shape)
        self.sounds = sounds

    def forward(self, ids: Tensor) -> Tensor:
        """Rows [..., C] of ids [...]. A latent that stands in several prompts is made once."""
        rows = F.embedding(ids.clamp(max=self.num_embeddings - 1), self.weight)
        heard = ids >= self.num_embeddings
        if not heard.any():
            return rows
        latents, places = (ids[heard] - self.num_embeddings).unique(return_inverse=True)
        made = self.adapter(self.sounds.windows(latents))
        return rows.index_put((heard,), made[places].to(rows.dtype))


def hearing_model(config: Qwen2Config, sounds: SoundTable) -> Qwen2ForCausalLM:
    """A decoder of these shapes with random weights, which hears ``sounds``."""
    return with_hearing(Qwen2ForCausalLM(config), sounds)


def with_hearing(model: Qwen2ForCausalLM, sounds: SoundTable) -> Qwen2ForCausalLM:
    """Put the adaptor before the decoder of ``model``."""
    shape = AdaptorShape(sounds.state, ADAPTOR_HIDDEN, model.config.hidden_size)
    model.model.embed_tokens = HearingEmbedding(model.model.embed_tokens, shape, sounds)
    return model


def latent_ids(model: Qwen2ForCausalLM, latents: Sequence[int]) -> list[int]:
    """The token ids of latents of these numbers."""
    return [model.config.vocab_size + number for number in latents]
