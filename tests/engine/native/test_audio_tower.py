"""A turn as the model hears it: log-mel, chunks, provisional ends, blocks, many calls at once."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from engine.errors import EngineError
from engine.features import STEP_AUDIO_RIGHT_ZEROS, Float32, LogMel, log_mel, normalize
from engine.native.audio_stream import AudioConfig, AudioStream, EncodeRequest
from engine.native.audio_tower import AudioTower, EncodedAudio, Forgotten
from engine.native.kv_cache import CacheFull
from tests._support.published_ear import (
    ADAPTOR,
    PublishedEar,
    difference,
    speechlike,
    tiny_adaptor,
    tiny_encoder,
    tiny_tower,
)

pytestmark = pytest.mark.torch

LATENT = 1280  # samples
WHOLE = AudioConfig(chunk=1000)


def published_mel(pcm: Float32, mels: int = 128) -> Tensor:
    """The front end of section 1 in torch, with transformers' mel bank."""
    bank = mel_filter_bank(201, mels, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    padded = torch.nn.functional.pad(torch.from_numpy(pcm), (0, 479))
    window = torch.hann_window(400)
    spectrum = torch.stft(padded, 400, 160, window=window, return_complex=True)
    power = spectrum[:, :-1].abs() ** 2
    log = (torch.from_numpy(bank.astype(np.float32)).T @ power).clamp(min=1e-10).log10()
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


def one(tower: AudioTower, request: EncodeRequest | None) -> EncodedAudio:
    assert request is not None
    [encoded] = tower.encode([request])
    assert isinstance(encoded, EncodedAudio)
    return encoded


def hear(tower: AudioTower, stream: AudioStream) -> list[EncodedAudio]:
    """All that is due."""
    heard = []
    while stream.due():
        heard.append(one(tower, stream.step()))
    return heard


def known(heard: list[EncodedAudio], block: int = 0) -> Tensor:
    """What a listener knows of a block after these."""
    latents = torch.empty(0, ADAPTOR.output)
    for encoded in heard:
        if encoded.block == block:
            assert encoded.start <= len(latents)
            latents = torch.cat([latents[: encoded.start], encoded.stable, encoded.provisional])
    return latents


def in_chunks(pcm: Float32, config: AudioConfig, pieces: list[Float32] | None = None) -> Tensor:
    """The latents of a clip, heard in chunks and finished."""
    tower = tiny_tower(config)
    stream, heard = tower.open(), []
    for piece in pieces or [pcm]:
        stream.feed(piece)
        heard += hear(tower, stream)
    heard.append(one(tower, stream.finish()))
    return known(heard)


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(0.5, 52), (1, 102), (2, 202), (10, 1002), (25, 2502), (29, 2902), (29.9, 2992)],
)
def test_frames_of_a_clip(seconds: float, frames: int) -> None:
    pcm = np.zeros(int(seconds * 16_000), np.float32)
    assert log_mel(pcm, 128, right_zeros=STEP_AUDIO_RIGHT_ZEROS).shape == (128, frames)


@pytest.mark.parametrize("samples", [1, 160, 161, 200, 8000, 8001, 8159, 20_000])
def test_log_mel_is_the_published_one(samples: int) -> None:
    pcm = speechlike(samples)
    ours = normalize(log_mel(pcm, 128, right_zeros=STEP_AUDIO_RIGHT_ZEROS))
    np.testing.assert_allclose(ours, published_mel(pcm), atol=2e-4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_chunking_of_the_log_mel_equals_the_whole(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 6000))
    pcm = speechlike(length, data.draw(st.integers(0, 5)))
    mel = LogMel(128, right_zeros=STEP_AUDIO_RIGHT_ZEROS)
    state, parts = mel.open(), []
    for piece in np.split(pcm, sorted(data.draw(st.lists(st.integers(0, length), max_size=9)))):
        frames, state = mel.feed(piece, state)
        parts.append(frames)
    parts.append(mel.finish(state))
    whole = log_mel(pcm, 128, right_zeros=STEP_AUDIO_RIGHT_ZEROS)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=2e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), quiet=st.integers(0, 3))
