"""The plugin's tower hears what engine.native's hears in one pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from duplex_vllm.config import StepAudioEncoderConfig
from duplex_vllm.tower import (
    BLOCK_FRAMES,
    BLOCK_SAMPLES,
    Adaptor,
    AudioEncoder,
    latent_count,
    latents_of_blocks,
    log_mel,
)

from engine.features import STEP_AUDIO_RIGHT_ZEROS, normalize
from engine.features import log_mel as engine_log_mel
from engine.native.model.adaptor import latent_count as engine_latent_count
from tests._support.published_ear import difference, speechlike
from tests._support.step_reference import StepReference
from tests._support.tiny_checkpoint import TINY, random_weights, write_tiny_checkpoint

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("samples", [1_000, 16_000, 16_555, BLOCK_SAMPLES])
def test_log_mel_is_the_engines(samples: int) -> None:
    pcm = speechlike(samples)
    expected = normalize(engine_log_mel(pcm, 128, right_zeros=STEP_AUDIO_RIGHT_ZEROS))
    mel = log_mel(torch.from_numpy(pcm), 128)
    assert mel.shape == expected.shape
    assert np.abs(mel.numpy() - expected).max() < 1e-3


def test_every_block_is_normalised_by_itself() -> None:
    loud, soft = speechlike(BLOCK_SAMPLES), 0.01 * speechlike(20_000, seed=1)
    both = log_mel(torch.from_numpy(np.concatenate([loud, soft])), 128)
    assert torch.equal(both[:, :BLOCK_FRAMES], log_mel(torch.from_numpy(loud), 128))
    assert torch.equal(both[:, BLOCK_FRAMES:], log_mel(torch.from_numpy(soft), 128))


def test_a_last_block_without_a_latent_is_left_out() -> None:
    assert latents_of_blocks(BLOCK_FRAMES, 2) == [313]
    for samples in (1, 100, 320):
        assert log_mel(torch.zeros(BLOCK_SAMPLES + samples), 128).shape[1] == BLOCK_FRAMES
        assert log_mel(torch.zeros(samples), 128).shape[1] == 0
    shortest = log_mel(torch.zeros(321), 128).shape[1]
    assert latents_of_blocks(shortest, 2) == [1]
    assert latents_of_blocks(0, 2) == []


@pytest.mark.parametrize("stride", [2, -1])
def test_latents_are_counted_as_the_engine_counts(stride: int) -> None:
    for frames in range(3, 3000):
        assert latent_count(frames, stride) == engine_latent_count(frames, stride=stride)


@pytest.mark.parametrize("stride", [2, 1])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.33, 26.2])
def test_latents_are_the_engines(tmp_path: Path, stride: int, seconds: float) -> None:
    assert TINY.adaptor is not None
    shapes = replace(TINY, adaptor=replace(TINY.adaptor, stride=stride))
    write_tiny_checkpoint(tmp_path, shapes)
    pcm = speechlike(int(16_000 * seconds))
    expected = [torch.cat(block) for block in StepReference(tmp_path).hear(pcm)]

    config = StepAudioEncoderConfig(
        n_audio_state=64, n_audio_head=4, n_audio_layer=2, llm_dim=64,
        adapter_stride=stride if stride > 1 else -1,
    )  # fmt: skip
    weights = {key: tensor.float() for key, tensor in random_weights(shapes).items()}
    encoder, adaptor = AudioEncoder(config), Adaptor(config)
    for module, prefix in ((encoder, "encoder."), (adaptor, "adapter.")):
        module.load_state_dict(
            {k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)}
        )
    mel = log_mel(torch.from_numpy(pcm), 128)
    counts = latents_of_blocks(mel.shape[1], adaptor.stride)
    assert counts == [len(block) for block in expected]
    with torch.inference_mode():
        for block, count, ours in zip(
            mel.split(BLOCK_FRAMES, dim=1), counts, expected, strict=True
        ):
            assert difference(adaptor(encoder(block))[:count], ours) < 1e-4
