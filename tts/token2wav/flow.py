"""Codes to mel by flow matching, chunk by chunk.

The encoder's frames, the speaker and the prompt's mel condition an ordinary differential
equation that carries noise to mel (arXiv 2210.02747); ten Euler steps solve it. Every step keeps
a state of its own, because what the estimator sees differs from step to step.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts.token2wav.config import FlowConfig
from tts.token2wav.dit import BlockState, Dit, Modulation
from tts.token2wav.encoder import EncoderState, FlowEncoder, forget

STEPS = 10
NOISE_FRAMES = 30_000  # 600 s; the published code's size
NOISE_SEED = 0  # the checkpoint has no noise; any fixed one serves
RECENT_FRAMES = 100  # kept by the estimator's attention, after the frames of the prompt
# The published encoder forgets nothing and ends at 5,000 frames (100 s); ours forgets from there.
ENCODER_TOKENS = 2_500


@dataclass(frozen=True, slots=True)
class FlowState:
    """The state of one utterance. It is never changed, so the state after the prompt serves any
    number of utterances."""

    speaker: Tensor  # [1, mels]
    prompt_tokens: int
    encoder: EncoderState
    steps: tuple[tuple[BlockState, ...], ...]  # by step of the solver, then by block


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times of the solver, cosine-spaced, and the modulation of the estimator at each."""

    times: tuple[float, ...]  # one more than steps
    modulations: tuple[Modulation, ...]


class _Solver(nn.Module):
    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.estimator = Dit(config.dit)


def solver_times(steps: int = STEPS) -> tuple[float, ...]:
    """t = 1 - cos(pi/2 * s/steps) for s = 0, ..., steps."""
    return tuple(1 - math.cos(0.5 * math.pi * step / steps) for step in range(steps + 1))


class Flow(nn.Module):
    """Weights only, and the fixed noise; names are those of the checkpoint."""

    noise: Tensor  # [1, mels, NOISE_FRAMES]

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.input_embedding = nn.Embedding(config.vocab, config.input_size)
        self.spk_embed_affine_layer = nn.Linear(config.speaker, config.mels)
        self.encoder = FlowEncoder(config.encoder)
        self.encoder_proj = nn.Linear(config.encoder.size, config.mels)
        self.decoder = _Solver(config)
        seeded = torch.Generator().manual_seed(NOISE_SEED)
        noise = torch.randn(1, config.mels, NOISE_FRAMES, generator=seeded)
        self.register_buffer("noise", noise, persistent=False)

    def schedule(self, steps: int = STEPS) -> Schedule:
        """What every step of the solver needs to know of its time."""
        times = solver_times(steps)
        with torch.inference_mode():
            return Schedule(times, tuple(map(self.decoder.estimator.modulation, times[:-1])))

    def project_speaker(self, embedding: Tensor) -> Tensor:
        """``[1, 192]`` speaker embedding to ``[1, mels]``."""
        out: Tensor = self.spk_embed_affine_layer(F.normalize(embedding, dim=1))
        return out

    def open(self, schedule: Schedule, codes: Tensor, speaker: Tensor, mel: Tensor) -> FlowState:
        """The state after the prompt: ``codes [1, T]``, ``speaker [1, 192]``, ``mel [1, mels,
        2 * T]``. What follows the prompt is unknown, so its own first codes stand for it.
        """
        ahead = codes[:, : self.config.encoder.lookahead]
        speaker = self.project_speaker(speaker)
        state = self.run(schedule, torch.cat([codes, ahead], dim=1), speaker, mel, None, False)[1]
        return FlowState(speaker, codes.shape[1], state[0], state[1])

    def feed(
        self, schedule: Schedule, codes: Tensor, state: FlowState, *, final: bool
    ) -> tuple[Tensor, FlowState]:
        """Mel ``[1, mels, frames]`` of ``codes [1, T]`` and the next state.

        The last three codes are only looked at and come again with the next chunk, unless
        ``final``.
        """
        past = (state.encoder, state.steps)
        mel, (encoder, steps) = self.run(schedule, codes, state.speaker, None, past, final)
        prompt_frames = state.prompt_tokens * self.config.encoder.up_rate
        encoder = forget(encoder, state.prompt_tokens, ENCODER_TOKENS, self.config.encoder.up_rate)
        trimmed = tuple(
            tuple(block.trim(prompt_frames, RECENT_FRAMES) for block in step) for step in steps
        )
        return mel, FlowState(state.speaker, state.prompt_tokens, encoder, trimmed)

    def run(
        self,
        schedule: Schedule,
        codes: Tensor,
        speaker: Tensor,
        condition: Tensor | None,
        past: tuple[EncoderState, tuple[tuple[BlockState, ...], ...]] | None,
        final: bool,
    ) -> tuple[Tensor, tuple[EncoderState, tuple[tuple[BlockState, ...], ...]]]:
        """One chunk, or with no ``past`` the full pass. ``speaker [1, mels]`` is projected,
        ``condition [1, mels, <= frames]`` is the mel that is known, zeros after it."""
        encoded, encoder = self.encoder(
            self.input_embedding(codes), None if past is None else past[0], final=final
        )
        mu = self.encoder_proj(encoded).transpose(1, 2)  # [1, mels, frames]
        known = torch.zeros_like(mu)
        if condition is not None:
            known[:, :, : condition.shape[2]] = condition
        fixed = torch.cat([mu, speaker[:, :, None].expand_as(mu), known], dim=1)
        fixed = torch.cat([fixed, torch.zeros_like(fixed)])  # the second row is unconditioned
        offset = 0 if past is None else past[1][0][0].keys.shape[2]
        x = self.noise[:, :, offset : offset + mu.shape[2]]
        steps = []
        for step, modulation in enumerate(schedule.modulations):
            stacked = torch.cat([x.expand(2, -1, -1), fixed], dim=1)
            state = None if past is None else past[1][step]
            velocity, blocks = self.decoder.estimator(stacked, modulation, state)
            steps.append(blocks)
            guided, free = velocity.chunk(2)
            guided = (1 + self.config.guidance) * guided - self.config.guidance * free
            x = x + (schedule.times[step + 1] - schedule.times[step]) * guided
        return x, (encoder, tuple(steps))
