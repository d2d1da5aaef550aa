"""Codes to mel by flow matching, chunk by chunk.

The encoder's frames, the speaker and the prompt's mel condition an ordinary differential
equation that carries noise to mel (arXiv 2210.02747); ten Euler steps solve it. Every step keeps
a state of its own, because what the estimator sees differs from step to step.

Chunks of several utterances are solved in the same steps, those of the same length together.
"""

import math
from collections.abc import Sequence
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


SolverState = tuple[tuple[BlockState, ...], ...]  # by step of the solver, then by block


@dataclass(frozen=True, slots=True)
class FlowState:
    """The state of one utterance. It is never changed, so the state after the prompt serves any
    number of utterances."""

    speaker: Tensor  # [1, mels]
    prompt_tokens: int
    encoder: EncoderState
    steps: SolverState


@dataclass(frozen=True, slots=True)
class FlowChunk:
    """The next ``codes [1, T]`` of one utterance. The last three are only looked at and come again
    with the next chunk, unless ``final``."""

    codes: Tensor
    state: FlowState
    final: bool


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
        codes_and_ahead = torch.cat([codes, ahead], dim=1)
        _, encoder, steps = self.run(schedule, codes_and_ahead, speaker, mel, final=False)
        return FlowState(speaker, codes.shape[1], encoder, steps)

    def run(
        self, schedule: Schedule, codes: Tensor, speaker: Tensor, condition: Tensor, *, final: bool
    ) -> tuple[Tensor, EncoderState, SolverState]:
        """The full pass over ``codes [1, T]``: mel, and what it leaves. ``speaker [1, mels]`` is
        projected, ``condition [1, mels, <= frames]`` is the mel that is known, zeros after it."""
        fixed, encoder = self._conditions(codes, speaker, condition, None, final=final)
        [(mel, steps)] = self._solve(schedule, [fixed], None)
        return mel, encoder, steps

    def feed(
        self, schedule: Schedule, chunks: Sequence[FlowChunk]
    ) -> list[tuple[Tensor, FlowState]]:
        """Mel ``[1, mels, frames]`` and the next state of each utterance."""
        conditions = [
            self._conditions(
                chunk.codes, chunk.state.speaker, None, chunk.state.encoder, final=chunk.final
            )
            for chunk in chunks
        ]
        by_length: dict[int, list[int]] = {}
        for number, (one, _) in enumerate(conditions):
            by_length.setdefault(one.shape[2], []).append(number)
        solved: dict[int, tuple[Tensor, SolverState]] = {}
        for members in by_length.values():
            fixed = [conditions[number][0] for number in members]
            past = [chunks[number].state.steps for number in members]
            solved |= zip(members, self._solve(schedule, fixed, past), strict=True)
        return [
            (solved[number][0], self._after(chunk.state, encoder, solved[number][1]))
            for number, (chunk, (_, encoder)) in enumerate(zip(chunks, conditions, strict=True))
        ]

    def _after(self, state: FlowState, encoder: EncoderState, steps: SolverState) -> FlowState:
        """The state after a chunk, with no more than is looked at again."""
        rate = self.config.encoder.up_rate
        encoder = forget(encoder, state.prompt_tokens, ENCODER_TOKENS, rate)
        frames = state.prompt_tokens * rate
        trimmed = tuple(
            tuple(block.trim(frames, RECENT_FRAMES) for block in step) for step in steps
        )
        return FlowState(state.speaker, state.prompt_tokens, encoder, trimmed)

    def _conditions(
        self,
        codes: Tensor,
        speaker: Tensor,
        condition: Tensor | None,
        past: EncoderState | None,
        *,
        final: bool,
    ) -> tuple[Tensor, EncoderState]:
        """What the estimator sees beside the mel that is being made, ``[2, 3 * mels, frames]``:
        the second row is unconditioned."""
        encoded, encoder = self.encoder(self.input_embedding(codes), past, final=final)
        mu = self.encoder_proj(encoded).transpose(1, 2)  # [1, mels, frames]
        known = torch.zeros_like(mu)
        if condition is not None:
            known[:, :, : condition.shape[2]] = condition
        fixed = torch.cat([mu, speaker[:, :, None].expand_as(mu), known], dim=1)
        return torch.cat([fixed, torch.zeros_like(fixed)]), encoder

    def _solve(
        self, schedule: Schedule, fixed: Sequence[Tensor], past: Sequence[SolverState] | None
    ) -> list[tuple[Tensor, SolverState]]:
        """Mel and what is kept of each utterance, of chunks of the same number of frames. No
        ``past``: one utterance, of which nothing is kept."""
        count, frames = len(fixed), fixed[0].shape[2]
        offsets = [0] if past is None else [steps[0][0].keys.shape[2] for steps in past]
        x = torch.cat([self.noise[:, :, start : start + frames] for start in offsets])
        seen = torch.cat(list(fixed))
        kept: list[list[tuple[BlockState, ...]]] = []
        for step, modulation in enumerate(schedule.modulations):
            stacked = torch.cat([x.repeat_interleave(2, dim=0), seen], dim=1)
            states = None if past is None else [steps[step] for steps in past]
            velocity, blocks = self.decoder.estimator(stacked, modulation, states)
            kept.append(blocks)
            guided, free = velocity.unflatten(0, (count, 2)).unbind(1)
            guided = (1 + self.config.guidance) * guided - self.config.guidance * free
            x = x + (schedule.times[step + 1] - schedule.times[step]) * guided
        return list(zip(x.split(1), zip(*kept, strict=True), strict=True))
