"""How fast an interruption stops the answer, against how often other sounds do, for each policy.

    python -m benchmarks.turn_taking.interruptions --sounds DIR

`benchmarks.turn_taking.events` draws the events and says what of them is synthetic: most of it.
Each is played frame by frame to the server's own voice activity detector and judge, in sample time;
delay is from the event's first sample to the frame at which both are convinced. No computing and no
transport is in it.

Then comes the second stage, at the first pause of 200 ms: the words, by the server's own ear, and
what the second network says of the sound of all that was said. If they are no interruption, the
answer resumes; ``gap`` is how long the caller heard nothing. All of it is as under the default
policy: from 100 ms after its decision on, the answer and so its echo are gone. Under other policies
it would be heard a little earlier or later.

Words alone would do for most interruptions, which are sentences. Those that are as short as a
backchannel ("Pause.", "Not now.") are the ones that a second stage may get wrong: they are counted
apart, under ``short``.
"""

import argparse
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import figures
from benchmarks.turn_taking.events.corpus import COUNTS, FALSE_KINDS
from benchmarks.turn_taking.events.hearing import Heard, Workbench, hear_stopped, said_in
from client.bench.machine import source_commit
from client.bench.stats import share_interval
from duplex.interruption.judge import Evidence, InterruptionConfig
from duplex.interruption.network import first_syllable, whole_utterance
from duplex.interruption.words import is_false_interruption
from duplex.turns.events import SpeechStarted
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.turn_detector import OVER_MS
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, VadFrame
from engine.ear.whisper import WhisperEar

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PER_MS = SAMPLE_RATE // 1000
COLOURS = {
    "voice": figures.GREY,
    "gates": figures.BLUE,
    "probe": figures.GREEN,
    "early": figures.PURPLE,
}


@dataclass(frozen=True, slots=True)
class Words:
    """What the ear made of an event at its first pause, and when that was."""

    words: str
    speech_ms: int
    known_sample: int
    sounds_false: float | None = None

    @property
    def resumes(self) -> bool:
        """Whether the answer goes on."""
        return is_false_interruption(self.words, self.speech_ms, self.sounds_false)

    @property
    def resumes_by_words(self) -> bool:
        """Whether it would, if the sound were not asked."""
        return is_false_interruption(self.words, self.speech_ms)


def policies() -> dict[str, InterruptionConfig]:
    """Name -> what the judge demands. ``voice`` is voice activity alone; ``gates`` are against
    echo and what is far away; ``probe`` adds the networks, which must be so sure after a sound's
    first moments, and ``early`` how long those last, in ms."""
    rows, default = {}, InterruptionConfig()
    half = default.threshold
    deaf: Any = {"sounds": half, "keeps": half, "surely": 0, "interrupts": 0}
    for ms in (64, 96, 128, 160, 192, 256, 320, 480):
        rows[f"voice {ms}"] = InterruptionConfig(
            unexplained=0, below_db=1000, speech_ms=ms, certain_ms=ms, **deaf
        )
    for ms in (64, 96, 128, 160, 192, 256, 320, 480):
        rows[f"gates {ms}"] = InterruptionConfig(speech_ms=ms, certain_ms=ms, **deaf)
    for least in sorted({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, default.interrupts}):
        rows[f"probe {least}"] = InterruptionConfig(interrupts=least)
    for ms in sorted({0, 96, 128, 160, 192, 224, 256} - {default.early_ms}):
        rows[f"early {ms}"] = InterruptionConfig(early_ms=ms)
    return rows


def decision(heard: Heard, config: InterruptionConfig) -> int | None:
    """The sample at which the judge is convinced and the server's detector hears a turn that can
    be told; None if never."""
    evidence, detector = Evidence(config), SpeechDetector(DetectorConfig())
    in_turn = False
    for end, cue in zip(heard.ends, heard.cues, strict=True):
        shown = detector.feed([VadFrame(int(end) - FRAME_SAMPLES, cue.probability)])
        in_turn = in_turn or any(isinstance(event, SpeechStarted) for event in shown)
        if evidence.weigh(cue) and in_turn:
            return int(end)
        if detector.silence_samples >= OVER_MS * PER_MS:
            detector.end_turn()
            in_turn = False
    return None


def words_of(heard: Heard, bench: Workbench, ear: WhisperEar) -> Words | None:
    """The second stage of the event; None if there was no speech."""
    stops = decision(heard, InterruptionConfig())
    if stops is not None:
        heard = hear_stopped(heard, stops, bench.vad, first_syllable())
    said = said_in(heard)
    if said is None:
        return None
    sounds_false = None if said.features is None else whole_utterance().run(said.features)
    return Words(ear.transcribe(said.audio), said.speech_ms, said.known_sample, sounds_false)


