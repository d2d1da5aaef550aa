"""Our token2wav against the published modules (PyPI ``stepaudio2-minicpmo``), random weights."""

import importlib.util
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests._support.token2wav_checkpoint import TINY_FLOW, TINY_HIFT, random_prompt
from tts.token2wav.checkpoint import fill, plain_hift
from tts.token2wav.config import FlowConfig
from tts.token2wav.flow import RECENT_FRAMES, STEPS, Flow, FlowChunk
from tts.token2wav.hift import Hift
from tts.token2wav.prompt import VoicePrompt
from tts.token2wav.stream import OVERLAP_FRAMES, SOURCE_SEED, Token2Wav

pytestmark = pytest.mark.torch

LONG = replace(TINY_FLOW, vocab=50)


@pytest.fixture(scope="module", autouse=True)
def published() -> None:
    """Make the package's modules importable without its ``__init__``, which loads audio and
    diffusion libraries that they do not use."""
    spec = importlib.util.find_spec("stepaudio2")
    assert spec is not None, "stepaudio2-minicpmo is not installed: see `make setup`"
    assert spec.submodule_search_locations is not None
    package = ModuleType("stepaudio2")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["stepaudio2"] = package


def randomize(module: nn.Module, seed: int) -> None:
    """Weights of a size at which every part of the network matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        fan = weight[0].numel() if weight.ndim > 1 else 16
        spread = torch.randn(weight.shape, generator=generator) / fan**0.5
        positive = name.endswith(("alpha", "original0")) or ("norm" in name and weight.ndim == 1)
        weight.data = spread.abs() + 0.5 if positive else spread
        if name.endswith("original0"):
            weight.data *= 0.35  # the vocoder's output is exponential in its activations


def their_flow(config: FlowConfig) -> Any:
    from stepaudio2.cosyvoice2.flow.decoder_dit import DiT
    from stepaudio2.cosyvoice2.flow.flow import CausalMaskedDiffWithXvec
    from stepaudio2.cosyvoice2.flow.flow_matching import CausalConditionalCFM
    from stepaudio2.cosyvoice2.transformer.upsample_encoder_v2 import UpsampleConformerEncoderV2

    enc, dit = config.encoder, config.dit
    encoder = UpsampleConformerEncoderV2(
        enc.input_size,
        enc.size,
        pre_lookahead_len=enc.lookahead,
        num_blocks=enc.blocks,
        num_up_blocks=enc.up_blocks,
        attention_heads=enc.heads,
        linear_units=enc.feed_forward,
    )
    with torch.device("meta"):  # its buffers are of the published size: gigabytes
        estimator = DiT(
            dit.inputs, dit.mels, dit.mlp_ratio, dit.depth, dit.heads, dit.head_dim, dit.hidden
        )
        solver = CausalConditionalCFM(estimator, config.guidance)
    rows, frames = 2, 400
    conv = (dit.depth, rows, 2 * dit.hidden, 2)
    att = (dit.depth, rows, dit.heads, frames, 2 * dit.head_dim)
    for part in (estimator, solver):
        for name in dict(part.named_buffers(recurse=False)):
            part.register_buffer(name, None, persistent=False)
    solver.to_empty(device="cpu")
    estimator.cnn_cache_buffer, estimator.att_cache_buffer = torch.zeros(conv), torch.zeros(att)
    solver.cnn_cache_buffer = torch.zeros(STEPS, *conv)
    solver.att_cache_buffer = torch.zeros(STEPS, *att)
    solver.rand_noise = torch.randn(
        1, config.mels, 1000, generator=torch.Generator().manual_seed(5)
    )
    flow = CausalMaskedDiffWithXvec(
        config.input_size, config.mels, config.speaker, "mel", config.vocab, encoder, solver
    )
    randomize(flow, 1)
    return flow.eval()


def our_flow(theirs: Any, config: FlowConfig) -> Flow:
    ours = Flow(config).requires_grad_(False).eval()
    fill(ours, theirs.state_dict(), "their weights")
    ours.noise[:, :, :1000] = theirs.decoder.rand_noise
    return ours


def hifts() -> tuple[Any, Hift]:
    from stepaudio2.flashcosyvoice.modules.hifigan import ConvRNNF0Predictor, HiFTGenerator

    predictor = ConvRNNF0Predictor(1, TINY_HIFT.mels, TINY_HIFT.f0_channels)
    theirs = HiFTGenerator(TINY_HIFT.mels, TINY_HIFT.channels, f0_predictor=predictor).eval()
    randomize(theirs, 2)
    theirs.f0_predictor.classifier.bias.data.fill_(65.0)  # Hz: some frames below 10, unvoiced
    theirs.f0_predictor.classifier.weight.data.mul_(500.0)
    ours = Hift(TINY_HIFT).requires_grad_(False).eval()
    fill(ours, plain_hift(theirs.state_dict()), "their weights")
    return theirs, ours


def tensors(prompt: VoicePrompt) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [1, T], speaker [1, S], mel [1, 2 * T, mels], as their code takes them."""
    parts = (prompt.codes, prompt.speaker, prompt.mel)
    codes, speaker, mel = (torch.from_numpy(part)[None] for part in parts)
    return codes, speaker, mel


