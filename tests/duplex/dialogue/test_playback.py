from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.audio.formats import Samples
from duplex.dialogue.playback import EchoReference, PlaybackLedger, Timeline
from tts.types import SpokenWord

RATE = 1000  # a sample is a millisecond


def test_nothing_is_heard_before_anything_is_sent() -> None:
    ledger = PlaybackLedger(RATE)
    assert ledger.heard_samples(5.0) == 0
    assert ledger.ahead_s(5.0) == 0
    assert ledger.text_heard(0) == ""
    assert ledger.cut(400) == 0


def test_playing_runs_in_real_time_from_the_first_chunk_and_stops_at_what_was_sent() -> None:
    ledger = PlaybackLedger(RATE)
    ledger.feed(500, [], now=10.0)
    ledger.feed(500, [], now=10.1)
    assert [ledger.heard_samples(10 + s) for s in (0, 0.25, 0.75, 1, 60)] == [
        0,
        250,
        750,
        1000,
        1000,
    ]
    assert ledger.ahead_s(10.25) == 0.75


def test_playing_stands_still_while_there_is_nothing_to_play() -> None:
    ledger = PlaybackLedger(RATE)
    ledger.feed(500, [], now=10.0)
    ledger.feed(500, [], now=12.0)
    assert ledger.heard_samples(12.0) == 500
    assert ledger.heard_samples(12.25) == 750


def test_a_word_counts_when_half_of_it_was_heard() -> None:
    ledger = PlaybackLedger(RATE)
    ledger.feed(300, [SpokenWord("It ", 100), SpokenWord("is ", 200)], now=0.0)
    ledger.feed(300, [SpokenWord("noon.", 600)], now=0.0)
    heard = {n: ledger.text_heard(n) for n in (0, 49, 50, 149, 150, 399, 400, 600)}
    assert list(heard.values()) == [
        "", "", "It ", "It ", "It is ", "It is ", "It is noon.", "It is noon."
    ]  # fmt: skip


def test_a_client_cannot_have_played_more_than_was_sent() -> None:
    ledger = PlaybackLedger(24_000)
    ledger.feed(24_000, [], now=0.0)
    assert ledger.cut(1085) == 24_000
    assert ledger.cut(500) == 12_000
    with pytest.raises(ValueError, match="audio_end_ms"):
        ledger.cut(-1)


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    ledger = PlaybackLedger(RATE)
    ledger.feed(100, [SpokenWord("a", 100)], now=1.0)
    for count, words, now in (
        (-1, [], 1.0),
        (10, [], 0.9),
        (10, [SpokenWord("b", 99)], 1.0),
        (10, [SpokenWord("b", 105), SpokenWord("c", 104)], 1.0),
    ):
        with pytest.raises(ValueError, match=r"negative|clock|word"):
            ledger.feed(count, words, now)
    assert ledger.sent_samples == 100
    assert ledger.text_heard(200) == "a"
    assert ledger.heard_samples(2.0) == 100
    with pytest.raises(ValueError, match="rate_hz"):
        PlaybackLedger(0)


CHUNKS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 1000)), min_size=1, max_size=12)


@given(CHUNKS, st.lists(st.integers(0, 3000), min_size=1, max_size=8))
def test_it_agrees_with_a_player_that_is_stepped(
    chunks: list[tuple[int, int]], asked_after_ms: list[int]
) -> None:
    """The oracle is a player that plays one sample each millisecond if it has one."""
    ledger = PlaybackLedger(RATE)
    sent = played = now_ms = 0

    def step_to(end_ms: int) -> None:
        nonlocal played, now_ms
        while now_ms < end_ms:
            now_ms += 1
            played = min(played + 1, sent)

    for count, wait_ms in chunks:
        step_to(now_ms + wait_ms)
        # Just after the millisecond, so that rounding does not fall into the one before.
        ledger.feed(count, [], now=now_ms / 1000 + 1e-7)
        sent += count
    for wait_ms in asked_after_ms:
        step_to(now_ms + wait_ms)
        assert abs(ledger.heard_samples(now_ms / 1000 + 1e-7) - played) <= len(chunks)
    assert ledger.sent_samples == sent


@given(CHUNKS, st.lists(st.integers(0, 20_000), min_size=2, max_size=8))
def test_hearing_never_goes_back_nor_past_what_was_sent(
    chunks: list[tuple[int, int]], times_ms: list[int]
) -> None:
    ledger = PlaybackLedger(RATE)
    words = []
    now = end = 0
    for index, (count, wait_ms) in enumerate(chunks):
        now += wait_ms
        end += count
        words.append(SpokenWord(f"{index} ", end))
        ledger.feed(count, words[-1:], now / 1000)
    heard = [ledger.heard_samples((now + t) / 1000) for t in sorted(times_ms)]
    assert heard == sorted(heard)
    assert heard[-1] <= end
    texts = [ledger.text_heard(samples) for samples in heard]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    if end:
        assert ledger.text_heard(end) == "".join(word.text for word in words)


