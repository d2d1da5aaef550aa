"""The table ``[recording]`` of the configuration."""

from typing import Annotated

from msgspec import Meta

from duplex.config.section import NonNegative, Section
from duplex.sentences import Sentence


class RecordingConfig(Section, frozen=True):
    """Which calls are recorded, and for how long they are kept. Nothing is without ``dir``."""

    dir: str = ""  # the folder for recordings; empty: no call is recorded
    every_call: bool = True  # false: only those of keys with record = true
    keep_days: Annotated[float, Meta(ge=0)] = 30.0  # older ones are deleted; 0: never
    max_bytes: NonNegative = 0  # of all; past it the oldest are deleted; 0: no limit
    notice: Sentence = ""  # said at the beginning: "This call is recorded."
