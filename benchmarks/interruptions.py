"""How fast an interruption stops the answer, against how often other sounds do, for each policy.

    python -m benchmarks.interruptions --sounds DIR

`benchmarks.events` draws the events and says what of them is synthetic: most of it. Each is played
frame by frame to the server's own voice activity detector and judge, in sample time; delay is from
the event's first sample to the frame at which both are convinced. No computing and no transport is
in it.

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
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.events.corpus import COUNTS, FALSE_KINDS
from benchmarks.events.hearing import Heard, Workbench, hear_stopped, said_in
from client.drawing.svg import nice_ticks
from duplex.interruption.judge import Evidence, InterruptionConfig
from duplex.interruption.network import default_probe, default_verdict
from duplex.interruption.words import is_false_interruption
from duplex.turns.events import SpeechStarted
from duplex.turns.speech_detector import DetectorConfig, SpeechDetector
from duplex.turns.turn_detector import OVER_MS
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, VadFrame
from engine.ear.whisper import WhisperEar

HERE = Path(__file__).parent
PER_MS = SAMPLE_RATE // 1000
COLOURS = {"voice": "#888", "gates": "#06c", "probe": "#383", "early": "#a50"}


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
        heard = hear_stopped(heard, stops, bench.vad, default_probe())
    said = said_in(heard)
    if said is None:
        return None
    sounds_false = None if said.features is None else default_verdict().run(said.features)
    return Words(ear.transcribe(said.audio), said.speech_ms, said.known_sample, sounds_false)


def interval(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent."""
    if of == 0:
        return 0.0, 100.0
    z, share = 1.96, hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return round(100 * max(0.0, middle - half), 1), round(100 * min(1.0, middle + half), 1)


def score(
    heard: Sequence[Heard], words: Sequence[Words | None], config: InterruptionConfig
) -> dict[str, Any]:
    """Delays of the true, shares of the false, and what the second stage makes of both."""
    decided = [decision(one, config) for one in heard]
    rows = list(zip(heard, decided, words, strict=True))
    real = [row for row in rows if row[0].event.kind == "interruption"]
    # Before its first sample it was something else: the echo.
    caught = [row for row in real if row[1] is not None and row[1] > row[0].event.scene.onset]
    early = sum(at is not None and at <= one.event.scene.onset for one, at, _ in real)
    delays = [(at - one.event.scene.onset) / PER_MS for one, at, _ in caught if at is not None]
    found: dict[str, Any] = {
        "interruptions": len(real),
        "caught": len(caught),
        "stopped_before_they_came": early,
        **{f"delay_p{p}_ms": round(float(np.percentile(delays, p))) for p in (50, 90, 95)},
        **{
            f"within_{ms}_ms_percent": round(100 * sum(d <= ms for d in delays) / len(real), 1)
            for ms in (250, 300)
        },
        "wrongly_resumed": sum(w is not None and w.resumes for _, _, w in caught),
        "wrongly_resumed_by_words": sum(w is not None and w.resumes_by_words for _, _, w in caught),
        "short": _short(rows),
        "by_echo": _by_echo(caught),
        "false": {},
    }
    gaps, stops, lost, lost_by_words, events = [], 0, 0, 0, 0
    for kind in FALSE_KINDS:
        of_kind = [row for row in rows if row[0].event.kind == kind]
        stopped = [row for row in of_kind if row[1] is not None]
        resumed = [row for row in stopped if row[2] is None or row[2].resumes]
        gaps += [(w.known_sample - at) / PER_MS for _, at, w in resumed if w and at is not None]
        found["false"][kind] = {
            "events": len(of_kind),
            "stops": len(stopped),
            "stops_percent": round(100 * len(stopped) / max(1, len(of_kind)), 1),
            "resumed": len(resumed),
            "answers_lost": len(stopped) - len(resumed),
        }
        events += len(of_kind)
        stops += len(stopped)
        lost += len(stopped) - len(resumed)
        lost_by_words += sum(w is not None and not w.resumes_by_words for _, _, w in stopped)
    found["false_events"] = events
    found["false_stops_percent"] = round(100 * stops / events, 1)
    found["false_stops_interval"] = interval(stops, events)
    found["answers_lost_percent"] = round(100 * lost / events, 1)
    found["answers_lost_interval"] = interval(lost, events)
    found["answers_lost_by_words_percent"] = round(100 * lost_by_words / events, 1)
    found["gap_p50_ms"] = round(float(np.median(gaps))) if gaps else None
    return found


