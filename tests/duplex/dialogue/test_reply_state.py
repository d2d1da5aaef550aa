"""The life of a reply: every legal move, that illegal ones change nothing, and who may wait."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.dialogue.reply_state import (
    SOUNDING,
    TRANSITIONS,
    AllSent,
    BargedIn,
    HeardOut,
    Phase,
    Released,
    ReplyMove,
    ReplyState,
    Resumed,
    Stopped,
)
from duplex.errors import IllegalTransition
from duplex.testing.virtual_time import virtual

MOVES: list[ReplyMove] = [
    Released(),
    AllSent(),
    BargedIn(),
    Resumed(),
    HeardOut(),
    Stopped(),
]
OVER = (Phase.PLAYED, Phase.STOPPED)


def moved(*moves: ReplyMove) -> ReplyState:
    state = ReplyState()
    for move in moves:
        state.move(move)
    return state


def test_a_reply_that_is_suspended_goes_on_and_is_heard_out() -> None:
    state = moved(Released(), AllSent(), BargedIn(), Resumed(), AllSent(), HeardOut())
    assert state.phase is Phase.PLAYED


@given(st.lists(st.sampled_from(MOVES), max_size=30))
def test_any_order_of_moves_is_legal_by_the_table_or_changes_nothing(
    moves: list[ReplyMove],
) -> None:
    state = ReplyState()
    phases = [state.phase]
    for move in moves:
        if (state.phase, type(move)) in TRANSITIONS:
            state.move(move)
        else:
            with pytest.raises(IllegalTransition):
                state.move(move)
        phases.append(state.phase)
    for (before, after), move in zip(pairwise(phases), moves, strict=True):
        assert after is TRANSITIONS.get((before, type(move)), before)


@given(st.lists(st.sampled_from(MOVES), max_size=30))
def test_each_response_that_is_opened_is_closed_before_the_next(moves: list[ReplyMove]) -> None:
    """A response is open while a reply is SPEAKING; into it lead a release, once, and resumes."""
    state, opened, closed = ReplyState(), 0, 0
    for move in moves:
        before = state.phase
        if (before, type(move)) not in TRANSITIONS:
            continue
        state.move(move)
        opened += state.phase is Phase.SPEAKING
        closed += before is Phase.SPEAKING
        assert isinstance(move, Released | Resumed) == (state.phase is Phase.SPEAKING)
        assert opened - closed == (state.phase is Phase.SPEAKING)
        if state.phase is Phase.DELIVERED:
            assert isinstance(move, AllSent)


@pytest.mark.parametrize("phase", OVER)
def test_nothing_moves_a_reply_that_is_over(phase: Phase) -> None:
    assert not [move for before, move in TRANSITIONS if before is phase]


def test_every_reply_that_is_not_over_can_be_stopped() -> None:
    stopped = {before for before, move in TRANSITIONS if move is Stopped}
    assert stopped == set(Phase) - set(OVER)


def test_only_what_the_caller_hears_is_interrupted() -> None:
    interrupted = {before for before, move in TRANSITIONS if move is BargedIn}
    assert interrupted == set(SOUNDING)


def test_replies_do_not_overlap() -> None:
    """To release a reply, the one before is moved to its end: not while it is SPEAKING."""
    state = moved(Released())
    with pytest.raises(IllegalTransition, match="HeardOut while the reply is SPEAKING"):
        state.move(HeardOut())
    assert state.phase is Phase.SPEAKING


def test_those_who_wait_for_a_phase_are_woken_by_it_and_by_no_other() -> None:
    async def call() -> None:
        state, order = ReplyState(), []

        async def wait(phase: Phase) -> None:
            await state.until(phase)
            order.append(phase)

        waiting = [asyncio.create_task(wait(p)) for p in (Phase.DELIVERED, Phase.SPEAKING)]
        await asyncio.sleep(1)
        assert order == []
        state.move(Released())
        await asyncio.sleep(1)
        assert order == [Phase.SPEAKING]
        state.move(AllSent())
        await asyncio.wait(waiting)
        assert order == [Phase.SPEAKING, Phase.DELIVERED]

    virtual(call())


def test_a_wait_for_the_end_of_a_phase_is_bounded() -> None:
    async def call() -> None:
        state = moved(Released())
        began = asyncio.get_running_loop().time()
        assert not await state.leaves(Phase.SPEAKING, within_s=2.0)
        assert asyncio.get_running_loop().time() == began + 2.0
        assert await state.leaves(Phase.HELD)

    virtual(call())
