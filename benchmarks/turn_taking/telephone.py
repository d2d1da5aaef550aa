"""What a telephone line costs the ear and the detector, offline: no server, no clock.

    python -m benchmarks.turn_taking.telephone --out out/telephone

The bench's questions and the lines of `endpointing_corpus.txt`, in the project's own voice at three
pitches, go through `client.telephone` and then through a call: the resampler, the detector with the
turn's end, the ear at each pause. Three ways: ``clean`` is 24 kHz; ``band`` is the telephone's
band and codec alone; ``line`` loses and delays packets and hisses as well.

Reported are the words misheard and how often a turn was ended too early; how long after the last
loud sample a pause is seen, in sample time, without the line's own delay. Intervals are
bootstrapped over sentences.
"""

import argparse
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.turn_taking.endpointing import corpus
from benchmarks.turn_taking.events.voices import PIPER_TEST, Voices
from client.bench.questions import load_questions
from client.bench.word_errors import wer
from client.realtime import CHUNK_SAMPLES
from client.sound.microphone import Microphone
from client.sound.speech import speech_bounds
from client.telephone.channel import CALL_HZ, GOOD_LINE, LineConditions, Telephone
from duplex.audio.formats import CODECS, Samples
from duplex.audio.resample import resample
from duplex.config import Config
from duplex.dialogue.session import turn_detection
from duplex.interruption.judge import InterruptionJudge
from duplex.model_store import ModelStore, default_root
from duplex.protocol.session_config import SessionConfig
from duplex.turns.events import PauseStarted, SpeechStarted
from duplex.turns.turn_detector import TurnDetection, TurnDetector
from duplex.turns.vad import SAMPLE_RATE, SileroVad
from engine.ear.whisper import WhisperEar

