"""Audio codes to sound (token2wav): the time of a chunk, for one utterance and for several."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.native.timing import now, spread, wait_for
from tts.token2wav.config import DitConfig, EncoderConfig, FlowConfig, HiftConfig
from tts.token2wav.flow import Flow
from tts.token2wav.hift import Hift
from tts.token2wav.prompt import VoicePrompt
from tts.token2wav.stream import CHUNK_CODES, CODE_RATE, Feed, StreamState, Token2Wav

PROMPT_CODES = 125  # 5 s
LOOKAHEAD = 3


@dataclass(frozen=True, slots=True)
class VoiceShape:
    """The flow and the vocoder; the defaults are the published ones."""

    flow: FlowConfig = field(default_factory=FlowConfig)
    hift: HiftConfig = field(default_factory=HiftConfig)
    prompt_codes: int = PROMPT_CODES
    chunks: int = 8
    utterances: tuple[int, ...] = (1, 4, 8)


TINY_VOICE = VoiceShape(
    FlowConfig(
        input_size=16,
        mels=8,
        speaker=12,
        encoder=EncoderConfig(
            input_size=16, size=16, heads=2, feed_forward=24, blocks=2, up_blocks=2
        ),
        dit=DitConfig(inputs=32, mels=8, hidden=16, depth=2, heads=2, head_dim=8, mlp_ratio=2.0),
    ),
    HiftConfig(mels=8, channels=16, f0_channels=8),
    prompt_codes=20,
    chunks=2,
    utterances=(1, 2),
)


def voice(device: torch.device, shape: VoiceShape) -> dict[str, Any]:
    """Chunks of a second of so many utterances, rendered one after another and in one step.

    ``busy`` is the share of real time that a second of all their speech takes. ``difference`` is
    the largest between samples of the two ways.
    """
    model = _random_model(device, shape)
    rng = np.random.default_rng(0)
    primed_at = now()
    primed = model.open(_random_prompt(shape, rng))
    wait_for(device)
    found: dict[str, Any] = {"prompt_ms": (now() - primed_at) * 1000, "utterances": {}}
    for count in shape.utterances:
        samples = {}
        result: dict[str, Any] = {}
        found["utterances"][str(count)] = result
        for way, most in (("in_turn", 1), ("together", count)):
            rng = np.random.default_rng(count)  # the same codes both ways
            rounds = _Rounds(model, [primed] * count, most, rng)
            rounds.next(LOOKAHEAD)  # the kernels are chosen and loaded
            wait_for(device)
            first_s, rounds_s = 0.0, []
            rounds.states = [primed] * count
            for number in range(shape.chunks):
                begin = now()
                made = rounds.next(0 if number else LOOKAHEAD)
                wait_for(device)
                if number:
                    rounds_s.append(now() - begin)
                else:
                    first_s = now() - begin
            samples[way] = made
            result[way] = {
                "first_chunk_of_all_ms": first_s * 1000,
                "chunk_of_all_ms": spread(rounds_s),
                "busy": sum(rounds_s) / len(rounds_s) / (CHUNK_CODES / CODE_RATE),
            }
        pairs = zip(samples["in_turn"], samples["together"], strict=True)
        result["difference"] = max(float(np.abs(one - other).max()) for one, other in pairs)
    return found


@dataclass(slots=True)
class _Rounds:
    """Utterances that are fed a chunk each, ``most`` of them in a step."""

    model: Token2Wav
    states: list[StreamState]
    most: int
    rng: np.random.Generator

    def next(self, extra: int) -> list[NDArray[np.float32]]:
        """The next chunk of every utterance."""
        vocab = self.model.flow.config.vocab
        feeds = [
            Feed(self.rng.integers(0, vocab, CHUNK_CODES + extra).tolist(), state)
            for state in self.states
        ]
        results = [
            result
            for start in range(0, len(feeds), self.most)
            for result in self.model.feed_all(feeds[start : start + self.most])
        ]
        self.states = [state for _, state in results]
        return [samples for samples, _ in results]


def _random_model(device: torch.device, shape: VoiceShape) -> Token2Wav:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow, hift = Flow(shape.flow), Hift(shape.hift)
    flow.requires_grad_(False).eval().to(device)
    hift.requires_grad_(False).eval().to(device)
    return Token2Wav(flow, hift)


def _random_prompt(shape: VoiceShape, rng: np.random.Generator) -> VoicePrompt:
    codes = shape.prompt_codes
    return VoicePrompt(
        rng.integers(0, shape.flow.vocab, codes),
        rng.normal(size=shape.flow.speaker).astype(np.float32),
        rng.normal(size=(2 * codes, shape.flow.mels)).astype(np.float32),
    )
