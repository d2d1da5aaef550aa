"""What is measured of each model, at which sizes, and about how long it takes on an H100."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks import gpu_kernels
from benchmarks.gpu_kernels import Ceilings
from benchmarks.native import answers, capacity, decoding, hearing, rival, voice
from benchmarks.native.answers import Way
from benchmarks.native.bed import TINY, Bed, BedOptions
from benchmarks.native.capacity import Course, Voice
from benchmarks.native.floors import Sizes
from benchmarks.native.voice import TINY_VOICE, VoiceShape
from engine.native.model.config import MINI_7B, R1_32B, StepAudioConfig
from engine.native.runtime.graphs import SIZES
from engine.native.runtime.planning import Limits
from engine.ops.dispatch import MATVEC_ROWS

VOICES = {
    "ta4": Voice(tokens_per_s=31.25, first_tokens=35),  # 5 tokens for 160 ms; its voice wants 1.1 s
    "text": Voice(tokens_per_s=4.0, first_tokens=8),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of all measurements of one model."""

    sections: tuple[str, ...]
    cache_tokens: int
    encoder_frames: int
    floors: Sizes = field(default_factory=Sizes)
    context_tokens: int = 8192
    turns_s: tuple[float, ...] = (1, 2, 3, 5, 8, 12, 16, 20, 25, 30)
    sweeps: int = 10
    encoder_calls: tuple[int, ...] = (1, 4, 8, 16)
    exact_s: tuple[float, ...] = (1, 5, 10, 15, 20, 25)
    repetitions: int = 20
    prefill_sizes: tuple[int, ...] = (5, 16, 64, 128, 256, 512, 1024)
    rows: tuple[int, ...] = (1, 2, 8, 32)
    context: int = 512
    steps: int = 64
    turn_s: float = 5.0
    thoughts: int = 762  # of think-before-speak in the Mind-Paced Speaking paper
    segment: int = 80
    answers: tuple[int, int, int] = (3, 10, 10)  # repetitions, by the time that one takes
    calls: tuple[int, ...] = (1, 4, 8, 16, 32, 64)
    course: Course = field(default_factory=Course)
    rival_rows: tuple[int, ...] = (1, 8)
    rival_tokens: int = 64
    voice: VoiceShape = field(default_factory=VoiceShape)


EACH = ("decoding", "curve", "first_packet", "capacity", "transformers", "quantised", "kernels")
ONCE = ("encoder", "voice")
MODELS: dict[str, tuple[StepAudioConfig, Scale]] = {
    # The encoder and the voice are the same in both; they are measured by themselves once.
    "7b": (MINI_7B, Scale((*EACH, *ONCE), cache_tokens=65_536, encoder_frames=16_384)),
    "32b": (
        R1_32B,
        Scale(
            EACH,
            cache_tokens=24_576,  # 6.4 GB beside 69 GB of weights
            encoder_frames=10_240,
            sweeps=8,
            steps=40,
            answers=(2, 5, 6),
            calls=(1, 2, 4, 8, 16, 32),
            repetitions=10,
        ),
    ),
    "tiny": (
        TINY,
        Scale(
            (*EACH, *ONCE),
            cache_tokens=4096,
            encoder_frames=6144,
            floors=Sizes(copy_bytes=1 << 20, side=64),
            context_tokens=1024,
            turns_s=(1, 2),
            sweeps=2,
            encoder_calls=(1, 3),
            exact_s=(1,),
            repetitions=2,
            prefill_sizes=(1, 20),
            rows=(1, 2),
            context=40,
            steps=3,
            turn_s=1.0,
            thoughts=24,
            segment=8,
            answers=(1, 1, 1),
            calls=(1, 2),
            course=Course(spoken_s=1.2, played_s=1.2, window_s=4.0, tempo=8.0),
            rival_rows=(1, 2),
            rival_tokens=6,
            voice=TINY_VOICE,
        ),
    ),
}
SECONDS = {  # on an H100, the building of the model aside: 7b, 32b
    "decoding": (25, 45),
    "curve": (30, 50),
    "first_packet": (35, 60),
    "capacity": (80, 70),  # 13 windows of 6 s, if all counts hold
    "transformers": (20, 35),
    "quantised": (25, 50),
    "kernels": (70, 70),
    "encoder": (30, 30),
    "voice": (60, 60),
}
# Three calls of at most nine minutes, most valuable first.
CALLS: dict[str, tuple[str, ...]] = {
    "a": ("32b/decoding", "32b/curve", "32b/first_packet", "7b/decoding", "7b/first_packet"),
    "b": ("7b/kernels", "32b/kernels", "7b/curve", "7b/encoder", "7b/voice"),
    "c": (
        *("7b/capacity", "7b/quantised", "7b/transformers"),
        *("32b/capacity", "32b/quantised", "32b/transformers"),
    ),
}


def seconds_needed(model: str, section: str) -> float:
    """About how long a section takes, with its model's building."""
    if model == "tiny":
        return 0.0
    return SECONDS[section][model == "32b"]


