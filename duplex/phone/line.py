"""One phone call between the provider's line and a session: sans-IO.

What the line tells becomes client events of the Realtime protocol, what the session tells becomes
audio at the line's pace; in between stand the things that only a telephone has: keys, hold,
hanging up and transferring, a time limit. Time is monotonic seconds, passed by the caller.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from duplex.phone.actions import Action, Call, Clear, HangUp, Say, Tell, Transfer
from duplex.phone.announcement import Announcement
from duplex.phone.assistants import HANG_UP, HOLD, TRANSFER, Manners
from duplex.phone.events import Encoding, Heard, KeyPressed, PhoneEvent, Played, Stopped
from duplex.phone.keys import Keypad
from duplex.phone.playout import Playout
from duplex.phone.sound import to_line, to_session
from duplex.protocol import client_events as wire
from duplex.protocol import server_events as told
from duplex.protocol.codes import Code
from duplex.protocol.items import (
    FunctionCallOutputParam,
    InputText,
    ItemParam,
    MessageParam,
)
from duplex.protocol.session_config import AudioFormat
from tts.types import SpokenWord

GOODBYE_S = 12.0  # before the end of the time: for saying so
_DRAIN_S = 20.0  # for the last words to be played, whatever the line tells
_SAY = "Say exactly the following words and nothing else: "


@dataclass(slots=True)
class _Ending:
    """What happens to the call when the last words are played."""

    action: HangUp | Transfer
    by_s: float  # at the latest
    function_call: str = ""  # the model's, for a transfer that fails
    says_goodbye: bool = False  # set when the model has no words of its own
    may_play: bool = False  # set when no more words will come


class Line:
    """One call. Each method returns what is to be done, in order."""

    def __init__(
        self,
        encoding: Encoding,
        audio_format: AudioFormat,
        manners: Manners,
        *,
        frame_ms: int,
        has_marks: bool,
    ) -> None:
        self._manners = manners
        self._encoding = encoding
        self._to_session = to_session(encoding, audio_format)
        self._to_line = to_line(encoding, audio_format)
        self._playout = Playout(encoding, frame_ms, has_marks=has_marks)
        self._keypad = Keypad()
        self._announcement = Announcement(encoding)
        self._began_s: float | None = None  # set when the session is ready
        self._active: str | None = None  # the response that is being made
        self._spoke = False  # whether the active response had any audio
        self._is_asking = False  # whether the model owes an answer that is not begun
        self._held_until_s: float | None = None  # set on hold
        self._ending: _Ending | None = None  # set when the call is to end
        self._is_out_of_time = False
        self._is_over = False

    # What the line tells.

    def receive(self, event: PhoneEvent, now_s: float) -> list[Action]:
        """Obey the line."""
        match event:
            case Heard(audio):
                if self._held_until_s is not None:
                    return []
                heard = self._to_session.convert(audio)
                return [Tell(wire.AudioAppend(audio=heard))] if heard else []
            case KeyPressed(key):
                if self._held_until_s is not None:
                    return self._end_hold("The caller pressed a key and is back.")
                pressed = self._keypad.press(key, now_s)
                return self._keys_pressed(pressed, now_s) if pressed else []
            case Played(mark):
                self._playout.played(mark, now_s)
                return self.tick(now_s)
            case Stopped():
                return self._end(HangUp())
        return []

    # What the session tells.

    def hear(self, event: told.ServerEvent, now_s: float) -> list[Action]:
        """Obey the session."""
        match event:
            case told.SessionCreated():
                self._began_s = now_s
                return self._say(self._manners.greeting)
            case told.ResponseCreated():
                self._active, self._spoke, self._is_asking = event.response.id, False, False
                if self._announcement.is_held:  # the caller's sound did mean something
                    self._announcement.drop()
            case told.OutputAudioDelta():
                return self._play(event, now_s)
            case told.OutputAudioDone():
                self._playout.put(event.item_id, self._to_line.flush())
                self._playout.finish()
                return self.tick(now_s)
            case told.ResponseDone():
                return self._response_done(event, now_s)
            case told.SpeechStarted():
                return self._interrupt(now_s)
            case told.SpeechStopped():
                self._announcement.caller_stopped(now_s)
            case told.FunctionArgumentsDone():
                return self._called(event, now_s)
            case told.Error(error):
                if error.code == Code.RESPONSE_ACTIVE:
                    self._is_asking = True  # asked again when that one is done
        return []

    # What time tells.

    @property
    def due_s(self) -> float | None:
        """When `tick` is to be called at the latest; None if nothing is expected."""
        ending = self._ending
        times = (
            self._playout.due_s,
            self._keypad.due_s,
            self._held_until_s,
            self._announcement.due_s,
            self._goodbye_s,
            self._playout.settles_s if ending and ending.may_play else None,
            ending.by_s if ending else None,
        )
        return None if self._is_over else min((t for t in times if t is not None), default=None)

    @property
    def _goodbye_s(self) -> float | None:
        """When the caller is told that the time is up."""
        if self._began_s is None or self._is_out_of_time:
            return None
        return self._began_s + max(0.0, self._manners.limit_s - GOODBYE_S)

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        if self._is_over:
            return []
        actions: list[Action] = []
        if self._goodbye_s is not None and now_s >= self._goodbye_s:
            actions += self._out_of_time(now_s)
        if (pressed := self._keypad.tick(now_s)) is not None:
            actions += self._keys_pressed(pressed, now_s)
        if self._held_until_s is not None and now_s >= self._held_until_s:
            actions += self._end_hold("The caller has not come back yet. Ask whether they are.")
        rest, events = self._announcement.tick(now_s)
        if rest:
            self._playout.put(self._announcement.item_id, rest)
            self._playout.finish()
            actions += map(Tell, events)
        actions += self._playout.tick(now_s)
        return actions + self._end_if_played(now_s)

    # The greeting and the goodbye.

    def announce(
        self, audio: bytes, words: Sequence[SpokenWord], now_s: float, *, is_last: bool
    ) -> list[Action]:
        """Play the next of what was asked for with `Say`: in the line's encoding, with words that
        end at samples of it."""
        part = self._announcement.push(audio, words)
        if part:
            self._playout.put(self._announcement.item_id, part)
        actions: list[Action] = []
        if is_last:
            self._playout.finish()
            actions += map(Tell, self._announcement.finish())
            if self._ending is not None:
                self._ending.may_play = True
        return actions + self.tick(now_s)

    def called(self, call_id: str, result: str) -> list[Action]:
        """A function has given ``result``, as JSON: the model goes on."""
        item = FunctionCallOutputParam(call_id=call_id, output=result)
        return [_create(item), *self._ask()]

    def not_transferred(self, now_s: float) -> list[Action]:
        """The line could not be connected: the model has to say so."""
        ending, self._ending = self._ending, None
        self._is_over = False
        if ending is None or not ending.function_call:
            return []
        result = {"status": "failed", "reason": "The connection could not be made."}
        return [_output(ending.function_call, result), *self._ask()]

    # Inside.

    def _play(self, event: told.OutputAudioDelta, now_s: float) -> list[Action]:
        is_deaf = self._held_until_s is not None or (self._ending and self._ending.may_play)
        if event.response_id != self._active or is_deaf:
            return []
        self._spoke = True
        self._playout.put(event.item_id, self._to_line.convert(event.delta))
        return self.tick(now_s)

    def _response_done(self, event: told.ResponseDone, now_s: float) -> list[Action]:
        if event.response.id != self._active:
            return []
        self._active = None
        self._to_line.flush()
        self._playout.finish()
        actions: list[Action] = []
        if self._ending is not None:
            actions += self._last_words(self._ending)
        elif self._is_asking:
            actions += self._ask()
        elif event.response.status == "failed" and not self._spoke and self._manners.can_say:
            actions += self._say(self._manners.trouble)  # silence would be taken for a dead line
        return actions + self.tick(now_s)

    def _last_words(self, ending: _Ending) -> list[Action]:
        """The answer is made after which the call ends; one without a word gets one."""
        is_announcing = self._manners.can_say and ending.says_goodbye
        if is_announcing:  # see `announce`
            return []
        wants_goodbye = isinstance(ending.action, HangUp) and not self._spoke
        if wants_goodbye and self._manners.goodbye and not ending.says_goodbye:
            ending.says_goodbye = True
            return self._say(self._manners.goodbye)
        ending.may_play = True
        return []

    def _interrupt(self, now_s: float) -> list[Action]:
        """The caller speaks: nothing more is to be heard of us, also of what is made already."""
        if self._is_out_of_time or (self._ending is not None and self._ending.may_play):
            return []  # last words
        self._announcement.caller_started()
        return self._clear(now_s, hold=True)

    def _clear(self, now_s: float, *, hold: bool = False) -> list[Action]:
        if not self._playout.is_playing(now_s):
            return []
        actions: list[Action] = [Clear()]
        for cut in self._playout.clear(now_s):
            if cut.item_id == self._announcement.item_id:
                actions += map(Tell, self._announcement.cut(cut.heard_samples, hold=hold))
                continue
            heard_ms = cut.heard_samples * 1000 // self._encoding.rate_hz
            actions.append(
                Tell(wire.ItemTruncate(item_id=cut.item_id, content_index=0, audio_end_ms=heard_ms))
            )
        self._to_line.flush()
        return actions

    def _keys_pressed(self, keys: str, now_s: float) -> list[Action]:
        """Keys are words: they interrupt, and want an answer."""
        if self._ending is not None:
            return []
        actions = self._stop_answer(now_s)
        spelt = " ".join(keys)
        text = f"[The caller pressed these keys of the telephone: {spelt}]"
        item = MessageParam(role="user", content=(InputText(text=text),))
        return [*actions, _create(item), *self._ask()]

    def _stop_answer(self, now_s: float) -> list[Action]:
        cancel: list[Action] = []
        if self._active is not None:
            cancel.append(Tell(wire.ResponseCancel(response_id=self._active)))
            self._active = None
        return [*cancel, *self._clear(now_s)]

    def _ask(self) -> list[Action]:
        """Have the model answer; if it is answering, when it has."""
        self._is_asking = True
        return [Tell(wire.ResponseCreate())] if self._active is None else []

    def _called(self, call: told.FunctionArgumentsDone, now_s: float) -> list[Action]:
        """The model wants something of the line."""
        by_s = now_s + _DRAIN_S
        match call.name:
            case _ if self._ending is not None or call.response_id != self._active:
                return []
            case n if n == HANG_UP:
                self._ending = _Ending(HangUp(), by_s)
            case n if n == TRANSFER:
                number = self._manners.numbers.get(_argument(call.arguments, "to"))
                if number is None:
                    known = ", ".join(self._manners.numbers)
                    result = {"status": "failed", "reason": f"'to' must be one of: {known}"}
                    return [_output(call.call_id, result), *self._ask()]
                self._ending = _Ending(Transfer(number), by_s, call.call_id)
            case n if n == HOLD:
                self._held_until_s = now_s + self._manners.hold_s
                return [_output(call.call_id, {"status": "waiting for the caller"})]
            case name:
                return [Call(name, call.arguments, call.call_id)]
        return []

    def _end_hold(self, why: str) -> list[Action]:
        self._held_until_s = None
        item = MessageParam(role="user", content=(InputText(text=f"[{why}]"),))
        return [_create(item), *self._ask()]

    def _out_of_time(self, now_s: float) -> list[Action]:
        """Say goodbye over whatever is going on, and end."""
        self._is_out_of_time = True
        self._held_until_s = None
        actions = self._stop_answer(now_s)
        self._announcement.drop()
        text = self._manners.out_of_time
        self._ending = _Ending(
            HangUp(), now_s + GOODBYE_S, says_goodbye=bool(text), may_play=not text
        )
        return [*actions, *self._say(self._manners.out_of_time)]

    def _say(self, text: str) -> list[Action]:
        if not text:
            return []
        if not self._manners.can_say:
            params = wire.ResponseParams(instructions=_SAY + text)
            return [Tell(wire.ResponseCreate(response=params))]
        self._announcement.begin()
        return [Say(text)]

    def _end_if_played(self, now_s: float) -> list[Action]:
        ending = self._ending
        if ending is None:
            return []
        is_played = ending.may_play and not self._playout.is_playing(now_s)
        return self._end(ending.action) if is_played or now_s >= ending.by_s else []

    def _end(self, action: HangUp | Transfer) -> list[Action]:
        self._is_over = True
        return [action]


def _create(item: ItemParam) -> Tell:
    return Tell(wire.ItemCreate(item=item))


def _output(call_id: str, result: dict[str, str]) -> Tell:
    return _create(FunctionCallOutputParam(call_id=call_id, output=json.dumps(result)))


def _argument(arguments: str, name: str) -> str:
    """An argument that is a text; empty if there is none."""
    try:
        given: Any = json.loads(arguments)
    except ValueError:
        return ""
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, str) else ""
