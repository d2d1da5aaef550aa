from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duplex.audio.formats import Samples
from duplex.interruption.cues import Cue, Cues, Utterance
from duplex.interruption.echo_path import HOP, BandFilter, EchoConfig, EchoPath
from duplex.interruption.judge import FRAME_MS, Evidence, InterruptionConfig, InterruptionJudge
from duplex.interruption.network import (
    FEATURES,
    InterruptionNetwork,
    NetworkInput,
    first_syllable,
    whole_utterance,
)
from duplex.interruption.words import asks_to_go_on, has_asked, is_false_interruption, is_hum

FRAME = 512
SPEECH = Cue(0.9, 1.0, 0.0, 0.99, np.zeros(FEATURES, np.float32))
SILENCE = replace(SPEECH, probability=0.0, interrupts=None)


@pytest.mark.parametrize(
    "words",
    ["", "  ", ".", "...", "Mm-hmm.", "Mhm.", "Mm.", "Hmm...", "Uh-huh.", "Yeah.", "Yeah, yeah.",
     "Okay.", "OK.", "Right.", "Right, right.", "Oh, okay.", "I see.", "Oh, I see.", "Sure.",
     "All right.", "Got it.", "Ha ha ha!", "Hahaha.", "Heh heh.", "(laughing)", "[LAUGHTER]",
     "*coughs*", "[BLANK_AUDIO]", "♪ ♪", "Wow.", "Oh, really?", "That’s right."],
)  # fmt: skip
def test_leaves_the_answer_its_turn(words: str) -> None:
    assert is_false_interruption(words, 500)


@pytest.mark.parametrize(
    "words",
    ["No.", "Stop.", "Wait.", "Stop!", "No, no.", "Okay, stop.", "Yeah, but what about Monday?",
     "Hold on.", "What?", "Why?", "Right, and how much is it?", "Thank you, that's enough.",
     "Hang on a second.", "I see a problem.", "Enough.", "Never mind.", "Hello?", "Paris.",
     "Who said that?", "(laughing) No, I meant the other one.", "Be quiet.", "7"],
)  # fmt: skip
def test_is_an_interruption(words: str) -> None:
    assert not is_false_interruption(words, 500)


def test_what_lasts_is_no_backchannel() -> None:
    assert is_false_interruption("Yeah, yeah, yeah, okay.", 1500)
    assert not is_false_interruption("Yeah, yeah, yeah, okay.", 1501)


@pytest.mark.parametrize("words", ["Man.", "The right.", "Delhi", "in the ham", "Go ahead."])
def test_a_sure_sound_outweighs_doubtful_words(words: str) -> None:
    assert is_false_interruption(words, 600, 0.99)
    assert not is_false_interruption(words, 600, 0.2)
    assert not is_false_interruption(words, 600, None)
    assert not is_false_interruption(words, 1300, 0.99)  # nobody hums for so long


@pytest.mark.parametrize(
    "words",
    ["No.", "Stop.", "Wait.", "Hold on.", "What?", "Sorry?", "Hey!", "Why not?", "Excuse me.",
     "Actually, yes.", "But why?", "Is it far?", "Can you?", "Yeah, but no."],
)  # fmt: skip
def test_no_sound_outweighs_unmistakable_words(words: str) -> None:
    assert not is_false_interruption(words, 400, 1.0)


def test_the_sound_does_not_make_a_backchannel_an_interruption() -> None:
    assert is_false_interruption("Yeah.", 400, 0.0)


@pytest.mark.parametrize("words", ["Yes.", "Yeah.", "No.", "Okay.", "Sure.", "Mm-hm.", "Man."])
def test_what_is_said_to_a_question_is_an_answer(words: str) -> None:
    assert not is_false_interruption(words, 400, 0.99, is_asked=True)


@pytest.mark.parametrize("words", ["", "(coughs)", "Ha ha ha."])
def test_sounds_do_not_answer_a_question(words: str) -> None:
    assert is_false_interruption(words, 400, 0.99, is_asked=True)


@pytest.mark.parametrize(
    "heard", ["Shall I book it?", "Shall I book it? ", "Really?” ", "Shall I book it? It leaves"]
)
def test_has_asked(heard: str) -> None:
    assert has_asked(heard)


@pytest.mark.parametrize("heard", ["", "It leaves at ten.", "Ready? It leaves at", "Is it"])
def test_has_not_asked(heard: str) -> None:
    assert not has_asked(heard)


