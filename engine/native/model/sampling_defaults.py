"""How a checkpoint wants to be decoded, where the configuration does not say."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

from engine.native.model.config import MINI_7B, R1_32B, read_config


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """The values of `engine.types.GenerationOptions`."""

    temperature: float = 0.7
    top_p: float = 1.0
    repetition_penalty: float = 1.0


# What the published examples of these checkpoints use, by the width of the model.
_PUBLISHED = {
    R1_32B.decoder.hidden: SamplingDefaults(0.7, 1.0, 1.0),
    MINI_7B.decoder.hidden: SamplingDefaults(0.7, 0.9, 1.05),
}


def sampling_defaults(directory: Path) -> SamplingDefaults:
    """What ``generation_config.json`` says, else what is published for a checkpoint of its shape.

    Raises:
        ValueError: a file is malformed.
        OSError: a file cannot be read.
    """
    defaults = SamplingDefaults()
    if not list(directory.glob("*.gguf")):
        config = read_config(directory)
        if config.encoder is not None:
            defaults = _PUBLISHED.get(config.decoder.hidden, defaults)
    path = directory / "generation_config.json"
    if not path.is_file():
        return defaults
    given = json.loads(path.read_text("utf-8"))
    found = {}
    for name in (field.name for field in fields(SamplingDefaults)):
        if (value := given.get(name)) is not None:
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ValueError(f"{path}: {name} is {value!r}, not a number")
            found[name] = float(value)
    if given.get("do_sample") is False:
        found["temperature"] = 0.0
    return replace(defaults, **found)
