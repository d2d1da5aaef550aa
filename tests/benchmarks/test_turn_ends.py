"""The benchmark of turn ends on a folder of recordings, some of which are broken."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks.turn_taking import __main__ as turn_ends  # noqa: E402
from benchmarks.turn_taking.corpus import Clip, Pause  # noqa: E402
from benchmarks.turn_taking.policies import score  # noqa: E402
from duplex.audio.files import read_sound, write_wav  # noqa: E402
from duplex.audio.resample import resample  # noqa: E402

SPEECH = ROOT / "tests/engine/data/question_capital.wav"


def test_a_bad_file_is_named_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    write_wav(tmp_path / "noise.wav", 0.05 * rng.standard_normal(48_000), 48_000)
    samples, rate = read_sound(SPEECH)
    write_wav(tmp_path / "speech.wav", resample(samples, rate, 48_000), 48_000)
    (tmp_path / "broken.flac").write_bytes(b"no sound")
    rows = [
        {"file": "noise.wav", "kind": "noise", "language": "none", "speech_end_s": None},
        {"file": "broken.flac", "kind": "short"},
        {"file": "missing.wav"},
        {"file": "speech.wav", "kind": "command", "language": "en", "speech_end_s": None},
        {"file": "speech.wav", "language": "en", "speech_end_s": "soon"},
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "manifest.jsonl").write_text("\n".join([*lines, "{", "[]", ""]))
    out = tmp_path / "out.json"
    arguments = ["turn_taking", "--data", tmp_path, "--json", out, "--cache", tmp_path / "cache"]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    for _ in range(2):  # the second time from the cache
        turn_ends.main()
        found = json.loads(out.read_text())
        assert found["clips"] == 2
        told = " ".join(found["left_out"])
        assert all(name in told for name in ("broken.flac", "missing.wav", "line 6", "line 7"))
        assert len(found["left_out"]) == 5
        assert found["noise"]["clips"] == 1
        for policy in ("default", "fixed 500"):
            row = found["policies"][policy]
            assert row["turns"] == row["kinds"]["command"]["turns"] == 1
            assert row["delay_mean_ms"] >= 192


def test_a_pause_is_cut_if_the_wait_is_no_longer_and_the_delay_has_the_lag_in_it() -> None:
    pauses = (
        Pause("one", 0.5, 600.0, None),
        Pause("one two", 0.5, 400.0, None),
        Pause("one two.", 0.5, None, 40.0),
    )
    heard = [
        Clip("a", "short", "en", "s", "x", 1, "", pauses),
        Clip("b", "noise", "none", "s", "x", 1, "", pauses),
    ]
    found = score(heard, lambda _: 500)
    assert (found["pauses"], found["cut"], found["cut_once"]) == (2, 1, 1)
    assert found["delay_mean_ms"] == 40 + 512  # whole frames of 32 ms
