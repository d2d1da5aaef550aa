"""Codes to samples as a stream: chunks of 25 codes (1 s), each seeing 3 codes ahead.

Mel chunks overlap by 8 frames in the vocoder: it runs over the last 8 again, with the same
excitation, and the two renderings are cross-faded. So the last 8 frames of a chunk wait for the
next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tts.token2wav.flow import NOISE_FRAMES, RECENT_FRAMES, STEPS, Flow, FlowState
from tts.token2wav.hift import Hift
from tts.token2wav.prompt import VoicePrompt

SAMPLE_RATE = 24_000
CODE_RATE = 25
SAMPLES_PER_CODE = SAMPLE_RATE // CODE_RATE
CHUNK_CODES = 25
OVERLAP_FRAMES = 8
SOURCE_SEED = 0


@dataclass(frozen=True, slots=True)
class Overlap:
    """The end of the last chunk, which the next one begins with."""

    mel: Tensor  # [1, mels, 8]
    source: Tensor  # [1, 1, 3840]
    samples: Tensor  # [1, 3840]


@dataclass(frozen=True, slots=True)
class StreamState:
    """The state of one utterance. It is never changed, so it may be fed more than once."""

    flow: FlowState
    pending: tuple[int, ...] = ()  # codes not yet turned into mel
    overlap: Overlap | None = None  # None before the first chunk
    chunks: int = 0  # run so far; seeds the noise of the next one


class Token2Wav:
    """The flow and the vocoder, shared by all calls; holds no call's state.

    ``chunk_codes`` is how many codes a chunk advances: fewer are heard sooner and cost more.

    Raises:
        ValueError: the two do not fit together, or ``chunk_codes`` is below the overlap's 4.
    """

    def __init__(
        self, flow: Flow, hift: Hift, *, chunk_codes: int = CHUNK_CODES, steps: int = STEPS
    ) -> None:
        up_rate = flow.config.encoder.up_rate
        if chunk_codes * up_rate < OVERLAP_FRAMES:
            raise ValueError(f"chunk_codes must be at least {OVERLAP_FRAMES // up_rate}")
        frame = hift.config.samples_per_frame
        if hift.config.mels != flow.config.mels or frame * up_rate != SAMPLES_PER_CODE:
            raise ValueError("flow and vocoder do not fit together")
        self.flow, self.hift, self.chunk_codes = flow, hift, chunk_codes
        self._lookahead = flow.config.encoder.lookahead
        self._overlap_samples = OVERLAP_FRAMES * frame
        self._schedule = flow.schedule(steps)
        fade = np.hamming(2 * self._overlap_samples).astype(np.float32)
        window = torch.from_numpy(fade).to(hift.window.device)
        self._fade_in, self._fade_out = window.chunk(2)

    @torch.inference_mode()
    def open(self, prompt: VoicePrompt) -> StreamState:
        """The state of an utterance in the prompt's voice. It costs a pass over the whole
        prompt; open once and begin every utterance with the same state.

        Raises:
            ValueError: the prompt does not fit the model.
        """
        config = self.flow.config
        if prompt.mel.shape != (config.encoder.up_rate * len(prompt.codes), config.mels):
            raise ValueError(f"a prompt of {len(prompt.codes)} codes and mel {prompt.mel.shape}")
        if prompt.speaker.shape != (config.speaker,):
            raise ValueError(f"a speaker embedding of shape {prompt.speaker.shape}")
        most = (
            NOISE_FRAMES
            - RECENT_FRAMES
            - config.encoder.up_rate * (self.chunk_codes + self._lookahead)
        )
        if not self._lookahead <= len(prompt.codes) <= most // config.encoder.up_rate:
            raise ValueError(f"a prompt of {len(prompt.codes)} codes is too short or too long")
        self._check(prompt.codes.tolist())
        like = self.flow.encoder_proj.weight
        speaker = torch.from_numpy(prompt.speaker).to(like)[None]
        mel = torch.from_numpy(np.ascontiguousarray(prompt.mel.T)).to(like)[None]
        return StreamState(
            self.flow.open(self._schedule, self._codes(prompt.codes.tolist()), speaker, mel)
        )

    @torch.inference_mode()
    def feed(
        self, codes: Sequence[int], state: StreamState, *, final: bool = False
    ) -> tuple[NDArray[np.float32], StreamState]:
        """The samples that ``codes`` complete, float32 at 24 kHz in [-0.99, 0.99], and the next
        state. With ``final`` all samples since `open` have come out: 960 for each code.

        Raises:
            ValueError: a code is not in the codebook.
        """
        self._check(codes)
        pending = (*state.pending, *codes)
        flow, overlap, chunks = state.flow, state.overlap, state.chunks
        parts: list[Tensor] = []
        while len(pending) >= self.chunk_codes + self._lookahead or (final and pending):
            last = len(pending) < self.chunk_codes + self._lookahead
            taken = pending if last else pending[: self.chunk_codes + self._lookahead]
            mel, flow = self.flow.feed(self._schedule, self._codes(taken), flow, final=last)
            samples, overlap = self._vocode(mel.float(), overlap, chunks)
            parts.append(samples if last else samples[:, : -self._overlap_samples])
            pending = () if last else pending[self.chunk_codes :]
            chunks += 1
        joined = torch.cat(parts, dim=1)[0].cpu().numpy() if parts else np.zeros(0, np.float32)
        return joined, StreamState(flow, pending, overlap, chunks)

    def _vocode(self, mel: Tensor, overlap: Overlap | None, chunk: int) -> tuple[Tensor, Overlap]:
        """Samples of the overlap and ``mel``, cross-faded, and the next overlap."""
        if overlap is not None:
            mel = torch.cat([overlap.mel, mel], dim=2)
        config = self.hift.config
        seeded = torch.Generator().manual_seed(SOURCE_SEED + chunk)
        count = mel.shape[2] * config.samples_per_frame
        noise = torch.randn(1, config.harmonics + 1, count, generator=seeded).to(mel.device)
        samples, source = self.hift(mel, noise, None if overlap is None else overlap.source)
        size = self._overlap_samples
        if overlap is not None:
            faded = samples[:, :size] * self._fade_in + overlap.samples * self._fade_out
            samples = torch.cat([faded, samples[:, size:]], dim=1)
        return samples, Overlap(
            mel[:, :, -OVERLAP_FRAMES:], source[:, :, -size:], samples[:, -size:]
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.flow.encoder_proj.weight.device

    def _codes(self, codes: Sequence[int]) -> Tensor:
        return torch.tensor([codes], device=self.device)

    def _check(self, codes: Sequence[int]) -> None:
        for code in codes:
            if not 0 <= code < self.flow.config.vocab:
                raise ValueError(f"code {code} is outside [0, {self.flow.config.vocab - 1}]")
