"""How often endpointing cuts a caller off, against the delay it adds: both, for each policy.

    python -m benchmarks.turn_taking.endpointing

Callers are the project's own voice, speaking `endpointing_corpus.txt` with silences of 150 to
900 ms in it; what they said up to a pause is what the project's own ear makes of it. Four sets:
``written``, pauses where the corpus has them; ``random``, one pause at any word boundary of each
line, so that nobody who wrote the rule chose it; ``stretched``, as random, by callers who are slow
or quick and draw out the last 0.4 s before each silence, without a change of pitch;
``recordings``, given files of one turn each.

Delay is from the last loud sample to the end of the turn, in sample time: it has the detector's
lag and the hangover in it, and no computing. A pause is cut off if the policy's wait at it ends
before speech resumes.
"""

import argparse
import json
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.turn_taking.corpus import Pause
from benchmarks.turn_taking.policies import FRAME_MS, Policy, policies
from client.bench.machine import source_commit
from duplex.audio.files import read_sound, sounds_in
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.model_store import ModelStore, default_root
from duplex.turns.events import PauseStarted, SpeechResumed, SpeechStarted
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroVad
from engine.ear.smart_turn import SmartTurn
from engine.ear.whisper import WhisperEar
from tts.g2p.g2p import G2P
from tts.piper.split import split
from tts.piper.voice import PiperVoice
from tts.types import TextVoice

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PAUSE_MS = (150, 900)
LEAD_SAMPLES = SAMPLE_RATE * 3 // 10
TAIL_SAMPLES = SAMPLE_RATE * 3 // 2
DRAWN_SAMPLES = SAMPLE_RATE * 2 // 5
TEMPO, DRAWN_TEMPO = (0.8, 1.25), (0.5, 0.8)
MODELS = ["silero-vad", "smart-turn-v3", "whisper-tiny.en", "piper-joe", "g2p-en"]


@dataclass(frozen=True, slots=True)
class Turn:
    """The pauses of one spoken line; the last one is its end."""

    set: str
    line: str
    pauses: tuple[Pause, ...]


@dataclass(frozen=True, slots=True)
class Models:
    """What hears and speaks here."""

    voice: TextVoice
    vad: SileroVad
    ear: WhisperEar
    smart_turn: SmartTurn


def load_models(root: Path) -> Models:
    """Fetch what is missing, and load."""
    store = ModelStore(root)
    store.ensure(MODELS)
    with tempfile.TemporaryDirectory() as directory:
        graphs = Path(directory, "voice")
        split(store.path("piper-joe") / "en_US-joe-medium.onnx", graphs)
        voice = PiperVoice(graphs, G2P(store.path("g2p-en")))
    return Models(
        voice,
        SileroVad(store.path("silero-vad") / "silero_vad.onnx"),
        WhisperEar(store.path("whisper-tiny.en")),
        SmartTurn(store.path("smart-turn-v3") / "smart-turn-v3.2-cpu.onnx"),
    )