LEAD_CHUNKS, TAIL_CHUNKS = 30, 85  # 20 ms each
SHORTEST_WORDS = 4  # of a line of the corpus
CONDITIONS: dict[str, LineConditions | None] = {
    "clean": None,
    "band": GOOD_LINE,
    "line": LineConditions(),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One sentence, one way. ``pause_ms`` is None if no pause was seen."""

    text: str
    heard: str
    errors: int
    words: int
    turns: int
    pause_ms: float | None


def sentences() -> list[str]:
    """What is said."""
    questions = load_questions()
    texts = [
        question.text
        for question in (*questions.ordinary, *questions.talkative, *questions.interruptions)
    ]
    lines = (" ".join(line.replace("|", " ").split()) for line in corpus())
    return [*texts, *(line for line in lines if len(line.split()) >= SHORTEST_WORDS)]


def microphone(said: Samples, seed: int) -> Samples:
    """24 kHz, with a room's noise, and silence around what is said."""
    source = Microphone(seed=seed)
    chunks = [source.take() for _ in range(LEAD_CHUNKS)]
    source.say(said)
    chunks += [source.take() for _ in range(-(-len(said) // CHUNK_SAMPLES) + TAIL_CHUNKS)]
    return np.concatenate(chunks)


def at_server(sound: Samples, conditions: LineConditions | None, seed: int) -> Samples:
    """The 16 kHz that the server makes of what it is sent."""
    if conditions is None:
        codec = CODECS["pcm16"]
        return resample(codec.decode(codec.encode(sound)), CALL_HZ, SAMPLE_RATE)
    phone, codec = Telephone(conditions, seed), CODECS[conditions.codec]
    chunks = sound.reshape(-1, CHUNK_SAMPLES)
    sent = b"".join(phone.speak(chunk) for chunk in chunks)
    return resample(codec.decode(sent), 8000, SAMPLE_RATE)


def hear(
    audio: Samples, vad: SileroVad, detection: TurnDetection, ear: Callable[[Samples], str]
) -> tuple[list[str], int | None]:
    """The words of each turn, and the sample at which the last pause was seen."""
    hearing = TurnDetector(vad.open(), 10**9, InterruptionJudge)
    hearing.configure(detection)
    turns: list[str] = []
    seen, turn, words = None, np.zeros(0, np.float32), ""
    for heard in hearing.feed(audio, lambda: None):
        turn = np.concatenate([turn, heard.samples])
        for event in heard.events:
            match event:
                case SpeechStarted(from_sample=start):
                    turn, words = hearing.since(start), ""
                case PauseStarted():
                    seen, words = hearing.now_sample, ear(turn)
                    hearing.words_known(words)
        if hearing.find_end() is not None:
            hearing.end_turn()
            turns.append(words)
    return turns, seen


def measure(said: list[tuple[str, Samples]], ear: WhisperEar, vad: SileroVad) -> dict[str, object]:
    """All sentences, each way."""
    config = Config()
    wideband = turn_detection(SessionConfig(), config)
    assert wideband is not None
    found: dict[str, list[Result]] = {name: [] for name in CONDITIONS}
    for number, (text, samples) in enumerate(said):
        seed = zlib.crc32(f"{number} {text}".encode()) % 10**6
        sound = microphone(samples, seed)
        end = LEAD_CHUNKS * CHUNK_SAMPLES + speech_bounds(samples).last_sample
        for name, conditions in CONDITIONS.items():
            detection = replace(wideband, is_telephone=conditions is not None)
            audio = at_server(sound, conditions, seed)
            turns, seen = hear(audio, vad, detection, ear.transcribe)
            heard = " ".join(turns)
            count = wer([(text, heard)])
            delay_ms = 0 if conditions is None else conditions.buffer_ms
            pause_ms = seen and round(1000 * (seen / SAMPLE_RATE - end / CALL_HZ) - delay_ms, 1)
            found[name].append(Result(text, heard, count.edits, count.words, len(turns), pause_ms))
    summary = {name: summarize(results, found["clean"]) for name, results in found.items()}
    wrong = {
        name: [asdict(result) for result in results if result.errors or result.turns != 1]
        for name, results in found.items()
    }
    return {"summary": summary, "wrong": wrong}


def summarize(results: list[Result], clean: list[Result]) -> dict[str, object]:
    """Of one way, beside the clean one."""
    counts, beside = (np.array([(r.errors, r.words) for r in one]) for one in (results, clean))
    drawn = np.random.default_rng(0).integers(0, len(counts), (2000, len(counts)))
    rates, others = (_rate(one[drawn].sum(axis=1)) for one in (counts, beside))
    pauses = [result.pause_ms for result in results if result.pause_ms is not None]
    return {
        "errors": int(counts[:, 0].sum()),
        "words": int(counts[:, 1].sum()),
        "wer": _rate(counts.sum(axis=0)),
        "wer_interval": np.quantile(rates, (0.025, 0.975)).tolist(),
        "ratio_to_clean": _rate(counts.sum(axis=0)) / _rate(beside.sum(axis=0)),
        "ratio_interval": np.quantile(rates / others, (0.025, 0.975)).tolist(),
        "split": sum(result.turns > 1 for result in results),
        "unheard": sum(result.turns == 0 for result in results),
        "pause_mean_ms": float(np.mean(pauses)),
        "pause_p50_ms": float(np.median(pauses)),
        "pause_p95_ms": float(np.quantile(pauses, 0.95)),
    }


def _rate(counts: NDArray[np.int64]) -> Any:
    """Errors per word, of the last axis."""
    return counts[..., 0] / counts[..., 1]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/telephone"))
    parser.add_argument("--ear", default="whisper-tiny.en")
    parser.add_argument("--sentences", type=int, help="only so many")
    options = parser.parse_args()
    store = ModelStore(default_root())
    store.ensure(["silero-vad", options.ear, "piper-joe", "g2p-en"])
    voices = Voices(default_root(), Path("-"), options.out / "said")
    said = [
        (text, np.pad(resample(voices.say(f"pj-{pitch}", text), SAMPLE_RATE, CALL_HZ), 2400))
        for pitch in PIPER_TEST
        for text in sentences()[: options.sentences]
    ]
    vad = SileroVad(store.path("silero-vad") / "silero_vad.onnx")
    report = measure(said, WhisperEar(store.path(options.ear)), vad)
    (options.out / "telephone.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=1))


if __name__ == "__main__":
    main()
