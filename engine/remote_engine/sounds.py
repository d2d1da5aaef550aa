"""What brains heard of turns: it stays with the engine that made it, and edges have a number.

So a conversation goes over the wire as text and numbers. An engine that did not make a sound reads
the message's text in its place.
"""

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.remote_engine.wire import Line, Words
from engine.types import Message, Sound, Transcript


@dataclass(slots=True, weakref_slot=True, eq=False)
class RemoteSound:
    """What the brain of an engine heard, by its number there; an `engine.types.Sound`. Any other
    engine reads the message's text in its place."""

    engine: str
    number: int
    ids: Sequence[int] = ()


class KnownSounds:
    """The sounds of one edge that engines keep for it."""

    def __init__(self) -> None:
        self._unused: dict[str, list[int]] = {}  # by engine: in no conversation any more

    def named(self, engine: str, number: int | None) -> RemoteSound | None:
        """The sound of that number. It is forgotten when nobody here has it any more."""
        if number is None:
            return None
        sound = RemoteSound(engine, number)
        unused = self._unused.setdefault(engine, [])
        weakref.finalize(sound, unused.append, number).atexit = False
        return sound

    def unused(self, engine: str) -> tuple[int, ...]:
        """The numbers that ``engine`` may forget; each is told once."""
        numbers = self._unused.get(engine)
        if not numbers:
            return ()
        told = tuple(numbers)
        del numbers[: len(told)]
        return told


def lines_of(history: Sequence[Message], engine: str) -> tuple[Line, ...]:
    """Return ``history`` for ``engine``, with those sounds that it made."""
    return tuple([_line(message, engine) for message in history])


def _line(message: Message, engine: str) -> Line:
    sound = message.sound
    is_there = isinstance(sound, RemoteSound) and sound.engine == engine
    number = sound.number if is_there and isinstance(sound, RemoteSound) else None
    return Line(message.role, message.text, number, message.tools, message.calls, message.results)


_numbers = itertools.count(1)


@dataclass(slots=True)
class KeptSounds:
    """The sounds that an engine keeps for one edge, by number."""

    _sounds: dict[int, Sound] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sounds)

    def words(self, request: int, heard: Transcript) -> Words:
        """Return a transcript as a frame, and keep its sound."""
        number = None
        if heard.sound is not None:
            number = next(_numbers)
            self._sounds[number] = heard.sound
        return Words(
            request,
            heard.text,
            heard.stable,
            heard.samples,
            number,
            heard.is_unclear,
            heard.language,
        )

    def history(self, lines: Sequence[Line]) -> list[Message]:
        """Return the conversation that an edge sent."""
        return [
            Message(
                line.role,
                line.text,
                None if line.sound is None else self._sounds.get(line.sound),
                line.tools,
                line.calls,
                line.results,
            )
            for line in lines
        ]

    def forget(self, numbers: Sequence[int]) -> None:
        """Keep these no longer."""
        for number in numbers:
            self._sounds.pop(number, None)
