"""One call: reads and obeys what the client sends, from its first message to its last."""

import logging
import time
from collections.abc import AsyncIterable, Callable
from typing import assert_never

from duplex.audio.resample import Resampler
from duplex.config import Config
from duplex.dialogue.beginning import check_beginning
from duplex.dialogue.call import CallContext
from duplex.dialogue.dialogue import Dialogue
from duplex.dialogue.intake import AudioPace, check_cost
from duplex.dialogue.interfaces import OnlyListens
from duplex.dialogue.languages import name_of, set_language, wanted_language
from duplex.dialogue.observers import Observers
from duplex.dialogue.outbox import Outbox
from duplex.dialogue.parts import Parts
from duplex.dialogue.recordings import Recording, lasting, recordings_in
from duplex.errors import ProtocolError
from duplex.interruption.judge import InterruptionConfig
from duplex.logs import call_logger
from duplex.metrics import Clock, Metrics
from duplex.protocol import client_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.ids import NewId, random_id
from duplex.protocol.item_requests import obey
from duplex.protocol.items import MessageParam
from duplex.protocol.response_input import InputItem
from duplex.protocol.response_plan import plan_response
from duplex.protocol.server_events import (
    ItemAdded,
    ServerEvent,
    client_error,
    session_created,
    session_updated,
)
from duplex.protocol.session_config import SemanticVad, ServerVad, SessionConfig
from duplex.protocol.shapes import ClientMessage, ShapeName
from duplex.turns.endpointing import EndpointConfig, from_eagerness, from_silence_duration
from duplex.turns.speech_detector import DetectorConfig
from duplex.turns.turn_detector import TurnDetection
from duplex.turns.vad import SAMPLE_RATE
from engine.uncancelled import uncancelled

logger = logging.getLogger(__name__)

_AT_ONCE_MS = 200
_LOWEST_THRESHOLD = 0.01  # clients may ask for 0; silence has a probability too


