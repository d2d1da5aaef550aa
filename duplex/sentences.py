"""Sentences of the configuration that are said in the brain's place."""

from typing import Annotated

from msgspec import Meta

Sentence = Annotated[str, Meta(max_length=400)]
Sentences = Sentence | Annotated[tuple[Sentence, ...], Meta(max_length=4)]
"""One, or several that are said one after the other; empty: none."""

NOT_UNDERSTOOD: tuple[str, ...] = (
    "Sorry, I did not catch that.",
    "I still did not catch that. Please say it again, slowly.",
)


def several(given: Sentences) -> tuple[str, ...]:
    """One sentence or several as several; blank ones are none."""
    all_ = (given,) if isinstance(given, str) else given
    return tuple(sentence for sentence in all_ if sentence.strip())
