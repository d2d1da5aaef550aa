"""Write docs/measurements/ and the figures in the documentation from benchmarks/results/::

python -m benchmarks.measurements            # write what has changed
python -m benchmarks.measurements --check    # exit code 1 if something would change
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measurements import conversation, machines, turn_taking
from benchmarks.measurements.figures import figures, replace_figures
from benchmarks.measurements.tables import table

ROOT = Path(__file__).parents[2]
RESULTS = Path("benchmarks/results")
PAGES = Path("docs/measurements")
MADE_BY = (
    "<!-- Made by `python -m benchmarks.measurements` from benchmarks/results/. Do not edit. -->"
)
INDEX = {
    "conversation": "voice-to-voice, stages, several callers, interruptions, a telephone line",
    "endpointing": "when a turn is taken to be over",
    "interruptions": "what stops an answer, how fast, and what stops it falsely",
    "telephone": "what a line costs the ear and the speech detector",
    "echo-guard": "`duplex talk` in rooms with a loudspeaker",
    "server": "a hostile client, many short calls, broken messages",
    "browser": "the page at `/`",
    "native": "the native engine's delay and its encoder's error",
}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    wanted = parser.parse_args()
    stale = changes(ROOT)
    for path, text in stale.items():
        print(f"{'stale' if wanted.check else 'wrote'}: {path.relative_to(ROOT)}")
        if not wanted.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and wanted.check:
        print("run `make docs`, or `python -m benchmarks.measurements`", file=sys.stderr)
        return 1
    return 0


def changes(root: Path) -> dict[Path, str]:
    """The files of the tree at ``root`` that are not as the results say, and their new text."""
    results = load(root / RESULTS)
    made = dict(pages(results))
    texts = {root / PAGES / f"{name}.md": "\n".join(made[name]) + "\n" for name in made}
    values = figures(results)
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        if path not in texts:
            texts[path] = replace_figures(path.read_text("utf-8"), values)
    return {path: text for path, text in texts.items() if not _is(path, text)}


def load(results: Path) -> dict[str, dict[str, Any]]:
    """All results, by their path below ``results``."""
    return {
        path.relative_to(results).as_posix(): json.loads(path.read_text("utf-8"))
        for path in sorted(results.rglob("*.json"))
    }


def pages(results: dict[str, dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Each page's name and lines."""
    suffix = "/bench.json"
    reports = {name.removesuffix(suffix): r for name, r in results.items() if name.endswith(suffix)}
    contents = {
        "conversation": conversation.page(reports),
        "endpointing": turn_taking.endpointing(
            results["turn_ends.json"], results["endpointing.json"]
        ),
        "interruptions": turn_taking.interruptions(results["interruptions.json"]),
        "telephone": turn_taking.telephone(results["telephone.json"]),
        "echo-guard": turn_taking.echo_guard(results["echo_guard.json"]),
        "server": machines.server(
            results["fault_isolation.json"], results["soak.json"], results["fuzz_protocol.json"]
        ),
        "browser": machines.browser(results["browser.json"]),
        "native": machines.native(
            results["delay_curve_cpu.json"],
            results["encoder_error.json"],
            results.get("compiled_sm90.json"),
        ),
    }
    yield "index", [MADE_BY, "", *_index()]
    for name, lines in contents.items():
        yield name, [MADE_BY, "", *lines]


def _index() -> list[str]:
    rows = [[f"[{name}]({name}.md)", what] for name, what in INDEX.items()]
    return [
        "# Measurements",
        "",
        "Every table on these pages is made from the JSON in `benchmarks/results/`; no figure is "
        "typed. Each names its file, machine, models, commit and count. Figures compare within one "
        "table only: the machine is shared and noisy. `make docs` writes the pages, and `make "
        "check` fails if they differ from the JSON.",
        "",
        *table(["page", "what"], rows),
        "",
        "Figures that have no JSON are in [historical](historical.md), with their commit.",
    ]


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
