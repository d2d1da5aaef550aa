"""How well `duplex talk` keeps the loudspeaker out of the microphone, and lets a caller through.

    python -m benchmarks.turn_taking.echo_guard

Answers in the project's own voice sound in simulated rooms: a delay, 80 ms of reverberation, so
many dB down, with a loudspeaker that is linear or clips softly, on a bed of noise at -70 dBFS. In
each a caller speaks into the answer once, in the same voice slowed down, at the level the answer
was made with. What the guard leaves goes to the server's own detector of speech.

``reduction_db``: how much less of the answer is left while it sounds alone, from its first
sample on. ``self_interruptions``: the detector's onsets before the caller speaks. ``lag_ms``: the
detector's onset with the guard after its onset on the caller alone.
"""

import argparse
import json
import platform
import statistics
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

from client.live.echo_canceller import EchoGuard, WebRtcCanceller
from duplex.app import build
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.config import Config, VoiceConfig
from duplex.model_store import Progress
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroVad
from tts.types import TextVoice

RATE = 24_000
CHUNK = 480
DELAYS_MS = (20, 80, 150, 300)
GAINS_DB = (-20, -10, 0)
LATE_MS = 1000  # an onset later than this is a missed interruption
ANSWERS = (
    "The capital of France is Paris. It lies on the river Seine, where two million people live.",
    "The highest mountain in the world is Mount Everest, which stands at eight thousand metres.",
    "Bread is made of flour, water, salt and yeast, and it needs some hours before it is baked.",
    "The sea covers most of our planet, and it is deeper than the highest mountains are high.",
    "Trains leave every hour from the main station, and the journey takes about forty minutes.",
)
INTERRUPTIONS = ("Wait, stop.", "No, that is not what I asked.", "Hold on a moment, please.")


@dataclass(frozen=True, slots=True)
class Result:
    """One answer in one room with one interruption."""

    delay_ms: int
    gain_db: int
    clips: bool
    guarded: bool
    reduction_db: float
    self_interruptions: int
    lag_ms: float | None  # None: the interruption was not noticed


def room(delay_ms: int, gain_db: float, seed: int) -> Samples:
    """An impulse response: the direct sound, then noise that decays by 60 dB in 80 ms."""
    random = np.random.default_rng(seed)
    count = 80 * RATE // 1000
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[0] += 4
    tail *= 10 ** (gain_db / 20) / np.sqrt(np.sum(tail**2))
    return np.concatenate([np.zeros(delay_ms * RATE // 1000), tail])


def onsets_ms(vad: SileroVad, samples: Samples) -> list[float]:
    """When speech begins, each pause of the detector ending what went before."""
    frames, detector = vad.open(), SpeechDetector(DetectorConfig())
    wide = resample(samples, RATE, SAMPLE_RATE)
    found = []
    for start in range(0, len(wide) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        for event in detector.feed(frames.feed(wide[start : start + FRAME_SAMPLES])):
            if type(event).__name__ == "SpeechStarted":
                found.append((start + FRAME_SAMPLES) * 1000 / SAMPLE_RATE)
            else:
                detector.end_turn()
    return found


def guarded(played: Samples, heard: Samples, latency_ms: int) -> Samples:
    """What the guard makes of it, told the delay that the devices would report."""
    guard = EchoGuard(WebRtcCanceller(), latency_ms / 1000)
    out = []
    for start in range(0, len(heard) - CHUNK + 1, CHUNK):
        guard.played(played[start : start + CHUNK])
        out.append(guard.clean(heard[start : start + CHUNK]))
    return np.concatenate(out)


def measure(
    vad: SileroVad, answer: Samples, caller: Samples, delay_ms: int, gain_db: int, clips: bool
) -> list[Result]:
    """With the guard and without it."""
    lead = np.zeros(RATE // 2, np.float32)
    played = np.concatenate([lead, answer, lead])
    sounding = np.tanh(3 * played) / 3 if clips else played
    echo = np.convolve(sounding, room(delay_ms, gain_db, seed=delay_ms))[: len(played)]
    at = len(played) - len(lead) - max(len(caller), RATE * 3 // 2)
    alone = np.zeros_like(played)
    alone[at : at + len(caller)] = caller[: len(played) - at]
    noise = 10 ** (-70 / 20) * np.random.default_rng(1).standard_normal(len(played))
    heard = (echo + alone + noise).astype(np.float32)
    reference_ms = onsets_ms(vad, alone)[0]
    before = slice(len(lead), at)
    results = []
    for is_guarded in (True, False):
        left = guarded(played, heard, min(delay_ms, 100)) if is_guarded else heard
        found = onsets_ms(vad, left)
        after = [ms - reference_ms for ms in found if ms >= at * 1000 / RATE]
        results.append(
            Result(
                delay_ms=delay_ms,
                gain_db=gain_db,
                clips=clips,
                guarded=is_guarded,
                reduction_db=_db(heard[before]) - _db(left[before]),
                self_interruptions=sum(ms < at * 1000 / RATE for ms in found),
                lag_ms=after[0] if after and after[0] <= LATE_MS else None,
            )
        )
    return results


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--voice", default=VoiceConfig().model, help="of the answers")
    options = parser.parse_args()
    config = Config(voice=VoiceConfig(model=options.voice))
    store, progress = build.open_store(config), Progress(None)
    voice = build.load_voice(config, store, progress)
    vad = SileroVad(store.path("silero-vad") / "silero_vad.onnx")
    answers = [_speak(voice, text) for text in ANSWERS]
    callers = [_speak(voice, text, speed=0.8) for text in INTERRUPTIONS]
    results = []
    for delay_ms, gain_db, clips in product(DELAYS_MS, GAINS_DB, (False, True)):
        for number, answer in enumerate(answers):
            caller = callers[number % len(callers)]
            results += measure(vad, answer, caller, delay_ms, gain_db, clips)
    print(_table(results))
    if options.out:
        report = {
            "machine": platform.processor() or platform.machine(),
            "voice": options.voice,
            "livekit": version("livekit"),
            "results": [asdict(result) for result in results],
        }
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _table(results: list[Result]) -> str:
    lines = [
        "guard  room dB  answers  reduction dB (least)  stopped by itself  "
        "interruptions noticed  lag ms p50, most"
    ]
    for is_guarded, gain_db in product((True, False), GAINS_DB):
        rows = [r for r in results if r.guarded == is_guarded and r.gain_db == gain_db]
        lags = [r.lag_ms for r in rows if r.lag_ms is not None]
        reductions = [r.reduction_db for r in rows]
        late = f"{statistics.median(lags):.0f}, {max(lags):.0f}" if lags else "-"
        lines.append(
            f"{'on' if is_guarded else 'off':<5}  {gain_db:>7}  {len(rows):>7}  "
            f"{statistics.median(reductions):>12.1f} ({min(reductions):.1f})  "
            f"{sum(r.self_interruptions > 0 for r in rows):>17}  "
            f"{len(lags):>21}  {late:>16}"
        )
    return "\n".join(lines)


def _speak(voice: TextVoice, text: str, speed: float = 1.0) -> Samples:
    spoken = np.concatenate([chunk.samples for chunk in voice.synthesize(text, speed)])
    return resample(spoken, voice.sample_rate, RATE)


def _db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


if __name__ == "__main__":
    main()
