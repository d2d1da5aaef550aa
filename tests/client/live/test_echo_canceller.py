"""The loudspeaker's sound is taken out of the microphone's, another voice is let through."""

import numpy as np
import pytest

from client.live.echo_canceller import FRAME_SAMPLES, MAX_BEHIND_FRAMES, EchoGuard, WebRtcCanceller

RATE = 24_000


class Notes:
    """Stands in for the canceller; writes down in what order it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.delays: list[int] = []

    def played(self, frame: np.ndarray) -> None:
        assert len(frame) == FRAME_SAMPLES
        self.calls.append(("played", float(frame[0])))

    def clean(self, frame: np.ndarray, delay_ms: int) -> np.ndarray:
        assert len(frame) == FRAME_SAMPLES
        self.calls.append(("clean", float(frame[0])))
        self.delays.append(delay_ms)
        return frame * 0.5


def frames(first: int, count: int) -> np.ndarray:
    return np.repeat(np.arange(first, first + count, dtype=np.float32), FRAME_SAMPLES)


def test_each_frame_of_the_microphone_meets_one_of_the_loudspeaker():
    notes = Notes()
    guard = EchoGuard(notes, latency_s=0.1)
    loudspeaker = frames(1, 4)
    for start in range(0, len(loudspeaker), 100):  # buffers are no multiples of a frame
        guard.played(loudspeaker[start : start + 100])
    cleaned = guard.clean(frames(101, 2))
    np.testing.assert_array_equal(cleaned, 0.5 * frames(101, 2))
    assert notes.calls == [("played", 1), ("clean", 101), ("played", 2), ("clean", 102)]
    assert notes.delays == [100 - 30, 100 - 20], "what waits here is not on its way any more"


def test_a_backlog_is_fed_at_once_and_a_dry_loudspeaker_does_no_harm():
    notes = Notes()
    guard = EchoGuard(notes)
    guard.played(frames(0, 20))
    guard.clean(frames(0, 1))
    assert [kind for kind, _ in notes.calls] == ["played"] * 14 + ["clean"]
    guard.clean(frames(0, 10))
    assert sum(kind == "played" for kind, _ in notes.calls) == 20
    assert sum(kind == "clean" for kind, _ in notes.calls) == 11


def test_a_microphone_that_stands_still_does_not_fill_the_memory():
    notes = Notes()
    guard = EchoGuard(notes)
    guard.played(frames(0, MAX_BEHIND_FRAMES + 50))
    guard.clean(frames(0, 1))
    assert notes.calls[0] == ("played", 50), "the oldest are forgotten"


def test_part_of_a_frame_is_refused():
    with pytest.raises(ValueError, match="100 samples are not whole frames"):
        EchoGuard(Notes()).clean(np.zeros(100, np.float32))


def voice(seconds: float, seed: int) -> np.ndarray:
    """Noise with the rhythm and the pitch of speech: pulses through a slowly changing filter."""
    random = np.random.default_rng(seed)
    count = round(seconds * RATE)
    pulses = np.zeros(count)
    at = 0
    while at < count:
        pulses[at] = 1
        at += int(RATE / (110 + 20 * seed + 25 * np.sin(at / RATE * 5 + seed)))
    taps = random.standard_normal(150) * np.exp(-np.arange(150) / 30)
    rhythm = np.clip(np.sin(2 * np.pi * 2.1 * np.arange(count) / RATE + seed) + 0.4, 0, None)
    sound = np.convolve(pulses, taps)[:count] * rhythm
    return np.tanh(0.1 * sound / sound.std()).astype(np.float32)


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


@pytest.mark.parametrize("delay_ms", [20, 120, 300])
def test_the_room_is_learned_and_an_interruption_comes_through(delay_ms):
    """A room 10 dB down with 80 ms of reverberation; from second 5 on another voice speaks."""
    random = np.random.default_rng(7)
    tail = random.standard_normal(80 * 24) * np.exp(-np.arange(80 * 24) / 280)
    tail *= 10 ** (-10 / 20) / np.sqrt(np.sum(tail**2))
    room = np.concatenate([np.zeros(delay_ms * 24), tail])
    played, caller = voice(8, 1), voice(3, 2)
    echo = np.convolve(played, room)[: len(played)]
    heard = echo + 10 ** (-70 / 20) * random.standard_normal(len(played))
    heard[5 * RATE :] += caller
    heard = heard.astype(np.float32)
    guard = EchoGuard(WebRtcCanceller(), latency_s=delay_ms / 1000)
    out = []
    for start in range(0, len(heard), 480):
        guard.played(played[start : start + 480])
        out.append(guard.clean(heard[start : start + 480]))  # type: ignore[arg-type]
    cleaned = np.concatenate(out)
    alone, both = slice(RATE, 5 * RATE), slice(5 * RATE, 8 * RATE)
    assert level_db(echo[alone]) - level_db(cleaned[alone]) > 20, "the echo is gone"
    assert level_db(caller) - level_db(cleaned[both]) < 8, "the caller is not"
