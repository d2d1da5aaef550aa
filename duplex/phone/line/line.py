"""One phone call between the provider's line and a session: sans-IO.

What the line tells becomes client events of the Realtime protocol, what the session tells becomes
audio at the line's pace; in between stand the things that only a telephone has: keys, hold,
hanging up and transferring, a time limit. Time is monotonic seconds, passed by the caller.
"""

import json
from collections.abc import Sequence

from duplex.dialogue.reply import RESUMES
from duplex.phone.assistants import HANG_UP, HOLD, TRANSFER, Manners
from duplex.phone.events import Encoding, Heard, KeyPressed, PhoneEvent, Played, Stopped
from duplex.phone.line.actions import (
    Action,
    Call,
    Clear,
    Ending,
    HangUp,
    Say,
    Tell,
    Transfer,
    argument,
    note,
    output,
    told_again,
)
from duplex.phone.line.announcement import Announcement
from duplex.phone.line.keypad import Keypad
from duplex.phone.line.pending_reply import Debt
from duplex.phone.line.playout import Cut, Playout
from duplex.phone.line.sound import to_line, to_session
from duplex.protocol import client_events as wire
from duplex.protocol import server_events as told
from duplex.protocol.codes import Code
from duplex.protocol.items import Message
from duplex.protocol.response_types import Response
from duplex.protocol.session_config import AudioFormat
from tts.types import SpokenWord

