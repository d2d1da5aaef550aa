"""The figures of the studies, drawn from their published results."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks.native import delay_curve, encoder_error  # noqa: E402
from benchmarks.turn_taking import __main__ as turn_ends  # noqa: E402
from benchmarks.turn_taking import interruptions  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def draw(name: str) -> str:
    found = json.loads((RESULTS / f"{name}.json").read_text())
    match name:
        case "turn_ends":
            return turn_ends.plot(found["policies"])
        case "interruptions":
            return interruptions.plot(found["policies"], found["default"])
        case "encoder_error":
            return encoder_error.plot([encoder_error.Cell(**cell) for cell in found["cells"]])
        case _:
            return delay_curve.plot(found, "A title")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("turn_ends", "words 300/1000"),
        ("interruptions", "probe 0.44"),
        ("encoder_error", "chunk 400 ms"),
        ("delay_curve_cpu", "A title"),
    ],
)
def test_a_figure_is_drawn_from_its_results_the_same_each_time(name: str, words: str) -> None:
    drawing = draw(name)
    assert drawing == draw(name)
    texts = [node.text for node in ElementTree.fromstring(drawing).iter() if node.text]
    assert words in texts
    if name != "delay_curve_cpu":  # its title depends on the machine
        assert drawing == (RESULTS / f"{name}.svg").read_text()
