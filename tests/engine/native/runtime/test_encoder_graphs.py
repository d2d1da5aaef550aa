"""The encoder's steps over fixed memory equal those that are run kernel by kernel."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.native.audio_stream import AudioConfig, EncodeRequest
from engine.native.audio_tower import AudioTower, EncodedAudio
from engine.native.device_setup import NativeOptions, open_tower
from engine.native.model.config import AdaptorShape
from engine.native.runtime import encoder_graphs
from engine.native.runtime.encoder_graphs import EncoderGraphs, Heard, Piece
from tests._support.published_ear import (
    ADAPTOR,
    speechlike,
    tiny_adaptor,
    tiny_encoder,
    tiny_tower,
)

pytestmark = pytest.mark.torch

LATENT = 1280  # samples
CONFIG = AudioConfig(chunk=3, lookahead=2, block_samples=20 * LATENT)


def with_graphs(config: AudioConfig = CONFIG, shape: AdaptorShape = ADAPTOR) -> AudioTower:
    tower = tiny_tower(config, shape)
    tower.use_graphs((1, 2, 4))
    return tower


def turns(tower: AudioTower, samples: list[int]) -> list[list[EncodedAudio]]:
    """Turns that are heard together, in chunks and to their end."""
    streams = [tower.open() for _ in samples]
    heard: list[list[EncodedAudio]] = [[] for _ in samples]

    def run(requests: dict[int, EncodeRequest]) -> None:
        for index, encoded in zip(requests, tower.encode([*requests.values()]), strict=True):
            assert isinstance(encoded, EncodedAudio)
            heard[index].append(encoded)

    for seed, (stream, count) in enumerate(zip(streams, samples, strict=True)):
        stream.feed(speechlike(count, seed))
    while due := {i: stream.step() for i, stream in enumerate(streams) if stream.due()}:
        run(due)
    run({i: end for i, stream in enumerate(streams) if (end := stream.finish())})
    for stream in streams:
        stream.close()
    return heard


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(1, 30 * LATENT), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from([2, -1]),
)
def test_turns_of_any_length_are_heard_as_without_graphs(
    samples: list[int], fork: bool, stride: int
) -> None:
    config = AudioConfig(3, 2, CONFIG.block_samples, fork_count=fork)
    shape = AdaptorShape(ADAPTOR.state, ADAPTOR.hidden, ADAPTOR.output, stride=stride)
    graphed, eager = with_graphs(config, shape), tiny_tower(config, shape)
    for ours, theirs in zip(turns(graphed, samples), turns(eager, samples), strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine.block, mine.start, mine.complete) == (
                other.block,
                other.start,
                other.complete,
            )
            torch.testing.assert_close(mine.stable, other.stable, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(mine.provisional, other.provisional, rtol=1e-4, atol=1e-4)
    assert graphed.pool.free_blocks == graphed.pool.blocks


def test_chunks_and_ends_are_graphs_and_passes_over_long_blocks_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tower = with_graphs()
    graphs = tower.graphs
    assert graphs is not None
    seen: list[tuple[str, int]] = []

    def watch(name: str, run: Callable[[list[Piece]], list[Heard]]) -> Callable[..., list[Heard]]:
        def watched(pieces: list[Piece]) -> list[Heard]:
            seen.append((name, len(pieces)))
            return run(pieces)

        return watched

    monkeypatch.setattr(graphs, "run", watch("graph", graphs.run))
    monkeypatch.setattr(tower, "_run_eager", watch("eager", tower._run_eager))
    turns(tower, [13 * LATENT] * 6)
    assert seen == [("graph", 6)] * 4  # in steps of four and two
    seen.clear()
    stream, other = tower.open(), tower.open()
    stream.feed(speechlike(13 * LATENT))
    other.feed(speechlike(6 * LATENT))
    whole = stream.exact()
    assert whole is not None
    tower.encode([whole, other.step()])
    assert sorted(seen) == [("eager", 1), ("graph", 1)]


def test_results_are_not_written_over_by_the_next_step() -> None:
    tower = with_graphs()
    one, other = (tower.open() for _ in range(2))
    one.feed(speechlike(6 * LATENT, 1))
    other.feed(speechlike(6 * LATENT, 2))
    (first,) = tower.encode([one.step()])
    assert isinstance(first, EncodedAudio)
    before = first.stable.clone()
    tower.encode([other.step()])
    assert torch.equal(first.stable, before)


def test_graphs_are_asked_for_and_done_without_if_they_cannot_be_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, adaptor = tiny_encoder(), tiny_adaptor()
    options = NativeOptions(audio=CONFIG)
    assert open_tower(encoder, adaptor, options).graphs is None
    asked = NativeOptions(audio=CONFIG, encoder_graphs=True)
    assert isinstance(open_tower(encoder, adaptor, asked).graphs, EncoderGraphs)

    def refuses(*_: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(encoder_graphs, "_Step", refuses)
    assert open_tower(encoder, adaptor, asked).graphs is None
    assert "not recorded" in caplog.text
