"""How replies are decoded, as the configuration says."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from duplex.app.build_native import native_sampling
from duplex.app.plugins import NOTHING_GIVEN, Given, is_made
from duplex.config import Config

if TYPE_CHECKING:
    from engine.types import GenerationOptions


def generation(
    config: Config, checkpoint: Path | None = None, given: Given = NOTHING_GIVEN
) -> "GenerationOptions":
    """How replies are decoded, where a client does not limit them further. ``checkpoint``: the
    directory of a native brain.

    Raises:
        ModelError: its files are malformed.
    """
    from engine.types import CallRule, GenerationOptions

    brain, native = config.brain, config.native
    temperature = 0.0 if brain.temperature == "auto" else brain.temperature
    chained = brain.multi_step_calls
    if chained == "auto":  # models as small as the embedded ones call whatever is offered then
        chained = brain.kind != "embedded" or not is_made(config, given, "brain")
    rule = CallRule(chained=chained)
    options = GenerationOptions(brain.max_tokens, temperature=temperature, calls=rule)
    if brain.kind == "native":
        sampling = native_sampling(config, checkpoint)
        options = replace(
            options,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            repetition_penalty=sampling.repetition_penalty,
        )
        if native.speaks:  # its codes are tokens too
            from engine.native.model.ta4 import GROUP_S, GROUP_TOKENS

            groups = math.ceil(native.speech_limit_s / GROUP_S)
            options = replace(options, max_tokens=groups * GROUP_TOKENS)
    if brain.thinking == "off":
        return options
    return replace(options, think_tokens=brain.thoughts(), thinking=brain.thinking)