GOODBYE_S = 12.0  # before the end of the time: for saying so
_DRAIN_S = 20.0  # for the last words to be played, whatever the line tells
_SAY = "Say exactly the following words and nothing else: "


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
        self._refused: str | None = None  # one that nobody is to hear
        self._spoke = False  # whether the active response had any audio
        self._debt = Debt()
        self._held_until_s: float | None = None  # set on hold
        self._ending: Ending | None = None  # set when the call is to end
        self._is_out_of_time = False
        self._is_over = False

    # What the line tells.

    def receive(self, event: PhoneEvent, now_s: float) -> list[Action]:
        """Obey the line."""
        match event:
            case Heard(audio):
                if self._held_until_s is not None or self._is_over:
                    return []
                samples = len(audio) // self._encoding.bytes_per_sample
                self._debt.passed_ms += samples * 1000 / self._encoding.rate_hz
                heard = self._to_session.convert(audio)
                return [Tell(wire.AudioAppend(audio=heard))] if heard else []
            case KeyPressed(key):
                back = self._end_hold("The caller is back.")
                pressed = self._keypad.press(key, now_s)
                return back + (self._keys_pressed(pressed, now_s) if pressed else [])
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
                return self._response_created(event.response)
            case told.OutputAudioDelta():
                return self._play(event, now_s)
            case told.OutputAudioDone():
                self._playout.put(event.item_id, self._to_line.flush())
                self._playout.finish()
                return self.tick(now_s)
            case told.ResponseDone():
                return self._response_done(event, now_s)
            case told.SpeechStarted():
                self._debt.turn_began(event)
                return self._interrupt(now_s)
            case told.SpeechStopped():
                self._debt.turn_ended(event)
            case told.TranscriptionCompleted():
                return self._turn_over(event.item_id, event.transcript, now_s)
            case told.TranscriptionFailed():
                return self._turn_over(event.item_id, "", now_s)
            case told.FunctionArgumentsDone():
                return self._called(event, now_s)
            case told.Error(error):
                if error.code == Code.RESPONSE_ACTIVE:
                    self._debt.refused()  # asked again when that one is done
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
        goodbye_s = GOODBYE_S if self._manners.out_of_time else 0.0
        return self._began_s + max(0.0, self._manners.limit_s - goodbye_s)

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
            actions += self._ask()
        actions += self._playout.tick(now_s)
        return actions + self._end_if_played(now_s)

    # The greeting and the goodbye.

    def announce(
        self, audio: bytes, words: Sequence[SpokenWord], now_s: float, *, is_last: bool
    ) -> list[Action]:
        """Play the next of what was asked for with `Say`: in the line's encoding, with words that
        end at samples of it."""
        part = self._announcement.feed(audio, words)
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
        self._debt.returned(call_id, result)
        return [output(call_id, result), *self._ask()]

    def not_transferred(self, now_s: float) -> list[Action]:
        """The line could not be connected: the model has to say so."""
        ending, self._ending = self._ending, None
        self._is_over = False
        if ending is None or not ending.function_call:
            return []
        result = {"status": "failed", "reason": "The connection could not be made."}
        return [output(ending.function_call, json.dumps(result)), *self._ask()]

    # Inside.

    def _response_created(self, response: Response) -> list[Action]:
        is_deaf = self._held_until_s is not None or self._is_over or self._says_last_words
        is_rest = RESUMES in (response.metadata or {})  # it answers nothing new
        is_missing = self._debt.is_missed and self._ending is None and not is_rest
        if is_deaf or is_missing:
            self._refused = response.id
            return [Tell(wire.ResponseCancel(response_id=response.id))]
        self._active, self._spoke = response.id, False
        if not is_rest:
            self._debt.pay()
        self._announcement.drop_held()  # the caller's sound did mean something
        return []

    def _turn_over(self, item_id: str, words: str, now_s: float) -> list[Action]:
        """What the caller said is known; to words the session makes an answer by itself."""
        self._debt.turn_known(item_id)
        if words:
            self._announcement.drop_held()
        if words or self._debt.is_caller_speaking:
            return []
        rest, events = self._announcement.resume()
        if rest:
            self._playout.put(self._announcement.item_id, rest)
            if self._announcement.is_made:
                self._playout.finish()
        return [*map(Tell, events), *self._ask_if_owed(), *self.tick(now_s)]

    def _play(self, event: told.OutputAudioDelta, now_s: float) -> list[Action]:
        if event.response_id != self._active:
            return []
        self._spoke = True
        self._playout.put(event.item_id, self._to_line.convert(event.delta))
        return self.tick(now_s)

    def _response_done(self, event: told.ResponseDone, now_s: float) -> list[Action]:
        if event.response.id == self._refused:  # what was made of it is not kept as said
            forgotten: list[Action] = [
                Tell(wire.ItemTruncate(item_id=item.id, content_index=0, audio_end_ms=0))
                for item in event.response.output
                if isinstance(item, Message)
            ]
            return forgotten + self._ask_if_owed()
        if event.response.id != self._active:
            return []
        self._active = None
        self._to_line.flush()
        self._playout.finish()
        failed = event.response.status == "failed"
        is_mute = failed and not (self._spoke or self._debt.is_caller_speaking)
        actions: list[Action] = []
        if self._ending is not None:
            actions += self._last_words(self._ending)
        elif self._debt.is_owed:
            actions += self._ask_if_owed()
        elif is_mute and self._manners.can_say:
            actions += self._say(self._manners.trouble)  # silence would be taken for a dead line
        return actions + self.tick(now_s)

    def _last_words(self, ending: Ending) -> list[Action]:
        """The answer is made after which the call ends; one without a word gets one."""
        if self._says_last_words:  # see `announce`
            return []
        wants_goodbye = isinstance(ending.action, HangUp) and not self._spoke
        if wants_goodbye and self._manners.goodbye and not ending.says_goodbye:
            ending.says_goodbye = True
            return self._say(self._manners.goodbye)
        ending.may_play = True
        return []

    def _interrupt(self, now_s: float) -> list[Action]:
        """The caller speaks: nothing more is to be heard of us, also of what is made already."""
        if self._is_out_of_time or self._says_last_words:
            return []
        return self._clear(now_s, hold=True)

    @property
    def _says_last_words(self) -> bool:
        """Whether nothing is said but the words after which the call ends."""
        ending = self._ending
        if ending is None:
            return False
        return ending.may_play or (ending.says_goodbye and self._manners.can_say)

    def _clear(self, now_s: float, *, hold: bool = False) -> list[Action]:
        announced = self._announcement.item_id
        is_playing = self._playout.is_playing(now_s)
        cuts = self._playout.clear(now_s) if is_playing else []
        if self._announcement.is_awaited and all(cut.item_id != announced for cut in cuts):
            cuts.append(Cut(announced, self._announcement.samples))  # more of it was to come
        actions: list[Action] = [Clear()] if is_playing else []
        for cut in cuts:
            if cut.item_id == announced:
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
        self._debt.forget_results()
        actions = self._stop_answer(now_s)
        pressed = note(f"The caller pressed these keys of the telephone: {' '.join(keys)}")
        return [*actions, pressed, *self._ask()]

    def _stop_answer(self, now_s: float) -> list[Action]:
        cancel: list[Action] = []
        if self._active is not None:
            cancel.append(Tell(wire.ResponseCancel(response_id=self._active)))
            self._active = None
        return [*cancel, *self._clear(now_s)]

    def _ask(self) -> list[Action]:
        """Have the model answer, as soon as it can."""
        self._debt.incur()
        return self._ask_if_owed()

    def _ask_if_owed(self) -> list[Action]:
        is_away = self._held_until_s is not None or self._ending is not None
        if self._active is not None or is_away or not self._debt.ask():
            return []
        return [Tell(wire.ResponseCreate(response=told_again(self._debt.to_tell)))]

    def _called(self, call: told.FunctionArgumentsDone, now_s: float) -> list[Action]:
        """The model wants something of the line."""
        by_s = now_s + _DRAIN_S
        if self._ending is not None or call.response_id != self._active:
            return []
        match call.name if call.name in self._manners.tools else None:
            case n if n == HANG_UP:
                self._ending = Ending(HangUp(), by_s)
            case n if n == TRANSFER:
                number = self._manners.numbers.get(argument(call.arguments, "to"))
                if number is None:
                    known = ", ".join(self._manners.numbers)
                    result = {"status": "failed", "reason": f"'to' must be one of: {known}"}
                    return [output(call.call_id, json.dumps(result)), *self._ask()]
                self._ending = Ending(Transfer(number), by_s, call.call_id)
            case n if n == HOLD:
                self._held_until_s = now_s + self._manners.hold_s
                return [output(call.call_id, json.dumps({"status": "waiting for the caller"}))]
            case _:
                before = self._debt.call(call.call_id, call.name, call.arguments)
                if before is not None:
                    return [output(call.call_id, before), *self._ask()]
                return [Call(call.name, call.arguments, call.call_id)]
        return []

    def _end_hold(self, why: str) -> list[Action]:
        if self._held_until_s is None:
            return []
        self._held_until_s = None
        return [note(why)]

    def _out_of_time(self, now_s: float) -> list[Action]:
        """Say goodbye over whatever is going on, and end."""
        self._is_out_of_time = True
        self._held_until_s = None
        actions = self._stop_answer(now_s)
        self._announcement.drop()
        text = self._manners.out_of_time
        self._ending = Ending(
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