class Session:
    """One call. `run` is all of its life."""

    def __init__(
        self,
        call_id: str,
        config: Config,
        parts: Parts,
        outbox: Outbox,
        *,
        clock: Clock = time.monotonic,
        new_id: NewId = random_id,
        shape: ShapeName = "ga",
        start: SessionConfig | None = None,
        metrics: Metrics | None = None,
        offer_resume: Callable[[], ServerEvent] | None = None,
        observers: Observers | None = None,
    ) -> None:
        """``shape`` is how the client sends and gets events: `ShapeName`. ``start`` is the
        configuration to begin with, if not the server's own. ``offer_resume`` makes the event for
        clients that want to be able to take up a dropped call."""
        self._call = CallContext(
            call_id,
            config,
            parts,
            outbox,
            clock,
            new_id,
            start,
            shape,
            metrics if metrics is not None else Metrics(),
            observers if observers is not None else Observers(clock),
        )
        self._offer_resume = offer_resume
        self._pace = AudioPace(config.limits.audio_rate, clock())
        self._session_id = new_id("sess")
        self._dialogue = Dialogue(self._call)
        heard = self._call.session_config.audio.input.format
        self._resampler = Resampler(heard.sample_rate, SAMPLE_RATE)

    async def run(self, messages: AsyncIterable[ClientMessage]) -> None:
        """Obey ``messages`` until they end, then free everything the call held.

        Raises:
            ExceptionGroup: what ended the call before its time; `CallOverrun` among it if the
                client was too slow.
        """
        call = self._call
        try:
            async with call.tasks:
                await self._dialogue.configure(turn_detection(call.session_config, call.config))
                call.send(session_created(self._session_id, call.session_config))
                self._resume_if_wanted(had=False)
                self._begin_as_configured()
                async for message in messages:
                    await self.receive(message)
                call.cancel_tasks()
        finally:
            await uncancelled(call.engine.close())

    @property
    def is_quiet(self) -> bool:
        """Whether the call could end now without cutting anybody short."""
        return self._dialogue.phase == "waiting"

    @property
    def phase(self) -> str:
        """See `Dialogue.phase`."""
        return self._dialogue.phase

    def send(self, event: ServerEvent) -> None:
        """Queue an event that concerns the call as a whole.

        Raises:
            CallOverrun: the client reads too slowly.
        """
        self._call.send(event)

    async def receive(self, message: ClientMessage) -> None:
        """Obey one message. What cannot be obeyed becomes an `error` event."""
        event_id = None
        try:
            check_cost(message)
            event = self._call.shape.read(message)
            event_id = event.event_id
            await self._obey(event)
        except ProtocolError as error:
            call_logger(logger, self._call.call_id).debug("refused: %s", error.code)
            self._call.send(client_error(error, event_id))

    async def _obey(self, event: wire.ClientEvent) -> None:
        dialogue = self._dialogue
        match event:
            case wire.AudioAppend():
                await self._append(event.audio)
            case wire.SessionUpdate():
                await self._update(event)
            case wire.AudioCommit():
                await dialogue.commit()
            case wire.AudioClear():
                await dialogue.clear()
            case wire.ItemCreate() | wire.ItemDelete() | wire.ItemRetrieve():
                await self._obey_item_request(event)
            case wire.ItemTruncate():
                dialogue.truncate(event.item_id, event.content_index, event.audio_end_ms)
                dialogue.prefill()
            case wire.ResponseCreate():
                await self._respond(event)
            case wire.ResponseCancel():
                await dialogue.cancel(event.response_id)
            case _:
                assert_never(event)

    async def _obey_item_request(
        self, event: wire.ItemCreate | wire.ItemDelete | wire.ItemRetrieve
    ) -> None:
        call, dialogue = self._call, self._dialogue
        recordings = []
        if isinstance(event, wire.ItemCreate) and (recordings := self._recordings(event.item)):
            self._pace.check(lasting(recordings), call.clock())
            await dialogue.recordings.room()
        events = obey(event, call.conversation, call.new_id)
        call.send(*events)
        if recordings:
            assert isinstance(events[0], ItemAdded)
            dialogue.recordings.begin(events[0].item.id, recordings)
            await self._pace.take(lasting(recordings), call.clock())
        if isinstance(event, wire.ItemDelete):
            await dialogue.recordings.forget(event.item_id)
            dialogue.forget(event.item_id)
        if not isinstance(event, wire.ItemRetrieve):
            dialogue.prefill()

    async def _respond(self, event: wire.ResponseCreate) -> None:
        call, params = self._call, event.response
        if call.session_config.only_transcribes:
            raise ProtocolError(
                "A transcription session makes no responses.", code=Code.UNSUPPORTED_FEATURE
            )
        given = (params.input if params is not None else None) or ()
        recordings = [
            recording
            for index, item in enumerate(given)
            for recording in self._recordings(item, f"response.input[{index}]")
        ]
        self._pace.check(lasting(recordings), call.clock())
        plan = plan_response(call.session_config, params, call.conversation)
        if params is not None and (params.instructions, params.tools) != (None, None):
            check_beginning(call.engine, plan, "response")
        await self._dialogue.respond(plan)
        await self._pace.take(lasting(recordings), call.clock())

    def _recordings(self, item: InputItem, param: str = "item") -> list[Recording]:
        """What is to be heard of an item that the client sends.

        Raises:
            ProtocolError: it cannot be heard.
        """
        if not isinstance(item, MessageParam):
            return []
        audio_format = self._call.session_config.audio.input.format
        max_s = self._call.config.turn.max_turn_s
        return recordings_in(item.content, audio_format, max_s, param)

    async def _append(self, audio: bytes) -> None:
        audio_format = self._call.session_config.audio.input.format
        decode, width = audio_format.codec.decode, audio_format.codec.bytes_per_sample
        try:
            decode(audio[len(audio) // width * width :])  # a sample cut in two, if there is one
        except ValueError as error:
            raise ProtocolError(str(error), code=Code.INVALID_VALUE, param="audio") from error
        rate_hz = audio_format.sample_rate
        self._pace.check(len(audio) / (rate_hz * width), self._call.clock())
        # A message may hold minutes: other calls get their turn in between.
        step = rate_hz * width * _AT_ONCE_MS // 1000
        for start in range(0, len(audio), step):
            part = decode(audio[start : start + step])
            seconds = len(part) / rate_hz
            self._call.observers.heard(part, rate_hz)
            await self._dialogue.hear(self._resampler.feed(part), seconds)
            await self._pace.take(seconds, self._call.clock())

    async def _update(self, event: wire.SessionUpdate) -> None:
        call = self._call
        old = call.session_config
        new = old.merge(event.session, call.parts.defaults)
        detection = turn_detection(new, call.config)
        detects_otherwise = detection != turn_detection(old, call.config)
        if _beginning(new) != _beginning(old):
            check_beginning(call.engine, plan_response(new), "session")
        self._hear_in(wanted_language(new), old)
        call.session_config = new
        if not plan_response(old).sounds_like(plan_response(new)):
            self._dialogue.give_up_suspended()
        if new.audio.input.format != old.audio.input.format:
            self._resampler = Resampler(new.audio.input.format.sample_rate, SAMPLE_RATE)
        if detects_otherwise:
            await self._dialogue.configure(detection)
        call.send(session_updated(self._session_id, new))
        self._resume_if_wanted(had=old.duplex.resume)
        if (_beginning(new), new.type) != (_beginning(old), old.type):
            self._begin_as_configured()

    def _begin_as_configured(self) -> None:
        """Show the brain the beginning, or spare it a call in which nothing is answered."""
        engine = self._call.engine
        if not self._call.session_config.only_transcribes:
            self._dialogue.prefill()
        elif isinstance(engine, OnlyListens):
            engine.only_listen()

    def _hear_in(self, language: str | None, old: SessionConfig) -> None:
        """Set the caller's language, and say so if no voice speaks it.

        Raises:
            ProtocolError: the ear does not know it.
        """
        if language == wanted_language(old):
            return
        call = self._call
        set_language(call.engine, language)
        spoken = call.parts.voice_languages
        if language is not None and spoken is not None and language not in spoken:
            log = call_logger(logger, call.call_id)
            log.warning("no voice speaks %s: its words are read as English", name_of(language))

    def _resume_if_wanted(self, *, had: bool) -> None:
        call = self._call
        if call.session_config.duplex.resume and not had and self._offer_resume is not None:
            call.send(self._offer_resume())


def _beginning(session: SessionConfig) -> object:
    """What the brain is shown first."""
    return session.instructions, session.tools, session.tool_choice


def turn_detection(session: SessionConfig, config: Config) -> TurnDetection | None:
    """How turns are found: the client's wishes, and the server's where it has none."""
    wanted = session.audio.input.turn_detection
    match wanted:
        case None:
            return None
        case ServerVad():
            threshold, padding_ms = wanted.threshold, wanted.prefix_padding_ms
            default = EndpointConfig(config.turn.hangover_ms, config.turn.unfinished_ms)
            endpoint = from_silence_duration(wanted.silence_duration_ms, default)
        case SemanticVad():
            threshold, padding_ms = config.turn.threshold, config.turn.prefix_padding_ms
            endpoint = from_eagerness(wanted.eagerness)
    threshold = max(threshold, _LOWEST_THRESHOLD)
    speech_ms = config.turn.interruption_ms
    interruption = InterruptionConfig(
        speech_ms=speech_ms, certain_ms=max(speech_ms, InterruptionConfig().certain_ms)
    )
    detector = DetectorConfig(
        threshold=threshold,
        hysteresis=min(DetectorConfig().hysteresis, threshold / 2),
        pause_ms=min(config.turn.speculate_after_ms, endpoint.finished_ms),
        prefix_padding_ms=padding_ms,
    )
    is_telephone = session.audio.input.format.sample_rate < SAMPLE_RATE
    return TurnDetection(detector, endpoint, interruption, is_telephone)
