"""How well each voice is understood, how early it sounds and what it costs.

    python -m benchmarks.voices.compare --json benchmarks/results/voices.json

Texts are spoken clause by clause, as in a call, on one thread. ``errors``: what Whisper makes of
the sound, both sides as words that are said. Sentences are `SENTENCES`; answers are those of the
bench's brains; ``spoken text`` are the reported texts of tests/tts/text/spoken_text.json. Times
are the best of `RUNS` on a machine that may be busy; CPU time is that of the process.
``loudness_db`` is the mean power of what is above the noise. ``dnsmos`` needs the package
speechmos, which is no dependency.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from client.bench.word_errors import wer
from duplex.app import build
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.cli.say import spoken
from duplex.config import Config, VoiceConfig
from duplex.model_store import Progress
from duplex.model_store.manifest import load_manifest
from engine.ear.whisper import WhisperEar
from tts.text.normalize import normalize
from tts.types import Voice

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
VOICES = ("piper-joe", "hibari-heart")
EARS = ("whisper-base", "whisper-tiny.en")
EAR_HZ = 16_000
RUNS = 5
FIRST_CLAUSES = (
    "Sure.",
    "Well,",
    "The capital of Australia",
    "The capital of Australia is Canberra,",
    "I'm sorry, I don't know",
    "It takes about forty minutes to get there,",
)
SENTENCES = (
    "The kitchen window faces a small garden with two apple trees.",
    "You can return the jacket within thirty days if you keep the receipt.",
    "My brother works for a company that repairs old bridges.",
    "Please turn left after the second traffic light.",
    "Rain is expected this evening, so take an umbrella with you.",
    "The museum opens at nine and closes at half past five.",
    "A good pair of shoes should last for several years.",
    "I can move your appointment to Thursday afternoon.",
    "Whales breathe air, although they live in the sea.",
    "She learned to play the cello before she could read.",
    "What would you like to drink with your dinner?",
    "The shortest route goes through the forest and along the river.",
    "Honey never spoils if the jar is kept closed.",
    "Your package has arrived at the post office on Market Street.",
    "Most birds fly south when the days become shorter.",
    "Could you tell me the number on the back of your card?",
    "The fire began in the basement and spread to the roof.",
    "Vegetables lose some of their vitamins when they are boiled.",
    "He forgot his password again and had to ask for a new one.",
    "There are twelve eggs in a dozen and sixty seconds in a minute.",
    "The doctor said that the injury would heal in a few weeks.",
    "If the light is red, press the button and wait until it turns green.",
    "Mountains look closer than they are when the air is clear.",
    "Thank you for calling, and have a pleasant evening.",
    "The judge asked the witness to describe the vehicle.",
    "Copper and silver are among the best conductors of electricity.",
)


def main() -> None:
    """Measure, print a line for each voice and write JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--voices", nargs="+", default=VOICES, metavar="NAME")
    parser.add_argument("--json", type=Path, help="JSON file")
    parser.add_argument("--memory-of", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(_memory(options.memory_of)))
        return
    build.open_store(Config()).ensure([*EARS, build.VAD], Progress(sys.stderr))
    report: dict[str, Any] = {
        "machine": f"{os.cpu_count()} x {platform.processor() or platform.machine()}",
        "load": os.getloadavg()[0],
        "voices": {name: _measure(name) for name in options.voices},
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def texts() -> dict[str, list[tuple[str, str]]]:
    """Sets of texts, each with the words that are to be heard."""
    answers: dict[str, None] = {}
    for folder in ("cpu-2core-0.5b", "cpu-2core-1.5b"):
        bench = json.loads((RESULTS / folder / "bench.json").read_text(encoding="utf-8"))
        for result in bench["results"]:
            calls = (call for group in result["groups"] for call in group["calls"])
            answers.update((t["answer"], None) for call in calls for t in call["turns"])
    cases = json.loads((ROOT / "tests/tts/text/spoken_text.json").read_text(encoding="utf-8"))
    return {
        "sentences": [(text, said(text)) for text in SENTENCES],
        "answers": [(text, said(text)) for text in answers if text],
        "spoken text": [(c["text"], said(c["text"])) for c in cases if c["kind"] == "reported"],
    }


def said(text: str) -> str:
    """The words of ``text`` as they are said, initials apart: spelling is no error."""
    words = " ".join(token.spoken for token in normalize(text)).lower()
    return re.sub(r"(?<=\b[a-z])\.(?=[a-z]\b)", " ", words)


def _load(name: str) -> Voice:
    config = Config(voice=VoiceConfig(model=name, others=(), threads=1))
    return build.load_voice(config, build.open_store(config), Progress(sys.stderr))


def _measure(name: str) -> dict[str, Any]:
    voice = _load(name)
    sounds = {
        kind: [(_joined(voice, text), words) for text, words in pairs]
        for kind, pairs in texts().items()
    }
    store = build.open_store(Config())
    result: dict[str, Any] = {"memory": _in_own_process(name), **_cost(voice)}
    result["levels"] = _levels([sound for sound, _ in sounds["sentences"]])
    result["first_audio_ms"] = {text: _first_audio_ms(voice, text) for text in FIRST_CLAUSES}
    result["errors"] = {
        ear: _errors(WhisperEar(store.path(ear), threads=1), sounds, voice.sample_rate)
        for ear in EARS
    }
    result["dnsmos"] = _dnsmos([sound for sound, _ in sounds["sentences"]], voice.sample_rate)
    model = name.partition("/")[0]
    result["installed_bytes"] = load_manifest()[model].size
    print(name, json.dumps({k: v for k, v in result.items() if k != "errors"}), flush=True)
    for ear, kinds in result["errors"].items():
        print(" ", ear, {k: f"{e['edits']} of {e['words']}" for k, e in kinds.items()}, flush=True)
    return result


def _joined(voice: Voice, text: str) -> Samples:
    return np.concatenate([*spoken(voice, text), np.zeros(0, np.float32)])


def _errors(
    ear: WhisperEar, sounds: dict[str, list[tuple[Samples, str]]], rate: int
) -> dict[str, Any]:
    errors = {}
    for kind, pairs in sounds.items():
        heard = [(words, said(_heard(ear, sound, rate))) for sound, words in pairs]
        total = wer(heard)
        errors[kind] = {
            "edits": total.edits,
            "words": total.words,
            "misheard": [pair for pair in heard if wer([pair]).edits],
        }
    return errors


def _heard(ear: WhisperEar, sound: Samples, rate: int) -> str:
    # "10.30 pm" is 10:30 pm.
    return re.sub(r"(\d)\.(\d\d ?[ap]m)", r"\1:\2", ear.transcribe(resample(sound, rate, EAR_HZ)))


def _cost(voice: Voice) -> dict[str, float]:
    _joined(voice, SENTENCES[0])
    best: list[tuple[float, float, float]] = []
    for _ in range(RUNS):
        wall, cpu = perf_counter(), process_time()
        samples = sum(len(_joined(voice, text)) for text in SENTENCES[:6])
        lasts = samples / voice.sample_rate
        best.append(((perf_counter() - wall) / lasts, (process_time() - cpu) / lasts, lasts))
    return {
        "real_time_factor": min(wall for wall, _, _ in best),
        "real_time_factor_median": median(wall for wall, _, _ in best),
        "cpu_s_per_s": min(cpu for _, cpu, _ in best),
    }


def _first_audio_ms(voice: Voice, text: str) -> float:
    def first() -> None:
        next(voice.open().feed(text))

    return _best_ms(first)


def _best_ms(work: Callable[[], None]) -> float:
    times = []
    for _ in range(RUNS):
        start = perf_counter()
        work()
        times.append(1000 * (perf_counter() - start))
    return min(times)


def _levels(sounds: Sequence[Samples]) -> dict[str, float]:
    powers = []
    for sound in sounds:
        frames = sound[: len(sound) // 480 * 480].reshape(-1, 480).astype(np.float64)
        power = np.mean(frames**2, axis=1)
        powers.append(float(np.mean(power[power > 1e-5])))
    return {
        "loudness_db": 10 * np.log10(fmean(powers)),
        "peak": max(float(np.abs(sound).max()) for sound in sounds),
        "largest_step": max(float(np.abs(np.diff(sound)).max()) for sound in sounds),
    }


def _dnsmos(sounds: Sequence[Samples], rate: int) -> dict[str, float] | None:
    if find_spec("speechmos") is None:
        return None
    from speechmos import dnsmos  # type: ignore[import-not-found]

    scores = [dnsmos.run(np.clip(resample(s, rate, EAR_HZ), -1, 1), EAR_HZ) for s in sounds]
    return {kind: fmean(float(s[f"{kind}_mos"]) for s in scores) for kind in ("sig", "bak", "ovrl")}


def _in_own_process(name: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.voices.compare", "--memory-of", name]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    memory: dict[str, float] = json.loads(made.stdout.splitlines()[-1])
    return memory


def _memory(name: str) -> dict[str, float]:
    """What the voice adds to a process that has the dictionaries, and how long it takes to load."""
    from tts.g2p.g2p import G2P

    path = build.open_store(Config()).path(build.G2P)
    start = perf_counter()
    kept = G2P(path)
    g2p_s = perf_counter() - start
    before, start = _resident_mib(), perf_counter()
    voice = _load(name)
    load_s = perf_counter() - start
    for text in SENTENCES[:6]:
        _joined(voice, text)
    del kept
    return {"adds_mib": _resident_mib() - before, "load_s": load_s, "of_which_g2p_s": g2p_s}


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
