"""Codes to samples as a stream: chunks of 25 codes (1 s), each seeing 3 codes ahead.

Mel chunks overlap by 8 frames in the vocoder: it runs over the last 8 again, with the same
excitation, and the two renderings are cross-faded. So the last 8 frames of a chunk wait for the
next one.

Several utterances may be fed at once. The chunks that they complete are rendered together, because
a chunk is thousands of small launches, whoever it belongs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tts.token2wav.flow import (
    NOISE_FRAMES,
    RECENT_FRAMES,
    STEPS,
    Flow,
    FlowChunk,
    FlowState,
)
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


@dataclass(frozen=True, slots=True)
class Feed:
    """The next ``codes`` of one utterance; ``final``: there are no more."""

    codes: Sequence[int]
    state: StreamState
    final: bool = False


@dataclass(slots=True)
class _Course:
    """One utterance on its way through the chunks that its feed completes."""

    flow: FlowState
    pending: tuple[int, ...]
    overlap: Overlap | None
    chunks: int
    final: bool
    parts: list[Tensor] = field(default_factory=list)  # [1, N] samples

    def take(self, advance: int, window: int) -> tuple[tuple[int, ...], bool] | None:
        """The codes of the next chunk, and whether it is the last; None if it is not complete."""
        is_last = len(self.pending) < window
        if is_last and not (self.final and self.pending):
            return None
        taken = self.pending if is_last else self.pending[:window]
        self.pending = () if is_last else self.pending[advance:]
        return taken, is_last


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
        self.check(prompt.codes.tolist())
        like = self.flow.encoder_proj.weight
        speaker = torch.from_numpy(prompt.speaker).to(like)[None]
        mel = torch.from_numpy(np.ascontiguousarray(prompt.mel.T)).to(like)[None]
        return StreamState(
            self.flow.open(self._schedule, self._codes(prompt.codes.tolist()), speaker, mel)
        )

    def feed(
        self, codes: Sequence[int], state: StreamState, *, final: bool = False
    ) -> tuple[NDArray[np.float32], StreamState]:
        """The samples that ``codes`` complete, float32 at 24 kHz in [-0.99, 0.99], and the next
        state. With ``final`` all samples since `open` have come out: 960 for each code.

        Raises:
            ValueError: a code is not in the codebook.
        """
        [result] = self.feed_all([Feed(codes, state, final)])
        return result

    @torch.inference_mode()
    def feed_all(self, feeds: Sequence[Feed]) -> list[tuple[NDArray[np.float32], StreamState]]:
        """As `feed`, for several utterances; equal to one after another but for rounding.

        Raises:
            ValueError: a code is not in the codebook.
        """
        courses = []
        for feed in feeds:
            self.check(feed.codes)
            state = feed.state
            pending = (*state.pending, *feed.codes)
            courses.append(_Course(state.flow, pending, state.overlap, state.chunks, feed.final))
        while self._round(courses):
            pass
        return [
            (
                torch.cat(one.parts, dim=1)[0].cpu().numpy()
                if one.parts
                else np.zeros(0, np.float32),
                StreamState(one.flow, one.pending, one.overlap, one.chunks),
            )
            for one in courses
        ]

    def completes_chunk(self, codes: Sequence[int], state: StreamState) -> bool:
        """Whether `feed` would render a chunk."""
        return len(state.pending) + len(codes) >= self.window_codes

    @property
    def window_codes(self) -> int:
        """Codes that a chunk looks at."""
        return self.chunk_codes + self._lookahead

    def check(self, codes: Sequence[int]) -> None:
        """Refuse codes that are not in the codebook.

        Raises:
            ValueError: there is one.
        """
        for code in codes:
            if not 0 <= code < self.flow.config.vocab:
                raise ValueError(f"code {code} is outside [0, {self.flow.config.vocab - 1}]")

    def _round(self, courses: Sequence[_Course]) -> bool:
        """Render the next chunk of all that have one; whether any had."""
        taken = [(one, one.take(self.chunk_codes, self.window_codes)) for one in courses]
        due = [(one, *codes) for one, codes in taken if codes is not None]
        if not due:
            return False
        chunks = [FlowChunk(self._codes(codes), one.flow, last) for one, codes, last in due]
        mels: list[Tensor] = []
        for (one, _, _), (mel, flow) in zip(
            due, self.flow.feed(self._schedule, chunks), strict=True
        ):
            one.flow = flow
            mels.append(mel.float())
        by_kind: dict[tuple[int, bool], list[int]] = {}
        for number, ((one, _, _), mel) in enumerate(zip(due, mels, strict=True)):
            by_kind.setdefault((mel.shape[2], one.overlap is None), []).append(number)
        for members in by_kind.values():
            group = [due[number][0] for number in members]
            samples = self._vocode(torch.cat([mels[number] for number in members]), group)
            for number, part in zip(members, samples.split(1), strict=True):
                one, _, last = due[number]
                one.parts.append(part if last else part[:, : -self._overlap_samples])
        return True

    def _vocode(self, mel: Tensor, courses: Sequence[_Course]) -> Tensor:
        """Samples [B, N] of each one's overlap and ``mel [B, mels, T]``, cross-faded; notes the
        next overlaps. All have one, or none has."""
        past = [one.overlap for one in courses if one.overlap is not None]
        if past:
            mel = torch.cat([torch.cat([one.mel for one in past]), mel], dim=2)
        config = self.hift.config
        count = mel.shape[2] * config.samples_per_frame
        noise = torch.cat([self._noise(one.chunks, count) for one in courses]).to(mel.device)
        head = torch.cat([one.source for one in past]) if past else None
        samples: Tensor
        samples, source = self.hift(mel, noise, head)
        size = self._overlap_samples
        if past:
            before = torch.cat([one.samples for one in past])
            faded = samples[:, :size] * self._fade_in + before * self._fade_out
            samples = torch.cat([faded, samples[:, size:]], dim=1)
        # Copies: a view would keep all of the chunk alive.
        ends = (mel[:, :, -OVERLAP_FRAMES:], source[:, :, -size:], samples[:, -size:])
        overlaps = zip(*(end.clone().split(1) for end in ends), strict=True)
        for one, overlap in zip(courses, overlaps, strict=True):
            one.overlap = Overlap(*overlap)
            one.chunks += 1
        return samples

    def _noise(self, chunk: int, count: int) -> Tensor:
        seeded = torch.Generator().manual_seed(SOURCE_SEED + chunk)
        return torch.randn(1, self.hift.config.harmonics + 1, count, generator=seeded)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.flow.encoder_proj.weight.device

    def _codes(self, codes: Sequence[int]) -> Tensor:
        return torch.tensor([codes], device=self.device)
