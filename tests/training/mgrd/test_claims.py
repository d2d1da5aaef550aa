"""Verdicts follow from figures by the criteria, and from nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.mgrd import claims
from training.mgrd.claims import ARMS, COLD, TAUGHT, WITH_FORMAT, WITHOUT, Claim, judge
from training.mgrd.config import LENGTHS
from training.mgrd.report import write_report


def stage(share: float = 1.0, right: float = 0.5, **more: Any) -> dict[str, Any]:
    """Figures of a stage whose answers to ``right`` of the questions are right."""
    kinds = ("count", "order", "conflict", "agreement")
    asked = {f"{kind}-3-{n}": int(n < right * 100) for kind in kinds for n in range(100)}
    return {
        "curve": [{"thinks": 0.5, "useless_groups": 0.1}] * 9
        + [{"thinks": share, "useless_groups": 0.1}],
        "prompts": 10,
        "test": {
            "right": asked,
            "accuracy": right,
            "by_kind": dict.fromkeys(kinds, right),
            "groundedness": right,
            "thinks": share,
        },
        **more,
    }


def by_name(runs: dict[int, dict[str, Any]]) -> dict[str, Claim]:
    return {claim.name: claim for claim in judge(runs)}


def verdict(name: str, *stages: dict[str, Any]) -> str:
    """Of a claim, from one seed's stages each."""
    return by_name(dict(enumerate(stages)))[name].verdict


def test_without_runs_nothing_is_decided() -> None:
    assert {claim.verdict for claim in judge({})} == {"not decided"}


def test_thoughts_have_to_stay_in_every_seed() -> None:
    kept = {WITH_FORMAT: stage(0.95), WITHOUT: stage(0.2)}
    faded = {WITH_FORMAT: stage(0.95), WITHOUT: stage(0.5)}
    assert verdict("C1", kept, kept, kept) == "reproduced"
    assert verdict("C1", kept, kept, faded) == "not reproduced"
    assert verdict("C1", kept, kept) == "not decided"
    assert verdict("C1", kept, kept, {WITH_FORMAT: stage()}) == "not decided"


@pytest.mark.parametrize(
    ("window", "failed", "expected"),
    [(0.8, 0.5, "reproduced"), (0.5, 0.5, "not reproduced"), (0.5, 0.8, "not reproduced")],
)
def test_the_window_has_to_beat_failures(window: float, failed: float, expected: str) -> None:
    runs = {ARMS["3-6"]: stage(right=window), ARMS["0"]: stage(right=failed)}
    assert verdict("C2", runs, runs, runs) == expected


def test_seeds_that_disagree_decide_nothing() -> None:
    better = {ARMS["3-6"]: stage(right=0.9), ARMS["0"]: stage(right=0.3)}
    worse = {ARMS["3-6"]: stage(right=0.3), ARMS["0"]: stage(right=0.5)}
    assert verdict("C2", better, better, worse) == "not decided"


def test_length_has_to_help_grounded_thoughts_only() -> None:
    def lengths(first: float, last: float) -> dict[str, list[float]]:
        step = (last - first) / (len(LENGTHS) - 1)
        return {str(n): [first + step * at] for at, n in enumerate(LENGTHS)}

    grounded = stage(right=0.9, by_length=lengths(0.5, 0.9))
    flat = stage(right=0.5, by_length=lengths(0.5, 0.5))
    rises = stage(right=0.5, by_length=lengths(0.3, 0.5))
    held = {TAUGHT["grounded"]: grounded, TAUGHT["surrogate"]: flat}
    both = {TAUGHT["grounded"]: grounded, TAUGHT["surrogate"]: rises}
    assert verdict("C3", held, held, held) == "reproduced"
    assert verdict("C3", both, both, both) == "not reproduced"


def test_rounds_have_to_raise_accuracy_and_groundedness() -> None:
    first = f"{COLD}.distil1.rl-correct+format-3-6"
    second = f"{first}.distil2.rl-correct+format-3-6"
    better = {first: stage(right=0.5), second: stage(right=0.8)}
    worse = {first: stage(right=0.8), second: stage(right=0.5)}
    assert verdict("C4", better, better, better) == "reproduced"
    assert verdict("C4", worse, worse, worse) == "not reproduced"


def test_denials_have_to_go_and_accuracy_to_stay() -> None:
    def cognition(filtered: int, preferred: int, accuracy: float) -> dict[str, Any]:
        names = (COLD, f"{COLD}.filtered", f"{COLD}.filtered.preferred")
        counts = (35, filtered, preferred)
        rates = {f"{n}.denials": {"denied": c, "drawn": 500} for n, c in zip(names, counts)}  # noqa: B905
        return {**rates, names[0]: stage(), names[1]: stage(), names[2]: stage(right=accuracy)}

    assert verdict("C5", *[cognition(10, 1, 0.5)] * 3) == "reproduced"
    assert verdict("C5", *[cognition(20, 1, 0.5)] * 3) == "not reproduced"
    assert verdict("C5", *[cognition(10, 4, 0.5)] * 3) == "not reproduced"
    assert verdict("C5", *[cognition(10, 1, 0.4)] * 3) == "not reproduced"


def test_an_interval_holds_the_mean_and_is_wider_with_seeds_that_differ() -> None:
    alike = claims.spread([[0.0, 1.0] * 50] * 3)
    apart = claims.spread([[0.0] * 100, [0.5] * 100, [1.0] * 100])
    assert alike.low < alike.mean < alike.high
    assert apart.mean == alike.mean == 0.5
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_a_folder_of_runs_becomes_a_page(tmp_path: Path) -> None:
    for seed in range(3):
        folder = tmp_path / f"XS-{seed}"
        folder.mkdir()
        test = {"denials": 0.0, "chance": 0.2, "median_thought_words": 4.0, "examples": []}
        for name, share in ((WITH_FORMAT, 0.9), (WITHOUT, 0.1)):
            figures = stage(share, parameters=1000)
            figures["curve"] = [{**step, "correct": 0.5} for step in figures["curve"]]
            figures["test"] |= test
            (folder / f"{name}.json").write_text(json.dumps(figures))
    page = write_report(tmp_path)
    found = json.loads((tmp_path / "mgrd.json").read_text())
    verdicts = {c["name"]: c["verdict"] for c in found["scales"]["XS"]["claims"]}
    assert verdicts["C1"] == "reproduced"
    assert verdicts["C2"] == "not decided"
    assert "The format reward keeps thoughts alive" in page.read_text()
    assert found["criteria"]["c1_share_difference"] == 0.5


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run"):
        write_report(tmp_path)