def test_encoder_and_estimator_in_a_full_pass() -> None:
    theirs = their_flow(LONG)
    ours = our_flow(theirs, LONG)
    prompt, speaker, mel = tensors(random_prompt(LONG, codes=12))
    codes = torch.randint(0, LONG.vocab, (1, 31), generator=torch.Generator().manual_seed(3))
    length = torch.tensor([31])
    expected = theirs.inference(
        codes, length, prompt, torch.tensor([12]), mel, torch.tensor([24]), speaker, STEPS
    )
    with torch.inference_mode():
        got, _, _ = ours.run(
            ours.schedule(),
            torch.cat([prompt, codes], dim=1),
            ours.project_speaker(speaker),
            mel.transpose(1, 2),
            final=True,
        )
    assert expected.shape == (1, LONG.mels, 62)
    assert expected.std() > 0.3
    torch.testing.assert_close(got[:, :, 24:], expected, atol=1e-4, rtol=1e-4)


def test_flow_chunk_by_chunk_past_the_trim_of_its_memory() -> None:
    theirs = their_flow(LONG)
    ours = our_flow(theirs, LONG)
    prompt, speaker, mel = tensors(random_prompt(LONG, codes=20))
    frames = mel.shape[1]
    cache = theirs.setup_cache(torch.cat([prompt, prompt[:, :3]], dim=1), mel, speaker, STEPS)
    schedule = ours.schedule()
    with torch.inference_mode():
        state = ours.open(schedule, prompt, speaker, mel.transpose(1, 2))
    codes = torch.randint(0, LONG.vocab, (1, 140), generator=torch.Generator().manual_seed(4))
    trims = 0
    for start in range(0, 140, 25):
        final = start + 28 >= 140
        piece = codes[:, start : start + 28]
        expected, cache = theirs.inference_chunk(piece, speaker, cache, final, STEPS)
        att = cache["estimator_att_cache"]
        if att.shape[4] > frames + RECENT_FRAMES:
            trims += 1
            att = torch.cat([att[..., :frames, :], att[..., -RECENT_FRAMES:, :]], dim=4)
            cache["estimator_att_cache"] = att
        with torch.inference_mode():
            [(got, state)] = ours.feed(schedule, [FlowChunk(piece, state, final)])
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert trims == 4


def their_noise(count: int, seed: int) -> Tensor:
    """The normal numbers that their source draws after ``torch.manual_seed(seed)``."""
    torch.manual_seed(seed)
    torch.rand(1, TINY_HIFT.harmonics + 1)  # initial phases, which their interpolation drops
    # their order in memory, which decides how the numbers are drawn
    return torch.randn_like(torch.empty(1, TINY_HIFT.harmonics + 1, count).mT).mT


