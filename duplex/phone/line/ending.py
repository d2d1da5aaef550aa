"""How a phone call ends: the phases from the wish to end it to its end, and what moves it on.

The model may end a call, by hanging up or by a transfer; so may the time limit, or the caller.
Words that are still to be said come first:

1. The call is `TALKING` until somebody wants to end it.
2. The model has called a function that ends it: its `LAST_REPLY` may still bring words.
3. There is a `GOODBYE` to say, because that reply had no words or because the time is up.
4. No more words will come: the call is `PLAYING_OUT` those that were made.
5. It is `OVER`. A transfer that fails takes it back to `TALKING`.

Whatever happens, the call ends at ``by_s``. All moves are in `_MOVES`.
"""

from enum import Enum, auto

from duplex.errors import IllegalTransition
from duplex.phone.line.actions import HangUp, Transfer


class Phase(Enum):
    """How far a call is from its end."""

    TALKING = auto()
    LAST_REPLY = auto()
    GOODBYE = auto()
    PLAYING_OUT = auto()
    OVER = auto()


_MOVES = {
    (Phase.TALKING, "begin"): Phase.LAST_REPLY,
    (Phase.LAST_REPLY, "say_goodbye"): Phase.GOODBYE,
    (Phase.LAST_REPLY, "words_made"): Phase.PLAYING_OUT,
    (Phase.GOODBYE, "words_made"): Phase.PLAYING_OUT,
    (Phase.PLAYING_OUT, "words_made"): Phase.PLAYING_OUT,
    (Phase.TALKING, "time_up"): Phase.GOODBYE,
    (Phase.LAST_REPLY, "time_up"): Phase.GOODBYE,
    (Phase.GOODBYE, "time_up"): Phase.GOODBYE,
    (Phase.PLAYING_OUT, "time_up"): Phase.GOODBYE,
    (Phase.TALKING, "end"): Phase.OVER,
    (Phase.LAST_REPLY, "end"): Phase.OVER,
    (Phase.GOODBYE, "end"): Phase.OVER,
    (Phase.PLAYING_OUT, "end"): Phase.OVER,
    (Phase.OVER, "end"): Phase.OVER,  # the caller hangs up, too
    (Phase.OVER, "go_on"): Phase.TALKING,
}


class Ending:
    """The end of one call. Pure: the caller passes the time in monotonic seconds.

    Each method raises `IllegalTransition` in a phase in which it has no place; nothing changes.
    """

    def __init__(self) -> None:
        self.phase = Phase.TALKING
        self.action: HangUp | Transfer = HangUp()  # what is done at the end
        self.by_s: float | None = None  # the latest end; set while one is under way
        self.is_out_of_time = False  # set when the time limit has ended the call
        self._function_call = ""  # the model's, of a transfer

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self.phase is Phase.OVER

    @property
    def is_under_way(self) -> bool:
        """Whether the call is to end, and has not."""
        return self.phase not in (Phase.TALKING, Phase.OVER)

    def begin(self, action: HangUp | Transfer, by_s: float, function_call: str = "") -> None:
        """The model wants to end the call with ``action``, by the call of a function."""
        self._move("begin")
        self.action, self.by_s, self._function_call = action, by_s, function_call

    def time_up(self, by_s: float) -> None:
        """The time limit ends the call, whatever was under way."""
        self._move("time_up")
        self.action, self.by_s, self._function_call = HangUp(), by_s, ""
        self.is_out_of_time = True

    def say_goodbye(self) -> None:
        """The last reply had no words: a goodbye is said instead."""
        self._move("say_goodbye")

    def words_made(self) -> None:
        """No more words will come."""
        self._move("words_made")

    def end(self) -> None:
        """The call ends now."""
        self._move("end")
        self.by_s = None

    def go_on(self) -> str:
        """The transfer that ended the call has failed. Returns the id of the model's function
        call that asked for it."""
        self._move("go_on")
        function_call, self._function_call = self._function_call, ""
        return function_call

    @property
    def is_transfer(self) -> bool:
        """Whether a transfer ends the call, or has ended it."""
        return bool(self._function_call)

    def _move(self, move: str) -> None:
        try:
            self.phase = _MOVES[self.phase, move]
        except KeyError:
            raise IllegalTransition(f"{move} when the call is {self.phase.name}") from None