def test_hums() -> None:
    assert all(map(is_hum, ["Mm-hm.", "Oh.", "Uh-huh, mm-hm.", "Ha ha."]))
    assert not any(map(is_hum, ["Yes.", "Okay.", "Oh, okay.", "Man."]))


def test_sounds_without_words_are_false_however_long() -> None:
    assert is_false_interruption("(audience laughing)", 10_000)
    assert is_false_interruption("Ha ha ha ha.", 10_000)


@pytest.mark.parametrize(
    "words",
    ["Go on.", "Go on, please.", "Please continue.", "Sorry, keep going.", "No, go ahead.",
     "Okay, carry on.", "Don't stop.", "Sorry, please go on.", "What were you saying?",
     "Tell me more.", "Continue with that."],
)  # fmt: skip
def test_asks_for_the_rest(words: str) -> None:
    assert asks_to_go_on(words)


@pytest.mark.parametrize(
    "words",
    ["", "Go on holiday.", "Stop.", "Tell me more about Paris.", "Should I continue?",
     "Keep going north?", "Please."],
)  # fmt: skip
def test_does_not_ask_for_the_rest(words: str) -> None:
    assert not asks_to_go_on(words)


@given(st.text(), st.integers(0, 10_000))
def test_any_words_are_judged(words: str, speech_ms: int) -> None:
    if is_false_interruption(words, speech_ms + 1):
        assert is_false_interruption(words, speech_ms)
    asks_to_go_on(words)


def frames_until(cue: Cue, config: InterruptionConfig, most: int = 100) -> int | None:
    evidence = Evidence(config)
    return next((n for n in range(1, most + 1) if evidence.weigh(cue)), None)


def test_convinced_after_speech_ms_if_the_network_is() -> None:
    config = InterruptionConfig(speech_ms=128)
    assert frames_until(SPEECH, config) == 4
    doubted = replace(SPEECH, interrupts=0.0)
    assert frames_until(doubted, config) == config.certain_ms // FRAME_MS


def test_a_sound_must_be_surer_in_its_first_moments() -> None:
    config = InterruptionConfig(speech_ms=96, early_ms=160, surely=0.9, interrupts=0.4)
    assert frames_until(replace(SPEECH, interrupts=0.9), config) == 3
    assert frames_until(replace(SPEECH, interrupts=0.5), config) == 6
    assert frames_until(replace(SPEECH, interrupts=0.39), config) == config.certain_ms // FRAME_MS


def test_each_sound_has_first_moments() -> None:
    config = InterruptionConfig(speech_ms=32, early_ms=64, surely=0.9, interrupts=0.4)
    evidence, cue = Evidence(config), replace(SPEECH, interrupts=0.5)
    expected = [False, False, True]
    assert [evidence.weigh(cue) for _ in range(3)] == expected
    assert not evidence.weigh(SILENCE)
    assert [evidence.weigh(cue) for _ in range(3)] == expected
    evidence.reset()
    assert [evidence.weigh(cue) for _ in range(3)] == expected


def test_the_networks_need_less_of_the_detector_than_length_does() -> None:
    config = InterruptionConfig(
        speech_ms=96, certain_ms=320, threshold=0.5, sounds=0.3, keeps=0.2, early_ms=0
    )
    shout, tail = replace(SPEECH, probability=0.3), replace(SPEECH, probability=0.2)
    assert frames_until(tail, config) is None
    evidence = Evidence(config)
    assert [evidence.weigh(cue) for cue in (shout, tail, tail)] == [False, False, True]
    assert frames_until(replace(shout, interrupts=0.0), config) is None
    assert frames_until(replace(SPEECH, interrupts=0.0), config) == 10


@pytest.mark.parametrize(
    "cue",
    [
        replace(SPEECH, probability=0.25),
        replace(SPEECH, unexplained=0.1),
        replace(SPEECH, level_db=-25.0),
    ],
)
def test_quiet_sounds_echo_and_far_speech_never_convince(cue: Cue) -> None:
    assert frames_until(cue, InterruptionConfig()) is None


def test_an_unknown_level_is_no_reason() -> None:
    assert frames_until(replace(SPEECH, level_db=None), InterruptionConfig()) is not None