def test_the_running_maximum_only_clips_less(seed: int, quiet: int) -> None:
    """A chunk is normalised by the maximum up to its end: where that is below the clip's, faint
    frames are lower than in the exact pass, by no more than the maximum still rises."""
    pcm = np.concatenate([1e-3 * speechlike(quiet * LATENT, seed), speechlike(30 * LATENT, seed)])
    stream = tiny_tower(AudioConfig(chunk=4, lookahead=2)).open()
    stream.feed(pcm)
    exact = stream.exact()
    assert exact is not None
    top = float(log_mel(pcm, 16, right_zeros=STEP_AUDIO_RIGHT_ZEROS).max())
    raw = log_mel(pcm, 16)
    while stream.due():
        request = stream.step()
        first = max(0, 8 * request.start - 2)
        columns = request.mel.shape[1]
        seen = float(raw[:, : first + columns].max())
        rise = exact.mel[:, first : first + columns] - request.mel
        assert rise.min() >= -1e-5
        assert rise.max() <= (top - seen) / 4 + 1e-5


@pytest.mark.parametrize("fork", [False, True])
@pytest.mark.parametrize("samples", [1, *range(16_000, 16_000 + 8 * 160, 160)])
@pytest.mark.parametrize("pass_", [AudioStream.exact, AudioStream.finish])
def test_a_whole_clip_is_the_published_pass(
    samples: int, fork: bool, pass_: Callable[[AudioStream], EncodeRequest | None]
) -> None:
    tower = tiny_tower(replace(WHOLE, fork_count=fork))
    pcm = speechlike(samples)
    stream = tower.open()
    stream.feed(pcm)
    expected = PublishedEar(tower.encoder, tower.adaptor).latents(published_mel(pcm, 16), fork=fork)
    heard = one(tower, pass_(stream))
    assert (heard.start, len(heard.stable), heard.complete) == (0, 0, False)
    if len(expected):
        assert difference(heard.provisional, expected) < 1e-4  # of the two log-mels


def test_from_the_same_log_mel_the_pass_is_exact() -> None:
    tower = tiny_tower(WHOLE)
    stream = tower.open()
    stream.feed(speechlike(33_333))
    request = stream.exact()
    assert request is not None
    expected = PublishedEar(tower.encoder, tower.adaptor).latents(request.mel)
    assert difference(one(tower, request).provisional, expected) < 1e-5


def test_an_adaptor_without_convolution() -> None:
    shape = replace(ADAPTOR, stride=-1)
    pcm = speechlike(30_000)
    tower = tiny_tower(AudioConfig(chunk=7, lookahead=3), shape)
    stream = tower.open()
    stream.feed(pcm)
    exact = one(tower, stream.exact()).provisional
    theirs = PublishedEar(tower.encoder, tower.adaptor).latents(published_mel(pcm, 16))
    assert difference(exact, theirs) < 1e-4
    heard = hear(tower, stream)
    assert [len(h.stable) for h in heard] == [7] * 6
    assert len(known([*heard, one(tower, stream.finish())])) == len(exact)


def test_chunks_come_when_their_look_ahead_is_there() -> None:
    """Chunk and look-ahead of 3 and 2 latents: due with the samples that frame 2 * 20 needs."""
    tower = tiny_tower(AudioConfig(chunk=3, lookahead=2))
    stream = tower.open()
    stream.feed(speechlike(5 * LATENT + 199))
    assert not stream.due()
    with pytest.raises(ValueError, match="no chunk"):
        stream.step()
    stream.feed(speechlike(1))
    request = stream.step()
    assert request.rows == 20
    heard = one(tower, request)
    assert (heard.block, heard.start, heard.complete) == (0, 0, False)
    assert (len(heard.stable), len(heard.provisional)) == (3, 2)
    assert not stream.due()


