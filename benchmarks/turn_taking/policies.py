"""Policies of a turn's end on what was heard, and what they score: pauses cut, and delay."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.turn_taking.corpus import COUNTED_MS, Clip, Listener, Pause
from duplex.model_store import ModelStore, default_root
from duplex.turns.endpointing import (
    EndpointConfig,
    PauseSigns,
    from_eagerness,
    silence_to_end_ms,
)
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroVad
from engine.ear.smart_turn import SmartTurn
from engine.ear.whisper import WhisperEar

Policy = Callable[[Pause], float]
MODELS = ["silero-vad", "smart-turn-v3", "whisper-tiny.en"]
FRAME_MS = FRAME_SAMPLES * 1000 // SAMPLE_RATE


def default_listener() -> Listener:
    """The server's ears; fetches what is missing."""
    store = ModelStore(default_root())
    store.ensure(MODELS)
    return Listener(
        SileroVad(store.path("silero-vad") / "silero_vad.onnx"),
        WhisperEar(store.path("whisper-tiny.en")),
        "whisper-tiny.en",
        SmartTurn(store.path("smart-turn-v3") / "smart-turn-v3.2-cpu.onnx"),
    )


def policies() -> dict[str, Policy]:
    """Name -> the silence to wait, in ms."""

    def judged(config: EndpointConfig) -> Policy:
        return lambda p: silence_to_end_ms(PauseSigns(p.words, p.completeness, p.is_asked), config)

    rows: dict[str, Policy] = {
        "default": judged(EndpointConfig()),
        "high": judged(from_eagerness("high")),
        "low": judged(from_eagerness("low")),
        "words 300/1000": lambda p: silence_to_end_ms(PauseSigns(p.words), EndpointConfig()),
        "smart turn 300/1000": lambda p: 300 if p.completeness >= 0.5 else 1000,
    }
    for ms in (300, 400, 500, 600, 700, 1000):
        rows[f"fixed {ms}"] = lambda _, ms=ms: ms  # type: ignore[misc]
    return rows


def score(heard: Iterable[Clip], policy: Policy) -> dict[str, Any]:
    """Pauses cut and delays, of all kinds and of each. Noise has no turns to end."""
    clips = [clip for clip in heard if clip.kind != "noise" and clip.pauses]
    found = _score(clips, policy)
    found["all"] = dict(found)
    kinds = sorted({clip.kind for clip in clips})
    found["kinds"] = {k: _score([c for c in clips if c.kind == k], policy) for k in kinds}
    return found


def _score(clips: Sequence[Clip], policy: Policy) -> dict[str, Any]:
    pauses = cut = cut_once = 0
    delays = []
    for clip in clips:
        is_cut = False
        for pause in clip.pauses:
            # The detector is asked at each frame, so a wait lasts whole frames.
            wait = -(-round(policy(pause)) // FRAME_MS) * FRAME_MS
            if pause.silence_ms is None:
                delays.append((pause.lag_ms or 0.0) + wait)
            elif pause.silence_ms >= COUNTED_MS:
                pauses += 1
                cut += pause.silence_ms >= wait
                is_cut |= pause.silence_ms >= wait
        cut_once += is_cut

    def delay(of: Callable[[list[float]], Any]) -> int | None:
        return round(float(of(delays))) if delays else None

    return {
        "pauses": pauses,
        "cut": int(cut),
        "cut_share": round(cut / pauses, 4) if pauses else None,
        "turns": len(clips),
        "cut_once": int(cut_once),
        "delay_mean_ms": delay(np.mean),
        "delay_p50_ms": delay(np.median),
        "delay_p90_ms": delay(lambda values: np.percentile(values, 90)),
    }
