"""What a set is: its data, its rule, and what others have measured on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A figure that others published, 0 to 100 as they write it."""

    who: str
    figure: str
    source: str


@dataclass(frozen=True, slots=True)
class About:
    """A set, as the report names it. ``licence`` and ``origin`` are of its data."""

    name: str
    title: str
    origin: str
    licence: str
    rule: str  # how it is scored, in words
    published: tuple[Published, ...] = ()