def test_words_are_heard_or_unheard_and_never_both() -> None:
    ledger = PlaybackLedger(RATE)
    words = [SpokenWord("one ", 300), SpokenWord("two ", 600), SpokenWord(".", 600)]
    ledger.feed(600, words, now=0.0)
    for samples in range(0, 601, 25):
        unheard = "".join(word.text for word in ledger.words_unheard(samples))
        assert ledger.text_heard(samples) + unheard == "one two ."


@given(st.lists(st.integers(0, 40), max_size=12), st.data())
def test_sent_audio_is_what_was_pushed_as_far_back_as_it_is_kept(
    lengths: list[int], data: st.DataObject
) -> None:
    whole = np.arange(1, sum(lengths) + 1, dtype=np.float32)
    sent, at, kept_from = Timeline(), 0, 0
    for length in lengths:
        sent.feed(whole[at : at + length])
        at += length
        kept_from = max(kept_from, data.draw(st.integers(0, at)))
        sent.forget(kept_from)
    position = data.draw(st.integers(kept_from, at))
    assert np.array_equal(sent.since(position), whole[position:])
    start = data.draw(st.integers(kept_from, at + 20))
    stop = data.draw(st.integers(start, at + 40))
    padded = np.concatenate([whole, np.zeros(60, np.float32)])
    assert np.array_equal(sent.between(start, stop), padded[start:stop])


def ramp(samples: int) -> Samples:
    return np.linspace(0, 1, samples, endpoint=False, dtype=np.float32)


def test_the_echo_reference_follows_the_clock_without_gaps() -> None:
    reference = EchoReference(16_000)
    audio = ramp(64_000)
    reference.feed(audio, 5.0)
    frames = [reference.frame(5.0 + (1000 + 512 * n) / 16_000, 512) for n in range(1, 21)]
    assert np.array_equal(np.concatenate(frames), audio[1000 : 1000 + 20 * 512])


def test_the_echo_reference_stays_whole_when_the_callers_audio_comes_in_bursts() -> None:
    reference = EchoReference(16_000)
    audio = ramp(64_000)
    reference.feed(audio, 0.0)
    burst = 5 * 512  # 160 ms, within which the clock stands still
    frames = [reference.frame((1000 + burst * (n // 5 + 1)) / 16_000, 512) for n in range(20)]
    start = 1000 + burst - 512
    assert np.array_equal(np.concatenate(frames), audio[start : start + 20 * 512])


def test_the_echo_reference_catches_up_when_it_is_far_off() -> None:
    reference = EchoReference(16_000)
    audio = ramp(64_000)
    reference.feed(audio, 0.0)
    reference.frame(0.1, 512)
    assert np.array_equal(reference.frame(1.25, 512), audio[20_000 - 512 : 20_000])
    assert not reference.frame(10.0, 512).any()  # past its end there is silence


def test_the_echo_reference_is_silent_while_there_is_nothing_to_play() -> None:
    reference = EchoReference(16_000)
    audio = ramp(16_000) + 1
    reference.feed(audio[:8_000], 0.0)
    reference.feed(audio[8_000:12_000], 0.25)  # in time
    reference.feed(audio[12_000:], 1.0)  # 250 ms late
    frames = [reference.frame(n * 512 / 16_000, 512) for n in range(1, 40)]
    played = np.concatenate(frames)
    assert np.array_equal(played[:12_000], audio[:12_000])
    assert not played[12_000:16_000].any()
    assert np.array_equal(played[16_000:19_000], audio[12_000:15_000])


def test_the_echo_reference_keeps_little_that_nobody_asks_for() -> None:
    reference = EchoReference(16_000)
    for second in range(60):
        reference.feed(ramp(16_000) + 1, float(second))
    assert not reference.frame(50.0, 512).any()  # forgotten
    assert reference.frame(59.5, 512).all()


@pytest.mark.parametrize("rate_hz", [8_000, 24_000])
def test_the_echo_reference_is_at_16_khz(rate_hz: int) -> None:
    reference = EchoReference(rate_hz)
    tone = np.sin(2 * np.pi * 440 / rate_hz * np.arange(rate_hz)).astype(np.float32)
    for chunk in np.split(tone, 10):
        reference.feed(chunk, 0.0)
    frame = reference.frame(0.5, 512)
    expected = np.sin(2 * np.pi * 440 / 16_000 * np.arange(8_000 - 512, 8_000))
    assert np.abs(frame - expected).max() < 0.01
