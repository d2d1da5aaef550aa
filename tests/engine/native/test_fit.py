"""What fits on a GPU, against figures worked out by hand for an H100 of 79.2 GiB."""

from pathlib import Path
from typing import Literal

import pytest

from engine.native.fit import (
    GIB,
    UTTERANCE_BYTES,
    Fit,
    fit,
    shapes_of,
    table,
    voice_bytes,
)
from engine.native.model.config import MINI_7B, R1_32B, StepAudioConfig
from tests._support.tiny_checkpoint import write_config

H100 = round(79.2 * GIB)


@pytest.mark.parametrize(
    ("config", "calls", "bits", "speaks", "tokens"),
    [
        (R1_32B, 4, 16, False, 49_343),
        (R1_32B, 8, 16, False, 49_343),  # four of them speak at a time
        (R1_32B, 32, 16, False, 38_063),
        (R1_32B, 32, 8, False, 153_383),
        (MINI_7B, 32, 16, True, 933_800),
    ],
)
def test_the_cache_is_what_weights_and_ear_leave(
    config: StepAudioConfig, calls: int, bits: Literal[4, 8, 16], speaks: bool, tokens: int
) -> None:
    found = fit(config, H100, calls=calls, bits=bits, speaks=speaks)
    assert found.cache_tokens == pytest.approx(tokens, rel=0.03)
    assert found.contexts == pytest.approx(found.cache_tokens / 8192)


def test_r1_in_four_bits_fits_a_card_of_24_gib_and_in_sixteen_does_not() -> None:
    small: Fit = fit(R1_32B, 24 * GIB - GIB // 2, calls=1, bits=4, context_tokens=2048)
    assert small.weights_bytes / GIB == pytest.approx(19.7, abs=0.5)
    assert small.contexts < 1 or small.cache_tokens > 0
    assert fit(R1_32B, 40 * GIB, calls=4, bits=4).contexts > 5
    assert fit(R1_32B, 40 * GIB, calls=1).cache_tokens < 0


def test_the_table_says_what_does_not_fit() -> None:
    lines = table(R1_32B, 40)
    assert sum("does not fit" in line for line in lines) >= 5
    assert "2.9 GiB for 4" in lines[-1]  # of the model's own voice
    assert any(line.split()[:2] == ["4", "4"] and "does not" not in line for line in lines)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("step-audio-r1", R1_32B),
        ("stepfun-ai/Step-Audio-R1.1", R1_32B),
        ("hub:stepfun-ai/Step-Audio-2-mini@main", MINI_7B),
    ],
)
def test_published_checkpoints_are_known_by_name(name: str, shapes: StepAudioConfig) -> None:
    assert shapes_of(name) is shapes


def test_other_checkpoints_are_read_from_their_config(tmp_path: Path) -> None:
    write_config(tmp_path, R1_32B)
    assert shapes_of(str(tmp_path)) == shapes_of(str(tmp_path / "config.json")) == R1_32B
    with pytest.raises(ValueError, match=r"'no/such' .* known by name are step-audio-r1, "):
        shapes_of("no/such")


def test_an_utterance_of_the_own_voice_takes_what_its_flow_keeps() -> None:
    from tts.token2wav.config import FlowConfig
    from tts.token2wav.flow import RECENT_FRAMES, STEPS

    flow, prompt_codes = FlowConfig(), 125
    frames = prompt_codes * flow.encoder.up_rate + RECENT_FRAMES
    dit = flow.dit
    values = 2 * STEPS * dit.depth * 2 * dit.heads * dit.head_dim * frames
    assert values * 2 == UTTERANCE_BYTES
    # Four calls: the prompt's state, four that are spoken and four new ones.
    assert voice_bytes(4) == GIB + 9 * UTTERANCE_BYTES
    assert voice_bytes(32) == GIB + (1 + 16 + 8) * UTTERANCE_BYTES