def interval(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, in percent."""
    low, high = share_interval(hits, of) or (0.0, 1.0)
    return round(100 * low, 1), round(100 * high, 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event: ``stop`` is the sample at which the answer stopped."""

    heard: Heard
    stop: int | None
    words: Words | None

    @property
    def caught(self) -> bool:
        """The event stopped the answer. What stops it before the event's first sample is something
        else: the echo."""
        return self.stop is not None and self.stop > self.heard.event.scene.onset

    @property
    def early(self) -> bool:
        """The answer had stopped before the event came."""
        return self.stop is not None and not self.caught

    @property
    def delay_ms(self) -> float:
        """From the event's first sample to the stop, of one that stopped the answer."""
        assert self.stop is not None
        return (self.stop - self.heard.event.scene.onset) / PER_MS

    @property
    def resumes(self) -> bool:
        """The answer goes on after the stop: there were no words, or they were no interruption."""
        return self.words is None or self.words.resumes

    @property
    def gap_ms(self) -> float | None:
        """From the stop to the decision that the answer goes on; None without a pause."""
        if self.words is None or self.stop is None:
            return None
        return (self.words.known_sample - self.stop) / PER_MS


def score(
    heard: Sequence[Heard], words: Sequence[Words | None], config: InterruptionConfig
) -> dict[str, Any]:
    """Delays of the true, shares of the false, and what the second stage makes of both."""
    outcomes = [
        Outcome(one, decision(one, config), said) for one, said in zip(heard, words, strict=True)
    ]
    by_kind: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.heard.event.kind, []).append(outcome)
    real = by_kind.get("interruption", [])
    caught = [outcome for outcome in real if outcome.caught]
    delays = [outcome.delay_ms for outcome in caught]
    return {
        "interruptions": len(real),
        "caught": len(caught),
        "stopped_before_they_came": sum(outcome.early for outcome in real),
        **_percentiles(delays, 50, 90, 95),
        **{
            f"within_{ms}_ms_percent": round(100 * sum(d <= ms for d in delays) / len(real), 1)
            for ms in (250, 300)
        },
        **_wrongly_resumed(caught),
        "short": _short(by_kind.get("short interruption", [])),
        "by_echo": _by_echo(caught),
        "false": {kind: _false_kind(by_kind.get(kind, [])) for kind in FALSE_KINDS},
        **_false_overall([one for kind in FALSE_KINDS for one in by_kind.get(kind, [])]),
    }


def _percentiles(delays: Sequence[float], *which: int) -> dict[str, int]:
    return {f"delay_p{p}_ms": round(float(np.percentile(delays, p))) for p in which}


def _wrongly_resumed(caught: Iterable[Outcome]) -> dict[str, int]:
    """Interruptions after which the answer would go on."""
    said = [outcome.words for outcome in caught if outcome.words is not None]
    return {
        "wrongly_resumed": sum(words.resumes for words in said),
        "wrongly_resumed_by_words": sum(words.resumes_by_words for words in said),
    }


def _short(short: Sequence[Outcome]) -> dict[str, Any]:
    """Interruptions that are as short as a backchannel, apart from the others."""
    caught = [outcome for outcome in short if outcome.caught]
    delays = [outcome.delay_ms for outcome in caught]
    return {
        "interruptions": len(short),
        "caught": len(caught),
        **(_percentiles(delays, 50, 95) if delays else {}),
        **_wrongly_resumed(caught),
    }


def _by_echo(caught: Iterable[Outcome]) -> dict[str, Any]:
    """Delays with the answer's echo at the microphone and without: is double talk heard?"""
    parts: dict[str, list[float]] = {"with_echo": [], "without_echo": []}
    for outcome in caught:
        name = "without_echo" if outcome.heard.event.place.echo is None else "with_echo"
        parts[name].append(outcome.delay_ms)
    return {
        name: {"caught": len(delays), **_percentiles(delays, 50, 95)}
        for name, delays in parts.items()
        if delays
    }


def _false_kind(of_kind: Sequence[Outcome]) -> dict[str, Any]:
    """One kind of sound that is no interruption."""
    stopped = [outcome for outcome in of_kind if outcome.stop is not None]
    resumed = sum(outcome.resumes for outcome in stopped)
    return {
        "events": len(of_kind),
        "stops": len(stopped),
        "stops_percent": round(100 * len(stopped) / max(1, len(of_kind)), 1),
        "resumed": resumed,
        "answers_lost": len(stopped) - resumed,
    }


