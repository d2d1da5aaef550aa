"""How replies are decoded, by configuration."""

import pytest

from duplex.app.build import generation
from duplex.config import BrainConfig, Config, NativeConfig
from engine.native.model.ta4 import CODES_PER_GROUP, GROUP_S, GROUP_TOKENS


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
