"""Utterances that are rendered in one step sound as those that are rendered alone."""

import gc
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests._support.token2wav_checkpoint import TINY_FLOW, random_prompt, write_checkpoint
from tts.token2wav.checkpoint import load_flow, load_hift
from tts.token2wav.stream import SAMPLES_PER_CODE, Feed, StreamState, Token2Wav
from tts.token2wav.voice import TokenStream, TokenVoice
from tts.types import AudioChunk

pytestmark = pytest.mark.torch

CODES = np.random.default_rng(2).integers(0, TINY_FLOW.vocab, 400).tolist()
WINDOW = 28


class Counted(Token2Wav):
    """Counts the utterances of each step, and fails those of several if it is ill."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.widths: list[int] = []
        self.ill = False

    def feed_all(self, feeds: Sequence[Feed]) -> list[tuple[np.ndarray, StreamState]]:
        self.widths.append(len(feeds))
        if self.ill and len(feeds) > 1:
            raise RuntimeError("out of memory")
        return super().feed_all(feeds)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("token2wav")
    write_checkpoint(directory)
    return directory


@pytest.fixture
def model(checkpoint: Path) -> Counted:
    return Counted(load_flow(checkpoint), load_hift(checkpoint), steps=2)


def near(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@settings(max_examples=5, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 60), st.booleans()), min_size=2, max_size=4
    )
)
def test_several_feeds_are_as_one_after_another(
    checkpoint: Path, utterances: list[tuple[int, int, bool]]
) -> None:
    """At different places of their utterances, with different numbers of codes, ended or not."""
    model = Token2Wav(load_flow(checkpoint), load_hift(checkpoint), steps=2)
    primed = model.open(random_prompt())
    feeds = []
    for number, (before, fresh, final) in enumerate(utterances):
        codes = CODES[40 * number :]
        _, state = model.feed(codes[:before], primed)
        feeds.append(Feed(codes[before : before + fresh], state, final))
    together = model.feed_all(feeds)
    after = [Feed(CODES[:30], state, final=True) for _, state in together]
    for feed, (samples, state), (rest, _) in zip(
        feeds, together, model.feed_all(after), strict=True
    ):
        alone, own = model.feed(feed.codes, feed.state, final=feed.final)
        np.testing.assert_allclose(samples, alone, rtol=0, atol=1e-5)
        assert (state.pending, state.chunks) == (own.pending, own.chunks)
        np.testing.assert_allclose(
            rest, model.feed(CODES[:30], own, final=True)[0], rtol=0, atol=1e-5
        )


def sound(chunks: list[AudioChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def test_a_step_renders_what_waits_and_each_utterance_gets_its_own(model: Counted) -> None:
    voice = TokenVoice(model, random_prompt(), together=3)
    streams = [voice.open() for _ in range(4)]
    pieces = [CODES[60 * number : 60 * number + 90] for number in range(4)]
    chunks: list[list[AudioChunk]] = [[] for _ in streams]
    for start in range(0, 90, 10):
        steps: list[Iterator[AudioChunk]] = [
            stream.feed("", codes[start : start + 10])
            for stream, codes in zip(streams, pieces, strict=True)
        ]
        for own, step in zip(chunks, steps, strict=True):
            own += step
    for own, stream in zip(chunks, streams, strict=True):
        own += stream.finish()
    assert model.widths == [3, 1] * 3 + [1] * 4  # three chunks of each, and the ends
    primed = model.open(random_prompt())
    for own, codes in zip(chunks, pieces, strict=True):
        assert len(sound(own)) == 90 * SAMPLES_PER_CODE
        near(sound(own), model.feed(codes, primed, final=True)[0])


def test_an_utterance_that_was_given_up_is_not_rendered(model: Counted) -> None:
    voice = TokenVoice(model, random_prompt(), together=8)
    kept, gone = voice.open(), voice.open()
    gone.feed("", CODES[:WINDOW])
    steps = kept.feed("", CODES[:WINDOW])
    del gone
    gc.collect()
    assert len(list(steps)) == 1
    assert model.widths == [1]


def test_a_step_that_fails_for_several_is_taken_alone_and_loses_nothing(
    model: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    voice = TokenVoice(model, random_prompt(), together=8)
    streams = [voice.open() for _ in range(2)]
    model.ill = True
    steps = [stream.feed("", CODES[:WINDOW]) for stream in streams]
    chunks = [list(step) for step in steps]
    assert model.widths == [2, 1, 1]
    assert "tried alone" in caplog.text
    for own, stream in zip(chunks, streams, strict=True):
        own += stream.finish()
        near(sound(own), model.feed(CODES[:WINDOW], model.open(random_prompt()), final=True)[0])


def test_a_code_that_is_none_fails_its_own_utterance(model: Counted) -> None:
    voice = TokenVoice(model, random_prompt(), together=8)
    good, bad = voice.open(), voice.open()
    steps = good.feed("", CODES[:WINDOW])
    with pytest.raises(ValueError, match="outside"):
        bad.feed("", [*CODES[:WINDOW], 6561])
    assert len(list(steps)) == 1
    assert model.widths == [1]


def test_utterances_may_be_fed_while_a_step_runs(model: Counted) -> None:
    """As the server does: one thread renders, another feeds."""
    voice = TokenVoice(model, random_prompt(), together=4)
    streams = [voice.open() for _ in range(3)]
    chunks: list[list[AudioChunk]] = [[] for _ in streams]
    done = threading.Event()

    def render() -> None:
        while not done.is_set():
            for own, stream in zip(chunks, streams, strict=True):
                own += stream.feed("")

    def feed(stream: TokenStream) -> None:
        for start in range(0, 80, 4):
            stream.feed("", CODES[start : start + 4])

    voice_thread = threading.Thread(target=render)
    voice_thread.start()
    for stream in streams:
        feed(stream)
    done.set()
    voice_thread.join()
    primed = model.open(random_prompt())
    for own, stream in zip(chunks, streams, strict=True):
        own += stream.finish()
        near(sound(own), model.feed(CODES[:80], primed, final=True)[0])