def _false_overall(events: Sequence[Outcome]) -> dict[str, Any]:
    """All kinds together: how often they stop an answer, and how often for good."""
    stopped = [outcome for outcome in events if outcome.stop is not None]
    lost = sum(not outcome.resumes for outcome in stopped)
    by_words = sum(
        outcome.words is not None and not outcome.words.resumes_by_words for outcome in stopped
    )
    gaps = [outcome.gap_ms for outcome in stopped if outcome.resumes]
    known = [gap for gap in gaps if gap is not None]
    return {
        "false_events": len(events),
        "false_stops_percent": round(100 * len(stopped) / len(events), 1),
        "false_stops_interval": interval(len(stopped), len(events)),
        "answers_lost_percent": round(100 * lost / len(events), 1),
        "answers_lost_interval": interval(lost, len(events)),
        "answers_lost_by_words_percent": round(100 * by_words / len(events), 1),
        "gap_p50_ms": round(float(np.median(known))) if known else None,
    }


def plot(rows: Mapping[str, Mapping[str, Any]], default: str) -> str:
    """False stops over the interruptions' 95th percentile, as an SVG; dashed: those for good."""
    drawn, [axes] = figures.figure()
    for kind, colour in COLOURS.items():
        found = {name: row for name, row in rows.items() if name.startswith(kind)}
        delays = [row["delay_p95_ms"] for row in found.values()]
        stops = [row["false_stops_percent"] for row in found.values()]
        lost = [row["answers_lost_percent"] for row in found.values()]
        axes.plot(delays, stops, "o-", markersize=4, linewidth=1, color=colour, label=kind)
        axes.plot(delays, lost, "--", linewidth=1, color=colour)
        first, *_, last = found
        for name in (default,) if default in found else (first, last):
            at = rows[name]["delay_p95_ms"], rows[name]["false_stops_percent"]
            axes.scatter(*at, s=70 if name == default else 15, color=colour, zorder=3)
            axes.annotate(name, at, (6, 5), textcoords="offset points", fontsize=8)
    axes.axvline(300, color=figures.ORANGE, linestyle=":", label="300 ms")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    axes.set_xlabel("95th percentile of an interruption's onset to the decision, ms")
    axes.set_ylabel("other sounds that stop it, % (dashed: for good)")
    axes.legend()
    return figures.svg(drawn)


def report(heard: Sequence[Heard], words: Sequence[Words | None], seed: int) -> dict[str, Any]:
    """Everything that was found, and where."""
    default = InterruptionConfig()
    named = policies()
    return {
        "commit": source_commit(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("onnxruntime", "ctranslate2", "numpy")},
        "seed": seed,
        "default": next(name for name, config in named.items() if config == default),
        "policies": {
            name: {"config": asdict(config), **score(heard, words, config)}
            for name, config in named.items()
        },
        "events": [
            {
                "kind": one.event.kind,
                "source": one.event.source,
                "voice": one.event.voice,
                "text": one.event.text,
                "place": asdict(one.event.place),
                "delay_ms": None if at is None else (at - one.event.scene.onset) // PER_MS,
                "words": said and said.words,
                "speech_ms": said and said.speech_ms,
                "sounds_false": said and said.sounds_false and round(said.sounds_false, 3),
                "resumes": said is None or said.resumes,
            }
            for one, said in zip(heard, words, strict=True)
            for at in [decision(one, default)]
        ],
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    Workbench.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    parser.add_argument("--share", type=float, default=1.0, help="of the events, for a quick look")
    arguments = parser.parse_args()
    bench = Workbench.from_arguments(arguments)
    counts = {kind: max(2, int(arguments.share * n)) for kind, n in COUNTS["test"].items()}
    heard = list(bench.heard("test", counts))
    ear = WhisperEar(arguments.models / "models" / "whisper-tiny.en")
    words = [words_of(one, bench, ear) for one in heard]
    write(report(heard, words, arguments.seed), arguments.out)


def write(found: dict[str, Any], out: Path) -> None:
    """Write the JSON and the picture, and print the table."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "interruptions.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "interruptions.svg").write_text(plot(found["policies"], found["default"]))
    for name, row in found["policies"].items():
        kinds = ", ".join(f"{kind} {r['stops']}/{r['events']}" for kind, r in row["false"].items())
        print(
            f"{name:12} caught {row['caught']}/{row['interruptions']} (early "
            f"{row['stopped_before_they_came']}), p50 {row['delay_p50_ms']} p95 "
            f"{row['delay_p95_ms']} ms; false {row['false_stops_percent']} %, for good "
            f"{row['answers_lost_percent']} % (by words alone "
            f"{row['answers_lost_by_words_percent']} %), gap {row['gap_p50_ms']} ms, wrongly "
            f"resumed {row['wrongly_resumed']} (by words alone {row['wrongly_resumed_by_words']})"
            f"; short {row['short']}; {kinds}"
        )


if __name__ == "__main__":
    main()