def test_vocoder() -> None:
    theirs, ours = hifts()
    mel = torch.randn(1, TINY_HIFT.mels, 23, generator=torch.Generator().manual_seed(6))
    pitch = ours.f0_predictor(mel)
    assert 3 < (pitch > 10).sum() < 20, "both voiced and unvoiced frames"
    for head in (None, torch.randn(1, 1, 3840, generator=torch.Generator().manual_seed(7))):
        noise = their_noise(23 * 480, 8)
        torch.manual_seed(8)
        expected, source = theirs(mel, torch.zeros(1, 1, 0) if head is None else head)
        with torch.inference_mode():
            got, own_source = ours(mel, noise, head)
        assert expected.shape == (1, 23 * 480)
        assert 0.05 < expected.std() < 0.5, "neither silent nor clipped"
        torch.testing.assert_close(own_source, source, atol=1e-4, rtol=0)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


class OurSource(nn.Module):
    """Our excitation in the place of theirs, with the noise that our stream draws."""

    def __init__(self, ours: Hift) -> None:
        super().__init__()
        self.ours = ours
        self.chunk = 0  # counts the calls

    def forward(self, pitch: Tensor) -> tuple[Tensor, None, None]:
        seeded = torch.Generator().manual_seed(SOURCE_SEED + self.chunk)
        self.chunk += 1
        noise = torch.randn(1, TINY_HIFT.harmonics + 1, pitch.shape[1], generator=seeded)
        source = self.ours.m_source(pitch[:, ::480, 0], noise)
        return source.transpose(1, 2), None, None


def their_stream(flow: Any, hift: Any, prompt: VoicePrompt, codes: Tensor) -> Tensor:
    """`Token2wav.stream` of Step-Audio 2, chunk by chunk, written out: the class itself loads
    libraries and devices. All samples joined."""
    prompt_codes, speaker, mel = tensors(prompt)
    frames, size = mel.shape[1], 480 * OVERLAP_FRAMES
    cache = flow.setup_cache(torch.cat([prompt_codes, prompt_codes[:, :3]], 1), mel, speaker, STEPS)
    window = torch.from_numpy(np.hamming(2 * size))
    kept_mel, kept_source = torch.zeros(1, TINY_HIFT.mels, 0), torch.zeros(1, 1, 0)
    kept_speech = torch.zeros(1, 0)
    out = []
    for start in range(0, codes.shape[1] - 3, 25):
        last = start + 28 > codes.shape[1]
        chunk, cache = flow.inference_chunk(
            codes[:, start : start + 28], speaker, cache, last, STEPS
        )
        att = cache["estimator_att_cache"]
        if att.shape[4] > frames + 100:
            att = torch.cat([att[..., :frames, :], att[..., -100:, :]], dim=4)
            cache["estimator_att_cache"] = att
        chunk = torch.cat([kept_mel, chunk], dim=2)
        speech, source = hift(chunk, kept_source)
        if kept_speech.shape[1]:
            faded = speech[:, :size] * window[:size] + kept_speech[:, -size:] * window[size:]
            speech = torch.cat([faded.float(), speech[:, size:]], dim=1)
        kept_mel, kept_source = chunk[:, :, -OVERLAP_FRAMES:], source[:, :, -size:]
        kept_speech = speech[:, -size:]
        out.append(speech if last else speech[:, :-size])
    return torch.cat(out, dim=1)


def test_samples_of_a_stream() -> None:
    flow = their_flow(LONG)
    hift, our_hift = hifts()
    model = Token2Wav(our_flow(flow, LONG), our_hift)
    hift.m_source = OurSource(our_hift)
    prompt = random_prompt(LONG, codes=20)
    codes = torch.randint(0, LONG.vocab, (1, 90), generator=torch.Generator().manual_seed(9))
    expected = their_stream(flow, hift, prompt, codes)
    got, _ = model.feed(codes[0].tolist(), model.open(prompt), final=True)
    assert got.shape == (90 * 960,)
    assert 0.05 < got.std() < 0.5
    torch.testing.assert_close(torch.from_numpy(got)[None], expected, atol=1e-3, rtol=0)
