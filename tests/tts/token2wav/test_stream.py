"""The stream of token2wav: any split of the codes sounds the same, and nothing is lost."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests._support.token2wav_checkpoint import TINY_FLOW, random_prompt, write_checkpoint
from tts.token2wav import flow as flow_module
from tts.token2wav.checkpoint import load_flow, load_hift
from tts.token2wav.flow import FlowChunk
from tts.token2wav.prompt import VoicePrompt
from tts.token2wav.stream import SAMPLES_PER_CODE, StreamState, Token2Wav
from tts.token2wav.voice import TokenStream, TokenVoice
from tts.types import AudioChunk, SpokenWord

pytestmark = pytest.mark.torch

CODES = np.random.default_rng(1).integers(0, TINY_FLOW.vocab, 90).tolist()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("token2wav")
    write_checkpoint(directory)
    return directory


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Token2Wav:
    return Token2Wav(load_flow(checkpoint), load_hift(checkpoint), steps=2)


@pytest.fixture(scope="module")
def opened(model: Token2Wav) -> StreamState:
    return model.open(random_prompt())


@pytest.fixture(scope="module")
def whole(model: Token2Wav, opened: StreamState) -> np.ndarray:
    return model.feed(CODES, opened, final=True)[0]


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, len(CODES)), max_size=12), flush_alone=st.booleans())
def test_any_split_of_the_codes_sounds_the_same(
    model: Token2Wav,
    opened: StreamState,
    whole: np.ndarray,
    cuts: list[int],
    flush_alone: bool,
) -> None:
    state, parts = opened, []
    pieces = [CODES[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True)]
    if flush_alone:
        pieces.append([])
    for number, piece in enumerate(pieces):
        samples, state = model.feed(piece, state, final=number == len(pieces) - 1)
        parts.append(samples)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("count", [1, 3, 24, 25, 27, 28, 29, 53, 75])
def test_a_code_is_960_samples(model: Token2Wav, opened: StreamState, count: int) -> None:
    samples, state = model.feed(CODES[:count], opened, final=True)
    assert len(samples) == count * SAMPLES_PER_CODE
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 0.99
    assert state.pending == ()


def test_audio_comes_as_soon_as_it_can(model: Token2Wav, opened: StreamState) -> None:
    """28 codes give the first second but its last 160 ms; then every 25 give a second."""
    lengths, state = [], opened
    for code in CODES[:80]:
        samples, state = model.feed([code], state)
        if len(samples):
            lengths.append((len(state.pending), len(samples)))
    assert lengths == [(3, 24_000 - 3_840), (3, 24_000), (3, 24_000)]


def test_a_state_is_never_written_to(
    model: Token2Wav, opened: StreamState, whole: np.ndarray
) -> None:
    _, middle = model.feed(CODES[:40], opened)
    first = model.feed(CODES[40:], middle, final=True)[0]
    model.feed(CODES[::-1], middle, final=True)
    again = model.feed(CODES[40:], middle, final=True)[0]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(model.feed(CODES, opened, final=True)[0], whole)


def test_nothing_pushed_is_no_sound(model: Token2Wav, opened: StreamState) -> None:
    assert len(model.feed([], opened, final=True)[0]) == 0


def test_memory_is_bounded(
    model: Token2Wav, opened: StreamState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt is kept, and of the rest the newest."""
    monkeypatch.setattr(flow_module, "ENCODER_TOKENS", 60)
    prompt_codes = opened.flow.prompt_tokens
    state = opened
    for start in range(0, 90, 30):
        before = state
        _, state = model.feed(CODES[start : start + 30], state)
        _, state = model.feed(CODES[start : start + 30], state)
    keys = state.flow.encoder.tokens[0][0]
    assert keys.shape[2] == 60
    assert state.flow.encoder.frames[0][0].shape[2] == 120
    assert state.flow.steps[0][0].keys.shape[2] == 2 * prompt_codes + 100
    prompt_keys = opened.flow.encoder.tokens[0][0]
    torch.testing.assert_close(keys[:, :, :prompt_codes], prompt_keys, rtol=0, atol=0)
    earlier = before.flow.encoder.tokens[0][0]
    assert not torch.equal(keys[:, :, -10:], earlier[:, :, -10:])


def test_codes_and_prompts_are_checked(model: Token2Wav, opened: StreamState) -> None:
    with pytest.raises(ValueError, match="code 6561 is outside"):
        model.feed([0, 6561], opened)
    with pytest.raises(ValueError, match="too short"):
        model.open(random_prompt(codes=2))
    good = random_prompt()
    with pytest.raises(ValueError, match="speaker embedding"):
        model.open(VoicePrompt(good.codes, good.speaker[:-1], good.mel))
    with pytest.raises(ValueError, match="20 codes and mel"):
        model.open(VoicePrompt(good.codes, good.speaker, good.mel[:, :-1]))


def test_a_chunk_holds_the_overlap(model: Token2Wav) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        Token2Wav(model.flow, model.hift, chunk_codes=3)