@pytest.mark.parametrize("latents", [6, 40, 41, 42, 43, 44, 300])
def test_the_end_of_a_turn_costs_the_same_however_long_it_was(latents: int) -> None:
    tower = tiny_tower(AudioConfig(chunk=3, lookahead=2))
    stream = tower.open()
    stream.feed(speechlike(latents * LATENT + 199))
    while stream.due():
        stream.step()
    end = stream.finish()
    assert end is not None
    assert end.rows <= 4 * (3 + 2) + 2


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_cutting_of_the_audio_gives_the_same_bits(data: st.DataObject) -> None:
    config = AudioConfig(chunk=data.draw(st.integers(1, 4)), lookahead=data.draw(st.integers(0, 3)))
    pcm = speechlike(data.draw(st.integers(3 * LATENT, 12 * LATENT)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pcm)), max_size=8)))
    ours = in_chunks(pcm, config, np.split(pcm, cuts))
    assert torch.equal(ours, in_chunks(pcm, config))


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_later_audio_never_changes_stable_latents(data: st.DataObject) -> None:
    """Nor does a provisional end or an exact pass in between."""
    tower = tiny_tower(AudioConfig(chunk=2, lookahead=data.draw(st.integers(0, 3))))
    past = speechlike(data.draw(st.integers(LATENT, 9 * LATENT)))
    ends = data.draw(st.lists(st.sampled_from([AudioStream.finish, AudioStream.exact]), max_size=2))
    stable = []
    for seed, passes in ((1, ends), (2, [])):
        stream = tower.open()
        stream.feed(past)
        heard = hear(tower, stream)
        for pass_ in passes:
            assert len(one(tower, pass_(stream)).stable) == 0
        steps = len(heard)
        stream.feed(10 * speechlike(4 * LATENT, seed))
        heard += hear(tower, stream)
        stable.append(torch.cat([torch.empty(0, 20), *(h.stable for h in heard[:steps])]))
        assert all(h.start == 2 * i for i, h in enumerate(heard))
        stream.close()
    assert torch.equal(*stable)


