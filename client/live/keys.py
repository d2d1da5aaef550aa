"""Keys of the terminal, and what they mean. Without a terminal there are none."""

import asyncio
import contextlib
import enum
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

try:
    import termios
    import tty
except ImportError:  # Windows
    HAS_TERMINALS = False
else:
    HAS_TERMINALS = True

ESCAPE = "\x1b"

# A held key repeats, ten times a second on the slowest terminals; a terminal tells nothing else
# of holding and releasing.
REPEAT_S = 0.15


class Step(enum.Enum):
    """What push-to-talk makes of the keys."""

    BEGIN = enum.auto()
    END = enum.auto()


class _Phase(enum.Enum):
    QUIET = enum.auto()
    TALKING = enum.auto()
    PRESSED_AGAIN = enum.auto()  # to end, or the first repetition of a key that is held
    HELD = enum.auto()


@dataclass(slots=True)
class PushToTalk:
    """A press begins and the next one ends; or the key is held and its release ends.

    Which of the two is known ``REPEAT_S`` after the second press: only a held key comes again so
    soon. ``tick`` is called often, with the same clock.
    """

    _phase: _Phase = _Phase.QUIET
    _pressed_s: float = 0.0

    @property
    def talking(self) -> bool:
        """The microphone is open."""
        return self._phase is not _Phase.QUIET

    def press(self, at_s: float) -> Step | None:
        """The key came."""
        self._pressed_s = at_s
        if self._phase is _Phase.QUIET:
            self._phase = _Phase.TALKING
            return Step.BEGIN
        self._phase = _Phase.PRESSED_AGAIN if self._phase is _Phase.TALKING else _Phase.HELD
        return None

    def tick(self, at_s: float) -> Step | None:
        """Time has passed."""
        over = self._phase in (_Phase.PRESSED_AGAIN, _Phase.HELD)
        if over and at_s - self._pressed_s >= REPEAT_S:
            self._phase = _Phase.QUIET
            return Step.END
        return None


def has_keys() -> bool:
    """Standard input is a terminal whose keys can be read one by one."""
    return HAS_TERMINALS and sys.stdin is not None and sys.stdin.isatty()


@contextlib.contextmanager
def keys_to(pressed: Callable[[str], None]) -> Iterator[None]:
    """Call ``pressed`` in the running loop for each key until the block ends, however it ends;
    then the terminal is as it was. Does nothing where there are no keys."""
    if not has_keys():
        yield
        return
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        data = os.read(descriptor, 64)
        if not data:  # the terminal has gone
            loop.remove_reader(descriptor)
            return
        for key in split_keys(data.decode("utf-8", "replace")):
            pressed(key)

    tty.setcbreak(descriptor)  # Ctrl-C still interrupts
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def split_keys(text: str) -> list[str]:
    """The keys in what was read. Arrows and their like are sequences of ``escape [`` or
    ``escape O``, come in one piece, and are no keys here."""
    if text.startswith((f"{ESCAPE}[", f"{ESCAPE}O")):
        return []
    return list(text)
