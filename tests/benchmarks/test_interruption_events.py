"""The benchmark of interruptions, on a handful of events that need no package but espeak-ng."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.turn_taking import interruptions
from benchmarks.turn_taking.events.corpus import Event
from benchmarks.turn_taking.events.hearing import Heard, hear, hear_stopped, said_in
from benchmarks.turn_taking.events.scenes import Echo, Place, lay
from benchmarks.turn_taking.events.sounds import made_cough
from benchmarks.turn_taking.events.voices import Voices
from duplex.interruption.judge import InterruptionConfig, InterruptionJudge
from duplex.interruption.network import first_syllable, whole_utterance
from duplex.turns.endpointing import EndpointConfig
from duplex.turns.events import PauseStarted
from duplex.turns.speech_detector import DetectorConfig
from duplex.turns.turn_detector import Sounding, TurnDetection, TurnDetector
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroVad

pytestmark = pytest.mark.slow
CALLER, OTHER, ASSISTANT = "es-en-us+f3", "es-en-gb+m3", "es-en-us+max"
PLAIN = Place(-24, 35, phone=False, echo=None)
LOUDSPEAKER = Place(-24, 35, phone=False, echo=Echo(12, 180))


@pytest.fixture(scope="module")
def heard(
    models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Heard]:
    voices = Voices(Path(), Path(), tmp_path_factory.mktemp("said"))
    vad = SileroVad(models("silero-vad") / "silero_vad.onnx")
    rng = np.random.default_rng(0)
    question = voices.say(CALLER, "Can you tell me how that works?")
    answer = voices.say(ASSISTANT, "The city was founded in the twelfth century, and for a long"
                        " time it was not much more than a harbour with a few houses.")  # fmt: skip
    wait = voices.say(CALLER, "Wait, I meant the other one.")
    other = voices.say(OTHER, "What about tomorrow?")

    def event(kind: str, sound: np.ndarray | None, place: Place, **how: float | bool) -> Event:
        scene = lay(sound, question, answer, place, rng, **how)  # type: ignore[arg-type]
        return Event(kind, "test", "", "", place, scene)

    events = {
        "interruption": event("interruption", wait, PLAIN),
        "over echo": event("interruption", wait, LOUDSPEAKER),
        "cough": event("cough", made_cough(rng, "test").samples, PLAIN),
        "far-away": event("far-away", other, PLAIN, relative_db=-28, far=True),
        "echo": event("echo", None, LOUDSPEAKER),
    }
    return {name: hear(one, vad, first_syllable()) for name, one in events.items()}


def test_the_caller_is_heard_and_neither_echo_nor_the_other_end_of_the_room(
    heard: dict[str, Heard],
) -> None:
    decided = {
        name: interruptions.decision(one, InterruptionConfig()) for name, one in heard.items()
    }
    assert decided["far-away"] is None
    assert decided["echo"] is None
    for name in ("interruption", "over echo"):
        scene, at = heard[name].event.scene, decided[name]
        assert at is not None
        assert scene.onset < at <= scene.end  # while it is said


def test_what_is_said_after_the_answer_stopped_is_heard_without_it(
    heard: dict[str, Heard], models: Callable[[str], Path]
) -> None:
    vad = SileroVad(models("silero-vad") / "silero_vad.onnx")
    whole = heard["over echo"]
    stops = interruptions.decision(whole, InterruptionConfig())
    assert stops is not None
    after = hear_stopped(whole, stops, vad, first_syllable())
    decided = list(whole.ends).index(stops)
    for before, now in zip(whole.cues[: decided + 1], after.cues, strict=False):
        np.testing.assert_array_equal(before.features, now.features)
    scene, silent = whole.event.scene, stops + 1600
    np.testing.assert_array_equal(after.event.scene.microphone[silent:], scene.silenced[silent:])
    said = said_in(after)
    assert said is not None
    assert said.features is not None
    spoken_ms = (scene.end - scene.onset) * 1000 // SAMPLE_RATE
    assert said.speech_ms == pytest.approx(spoken_ms, abs=200)
    assert said.known_sample >= scene.end


@pytest.mark.parametrize("name", ["interruption", "over echo"])
def test_the_server_judges_by_the_sound_as_the_benchmark_does(
    heard: dict[str, Heard], models: Callable[[str], Path], name: str
) -> None:
    vad = SileroVad(models("silero-vad") / "silero_vad.onnx")
    stops = interruptions.decision(heard[name], InterruptionConfig())
    assert stops is not None
    stopped = hear_stopped(heard[name], stops, vad, first_syllable())
    said = said_in(stopped)
    assert said is not None
    assert said.features is not None
    scene = stopped.event.scene
    hearing = TurnDetector(vad.open(), 10**9, InterruptionJudge)
    hearing.configure(TurnDetection(DetectorConfig(), EndpointConfig()))
    paused = []
    for at in range(0, len(scene.microphone) - FRAME_SAMPLES, FRAME_SAMPLES):
        frame = slice(at, at + FRAME_SAMPLES)
        if at < scene.answer_from <= at + FRAME_SAMPLES:
            hearing.end_turn()  # the question
        sounds = scene.answer_from <= at < stops
        sounding = Sounding(scene.answer[frame]) if sounds else None
        (one,) = hearing.feed(scene.microphone[frame], lambda now=sounding: now)  # type: ignore[misc]
        if at > scene.onset and any(isinstance(event, PauseStarted) for event in one.events):
            paused.append(hearing.sounds_false)
        if hearing.find_end() is not None:
            hearing.end_turn()
    assert whole_utterance().run(said.features) in paused


def test_a_voice_says_the_same_every_time(tmp_path: Path) -> None:
    voices = Voices(Path(), Path(), tmp_path)
    first = voices.say(CALLER, "Wait.")
    np.testing.assert_array_equal(voices.say(CALLER, "Wait."), first)


def test_the_report_is_whole(heard: dict[str, Heard], tmp_path: Path) -> None:
    words = [
        interruptions.Words("Wait.", 600, one.event.scene.end)
        if one.event.kind == "interruption"
        else None
        for one in heard.values()
    ]
    found = interruptions.report(list(heard.values()), words, seed=0)
    interruptions.write(found, tmp_path)
    written = json.loads((tmp_path / "interruptions.json").read_text())
    row = written["policies"][written["default"]]
    assert row["interruptions"] == row["caught"] == 2
    assert row["wrongly_resumed"] == 0
    assert row["short"]["interruptions"] == 0
    assert row["false"]["echo"] == {
        "events": 1, "stops": 0, "stops_percent": 0.0, "resumed": 0, "answers_lost": 0,
    }  # fmt: skip
    drawn = (tmp_path / "interruptions.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "<svg" in drawn
    assert drawn.rstrip().endswith("</svg>")


def test_levels_are_as_asked() -> None:
    rng = np.random.default_rng(1)
    tone = np.sin(np.arange(SAMPLE_RATE) / 5).astype(np.float32)
    place = Place(-20, 60, phone=False, echo=None)
    answer = np.zeros(SAMPLE_RATE, np.float32)
    scene = lay(tone, tone, answer, place, rng, relative_db=-6)
    heard = scene.microphone[scene.onset : scene.end]
    assert 20 * np.log10(np.sqrt(np.mean(heard**2))) == pytest.approx(-26, abs=0.2)