def test_look_ahead_makes_the_latents_better() -> None:
    """On average; the weights are random. Nothing is left of the error with all of the clip."""
    pcm = speechlike(40 * LATENT)
    exact = in_chunks(pcm, WHOLE)
    errors = [
        difference(in_chunks(pcm, AudioConfig(chunk=3, lookahead=ahead)), exact)
        for ahead in (0, 2, 8, 32)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.3 * errors[-1] > 0


def test_many_calls_in_one_step_are_each_alone() -> None:
    config = AudioConfig(chunk=3, lookahead=2)
    lengths = (9 * LATENT + 777, 14 * LATENT, 8 * LATENT + 200, 20 * LATENT)

    def steps(tower: AudioTower, together: bool) -> list[list[EncodedAudio]]:
        streams = [tower.open() for _ in lengths]
        heard: list[list[EncodedAudio]] = [[] for _ in lengths]

        def run(requests: dict[int, EncodeRequest]) -> None:
            groups = [requests] if together else [{i: r} for i, r in requests.items()]
            for group in groups:
                for index, encoded in zip(group, tower.encode(list(group.values())), strict=True):
                    assert isinstance(encoded, EncodedAudio)
                    heard[index].append(encoded)

        for index, (stream, length) in enumerate(zip(streams, lengths, strict=True)):
            stream.feed(speechlike(length, index))
        while due := {i: stream.step() for i, stream in enumerate(streams) if stream.due()}:
            run(due)
        ends = {i: stream.finish() if i % 2 else stream.exact() for i, stream in enumerate(streams)}
        run({i: request for i, request in ends.items() if request is not None})
        return heard

    batched, alone = steps(tiny_tower(config), True), steps(tiny_tower(config), False)
    for ours, theirs in zip(batched, alone, strict=True):
        assert difference(known(ours), known(theirs)) < 1e-5


def test_a_turn_longer_than_a_block_goes_on_in_the_next() -> None:
    """25 s are 313 latents; what follows is a clip of its own."""
    pcm = speechlike(400_000 + 16_000)
    tower = tiny_tower(AudioConfig(chunk=40, lookahead=6))
    stream, heard = tower.open(), []
    for piece in np.array_split(pcm, 7):
        stream.feed(piece)
        heard += hear(tower, stream)
    assert [h.complete for h in heard] == [False] * (len(heard) - 1) + [True]
    assert sum(len(h.stable) for h in heard) == len(known(heard)) == 313
    assert tower.pool.free_blocks == tower.pool.blocks
    last = one(tower, stream.finish())
    assert last.block == 1
    second = tower.open()
    second.feed(pcm[400_000:])
    assert torch.equal(last.provisional, one(tower, second.exact()).provisional)
    assert len(last.provisional) == 13


def test_a_full_block_is_encoded_to_its_end_before_the_next() -> None:
    tower = tiny_tower(AudioConfig(chunk=3, lookahead=2, block_samples=10 * LATENT))
    stream = tower.open()
    stream.feed(speechlike(25 * LATENT))
    with pytest.raises(ValueError, match="earlier block"):
        stream.finish()
    heard = hear(tower, stream)
    assert [(h.block, h.start, len(h.stable), h.complete) for h in heard] == [
        (0, 0, 3, False),
        (0, 3, 3, False),
        (0, 6, 4, True),
        (1, 0, 3, False),
        (1, 3, 3, False),
        (1, 6, 4, True),
    ]
    assert one(tower, stream.finish()).block == 2


@pytest.mark.parametrize("samples", [0, 10 * LATENT])
def test_nothing_is_left_of_an_empty_or_complete_turn(samples: int) -> None:
    tower = tiny_tower(AudioConfig(block_samples=10 * LATENT))
    stream = tower.open()
    stream.feed(speechlike(samples))
    hear(tower, stream)
    assert stream.finish() is stream.exact() is None


MOVES = st.tuples(st.sampled_from(["push", "step", "finish", "exact", "close"]), st.integers(0, 2))


@settings(max_examples=25, deadline=None)
@given(st.lists(MOVES, max_size=16))
def test_blocks_are_conserved(moves: list[tuple[str, int]]) -> None:
    tower = tiny_tower(AudioConfig(chunk=2, lookahead=1, block_samples=7 * LATENT))
    streams = [tower.open() for _ in range(3)]
    for move, which in moves:
        stream = streams[which]
        if move == "push":
            stream.feed(speechlike(4 * LATENT, which))
        elif move == "close":
            stream.close()
            streams[which] = tower.open()
        elif stream.due():
            one(tower, stream.step())
        elif move != "step" and (end := getattr(stream, move)()):
            before = tower.pool.free_blocks
            one(tower, end)
            assert tower.pool.free_blocks == before  # an end remembers nothing
    for stream in streams:
        stream.close()
        stream.close()
    assert tower.pool.free_blocks == tower.pool.blocks


def test_a_turn_for_which_there_is_never_room_fails_alone() -> None:
    tower = tiny_tower(AudioConfig(chunk=4, lookahead=0), blocks=2)
    first, second = tower.open(), tower.open()
    for stream in (first, second):
        stream.feed(speechlike(13 * LATENT))
    too_long = first.exact()
    assert too_long is not None
    refused, heard = tower.encode([too_long, second.step()])
    assert isinstance(refused, CacheFull)
    alone = tiny_tower(AudioConfig(chunk=4, lookahead=0))
    third = alone.open()
    third.feed(speechlike(13 * LATENT))
    assert isinstance(heard, EncodedAudio)
    assert torch.equal(heard.stable, one(alone, third.step()).stable)


def test_the_turn_heard_longest_ago_gives_way_and_is_then_heard_whole() -> None:
    config = AudioConfig(chunk=4, lookahead=0)
    tower = tiny_tower(config, blocks=4)  # of 16 frames: a turn of 13 latents needs 4
    streams = [tower.open() for _ in range(3)]
    pcm = [speechlike(13 * LATENT, seed) for seed in range(3)]
    for stream, samples in zip(streams, pcm, strict=True):
        stream.feed(samples)
    one(tower, streams[0].step())
    for stream in streams[1:]:
        assert len(hear(tower, stream)) == 3
    assert tower.forgotten == 2
    assert not streams[0].due()  # its later chunks are not asked for
    kept = one(tower, streams[2].finish())
    assert (kept.start, len(kept.provisional)) == (12, 1)
    for stream, samples in zip(streams[:2], pcm[:2], strict=True):
        end = one(tower, stream.finish())
        assert end.start == 0
        fresh = tiny_tower(config).open()
        fresh.feed(samples)
        assert torch.equal(end.provisional, one(tiny_tower(config), fresh.exact()).provisional)
    for stream in streams:
        stream.close()
    assert tower.pool.free_blocks == tower.pool.blocks


def test_a_chunk_that_was_asked_for_before_its_memory_went_is_refused_with_a_reason() -> None:
    tower = tiny_tower(AudioConfig(chunk=4, lookahead=0, block_samples=20 * LATENT), blocks=6)
    first, *others = (tower.open() for _ in range(3))
    for stream in (first, *others):
        stream.feed(speechlike(17 * LATENT))
    one(tower, first.step())
    asked = first.step()
    for stream in others:
        hear(tower, stream)
    (refused,) = tower.encode([asked])
    assert isinstance(refused, Forgotten)
    first.take_back(asked)
    first.feed(speechlike(8 * LATENT))
    assert one(tower, first.step()).complete  # the block is full: heard whole
    again = one(tower, first.step())
    assert (again.block, again.start, len(again.stable)) == (1, 0, 4)  # and the next in chunks


def test_passes_over_whole_turns_that_do_not_fit_together_follow_each_other() -> None:
    tower = tiny_tower(AudioConfig(hearing="exact"), blocks=6)
    streams = [tower.open() for _ in range(3)]
    for seed, stream in enumerate(streams):
        stream.feed(speechlike(15 * LATENT, seed))
    requests = [request for stream in streams if (request := stream.finish())]
    wide = tiny_tower(AudioConfig(hearing="exact"))
    for encoded, request in zip(tower.encode(requests), requests, strict=True):
        assert isinstance(encoded, EncodedAudio)
        assert torch.equal(encoded.provisional, one(wide, request).provisional)
    assert tower.forgotten == 0


def test_a_failed_step_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tiny_tower(AudioConfig(chunk=3, lookahead=2))
    stream = tower.open()
    stream.feed(speechlike(12 * LATENT))
    one(tower, stream.step())
    request, free = stream.step(), tower.pool.free_blocks
    with monkeypatch.context() as patch:
        patch.setattr(tower.adaptor, "forward", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tower.encode([request])
    assert tower.pool.free_blocks == free
    other = tower.open()
    other.feed(speechlike(12 * LATENT))
    one(tower, other.step())
    assert torch.equal(one(tower, request).stable, one(tower, other.step()).stable)


def test_requests_out_of_order_or_of_a_closed_stream_are_refused_alone() -> None:
    tower = tiny_tower(AudioConfig(chunk=2, lookahead=1))
    stream, other = tower.open(), tower.open()
    for each in (stream, other):
        each.feed(speechlike(9 * LATENT))
    first, second = stream.step(), stream.step()
    refused, heard = tower.encode([second, other.step()])
    assert isinstance(refused, EngineError)
    assert "from latent 2 on, after 0 frames" in str(refused)
    assert isinstance(heard, EncodedAudio)
    heard, refused = tower.encode([first, second])
    assert isinstance(heard, EncodedAudio)
    assert isinstance(refused, EngineError)
    stream.take_back(second)
    again = one(tower, stream.step())
    other_again = one(tower, other.step())
    assert torch.equal(again.stable, other_again.stable)
    stream.close()
    other.close()
    assert second.closed
    (refused,) = tower.encode([second])
    assert isinstance(refused, EngineError)
    assert "closed" in str(refused)
    assert tower.pool.free_blocks == tower.pool.blocks


@pytest.mark.parametrize(
    "config",
    [AudioConfig(chunk=0), AudioConfig(lookahead=-1), AudioConfig(block_samples=480_001)],
)
def test_impossible_configurations_are_refused(config: AudioConfig) -> None:
    encoder = tiny_encoder()
    with pytest.raises(ValueError, match=r"chunk|positions"):
        AudioTower(encoder, tiny_adaptor(), encoder.pool(blocks=1), config)
