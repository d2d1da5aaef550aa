"""The server events of the caller's side: speech seen, turns committed, words transcribed."""

from enum import Enum, auto

from duplex.errors import IllegalTransition, ProtocolError
from duplex.protocol import server_events as wire
from duplex.protocol.codes import Code
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import NewId
from duplex.protocol.items import InputAudio, Message
from duplex.protocol.server_events import ServerEvent

MIN_COMMIT_MS = 100


class _State(Enum):
    IDLE = auto()  # no speech seen since the last commit
    SPEAKING = auto()
    STOPPED = auto()  # speech seen and over, not yet committed


_TRANSITIONS = {
    (_State.IDLE, "speech_started"): _State.SPEAKING,
    (_State.SPEAKING, "speech_stopped"): _State.STOPPED,
    (_State.STOPPED, "speech_started"): _State.SPEAKING,
    (_State.IDLE, "commit"): _State.IDLE,
    (_State.SPEAKING, "commit"): _State.IDLE,
    (_State.STOPPED, "commit"): _State.IDLE,
    (_State.IDLE, "clear"): _State.IDLE,
    (_State.SPEAKING, "clear"): _State.IDLE,
    (_State.STOPPED, "clear"): _State.IDLE,
}


class InputStream:
    """Turns what happens to the caller's audio into server events.

    One item id belongs to each turn, from the first sign of speech to the transcript. Samples
    are counted at ``sample_rate`` from the first of the call. Each method returns the events to
    send, in order.

    Raises:
        IllegalTransition: speech that starts twice or stops unstarted; nothing has changed.
    """

    def __init__(self, conversation: Conversation, new_id: NewId, sample_rate: int) -> None:
        self._conversation = conversation
        self._new_id = new_id
        self._sample_rate = sample_rate
        self._state = _State.IDLE
        self._item_id = new_id("item")  # of the turn that is open or comes next
        self._buffered_samples = 0  # since the last commit or clear

    @property
    def item_id(self) -> str:
        """The id that the next committed turn will have."""
        return self._item_id

    @property
    def buffered_samples(self) -> int:
        """Audio since the last commit or clear."""
        return self._buffered_samples

    @property
    def is_speaking(self) -> bool:
        """Whether speech has started and not stopped."""
        return self._state is _State.SPEAKING

    def append(self, samples: int) -> None:
        """Count ``samples`` of audio; there is no event for it."""
        self._buffered_samples += samples

    def speech_started(self, at_sample: int) -> list[ServerEvent]:
        """The caller's speech begins at ``at_sample``, padding included."""
        self._move("speech_started")
        return [wire.SpeechStarted(item_id=self._item_id, audio_start_ms=self._ms(at_sample))]

    def speech_stopped(self, at_sample: int) -> list[ServerEvent]:
        """The caller's turn is over; its speech ended at ``at_sample``. `commit` follows."""
        self._move("speech_stopped")
        return [wire.SpeechStopped(item_id=self._item_id, audio_end_ms=self._ms(at_sample))]

    def check_commit(self) -> None:
        """Refuse a `commit` that has nothing to commit.

        Raises:
            ProtocolError: input_audio_buffer_commit_empty, with less than 100 ms buffered.
        """
        if self._buffered_samples * 1000 < MIN_COMMIT_MS * self._sample_rate:
            buffered_ms = self._buffered_samples * 1000 / self._sample_rate
            raise ProtocolError(
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {buffered_ms:.2f}ms of audio.",
                code=Code.COMMIT_EMPTY,
            )

    def commit(self) -> tuple[str, list[ServerEvent]]:
        """Make the buffered audio a user item at the end of the conversation.

        Returns:
            The item's id and the events.

        Raises:
            ProtocolError: as `check_commit`.
        """
        self.check_commit()
        if (
            self._item_id in self._conversation
        ):  # the client took the id, which speech_started showed
            self._item_id = self._new_id("item")
        item = Message(id=self._item_id, role="user", content=(InputAudio(),))
        previous = self._conversation.insert(item)
        self._restart("commit")
        committed = wire.AudioCommitted(item_id=item.id, previous_item_id=previous)
        return item.id, [committed, *wire.item_created(item, previous)]

    def time_out(self, from_sample: int, to_sample: int) -> tuple[str, list[ServerEvent]]:
        """Commit the caller's silence, which has no words.

        Returns:
            The item's id and the events.

        Raises:
            ProtocolError: as `check_commit`.
        """
        item_id, committed = self.commit()
        triggered = wire.TimeoutTriggered(
            item_id=item_id,
            audio_start_ms=self._ms(from_sample),
            audio_end_ms=self._ms(to_sample),
        )
        return item_id, [triggered, *committed]

    def clear(self) -> list[ServerEvent]:
        """Forget the buffered audio and any speech seen in it."""
        self._restart("clear")
        return [wire.AudioCleared()]

    def transcribed(self, item_id: str, transcript: str, samples: int) -> list[ServerEvent]:
        """The ear has finished with the ``samples`` of a turn."""
        self._conversation.set_transcript(item_id, 0, transcript)
        usage = wire.DurationUsage(seconds=samples / self._sample_rate)
        return [wire.TranscriptionCompleted(item_id=item_id, transcript=transcript, usage=usage)]

    def _move(self, move: str) -> None:
        try:
            self._state = _TRANSITIONS[self._state, move]
        except KeyError:
            raise IllegalTransition(f"{move} when the input is {self._state.name}") from None

    def _restart(self, move: str) -> None:
        self._move(move)
        self._buffered_samples = 0
        self._item_id = self._new_id("item")

    def _ms(self, sample: int) -> int:
        return sample * 1000 // self._sample_rate


def transcription_failed(item_id: str, message: str) -> ServerEvent:
    """Return the event for a turn that the ear could not transcribe."""
    error = wire.ErrorBody(type="server_error", code="transcription_failed", message=message)
    return wire.TranscriptionFailed(item_id=item_id, error=error)