def _short(rows: Iterable[tuple[Heard, int | None, Words | None]]) -> dict[str, Any]:
    """Interruptions that are as short as a backchannel, apart from the others."""
    short = [row for row in rows if row[0].event.kind == "short interruption"]
    caught = [row for row in short if row[1] is not None and row[1] > row[0].event.scene.onset]
    delays = [(at - one.event.scene.onset) / PER_MS for one, at, _ in caught if at is not None]
    return {
        "interruptions": len(short),
        "caught": len(caught),
        **{f"delay_p{p}_ms": round(float(np.percentile(delays, p))) for p in (50, 95) if delays},
        "wrongly_resumed": sum(w is not None and w.resumes for _, _, w in caught),
        "wrongly_resumed_by_words": sum(w is not None and w.resumes_by_words for _, _, w in caught),
    }


def _by_echo(caught: Iterable[tuple[Heard, int | None, Words | None]]) -> dict[str, Any]:
    """Delays with the answer's echo at the microphone and without: is double talk heard?"""
    found = {}
    for name, with_echo in (("with_echo", True), ("without_echo", False)):
        delays = [
            (at - one.event.scene.onset) / PER_MS
            for one, at, _ in caught
            if at is not None and (one.event.place.echo is not None) is with_echo
        ]
        if delays:
            p50, p95 = (round(float(np.percentile(delays, p))) for p in (50, 95))
            found[name] = {"caught": len(delays), "delay_p50_ms": p50, "delay_p95_ms": p95}
    return found


def plot(rows: Mapping[str, Mapping[str, Any]], default: str) -> str:
    """False stops over the interruptions' 95th percentile, as an SVG."""
    width, height, left, right, bottom = 760, 420, 60, 70, 50
    far = 100 * -(-max(row["delay_p95_ms"] for row in rows.values()) // 100)

    def x(ms: float) -> float:
        return left + (width - left - right) * ms / far

    def y(percent: float) -> float:
        return (height - bottom) * (1 - percent / 100) + 10

    def text(at: tuple[float, float], words: str, rest: str = "") -> str:
        return f'<text x="{at[0]:.0f}" y="{at[1]:.0f}" font-size="11" {rest}>{words}</text>'

    drawn = [
        f'<path d="M{left} 10V{y(0):.0f}H{width - 10}" fill="none" stroke="#000"/>',
        f'<path d="M{x(300):.0f} 10V{y(0):.0f}" stroke="#c33" stroke-dasharray="4 4"/>',
        text((x(300) + 4, 20), "300 ms", 'fill="#c33"'),
    ]
    drawn += [
        text((x(tick), height - 25), f"{tick:g}", 'text-anchor="middle"')
        for tick in nice_ticks(0, far, 8)
    ]
    drawn += [
        text((left - 8, y(tick) + 4), f"{tick:g}", 'text-anchor="end"')
        for tick in nice_ticks(0, 100)
    ]
    spots = {
        name: (x(row["delay_p95_ms"]), y(row["false_stops_percent"])) for name, row in rows.items()
    }
    named = [spots[default]]  # the others only where there is room
    for kind, colour in COLOURS.items():
        found = [(name, row) for name, row in rows.items() if name.startswith(kind)]
        for mark, which in (("3 3", "answers_lost_percent"), ("", "false_stops_percent")):
            path = "L".join(f"{x(r['delay_p95_ms']):.0f} {y(r[which]):.0f}" for _, r in found)
            drawn.append(
                f'<path d="M{path}" fill="none" stroke="{colour}" stroke-dasharray="{mark}"/>'
            )
        for name, _ in found:
            at = spots[name]
            size = 7 if name == default else 3.5
            drawn.append(f'<circle cx="{at[0]:.0f}" cy="{at[1]:.0f}" r="{size}" fill="{colour}"/>')
            if name == default or all(abs(at[0] - u) > 70 or abs(at[1] - v) > 12 for u, v in named):
                named.append(at)
                drawn.append(text((at[0] + 7, at[1] - 5), name))
    drawn.append(
        text(
            (width / 2, height - 6),
            "95th percentile of an interruption's onset to the decision, ms",
            'text-anchor="middle"',
        )
    )
    drawn.append(
        f'<text transform="translate(14 {height / 2}) rotate(-90)" font-size="11" '
        'text-anchor="middle">other sounds that stop the answer, % (dashed: for good)</text>'
    )
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def report(heard: Sequence[Heard], words: Sequence[Words | None], seed: int) -> dict[str, Any]:
    """Everything that was found, and where."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    default = InterruptionConfig()
    named = policies()
    return {
        "commit": commit,
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
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where to write")
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