def test_clicks_do_not_add_up_but_speech_bridges_a_short_gap() -> None:
    config = InterruptionConfig(speech_ms=96, gap_ms=64)
    evidence = Evidence(config)
    for _ in range(20):
        assert not any(evidence.weigh(cue) for cue in (SPEECH, SPEECH, SILENCE, SILENCE, SILENCE))
    evidence.reset()
    assert [evidence.weigh(c) for c in (SPEECH, SPEECH, SILENCE, SILENCE, SPEECH)][-1]


def test_reset_forgets_the_speech() -> None:
    evidence = Evidence(InterruptionConfig(speech_ms=64))
    assert not evidence.weigh(SPEECH)
    evidence.reset()
    assert not evidence.weigh(SPEECH)
    assert evidence.weigh(SPEECH)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"interrupts": 1.5},
        {"surely": -0.1},
        {"keeps": 0.4},
        {"sounds": 1.1},
        {"early_ms": -1},
        {"unexplained": -0.1},
        {"below_db": -1.0},
        {"speech_ms": 0},
        {"speech_ms": 200, "certain_ms": 100},
        {"gap_ms": -1},
    ],
)
def test_wrong_configuration_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InterruptionConfig(**wrong)  # type: ignore[arg-type]


def syllables(seed: int, frames: int, level: float) -> Samples:
    """Noise that comes and goes and changes its colour, as speech does."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < frames * FRAME:
        length = int(rng.integers(1500, 5000))
        colour = np.convolve(rng.standard_normal(length), rng.standard_normal(12), "same")
        parts.append(colour * np.hanning(length) * rng.uniform(0.3, 1))
    return (level * np.concatenate(parts)[: frames * FRAME]).astype(np.float32)


def unexplained(microphone: Samples, answer: Samples) -> list[float]:
    path, ours, theirs = EchoPath(EchoConfig()), BandFilter(), BandFilter()
    return [
        path.hear(p, a)
        for at in range(0, len(microphone), FRAME)
        for p, a in zip(
            ours.feed(microphone[at : at + FRAME]),
            theirs.feed(answer[at : at + FRAME]),
            strict=True,
        )
    ]


@pytest.mark.parametrize("late_ms", [-50, 0, 120, 390])
def test_a_late_and_quiet_echo_is_explained(late_ms: int) -> None:
    answer = syllables(0, 120, 0.1)
    late = np.roll(answer, late_ms * 16) * np.float32(0.2)
    left = unexplained(late, answer)
    assert np.mean(left[-120:]) < 0.3


def test_speech_over_an_echo_is_not_explained() -> None:
    answer = syllables(0, 120, 0.1)
    microphone = np.roll(answer, 3200) * np.float32(0.2)
    microphone[80 * FRAME :] += syllables(1, 40, 0.1)
    left = unexplained(microphone, answer)
    assert np.mean(left[100:160]) < 0.15
    assert np.mean(left[160:200]) > 0.5


def test_without_an_answer_all_is_unexplained() -> None:
    microphone = syllables(1, 20, 0.1)
    assert min(unexplained(microphone, np.zeros_like(microphone))[2:]) > 0.99


def test_band_powers_do_not_depend_on_the_cuts() -> None:
    samples = syllables(2, 8, 0.1)
    whole = BandFilter().feed(samples)
    cut = BandFilter()
    hops = [cut.feed(samples[at : at + HOP]) for at in range(0, len(samples), HOP)]
    np.testing.assert_allclose(np.concatenate(hops), whole)
    skipping = BandFilter()
    skipping.skip(samples[: 3 * HOP])
    np.testing.assert_allclose(skipping.feed(samples[3 * HOP :]), whole[3:])


def test_the_callers_level_is_learnt() -> None:
    cues, speech = Cues(first_syllable()), syllables(3, 60, 0.1)
    frames = list(speech.reshape(-1, FRAME))
    assert cues.hear(frames[0], 0.9, None).level_db is None
    for frame in frames:
        cues.learn(frame, 0.9)
    near = [cues.hear(frame, 0.9, None).level_db or 0.0 for frame in frames]
    far = [cues.hear(frame * np.float32(0.05), 0.9, None).level_db or 0.0 for frame in frames]
    assert abs(np.median(near)) < 8
    assert np.median(near) - np.median(far) == pytest.approx(26, abs=0.5)


def test_an_utterance_is_from_before_its_first_sound_to_its_last() -> None:
    utterance = Utterance()
    cues = [replace(SILENCE, features=np.full(FEATURES, n, np.float32)) for n in range(60)]
    for n, cue in enumerate(cues):
        speaks = 20 <= n < 25 or 35 <= n < 40  # 320 ms apart
        utterance.take(replace(cue, probability=0.9) if speaks else cue)
        if n == 45:
            assert utterance.features is not None
            assert [f[0] for f in utterance.features] == list(range(16, 40))
    assert utterance.features is None  # it has been quiet for long


def test_an_utterance_too_long_to_be_a_backchannel_is_not_judged() -> None:
    utterance = Utterance()
    for _ in range(1000):
        utterance.take(SPEECH)
    assert utterance.features is None
    utterance.reset()
    utterance.take(SPEECH)
    assert utterance.features is not None


def test_all_that_was_said_since_a_reset_is_judged_by_its_sound() -> None:
    judge = InterruptionJudge(InterruptionConfig())
    assert judge.sounds_false is None
    for frame in syllables(6, 20, 0.1).reshape(-1, FRAME):
        judge.hear(frame, 0.9, None)
    first = judge.sounds_false
    assert first is not None
    assert 0 <= first <= 1
    for frame in syllables(7, 10, 0.1).reshape(-1, FRAME):
        judge.hear(frame, 0.9, None)
    assert judge.sounds_false != first
    judge.reset()
    assert judge.sounds_false is None


def test_a_network_run_over_frames_ends_where_its_steps_do() -> None:
    frames = np.random.default_rng(0).standard_normal((9, FEATURES)).astype(np.float32)
    network = whole_utterance()
    probability, state = 0.5, network.start()
    assert network.run([]) == probability
    for frame in frames:
        probability, state = network.step(frame, state)
    assert network.run(frames) == probability


def test_two_calls_do_not_share_a_state() -> None:
    speech = syllables(4, 30, 0.1).reshape(-1, FRAME)
    alone, first, second = (InterruptionJudge(InterruptionConfig()) for _ in range(3))
    expected = [alone.hear(frame, 0.9, None) for frame in speech]
    found = []
    for frame in speech:
        found.append(first.hear(frame, 0.9, None))
        second.hear(-frame[::-1], 0.2, frame)
    assert found == expected


def made_weights(torch: ModuleType, width: int) -> tuple[dict[str, np.ndarray], Callable]:
    """Those of a network of torch's, and what torch makes of features [T, FEATURES]: scores."""
    unit = torch.nn.GRU(FEATURES, width, batch_first=True)
    output = torch.nn.Linear(width, 1)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    kept = ("input", "hidden", "input_bias", "hidden_bias")
    weights = {k: getattr(unit, n).detach().numpy() for k, n in zip(kept, names, strict=True)}
    weights |= {
        "output": output.weight[0].detach().numpy(),
        "output_bias": output.bias.detach().numpy(),
    }
    return weights, lambda x: output(unit(torch.from_numpy(x[None]))[0])[0, :, 0].detach()


