"""The encoder against transformers' Qwen2-Audio layers: whole clips, windows, ragged batches."""

import pytest
import torch
from torch import Tensor

from engine.native.kv_cache import BlockPool, CacheFull, Log
from engine.native.model.encoder import Encoder, EncoderInput
from tests._support.published_ear import ENCODER, PublishedEar, difference, tiny_encoder

pytestmark = pytest.mark.torch


def mel_of(columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ENCODER.mels, columns, generator=generator)


def poisoned(encoder: Encoder, blocks: int = 32) -> BlockPool:
    pool = encoder.pool(blocks=blocks, block_tokens=4)
    for cache in (*pool.keys, *pool.values):
        cache.fill_(torch.nan)
    return pool


def whole(encoder: Encoder, mel: Tensor, pool: BlockPool, hidden: int = 1) -> Tensor:
    log = pool.open()
    [frames] = encoder.forward([encoder.window(mel, log, right_edge=True, hidden=hidden)], pool)
    log.close()
    return frames


def last_hidden(frames: int, hidden: int) -> Tensor:
    mask = torch.zeros(frames, frames)
    if hidden:
        mask[:, -hidden:] = -1e10
    return mask


def cut(encoder: Encoder, mel: Tensor, log: Log, frames: int) -> EncoderInput:
    """The next window of so many frames; all that is left if 0."""
    start = log.length
    left = max(0, 2 * start - 2)
    if not frames:
        return encoder.window(mel[:, left:], log, right_edge=True, hidden=1)
    return encoder.window(mel[:, left : 2 * (start + frames) + 1], log)


def test_destinations_are_the_checkpoints_tensors() -> None:
    encoder = tiny_encoder()
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.destinations().items()}
    assert shapes == ENCODER.tensors()
    assert "blocks.0.attn.key.bias" not in shapes
    for layer in encoder.layers:
        assert torch.all(layer.qkv_bias.chunk(3)[1] == 0)


@pytest.mark.parametrize("columns", range(9, 25))
@pytest.mark.parametrize("hidden", [0, 1])
def test_a_whole_clip_is_the_published_pass(columns: int, hidden: int) -> None:
    encoder = tiny_encoder()
    theirs = PublishedEar(encoder)
    mel = mel_of(columns)
    ours = whole(encoder, mel, poisoned(encoder), hidden)
    expected = theirs.frames(mel, last_hidden(-(-columns // 2), hidden))
    assert difference(ours, expected) < 1e-5
    assert difference(encoder.pooled(ours), theirs.pooled(expected)) < 1e-5


def test_in_bfloat16() -> None:
    encoder = tiny_encoder(torch.bfloat16)
    mel = mel_of(101).bfloat16()
    expected = PublishedEar(encoder).frames(mel.float(), last_hidden(51, 1))
    assert difference(whole(encoder, mel, poisoned(encoder)), expected) < 0.03


def test_windows_see_their_past_and_themselves() -> None:
    """Without look-ahead a pass by windows is a pass under a block-causal mask."""
    encoder = tiny_encoder()
    pool, mel, ends = poisoned(encoder), mel_of(83), [8, 12, 24, 42]
    log, parts = pool.open(), []
    for end in ends[:-1]:
        parts += encoder.forward([cut(encoder, mel, log, end - log.length)], pool)
    parts += encoder.forward([cut(encoder, mel, log, 0)], pool)
    mask = torch.full((42, 42), -1e10)
    for begin, end in zip([0, *ends], ends, strict=False):
        mask[begin:end, :end] = 0
    mask[24:, 41] = -1e10
    assert difference(torch.cat(parts), PublishedEar(encoder).frames(mel, mask)) < 1e-5


def test_a_truncated_window_leaves_no_trace() -> None:
    encoder = tiny_encoder()
    mel = mel_of(60)
    results = []
    for detour in (False, True):
        pool = poisoned(encoder)
        log = pool.open()
        encoder.forward([cut(encoder, mel, log, 8)], pool)
        if detour:
            encoder.forward([cut(encoder, mel_of(60, seed=9), log, 13)], pool)
            log.truncate(8)
        results += encoder.forward([cut(encoder, mel, log, 0)], pool)
    assert torch.equal(*results)


def test_a_ragged_batch_is_its_members_alone() -> None:
    """Windows of different lengths, pasts and edges, two of them alike."""
    encoder = tiny_encoder()

    def prepare(seed: int, past: int, pool: BlockPool) -> Log:
        log = pool.open()
        if past:
            encoder.forward([cut(encoder, mel_of(70, seed), log, past)], pool)
        return log

    cases = [(1, 8, 12), (2, 0, 12), (3, 8, 12), (4, 0, 0), (5, 16, 0), (6, 4, 7)]
    solo = []
    for seed, past, frames in cases:
        pool = poisoned(encoder)
        log = prepare(seed, past, pool)
        solo += encoder.forward([cut(encoder, mel_of(70, seed), log, frames)], pool)
    pool = poisoned(encoder, blocks=64)
    logs = [prepare(seed, past, pool) for seed, past, _ in cases]
    windows = [
        cut(encoder, mel_of(70, seed), log, frames)
        for (seed, _, frames), log in zip(cases, logs, strict=True)
    ]
    for ours, alone in zip(encoder.forward(windows, pool), solo, strict=True):
        assert difference(ours, alone) < 1e-5


@pytest.mark.parametrize("columns", [2, 3001])
def test_a_window_without_frames_or_past_the_context_is_refused(columns: int) -> None:
    encoder = tiny_encoder()
    pool = encoder.pool(blocks=100)
    log = pool.open()
    with pytest.raises(ValueError, match="not 1 to 1500"):
        encoder.window(mel_of(columns), log, right_edge=columns > 2)
    assert log.length == 0


def test_a_full_cache_refuses_a_window_and_changes_nothing() -> None:
    encoder = tiny_encoder()
    pool = encoder.pool(blocks=2, block_tokens=4)
    log = pool.open()
    with pytest.raises(CacheFull):
        encoder.window(mel_of(19), log, right_edge=True)
    assert (log.length, pool.free_blocks) == (0, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    """The kernels, on a window with a past and on the end of a clip, in one batch."""
    encoder = tiny_encoder()
    device = Encoder(ENCODER, device="cuda")
    for name, tensor in device.destinations().items():
        tensor.copy_(encoder.destinations()[name])
    results = []
    for ear in (encoder, device):
        pool = poisoned(ear)
        first, second = pool.open(), pool.open()
        ear.forward([cut(ear, mel_of(70), first, 8)], pool)
        windows = [cut(ear, mel_of(70), first, 12), cut(ear, mel_of(70, 1), second, 0)]
        results.append(torch.cat(ear.forward(windows, pool)).cpu())
    assert difference(results[1], results[0]) < 5e-3