class Bench:
    """Runs sections of one model; keeps the model between them."""

    def __init__(self, model: str, device: torch.device, limits: Ceilings) -> None:
        self._model, self._device, self._limits = model, device, limits
        self._config, self.scale = MODELS[model]
        self._bed: Bed | None = None

    def run(self, section: str, keep: Callable[[dict[str, Any]], None]) -> Any:
        """The section's figures. ``keep`` is called with those so far, after each part of a
        section that has several: what fails later does not lose them.

        Raises:
            Exception: whatever failed. Its memory is free after `drop`, when nothing holds the
                exception any more.
        """
        sections: dict[str, Callable[[], Any]] = {
            "decoding": lambda: self._decoding(keep),
            "curve": self._curve,
            "first_packet": self._first_packet,
            "capacity": self._capacity,
            "transformers": self._transformers,
            "quantised": lambda: self._quantised(keep),
            "kernels": self._kernels,
            "encoder": lambda: self._encoder(keep),
            "voice": self._voice,
        }
        return sections[section]()

    def drop(self) -> None:
        """Free the model."""
        self._bed = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def bed(self) -> Bed:
        """The model, built when it is first asked for."""
        if self._bed is None:
            self._bed = self._build(self.scale.cache_tokens, SIZES)
        return self._bed

    def _build(self, cache_tokens: int, graph_sizes: tuple[int, ...]) -> Bed:
        options = BedOptions(
            self._device,
            torch.bfloat16 if self._device.type == "cuda" else torch.float32,
            cache_tokens,
            self.scale.encoder_frames,
            self.scale.context_tokens,
            graph_sizes,
        )
        return Bed(self._config, options)

    def _decoding(self, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        scale, bed = self.scale, self.bed
        few = (scale.rows[0], scale.rows[-2])
        parts: dict[str, Callable[[], Any]] = {
            "decode": lambda: decoding.decoding(
                bed, self._limits, rows=scale.rows, context=scale.context, steps=scale.steps
            ),
            "prefill": lambda: decoding.prefill(
                bed, self._limits, sizes=scale.prefill_sizes, repetitions=scale.repetitions
            ),
            "mixed": lambda: decoding.mixed(
                bed,
                rows=scale.rows[-2],
                context=scale.context,
                prefill=min(Limits().prefill_beside_decode, scale.context),
                repetitions=scale.repetitions,
            ),
            "choosing": lambda: decoding.choosing(
                bed, rows=scale.rows, repetitions=scale.repetitions
            ),
            "through_scheduler": lambda: decoding.through_scheduler(
                bed, rows=few, context=scale.context, tokens=2 * scale.steps
            ),
        }
        found: dict[str, Any] = {}
        for name, part in parts.items():
            found[name] = part()
            keep(found)
        return found

    def _curve(self) -> dict[str, Any]:
        return hearing.curve(self.bed, turns_s=self.scale.turns_s, repetitions=self.scale.sweeps)

    def _first_packet(self) -> dict[str, Any]:
        scale = self.scale
        few, some, many = scale.answers
        ways = [
            Way("before", 0, scale.segment, many),
            Way("speak_first", scale.thoughts, scale.segment, many),
            Way("think_first", scale.thoughts, scale.segment, some),
            Way("before", scale.thoughts, scale.segment, few),
        ]
        return answers.first_packet(self.bed, ways=ways, turn_s=scale.turn_s)

    def _capacity(self) -> dict[str, Any]:
        scale = self.scale
        return capacity.capacity(self.bed, voices=VOICES, calls=scale.calls, course=scale.course)

    def _encoder(self, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        scale = self.scale
        return hearing.encoder(
            self.bed,
            keep,
            calls=scale.encoder_calls,
            chunks_s=max(6.0, scale.turn_s),
            turns_s=scale.exact_s,
            repetitions=scale.repetitions,
        )

    def _transformers(self) -> dict[str, Any]:
        scale = self.scale
        return rival.side_by_side(
            self.bed,
            rows=list(scale.rival_rows),
            prompt=scale.context,
            tokens=scale.rival_tokens,
            repetitions=3,
        )

    def _quantised(self, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        scale = self.scale
        found: dict[str, Any] = {}
        few = tuple(rows for rows in scale.rows if rows <= MATVEC_ROWS)
        room = (max(few) + 1) * (scale.context + 256)  # quantising needs the rest
        for bits in (8, 4):
            self.drop()
            bed = self._build(room, few)
            bed.decoder.quantise(8 if bits == 8 else 4)
            found[f"int{bits}"] = decoding.quantised(
                bed, self._limits, rows=few, context=scale.context, steps=scale.steps
            )
            del bed
            keep(found)
        return found

    def _voice(self) -> dict[str, Any]:
        self.drop()
        return voice.voice(self._device, self.scale.voice)

    def _kernels(self) -> Any:
        self.drop()
        if self._device.type != "cuda":
            return gpu_kernels.check_tiny("cpu", torch.float32)
        config = self._config
        assert config.encoder is not None
        assert config.adaptor is not None
        return gpu_kernels.measure_kernels(
            config.decoder, config.encoder, config.adaptor, limits=self._limits
        )