def stepped(network: InterruptionNetwork, features: np.ndarray) -> list[float]:
    state, found = network.start(), []
    for row in features:
        probability, state = network.step(row, state)
        found.append(probability)
    return found


def test_the_network_is_torchs_gru() -> None:
    torch = pytest.importorskip("torch")
    weights, scores = made_weights(torch, 8)
    features = np.random.default_rng(0).standard_normal((10, FEATURES)).astype(np.float32)
    expected = torch.sigmoid(scores(features))
    np.testing.assert_allclose(stepped(InterruptionNetwork(weights), features), expected, atol=1e-5)


def test_scores_of_several_networks_are_averaged() -> None:
    torch = pytest.importorskip("torch")
    made = [made_weights(torch, 8) for _ in range(3)]
    weights = {name: np.stack([one[name] for one, _ in made]) for name in made[0][0]}
    features = np.random.default_rng(0).standard_normal((10, FEATURES)).astype(np.float32)
    expected = torch.sigmoid(sum(scores(features) for _, scores in made) / 3)
    np.testing.assert_allclose(stepped(InterruptionNetwork(weights), features), expected, atol=1e-5)


@settings(max_examples=20)
@given(st.floats(-10, 30))
def test_features_do_not_depend_on_the_absolute_level(gain_db: float) -> None:
    powers = BandFilter().feed(syllables(5, 4, 0.05)).reshape(4, 2, -1)
    gain = 10 ** (gain_db / 10)
    plain, louder = NetworkInput(), NetworkInput()
    for frame in powers:
        np.testing.assert_allclose(
            plain.features(frame, 0.9, 1.0, None),
            louder.features(gain * frame, 0.9, 1.0, None),
            atol=0.05,
        )