def corpus() -> list[str]:
    """The corpus's lines, "|" where the caller pauses."""
    text = (HERE / "endpointing_corpus.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def loud(samples: Samples) -> tuple[int, int]:
    """Where the sound in ``samples`` begins and ends: 10 ms means above -40 dB of the peak."""
    width = SAMPLE_RATE // 100
    power = np.convolve(samples.astype(np.float64) ** 2, np.full(width, 1 / width), "same")
    above = np.flatnonzero(power > (0.01 * np.abs(samples).max()) ** 2)
    return int(above[0]), int(above[-1]) + 1


def stretched(samples: Samples, tempo: float) -> Samples:
    """At another tempo, 0.5 to 2, and the same pitch: ffmpeg's WSOLA."""
    raw = ["-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1"]
    command = ["ffmpeg", "-v", "error", *raw, "-i", "-", "-af", f"atempo={tempo:.3f}", *raw, "-"]
    done = subprocess.run(command, input=samples.tobytes(), check=True, capture_output=True)
    return np.frombuffer(done.stdout, "<f4")


def drawn_out(piece: Samples, rng: np.random.Generator) -> Samples:
    """A piece of a turn as a slow or quick caller says it, its end drawn out."""
    head, tail = piece[:-DRAWN_SAMPLES], piece[-DRAWN_SAMPLES:]
    parts = [stretched(head, rng.uniform(*TEMPO))] if len(head) > SAMPLE_RATE // 10 else [head]
    return np.concatenate([*parts, stretched(tail, rng.uniform(*DRAWN_TEMPO))])


def speak(
    voice: TextVoice, line: str, rng: np.random.Generator, *, stretch: bool = False
) -> tuple[Samples, int]:
    """The line as a caller's 16 kHz audio, and the sample where the speech ends.

    The voice speaks it in one breath, so that the words before a pause do not sound final; it is
    then cut at the ends of those words.
    """
    parts = [part.strip() for part in line.split("|")]
    chunks = list(voice.synthesize(" ".join(parts)))
    spoken = resample(np.concatenate([c.samples for c in chunks]), voice.sample_rate, SAMPLE_RATE)
    cuts = []
    offset, said, words = 0, 0, iter([word for chunk in chunks for word in chunk.words])
    for part in parts[:-1]:
        offset += len(part)
        while said < offset:
            word = next(words)
            said += len(word.text)
        cuts.append(word.end_sample * SAMPLE_RATE // voice.sample_rate)
        offset += 1
    pieces = [np.zeros(LEAD_SAMPLES, np.float32)]
    fade = np.linspace(0, 1, SAMPLE_RATE // 100, dtype=np.float32)
    for piece in np.split(spoken, cuts):
        start, end = loud(piece)
        piece = drawn_out(piece[start:end], rng) if stretch else piece[start:end].copy()
        piece[: len(fade)] *= fade
        piece[-len(fade) :] *= fade[::-1]
        pause = int(rng.integers(*PAUSE_MS)) * SAMPLE_RATE // 1000
        pieces += [piece, np.zeros(pause, np.float32)]
    pieces[-1] = np.zeros(TAIL_SAMPLES, np.float32)
    audio = np.concatenate(pieces)
    audio *= 0.5 / np.abs(audio).max()
    room = 0.0005 * rng.standard_normal(len(audio)).astype(np.float32)
    return audio + room, len(audio) - TAIL_SAMPLES


def recorded(path: Path, rng: np.random.Generator) -> tuple[Samples, int]:
    """A recording of one turn, with its own kind of silence behind it."""
    samples = resample(*read_sound(path), SAMPLE_RATE)
    end = loud(samples)[1]
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    floor = float(np.percentile(np.sqrt((blocks.astype(np.float64) ** 2).mean(axis=1)), 5))
    tail = floor * rng.standard_normal(TAIL_SAMPLES)
    return np.concatenate([samples[:end], tail.astype(np.float32)]), end


def listen(samples: Samples, end: int, models: Models) -> Iterator[Pause]:
    """The pauses that the server would find, with what it would know at each."""
    detector = SpeechDetector(DetectorConfig())
    began = 0
    pause: tuple[int, str, float] | None = None
    for frame in models.vad.open().feed(samples):
        for event in detector.feed([frame]):
            match event:
                case SpeechStarted():
                    began = event.from_sample
                case PauseStarted(at):
                    words = models.ear.transcribe(samples[began : frame.at_sample + FRAME_SAMPLES])
                    # pipecat asks after 200 ms of silence.
                    sound = models.smart_turn.completeness(samples[began : at + SAMPLE_RATE // 5])
                    pause = at, words, sound
                case SpeechResumed(at) if pause:
                    yield Pause(pause[1], pause[2], (at - pause[0]) * 1000 / SAMPLE_RATE, None)
                    pause = None
    if pause:
        yield Pause(pause[1], pause[2], None, (pause[0] - end) * 1000 / SAMPLE_RATE)


def randomly_cut(rng: np.random.Generator) -> Iterator[str]:
    """The corpus's lines of more than three words, with one pause anywhere."""
    for line in corpus():
        words = line.replace("|", " ").split()
        if len(words) > 3:
            words.insert(int(rng.integers(1, len(words))), "|")
            yield " ".join(words)


def collect(models: Models, recordings: Path | None, seed: int) -> Iterator[Turn]:
    """Play every line of every set to the server's ears."""
    rng = np.random.default_rng(seed)
    for line in corpus():
        for _ in range(2 if "|" in line else 1):  # two lengths for each pause
            yield Turn("written", line, tuple(listen(*speak(models.voice, line, rng), models)))
    for cut in randomly_cut(rng):
        yield Turn("random", cut, tuple(listen(*speak(models.voice, cut, rng), models)))
    rng = np.random.default_rng([seed, 1])
    for cut in randomly_cut(rng):
        audio, end = speak(models.voice, cut, rng, stretch=True)
        yield Turn("stretched", cut, tuple(listen(audio, end, models)))
    for path in sounds_in(recordings) if recordings else ():
        yield Turn("recordings", path.name, tuple(listen(*recorded(path, rng), models)))


def score(turns: Iterable[Turn], policy: Policy) -> dict[str, float]:
    """Cut-offs and delays under a policy, which is asked at each frame and so waits whole ones."""

    def wait_ms(pause: Pause) -> int:
        return -(-round(policy(pause)) // FRAME_MS) * FRAME_MS

    inner = cut = cut_turns = 0
    delays = []
    for turn in turns:
        cuts = [
            p.silence_ms >= wait_ms(p)
            for p in turn.pauses
            if p.silence_ms is not None and p.silence_ms >= PAUSE_MS[0]
        ]
        inner += len(cuts)
        cut += sum(cuts)
        cut_turns += any(cuts)
        delays += [p.lag_ms + wait_ms(p) for p in turn.pauses if p.lag_ms is not None]
    return {
        "turns": len(delays),
        "inner_pauses": inner,
        "pauses_cut_off_percent": round(100 * cut / inner, 1),
        "turns_cut_off_percent": round(100 * cut_turns / len(delays), 1),
        "delay_median_ms": round(float(np.median(delays))),
        "delay_p90_ms": round(float(np.percentile(delays, 90))),
        "delay_mean_ms": round(float(np.mean(delays))),
    }


def report(turns: list[Turn], seed: int) -> dict[str, object]:
    """Everything that was found, and where."""
    sets = dict.fromkeys(turn.set for turn in turns)
    return {
        "commit": source_commit(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("onnxruntime", "ctranslate2", "numpy")},
        "models": MODELS,
        "seed": seed,
        "default": "default",
        "policies": {
            name: {which: score([t for t in turns if t.set == which], policy) for which in sets}
            for name, policy in policies().items()
        },
        "turns": [asdict(turn) for turn in turns],
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=default_root(), help="the model store")
    parser.add_argument("--recordings", type=Path, help="a folder of recordings, one turn each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    models = load_models(arguments.models)
    turns = []
    for turn in collect(models, arguments.recordings, arguments.seed):
        turns.append(turn)
        if len(turns) % 50 == 0:
            print(f"{len(turns)} turns", flush=True)
    found = report([turn for turn in turns if turn.pauses], arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "endpointing.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, sets in found["policies"].items():  # type: ignore[attr-defined]
        for which, row in sets.items():
            print(f"{name:26} {which:10} " + " ".join(f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