def test_the_flow_may_run_in_bf16(checkpoint: Path, model: Token2Wav, opened: StreamState) -> None:
    codes = torch.tensor([CODES])
    [(expected, _)] = model.flow.feed(
        model.flow.schedule(2), [FlowChunk(codes, opened.flow, final=True)]
    )
    low = Token2Wav(load_flow(checkpoint).to(torch.bfloat16), model.hift, steps=2)
    state = low.open(random_prompt())
    [(got, _)] = low.flow.feed(low.flow.schedule(2), [FlowChunk(codes, state.flow, final=True)])
    assert got.dtype == torch.bfloat16
    assert (got.float() - expected).abs().mean() < 0.02 * expected.std()
    assert low.feed(CODES, state, final=True)[0].dtype == np.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_says_the_same(checkpoint: Path, whole: np.ndarray) -> None:
    flow, hift = load_flow(checkpoint).cuda(), load_hift(checkpoint).cuda()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        device = Token2Wav(flow, hift, steps=2)
        got, _ = device.feed(CODES, device.open(random_prompt()), final=True)
    np.testing.assert_allclose(got, whole, atol=1e-3)


# -- the voice: text beside the codes ----------------------------------------------------------


@pytest.fixture(scope="module")
def voice(model: Token2Wav) -> TokenVoice:
    return TokenVoice(model, random_prompt())


def speak(stream: TokenStream, pushes: list[tuple[str, list[int]]]) -> list[AudioChunk]:
    chunks = [chunk for text, codes in pushes for chunk in stream.feed(text, codes)]
    return chunks + list(stream.finish())


def test_words_end_where_the_codes_of_their_last_letter_end(
    voice: TokenVoice, whole: np.ndarray
) -> None:
    texts = ["Hel", "lo", " there", ",", " you", "", " all", "."]
    groups = [CODES[start : start + 4] for start in range(0, 88, 4)]
    pushes = [(texts[n] if n < len(texts) else "", group) for n, group in enumerate(groups)]
    chunks = speak(voice.open(), [*pushes, ("", CODES[88:])])
    words = [word for chunk in chunks for word in chunk.words]
    group = 4 * SAMPLES_PER_CODE
    assert words == [
        SpokenWord("Hello", 2 * group),
        SpokenWord(" there,", 4 * group),
        SpokenWord(" you", 5 * group),
        SpokenWord(" all.", 8 * group),
    ]
    np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks]), whole)


def test_each_letter_of_chinese_is_a_word(voice: TokenVoice) -> None:
    chunks = speak(voice.open(), [("你好", CODES[:4]), ("。Hi 吧", CODES[4:8])])
    words = [word.text for chunk in chunks for word in chunk.words]
    assert words == ["你", "好", "。Hi", " 吧"]


@settings(max_examples=15, deadline=None)
@given(pushes=st.lists(st.tuples(st.text("ab 好.\n", max_size=6), st.integers(0, 20)), max_size=6))
def test_no_text_is_lost_and_words_lie_in_their_chunks(
    voice: TokenVoice, pushes: list[tuple[str, int]]
) -> None:
    chunks = speak(voice.open(), [(text, CODES[:count]) for text, count in pushes])
    assert "".join(w.text for c in chunks for w in c.words) == "".join(t for t, _ in pushes)
    total = sum(len(chunk.samples) for chunk in chunks)
    assert total == SAMPLES_PER_CODE * sum(count for _, count in pushes)
    start, last = 0, 0
    for chunk in chunks:
        stop = start + len(chunk.samples)
        for word in chunk.words:
            assert last <= word.end_sample <= stop
            assert word.end_sample > start or word.end_sample == last or start == 0
            last = word.end_sample
        start = stop


def test_a_step_is_one_chunk_and_may_be_taken_later(voice: TokenVoice, whole: np.ndarray) -> None:
    stream = voice.open()
    steps = stream.feed("all at once", CODES)
    first = next(steps)
    assert len(first.samples) == 24_000 - 3_840
    rest = list(stream.finish())
    assert [len(chunk.samples) for chunk in rest] == [24_000, 24_000, 15 * 960 + 3_840]
    np.testing.assert_array_equal(
        np.concatenate([first.samples, *(chunk.samples for chunk in rest)]), whole
    )
    with pytest.raises(ValueError, match="finished"):
        stream.feed("more", [])


def test_utterances_of_one_voice_do_not_mix(voice: TokenVoice, whole: np.ndarray) -> None:
    first, second = voice.open(), voice.open()
    parts: tuple[list[AudioChunk], list[AudioChunk]] = ([], [])
    for code in CODES:
        parts[0].extend(first.feed("", [code]))
        parts[1].extend(second.feed("", [code]))
    parts[0].extend(first.finish())
    parts[1].extend(second.finish())
    for chunks in parts:
        np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks]), whole)


def test_a_voice_is_loaded_from_its_directory(checkpoint: Path) -> None:
    voice = TokenVoice.load(checkpoint, random_prompt(), chunk_codes=4)
    assert voice.sample_rate == 24_000
    chunks = list(voice.open().feed("a", CODES[:11]))
    assert [len(chunk.samples) for chunk in chunks] == [3_840]  # the first chunk is all overlap
