"""When a turn is taken to be over, on recordings of people: pauses cut off against the delay.

    python -m benchmarks.turn_taking --data DIR --json FILE

``DIR`` holds recordings and a `manifest.jsonl`, see `benchmarks.turn_taking.corpus`. Everything is
in sample time: the real detector, and the real ear on what was said up to each pause, with no time
for computing. A pause is cut off if the policy's wait at it is not longer than the pause. The delay
is from the end of speech to the end of the turn.
"""

import argparse
import json
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.turn_taking.corpus import Clip, cache_dir, clips, manifest
from benchmarks.turn_taking.dictations import DICTATIONS, cut_dictations
from benchmarks.turn_taking.policies import MODELS, default_listener, policies, score
from client.bench.machine import source_commit


def noise(heard: Sequence[Clip]) -> dict[str, int]:
    """What non-speech brings about."""
    clips = [clip for clip in heard if clip.kind == "noise"]
    return {
        "clips": len(clips),
        "begin_a_turn": sum(clip.turns > 0 for clip in clips),
        "invent_words": sum(clip.turns > 0 and bool(clip.words) for clip in clips),
    }


def spoken(text: str) -> list[str]:
    """Words to be compared."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("’", "'"))


def errors(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Levenshtein's distance in words."""
    row = list(range(len(found) + 1))
    for number, word in enumerate(wanted, 1):
        before, row = row, [number]
        for at, other in enumerate(found):
            row.append(min(before[at] + (word != other), before[at + 1] + 1, row[at] + 1))
    return row[-1]


def word_errors(heard: Sequence[tuple[Clip, dict[str, Any]]]) -> dict[str, Any]:
    """Of the ear, by who wrote the transcript; English only, and no transcript of a machine's."""
    found: dict[str, Any] = {}
    for clip, row in heard:
        by = str(row.get("transcript_by"))
        if clip.language != "en" or by not in ("source", "asr-checked"):
            continue
        wanted = spoken(str(row.get("transcript") or ""))
        if wanted:
            entry = found.setdefault(by, {"words": 0, "errors": 0})
            entry["words"] += len(wanted)
            entry["errors"] += errors(wanted, spoken(clip.words))
    for entry in found.values():
        entry["rate"] = round(entry["errors"] / entry["words"], 4)
    return found


def plot(found: dict[str, dict[str, Any]]) -> str:
    """Pauses cut off over mean delay, as an SVG."""
    drawn, [axes] = figures.figure()
    for name, row in found.items():
        if row["cut_share"] is None or row["delay_mean_ms"] is None:
            continue
        at = row["delay_mean_ms"], 100 * row["cut_share"]
        colour = figures.BLUE if name == "default" else figures.GREY
        axes.scatter(*at, s=90 if name == "default" else 30, color=colour, zorder=3)
        axes.annotate(name, at, (5, 4), textcoords="offset points", fontsize=8)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("mean delay from the end of speech to the end of the turn, ms")
    axes.set_ylabel("inner pauses cut off, %")
    return figures.svg(drawn)


def report(folder: Path, cache: Path) -> dict[str, Any]:
    """Everything that was found."""
    rows, wrong = manifest(folder)
    found = list(clips(folder, rows, default_listener(), cache, wrong))
    heard = [clip for clip, _ in found]
    english = [clip for clip in heard if clip.language in ("en", "unknown")]
    other = [clip for clip in heard if clip.language not in ("en", "unknown", "none")]
    return {
        "commit": source_commit(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "models": MODELS,
        "clips": len(heard),
        "left_out": wrong,
        "how": "offline, in sample time, without computing time; English",
        "policies": {name: score(english, policy) for name, policy in policies().items()},
        "other_languages": {name: score(other, policy) for name, policy in policies().items()},
        "noise": noise(heard),
        "word_errors": {"whisper-tiny.en": word_errors(found)},
        "dictations": {"of": len(DICTATIONS), "cut": cut_dictations()},
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="recordings and manifest.jsonl")
    parser.add_argument("--json", type=Path, required=True, help="where to write")
    parser.add_argument("--figure", type=Path, help="where to draw the curve, an SVG")
    parser.add_argument("--cache", type=Path, default=cache_dir(), help="of what was heard")
    arguments = parser.parse_args()
    found = report(arguments.data, arguments.cache)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if arguments.figure:
        arguments.figure.write_text(plot(found["policies"]), "utf-8")
    for name, row in found["policies"].items():
        print(f"{name:22} cut {row['cut']} of {row['pauses']}, mean {row['delay_mean_ms']} ms")


if __name__ == "__main__":
    main()
