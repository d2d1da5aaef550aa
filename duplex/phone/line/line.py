"""One phone call between the provider's line and a session: sans-IO.

Events of the line become client events of the Realtime protocol, and events of the session become
audio at the line's pace. In between is what only a telephone has: keys, hold, hanging up and
transferring, a time limit. Time is monotonic seconds, passed by the caller.

How the call ends is in `duplex.phone.line.ending`, when the model is asked for a reply in
`duplex.phone.line.pending_reply`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from duplex.dialogue.misheard import FALLBACK
from duplex.dialogue.reply import RESUMES
from duplex.phone.assistants import HANG_UP, HOLD, TRANSFER, LineSettings
from duplex.phone.events import CallerAudio, Encoding, KeyPressed, PhoneEvent, Played, Stopped
from duplex.phone.line.actions import (
    Action,
    CallFunction,
    HangUp,
    Say,
    SendEvent,
    Transfer,
    function_failed,
    function_output,
    line_note,
    only_to_say,
    text_argument,
)
from duplex.phone.line.ending import Ending, Phase
from duplex.phone.line.keypad import Keypad
from duplex.phone.line.outgoing import OutgoingAudio, heard_only
from duplex.phone.line.pending_reply import PendingReply
from duplex.phone.line.sound import to_session
from duplex.protocol import client_events, server_events
from duplex.protocol.codes import Code
from duplex.protocol.items import Message
from duplex.protocol.session_config import AudioFormat
from tts.types import SpokenWord

GOODBYE_S = 12.0  # before the end of the time, for saying that it ends
_DRAIN_S = 20.0  # for the last words to be played, whatever the provider reports
_SAY = "Say exactly the following words and nothing else: "


class PhoneLine:
    """One call. Each method returns what is to be done, in order."""

    def __init__(
        self,
        encoding: Encoding,
        audio_format: AudioFormat,
        settings: LineSettings,
        *,
        frame_ms: int,
        has_marks: bool,
    ) -> None:
        self._settings = settings
        self._encoding = encoding
        self._to_session = to_session(encoding, audio_format)
        self._outgoing = OutgoingAudio(encoding, audio_format, frame_ms, has_marks=has_marks)
        self._playout = self._outgoing.playout
        self._keypad = Keypad()
        self._pending = PendingReply()
        self._ending = Ending()
        self._began_s: float | None = None  # set when the session is ready
        self._held_until_s: float | None = None  # set on hold
        self._active: str | None = None  # the response that is being made
        self._spoke = False  # whether the active response had any audio
        self._refused: str | None = None  # the response that was cancelled at its beginning
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            server_events.SessionCreated: self._session_created,
            server_events.ResponseCreated: self._response_created,
            server_events.OutputAudioDelta: self._audio_came,
            server_events.OutputAudioDone: self._audio_done,
            server_events.ResponseDone: self._response_done,
            server_events.SpeechStarted: self._speech_started,
            server_events.SpeechStopped: self._speech_stopped,
            server_events.TranscriptionCompleted: self._transcribed,
            server_events.TranscriptionFailed: self._not_transcribed,
            server_events.ItemDeleted: self._item_deleted,
            server_events.FunctionArgumentsDone: self._function_called,
            server_events.Error: self._error_came,
        }
        self._line_functions = {
            HANG_UP: self._hang_up,
            TRANSFER: self._transfer,
            HOLD: self._hold,
        }

    # Events of the line.

    def handle_phone_event(self, event: PhoneEvent, now_s: float) -> list[Action]:
        """Obey an event of the line."""
        match event:
            case CallerAudio(audio):
                return self._caller_audio(audio)
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

    def _caller_audio(self, audio: bytes) -> list[Action]:
        if self._held_until_s is not None or self._ending.is_over:
            return []
        samples = len(audio) // self._encoding.bytes_per_sample
        self._pending.heard_ms += samples * 1000 / self._encoding.rate_hz
        converted = self._to_session.convert(audio)
        return [SendEvent(client_events.AudioAppend(audio=converted))] if converted else []

    def _keys_pressed(self, keys: str, now_s: float) -> list[Action]:
        """Keys are words: they interrupt, and want a reply."""
        if self._ending.phase is not Phase.TALKING:
            return []
        self._pending.forget_results()
        actions = self._stop_reply(now_s)
        pressed = line_note(f"The caller pressed these keys of the telephone: {' '.join(keys)}")
        return [*actions, pressed, *self._ask()]

    # Events of the session.

    def handle_server_event(self, event: server_events.ServerEvent, now_s: float) -> list[Action]:
        """Obey an event of the session; most kinds mean nothing to a telephone."""
        handler = self._handlers.get(type(event))
        return [] if handler is None else handler(event, now_s)

    def _session_created(self, event: server_events.SessionCreated, now_s: float) -> list[Action]:
        self._began_s = now_s
        return self._say(self._settings.greeting)

    def _response_created(self, event: server_events.ResponseCreated, now_s: float) -> list[Action]:
        response, ending = event.response, self._ending
        is_deaf = self._held_until_s is not None or ending.is_over or self._says_last_words
        metadata = response.metadata or {}
        is_rest = RESUMES in metadata or FALLBACK in metadata  # it replies to nothing new
        is_missing = self._pending.is_ignored and ending.phase is Phase.TALKING and not is_rest
        if is_deaf or is_missing:
            self._refused = response.id
            return [SendEvent(client_events.ResponseCancel(response_id=response.id))]
        self._active, self._spoke = response.id, False
        if not is_rest:
            self._pending.begun()
        self._outgoing.interruption_meant_something()
        return []

    def _audio_came(self, event: server_events.OutputAudioDelta, now_s: float) -> list[Action]:
        if event.response_id != self._active:
            return []
        self._spoke = True
        self._outgoing.play(event.item_id, event.delta)
        return self.tick(now_s)

    def _audio_done(self, event: server_events.OutputAudioDone, now_s: float) -> list[Action]:
        self._outgoing.item_done(event.item_id)
        return self.tick(now_s)

    def _response_done(self, event: server_events.ResponseDone, now_s: float) -> list[Action]:
        response = event.response
        if response.id == self._refused:  # what was made of it is not kept as said
            forgotten = [
                heard_only(item.id, 0) for item in response.output if isinstance(item, Message)
            ]
            return [*forgotten, *self._ask_if_wanted()]
        if response.id != self._active:
            return []
        self._active = None
        self._outgoing.reply_done()
        is_mute = response.status == "failed" and not (
            self._spoke or self._pending.is_caller_speaking
        )
        actions: list[Action] = []
        if self._ending.phase is not Phase.TALKING:
            actions += self._last_reply_done()
        elif self._pending.is_wanted:
            actions += self._ask_if_wanted()
        elif is_mute and self._settings.can_say:
            actions += self._say(self._settings.trouble)  # silence would be taken for a dead line
        return actions + self.tick(now_s)

    def _speech_started(self, event: server_events.SpeechStarted, now_s: float) -> list[Action]:
        """The caller speaks: play nothing more, also of what is made already."""
        self._pending.turn_began(event)
        if self._ending.is_out_of_time or self._says_last_words:
            return []
        return self._outgoing.clear(now_s, hold=True)

    def _speech_stopped(self, event: server_events.SpeechStopped, now_s: float) -> list[Action]:
        self._pending.turn_ended(event)
        return []

    def _transcribed(
        self, event: server_events.TranscriptionCompleted, now_s: float
    ) -> list[Action]:
        return self._turn_over(event.item_id, event.transcript, now_s)

    def _not_transcribed(
        self, event: server_events.TranscriptionFailed, now_s: float
    ) -> list[Action]:
        return self._turn_over(event.item_id, "", now_s)

    def _item_deleted(self, event: server_events.ItemDeleted, now_s: float) -> list[Action]:
        """A turn goes on: its words are known with those of another item."""
        self._pending.turn_known(event.item_id)
        return []

    def _turn_over(self, item_id: str, words: str, now_s: float) -> list[Action]:
        """What the caller said is known; the session answers words by itself."""
        self._pending.turn_known(item_id)
        if words:
            self._outgoing.interruption_meant_something()
        if words or self._pending.is_caller_speaking:
            return []
        rest = self._outgoing.interruption_meant_nothing()
        return [*rest, *self._ask_if_wanted(), *self.tick(now_s)]

    def _error_came(self, event: server_events.Error, now_s: float) -> list[Action]:
        if event.error.code == Code.RESPONSE_ACTIVE:
            self._pending.refused()  # asked again when that response is done
        return []

    # Functions that the model calls.

    def _function_called(
        self, call: server_events.FunctionArgumentsDone, now_s: float
    ) -> list[Action]:
        if self._ending.phase is not Phase.TALKING or call.response_id != self._active:
            return []
        if call.name in self._settings.tools:
            return self._line_functions[call.name](call, now_s)
        known = self._pending.function_called(call.call_id, call.name, call.arguments)
        if known is not None:
            return [function_output(call.call_id, known), *self._ask()]
        return [CallFunction(call.name, call.arguments, call.call_id)]

    def _hang_up(self, call: server_events.FunctionArgumentsDone, now_s: float) -> list[Action]:
        self._ending.begin(HangUp(), now_s + _DRAIN_S)
        return []

    def _transfer(self, call: server_events.FunctionArgumentsDone, now_s: float) -> list[Action]:
        number = self._settings.numbers.get(text_argument(call.arguments, "to"))
        if number is None:
            known = ", ".join(self._settings.numbers)
            failed = function_failed(call.call_id, f"'to' must be one of: {known}")
            return [failed, *self._ask()]
        self._ending.begin(Transfer(number), now_s + _DRAIN_S, call.call_id)
        return []

    def _hold(self, call: server_events.FunctionArgumentsDone, now_s: float) -> list[Action]:
        self._held_until_s = now_s + self._settings.hold_s
        return [function_output(call.call_id, json.dumps({"status": "waiting for the caller"}))]

    def function_returned(self, call_id: str, result: str) -> list[Action]:
        """A function has returned ``result``, as JSON: the model goes on."""
        self._pending.function_returned(call_id, result)
        return [function_output(call_id, result), *self._ask()]

    def transfer_failed(self, now_s: float) -> list[Action]:
        """The line could not be connected: the model has to say so."""
        if not self._ending.is_transfer:
            return []
        call_id = self._ending.go_on()
        return [function_failed(call_id, "The connection could not be made."), *self._ask()]

    # Time.

    @property
    def due_s(self) -> float | None:
        """When `tick` is to be called at the latest; None if nothing is expected."""
        ending = self._ending
        if ending.is_over:
            return None
        times = (
            self._playout.due_s,
            self._keypad.due_s,
            self._held_until_s,
            self._goodbye_s,
            self._playout.settles_s if ending.phase is Phase.PLAYING_OUT else None,
            ending.by_s,
        )
        return min((t for t in times if t is not None), default=None)

    @property
    def _goodbye_s(self) -> float | None:
        """When the goodbye begins because the time is up; None if it has begun."""
        if self._began_s is None or self._ending.is_out_of_time:
            return None
        goodbye_s = GOODBYE_S if self._settings.out_of_time else 0.0
        return self._began_s + max(0.0, self._settings.limit_s - goodbye_s)

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        if self._ending.is_over:
            return []
        actions: list[Action] = []
        if self._goodbye_s is not None and now_s >= self._goodbye_s:
            actions += self._time_up(now_s)
        if (pressed := self._keypad.tick(now_s)) is not None:
            actions += self._keys_pressed(pressed, now_s)
        if self._held_until_s is not None and now_s >= self._held_until_s:
            actions += self._end_hold("The caller has not come back yet. Ask whether they are.")
            actions += self._ask()
        actions += self._playout.tick(now_s)
        return actions + self._end_if_played(now_s)

    def _end_hold(self, why: str) -> list[Action]:
        if self._held_until_s is None:
            return []
        self._held_until_s = None
        return [line_note(why)]

    # The greeting, the goodbye and the end.

    def announce(
        self, audio: bytes, words: Sequence[SpokenWord], now_s: float, *, is_last: bool
    ) -> list[Action]:
        """Play the next part of what `Say` asked for: in the line's encoding, with words that end
        at samples of it."""
        actions = self._outgoing.announce(audio, words, is_last=is_last)
        if is_last and self._ending.is_under_way:
            self._ending.words_made()
        return actions + self.tick(now_s)

    def _say(self, text: str) -> list[Action]:
        if not text:
            return []
        if not self._settings.can_say:
            params = client_events.ResponseParams(instructions=_SAY + text)
            return [SendEvent(client_events.ResponseCreate(response=params))]
        self._outgoing.begin_announcement()
        return [Say(text)]

    def _time_up(self, now_s: float) -> list[Action]:
        """Say goodbye over whatever is going on, and end."""
        self._held_until_s = None
        actions = self._stop_reply(now_s)
        self._outgoing.drop_announcement()
        self._ending.time_up(now_s + GOODBYE_S)
        if not self._settings.out_of_time:
            self._ending.words_made()
        return [*actions, *self._say(self._settings.out_of_time)]

    @property
    def _says_last_words(self) -> bool:
        """Whether nothing is said any more but the words after which the call ends."""
        phase = self._ending.phase
        is_announced = phase is Phase.GOODBYE and self._settings.can_say
        return is_announced or phase in (Phase.PLAYING_OUT, Phase.OVER)

    def _last_reply_done(self) -> list[Action]:
        """The reply after which the call ends is made; one without a word gets a goodbye."""
        ending = self._ending
        if self._says_last_words:  # `announce` moves it on
            return []
        is_wordless = isinstance(ending.action, HangUp) and not self._spoke
        if is_wordless and self._settings.goodbye and ending.phase is Phase.LAST_REPLY:
            ending.say_goodbye()
            return self._say(self._settings.goodbye)
        ending.words_made()
        return []

    def _end_if_played(self, now_s: float) -> list[Action]:
        ending = self._ending
        if ending.by_s is None:
            return []
        is_played = ending.phase is Phase.PLAYING_OUT and not self._playout.is_playing(now_s)
        return self._end(ending.action) if is_played or now_s >= ending.by_s else []

    def _end(self, action: HangUp | Transfer) -> list[Action]:
        self._ending.end()
        return [action]

    # What is played, and what the model is asked for.

    def _stop_reply(self, now_s: float) -> list[Action]:
        cancel: list[Action] = []
        if self._active is not None:
            cancel.append(SendEvent(client_events.ResponseCancel(response_id=self._active)))
            self._active = None
        return [*cancel, *self._outgoing.clear(now_s)]

    def _ask(self) -> list[Action]:
        """Have the model reply, as soon as it can."""
        self._pending.want()
        return self._ask_if_wanted()

    def _ask_if_wanted(self) -> list[Action]:
        is_away = self._held_until_s is not None or self._ending.phase is not Phase.TALKING
        if self._active is not None or is_away or not self._pending.ask():
            return []
        params = only_to_say(self._pending.result_to_say)
        return [SendEvent(client_events.ResponseCreate(response=params))]
