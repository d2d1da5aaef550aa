"""One call over WebRTC between the client's data channel, its sound, and a session: sans-IO.

What passes the data channel is the JSON of the GA Realtime API. Events of the session become that,
but for their sound, which is played at the pace of the track. The session is told how far it was
played when the caller interrupts, and the client when it begins and ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from duplex.dialogue.intake import check_cost
from duplex.errors import ProtocolError
from duplex.protocol import client_events, server_events
from duplex.protocol.client_events import ClientEvent
from duplex.protocol.ids import NewId
from duplex.protocol.server_events import ServerEvent
from duplex.protocol.session_config import DuplexOptions, Pcm, SessionConfig
from duplex.webrtc import events
from duplex.webrtc.playout import Began, Playout

_OURS = "webrtc-playout"  # the id of the events that the client has not sent


@dataclass(frozen=True, slots=True)
class ToSession:
    """An event for the session."""

    event: ClientEvent


@dataclass(frozen=True, slots=True)
class ToClient:
    """A message for the client's data channel."""

    text: str


Action = ToSession | ToClient


class WebRtcLine:
    """One call. Each method returns what is to be done, in order."""

    def __init__(self, new_id: NewId) -> None:
        self._new_id = new_id
        self._playout = Playout()
        self._muted: set[str] = set()  # responses that the client wants to hear no more of
        self._active: set[str] = set()  # responses that are being made
        self._is_interruptible = True  # whether the caller's speech ends what is heard
        # The items of the last cut, and how much was heard of each; None once the client knows.
        self._cuts: dict[str, int | None] = {}

    # The client.

    def receive(self, message: str | bytes) -> Sequence[Action]:
        """Obey a message of the data channel; one that cannot be obeyed is answered with an
        error."""
        try:
            if events.is_clear(message):
                return self._clear_wanted()
            check_cost(message)
            event = client_events.decode(message)
        except ProtocolError as error:
            return self._tell(server_events.client_error(error))
        if isinstance(event, client_events.ItemTruncate):
            self._cuts.pop(event.item_id, None)  # its answer is for the client
        return [ToSession(_without_formats(event))]

    def _clear_wanted(self) -> Sequence[Action]:
        """The client wants to hear no more: nothing more is made of it, either."""
        cancels: list[Action] = [
            ToSession(client_events.ResponseCancel(event_id=_OURS, response_id=response_id))
            for response_id in sorted(self._active)
        ]
        self._muted |= self._active
        return [*cancels, *self._clear()]

    # The session.

    def handle_server_event(self, event: ServerEvent) -> Sequence[Action]:
        """Obey an event of the session."""
        match event:
            case server_events.OutputAudioDelta():
                if event.response_id not in self._muted:
                    self._playout.put(event.response_id, event.item_id, event.delta)
                return []
            case server_events.Error() if event.error.event_id == _OURS:
                return []  # what we asked for was over already
            case server_events.ItemTruncated() if event.item_id in self._cuts:
                return self._tell_cut(event)
            case server_events.SessionCreated() | server_events.SessionUpdated():
                self._is_interruptible = _is_interruptible(event.session)
            case server_events.ResponseCreated():
                self._active.add(event.response.id)
            case server_events.ResponseDone():
                self._active.discard(event.response.id)
                self._muted.discard(event.response.id)
                self._playout.finish(event.response.id)
            case server_events.SpeechStarted() if self._is_interruptible:
                return [*self._tell(event), *self._clear()]
        return self._tell(event)

    def frame(self) -> tuple[bytes, Sequence[Action]]:
        """The 20 ms of PCM that are played next, and what the client is told of them."""
        audio, notes = self._playout.frame()
        if not notes:
            return audio, ()
        told = []
        for note in notes:
            kind = events.BufferStarted if isinstance(note, Began) else events.BufferStopped
            told.append(ToClient(events.encode(kind, note.response_id, self._new_id)))
        return audio, told

    def _clear(self) -> Sequence[Action]:
        """Play nothing more of all that is there, and keep of it what was heard."""
        cuts, cleared = self._playout.clear()
        if cuts:
            self._cuts = {cut.item_id: cut.heard_ms for cut in cuts}
        actions: list[Action] = []
        if cleared is not None:
            text = events.encode(events.BufferCleared, cleared, self._new_id)
            actions.append(ToClient(text))
        for cut in cuts:
            truncate = client_events.ItemTruncate(
                event_id=_OURS, item_id=cut.item_id, content_index=0, audio_end_ms=cut.heard_ms
            )
            actions.append(ToSession(truncate))
        return actions

    def _tell_cut(self, event: server_events.ItemTruncated) -> Sequence[Action]:
        """The session first cuts an item to what it reckons was heard, then to what we say was:
        only that is told."""
        if event.audio_end_ms != self._cuts[event.item_id]:
            return []
        self._cuts[event.item_id] = None
        return self._tell(event)

    def _tell(self, event: ServerEvent) -> Sequence[Action]:
        return [ToClient(server_events.encode(event, self._new_id))]


def beginning(session: SessionConfig) -> SessionConfig:
    """The session with which a call begins: as ``session``, but for what the transport decides."""
    audio = structs.replace(
        session.audio,
        input=structs.replace(session.audio.input, format=Pcm()),
        output=structs.replace(session.audio.output, format=Pcm()),
    )
    options: DuplexOptions = structs.replace(session.duplex, resume=False)
    return structs.replace(session, audio=audio, duplex=options)


def _without_formats(event: ClientEvent) -> ClientEvent:
    """The event without what the transport decides: how the sound is coded, and whether a call
    that was lost waits for its client."""
    match event:
        case client_events.SessionUpdate(session=session):
            return structs.replace(event, session=without_formats(session))
        case client_events.ResponseCreate(
            response=client_events.ResponseParams(
                audio=client_events.ResponseAudio(output=client_events.ResponseAudioOutput() as out)
            ) as params
        ):
            audio = client_events.ResponseAudio(output=structs.replace(out, format=None))
            return structs.replace(event, response=structs.replace(params, audio=audio))
    return event


def without_formats(session: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a session, likewise."""
    kept = dict(session)
    if isinstance(audio := kept.get("audio"), dict):
        kept["audio"] = {
            key: {k: v for k, v in side.items() if k != "format"}
            if key in ("input", "output") and isinstance(side, dict)
            else side
            for key, side in audio.items()
        }
    if isinstance(options := kept.get("duplex"), dict):
        kept["duplex"] = {key: value for key, value in options.items() if key != "resume"}
    return kept


def _is_interruptible(session: Mapping[str, Any]) -> bool:
    detection = session["audio"]["input"].get("turn_detection")
    return detection is None or bool(detection["interrupt_response"])
