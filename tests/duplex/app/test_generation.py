"""How replies are decoded, by configuration."""

from pathlib import Path
from typing import Literal

import pytest

from duplex.app.generation import generation
from duplex.config import BrainConfig, Config, NativeConfig
from duplex.errors import ModelError
from engine.native.model.config import MINI_7B, R1_32B, StepAudioConfig
from engine.native.model.ta4 import CODES_PER_GROUP, GROUP_S, GROUP_TOKENS
from tests._support.tiny_checkpoint import write_config


@pytest.mark.parametrize("seconds", [0.1, 8.2, 60.0, 61.7])
def test_a_model_that_speaks_itself_is_bounded_in_seconds_of_speech(seconds: float) -> None:
    native = NativeConfig(speaks=True, speech_limit_s=seconds)
    options = generation(Config(brain=BrainConfig(kind="native", max_tokens=256), native=native))
    groups, rest = divmod(options.max_tokens, GROUP_TOKENS)
    assert rest == 0
    assert seconds <= groups * GROUP_S < seconds + 2 * GROUP_S
    assert groups * CODES_PER_GROUP / 25 == pytest.approx(groups * GROUP_S)  # 25 codes a second


def test_other_models_are_bounded_in_tokens() -> None:
    options = generation(Config(brain=BrainConfig(kind="native", max_tokens=99)))
    assert options.max_tokens == 99


@pytest.mark.parametrize(
    ("kind", "option", "chained"),
    [
        ("embedded", "auto", False),
        ("embedded", True, True),
        ("native", "auto", True),
        ("openai", False, False),
    ],
)
def test_which_models_may_answer_a_result_with_a_call(
    kind: str, option: bool | Literal["auto"], chained: bool
) -> None:
    config = Config(brain=BrainConfig(kind=kind, multi_step_calls=option))
    assert generation(config).calls.chained is chained


def write(directory: Path, shapes: StepAudioConfig, generation: str | None = None) -> Path:
    write_config(directory, shapes)
    if generation is not None:
        (directory / "generation_config.json").write_text(generation)
    return directory


@pytest.mark.parametrize(
    ("shapes", "file", "expected"),
    [
        (R1_32B, None, (0.7, 1.0, 1.0)),
        (MINI_7B, None, (0.7, 0.9, 1.05)),
        (MINI_7B, '{"temperature": 0.5, "top_k": 5}', (0.5, 0.9, 1.05)),
        (
            R1_32B,
            '{"do_sample": false, "temperature": 0.6, "repetition_penalty": 1.2}',
            (0, 1, 1.2),
        ),
    ],
)
def test_a_checkpoint_is_decoded_as_it_wants(
    tmp_path: Path, shapes: StepAudioConfig, file: str | None, expected: tuple[float, float, float]
) -> None:
    config = Config(brain=BrainConfig(kind="native"))
    options = generation(config, write(tmp_path, shapes, file))
    assert (options.temperature, options.top_p, options.repetition_penalty) == expected


def test_the_configuration_goes_over_the_checkpoint(tmp_path: Path) -> None:
    config = Config(brain=BrainConfig(kind="native"), native=NativeConfig(top_p=0.5))
    options = generation(config, write(tmp_path, MINI_7B))
    assert (options.temperature, options.top_p, options.repetition_penalty) == (0.7, 0.5, 1.05)


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    config = Config(brain=BrainConfig(kind="native"))
    for text in ("{", '{"top_p": "high"}'):
        with pytest.raises(ModelError, match=r"generation_config|line 1"):
            generation(config, write(tmp_path, MINI_7B, text))
