"""What all tables of the configuration are made of."""

from typing import Annotated

import msgspec
from msgspec import Meta

from duplex.errors import ConfigError

Positive = Annotated[int, Meta(gt=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[int, Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


def port_range(option: str, value: str) -> range:
    """Return the ports that an option names.

    Raises:
        ConfigError: it is no range.
    """
    first, _, last = value.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
        raise ConfigError(f"{option}: {value!r} is not of the form 16384-16484")
    return range(int(first), int(last) + 1)
