"""Joins the pieces of the calls of one answer, which endpoints tell apart in different ways."""

import json
from dataclasses import dataclass, field

from engine.brain.interface import BrainError
from engine.brain.openai_chunks import CallDelta
from engine.types import CallArguments, CallEnded, CallPiece, CallStarted


@dataclass(slots=True)
class _Call:
    index: int | None
    id: str | None
    name: str | None
    arguments: list[str] = field(default_factory=list)
    passed_on: int | None = None  # pieces of the arguments that were returned; None: not begun

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are one JSON value, so that nothing can follow them."""
        try:
            json.loads("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True

    @property
    def is_empty(self) -> bool:
        return not any(map(str.strip, self.arguments))


class CallJoiner:
    """The calls of one answer.

    A piece belongs to the call of its id, else of its index, else to the newest. A name begins
    another call, unless it repeats that of a call whose arguments are not whole yet. Calls are
    passed on one after the other: the first as it comes, the others when those before are whole.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._open = 0  # the call that is passed on; those before it are ended

    def __len__(self) -> int:
        return len(self._calls)

    def take(self, delta: CallDelta) -> list[CallPiece]:
        """Take the next piece; return what can be passed on."""
        call = self._find(delta)
        if call is None:
            call = _Call(delta.index, delta.id, None)
            self._calls.append(call)
        call.id = call.id or delta.id
        call.name = call.name or delta.name
        if delta.arguments:
            call.arguments.append(delta.arguments)
        return self._pass_on()

    def finish(self, *, cut: bool) -> list[CallPiece]:
        """The answer is over; return the rest. ``cut``: it was stopped, and so may a call be, which
        is not ended then.

        Raises:
            BrainError: a call has no name.
        """
        pieces: list[CallPiece] = []
        for call in self._calls[self._open :]:
            if call.name is None and cut:
                break
            if call.name is None:
                raise BrainError("the brain's endpoint calls a function that it does not name")
            pieces += _rest(call)
            if cut and not call.is_whole:
                break
            pieces.append(CallEnded())
        return pieces

    def _find(self, delta: CallDelta) -> _Call | None:
        """The call that ``delta`` belongs to; None if it begins one."""
        if delta.id is not None:
            same = next((call for call in self._calls if call.id == delta.id), None)
            if same is not None:
                is_elsewhere = None not in (delta.index, same.index) and delta.index != same.index
                return None if is_elsewhere and _begins_another(same, delta) else same
        call = self._at(delta.index)
        if call is None or _begins_another(call, delta):
            return None
        # With an id of its own it is another call, unless the endpoint makes up one for each piece.
        if delta.id is not None and call.id is not None and (delta.name or not delta.arguments):
            return None
        return call

    def _at(self, index: int | None) -> _Call | None:
        if index is None:
            return self._calls[-1] if self._calls else None
        return next((call for call in reversed(self._calls) if call.index == index), None)

    def _pass_on(self) -> list[CallPiece]:
        pieces: list[CallPiece] = []
        while True:
            call = self._calls[self._open]
            if call.name is None:
                return pieces
            pieces += _rest(call)
            if self._open + 1 == len(self._calls) or not call.is_whole:
                return pieces
            pieces.append(CallEnded())
            self._open += 1


def _begins_another(call: _Call, delta: CallDelta) -> bool:
    """Whether ``delta``, which points at ``call``, is of a call after it."""
    if delta.name is None or call.name is None:
        return False
    return delta.name != call.name or (call.is_whole and not call.is_empty)


def _rest(call: _Call) -> list[CallPiece]:
    assert call.name is not None
    pieces: list[CallPiece] = [] if call.passed_on is not None else [CallStarted(call.name)]
    pieces += map(CallArguments, call.arguments[call.passed_on or 0 :])
    call.passed_on = len(call.arguments)
    return pieces
