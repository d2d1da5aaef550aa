"""The phases of a call's end: which move is legal when, and that an illegal one changes nothing."""

from collections.abc import Callable

import pytest

from duplex.errors import IllegalTransition
from duplex.phone.line.actions import HangUp, Transfer
from duplex.phone.line.ending import Ending, Phase

MOVES: dict[str, Callable[[Ending], object]] = {
    "begin": lambda ending: ending.begin(Transfer("+1"), 20.0, "call_1"),
    "say_goodbye": Ending.say_goodbye,
    "words_made": Ending.words_made,
    "time_up": lambda ending: ending.time_up(12.0),
    "end": Ending.end,
    "go_on": Ending.go_on,
}
WAYS = {
    Phase.TALKING: (),
    Phase.LAST_REPLY: ("begin",),
    Phase.GOODBYE: ("begin", "say_goodbye"),
    Phase.PLAYING_OUT: ("begin", "words_made"),
    Phase.OVER: ("begin", "end"),
}
LEGAL = {
    Phase.TALKING: {"begin", "time_up", "end"},
    Phase.LAST_REPLY: {"say_goodbye", "words_made", "time_up", "end"},
    Phase.GOODBYE: {"words_made", "time_up", "end"},
    Phase.PLAYING_OUT: {"words_made", "time_up", "end"},
    Phase.OVER: {"end", "go_on"},
}


def reach(phase: Phase) -> Ending:
    ending = Ending()
    for move in WAYS[phase]:
        MOVES[move](ending)
    assert ending.phase is phase
    return ending


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("move", MOVES)
def test_only_legal_moves_do_anything(phase: Phase, move: str) -> None:
    ending = reach(phase)
    before = dict(vars(ending))
    if move in LEGAL[phase]:
        MOVES[move](ending)
    else:
        with pytest.raises(IllegalTransition, match=move):
            MOVES[move](ending)
        assert vars(ending) == before


def test_a_transfer_that_fails_takes_the_call_back() -> None:
    ending = reach(Phase.OVER)
    assert ending.is_transfer
    assert ending.go_on() == "call_1"
    assert (ending.phase, ending.by_s, ending.is_transfer) == (Phase.TALKING, None, False)


def test_the_end_of_the_time_takes_the_place_of_a_transfer() -> None:
    ending = reach(Phase.PLAYING_OUT)
    ending.time_up(12.0)
    assert (ending.phase, ending.action, ending.by_s) == (Phase.GOODBYE, HangUp(), 12.0)
    assert ending.is_out_of_time
    assert not ending.is_transfer
