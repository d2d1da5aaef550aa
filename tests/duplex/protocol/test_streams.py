"""The order of events: a response ended at any moment, a caller's turn, and both at once."""

from collections.abc import Callable, Iterable

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from duplex.errors import IllegalTransition, ProtocolError
from duplex.protocol import client_events as ce
from duplex.protocol import server_events as wire
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import counting_ids
from duplex.protocol.input_stream import InputStream, transcription_failed
from duplex.protocol.items import InputText, Message, OutputAudio, OutputText
from duplex.protocol.response_plan import plan_response
from duplex.protocol.response_stream import (
    CLIENT_CANCELLED,
    COMPLETED,
    MAX_OUTPUT_TOKENS,
    TURN_DETECTED,
    ResponseStream,
    check_can_cancel,
    check_can_respond,
    failed,
)
from duplex.protocol.response_types import StatusDetails, Usage
from duplex.protocol.session_config import Pcmu, SessionConfig
from duplex.protocol.shown_words import ShownWords

ORACLE = TypeAdapter(RealtimeServerEvent)
RATE = 16_000
USAGE = Usage.of_text(input_tokens=9, cached_tokens=5, output_tokens=3)
ENDINGS = [COMPLETED, TURN_DETECTED, CLIENT_CANCELLED, MAX_OUTPUT_TOKENS, failed("It broke.")]


def shown(conversation: Conversation) -> list[tuple[str, str]]:
    return [(item.role, item.text) for item in conversation.shown()]


def types(events: Iterable[wire.ServerEvent]) -> list[str]:
    """Names on the wire; each event must be one that the openai types accept."""
    names = []
    for event in events:
        names.append(str(event.__struct_config__.tag))
        if not names[-1].startswith("duplex."):
            ORACLE.validate_json(wire.encode(event, counting_ids()))
    return names


def response(
    conversation: Conversation | None = None, modality: str = "audio", thoughts: bool = False
) -> ResponseStream:
    config = SessionConfig().merge(
        {"output_modalities": [modality], "duplex": {"thoughts": thoughts}}
    )
    return ResponseStream(
        plan_response(config), conversation or Conversation(), "conv_1", counting_ids()
    )


OPENERS = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
AUDIO_CLOSERS = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
]
TEXT_CLOSERS = ["response.output_text.done", *AUDIO_CLOSERS[2:]]


def test_a_spoken_response() -> None:
    conversation = Conversation()
    conversation.insert(Message(id="asked", role="user", content=(InputText("Hi"),)))
    stream = response(conversation)
    events = [
        *stream.start(),
        *stream.audio(b"aa", "Good "),
        *stream.audio(b"bb"),
        *stream.audio(b"", "day."),
        *stream.finish(COMPLETED, USAGE),
    ]
    assert types(events) == [
        "response.created",
        *OPENERS,
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        *AUDIO_CLOSERS,
        "response.done",
    ]
    item = Message(
        id=stream.item_id, role="assistant", content=(OutputAudio(transcript="Good day."),)
    )
    added = events[2]
    assert isinstance(added, wire.ItemAdded)
    assert added.item == Message(id=item.id, role="assistant", status="in_progress")
    assert added.previous_item_id == "asked"
    assert wire.ItemDone(item=item, previous_item_id="asked") in events
    assert shown(conversation) == [("user", "Hi"), ("assistant", "Good day.")]
    done = events[-1]
    assert isinstance(done, wire.ResponseDone)
    assert (done.response.status, done.response.status_details) == ("completed", None)
    assert (done.response.output, done.response.usage) == ((item,), USAGE)


def test_a_written_response() -> None:
    conversation = Conversation()
    stream = response(conversation, "text")
    events = [
        *stream.start(),
        *stream.text("Good "),
        *stream.text("day."),
        *stream.finish(COMPLETED),
    ]
    assert types(events) == [
        "response.created",
        *OPENERS,
        "response.output_text.delta",
        "response.output_text.delta",
        *TEXT_CLOSERS,
        "response.done",
    ]
    assert conversation.items[0].content == (OutputText("Good day."),)


# Every response is a path through these steps; it may be ended after any of them.
STEPS: dict[str, list[tuple[Callable[[ResponseStream], list[wire.ServerEvent]], list[str]]]] = {
    "audio": [
        (lambda s: s.start(), ["response.created"]),
        (lambda s: s.thought("Hm."), ["duplex.thought.delta"]),
        (
            lambda s: s.audio(b"aa", "Good "),
            [*OPENERS, "response.output_audio_transcript.delta", "response.output_audio.delta"],
        ),
        (lambda s: s.thought("So."), ["duplex.thought.delta"]),
        (lambda s: s.audio(b"bb"), ["response.output_audio.delta"]),
    ],
    "text": [
        (lambda s: s.start(), ["response.created"]),
        (lambda s: s.text("Good "), [*OPENERS, "response.output_text.delta"]),
        (lambda s: s.text("day."), ["response.output_text.delta"]),
    ],
}


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda e: f"{e.type}-{e.reason}")
@pytest.mark.parametrize(
    ("modality", "count"),
    [(modality, n) for modality, steps in STEPS.items() for n in range(1, len(steps) + 1)],
)
def test_a_response_may_end_at_any_moment(modality: str, count: int, ending: StatusDetails) -> None:
    conversation = Conversation()
    stream = response(conversation, modality, thoughts=True)
    sent: list[str] = []
    for step, expected in STEPS[modality][:count]:
        names = types(step(stream))
        assert names == expected
        sent += names
    assert stream.is_active
    last = stream.finish(ending, USAGE)
    opened = OPENERS[0] in sent
    closers = (AUDIO_CLOSERS if modality == "audio" else TEXT_CLOSERS) if opened else []
    thought = ["duplex.thought.done"] if "duplex.thought.delta" in sent else []
    assert types(last) == [*thought, *closers, "response.done"]
    assert not stream.is_active

    done = last[-1]
    assert isinstance(done, wire.ResponseDone)
    assert done.response.status == ending.type
    assert done.response.status_details == (None if ending == COMPLETED else ending)
    assert len(done.response.output) == len(conversation.items) == opened
    if opened:
        status = "completed" if ending == COMPLETED else "incomplete"
        assert done.response.output[0].status == status
        assert conversation.items == done.response.output


MOVES: dict[str, Callable[[ResponseStream], object]] = {
    "start": lambda s: s.start(),
    "words": lambda s: s.audio(b"aa", "x"),
    "thought": lambda s: s.thought("x"),
    "finish": lambda s: s.finish(COMPLETED),
}


@pytest.mark.parametrize(
    ("past", "illegal"),
    [
        ([], {"words", "thought", "finish"}),
        (["start"], {"start"}),
        (["start", "words"], {"start"}),
        (["start", "finish"], set(MOVES)),
        (["start", "words", "finish"], set(MOVES)),
    ],
)
def test_illegal_moves_change_nothing(past: list[str], illegal: set[str]) -> None:
    for move in sorted(illegal):
        conversation = Conversation()
        stream = response(conversation)
        for earlier in past:
            MOVES[earlier](stream)
        before = (conversation.items, stream.words, stream.is_active)
        with pytest.raises(IllegalTransition):
            MOVES[move](stream)
        assert (conversation.items, stream.words, stream.is_active) == before


def test_the_wrong_modality_is_a_mistake_of_ours() -> None:
    stream = response()
    stream.start()
    with pytest.raises(ValueError, match="text in a response"):
        stream.text("x")
    written = response(modality="text")
    written.start()
    with pytest.raises(ValueError, match="audio in a response"):
        written.audio(b"aa")


def test_thoughts_are_only_for_those_who_ask() -> None:
    stream = response()
    stream.start()
    assert stream.thought("secret") == []
    stream.audio(b"aa", "Good day.")
    assert types(stream.finish(COMPLETED)) == [*AUDIO_CLOSERS, "response.done"]


def test_what_the_client_says_of_a_running_answer_stands() -> None:
    for change, left in [
        (lambda c, i: c.truncate(i, 0, "Good"), [("assistant", "Good")]),
        (lambda c, i: c.delete(i), []),
    ]:
        conversation = Conversation()
        stream = response(conversation)
        stream.start()
        stream.audio(b"aa", "Good day.")
        change(conversation, stream.item_id)
        assert types(stream.finish(COMPLETED)) == [*AUDIO_CLOSERS, "response.done"]
        assert shown(conversation) == left


def test_the_plan_is_the_session_with_the_response_on_top() -> None:
    config = SessionConfig(instructions="House rules.", max_output_tokens=100).merge(
        {"audio": {"output": {"voice": "joe", "speed": 1.2}}, "duplex": {"thoughts": True}}
    )
    plain = plan_response(config)
    assert (plain.modality, plain.instructions, plain.voice) == ("audio", "House rules.", "joe")
    assert (plain.max_output_tokens, plain.speed, plain.thoughts) == (100, 1.2, True)
    assert plain.metadata is None
    own = plan_response(
        config,
        ce.ResponseParams(
            instructions="",
            output_modalities=("text",),
            max_output_tokens="inf",
            metadata={"a": "b"},
            audio=ce.ResponseAudio(ce.ResponseAudioOutput(Pcmu(), ce.VoiceId("amy"))),
        ),
    )
    assert (own.modality, own.instructions, own.voice) == ("text", "", "amy")
    assert (own.max_output_tokens, own.metadata) == ("inf", {"a": "b"})
    assert own.audio_format == Pcmu()


def test_metadata_and_sound_are_echoed() -> None:
    plan = plan_response(SessionConfig(), ce.ResponseParams(metadata={"client_event_id": "x"}))
    stream = ResponseStream(plan, Conversation(), "conv_1", counting_ids())
    (created,) = stream.start()
    assert isinstance(created, wire.ResponseCreated)
    assert created.response.metadata == {"client_event_id": "x"}
    assert created.response.conversation_id == "conv_1"
    sent = ORACLE.validate_json(wire.encode(created, counting_ids()))
    assert sent.response.audio.output.voice == "default"


def test_one_response_at_a_time() -> None:
    check_can_respond(None)
    stream = response()
    check_can_respond(stream)
    stream.start()
    with pytest.raises(ProtocolError) as caught:
        check_can_respond(stream)
    assert caught.value.code == "conversation_already_has_active_response"
    stream.finish(COMPLETED)
    check_can_respond(stream)


def test_only_the_active_response_is_cancelled() -> None:
    stream = response()
    stream.start()
    assert check_can_cancel(stream, None) is stream
    assert check_can_cancel(stream, stream.response_id) is stream
    ended = response()
    ended.start()
    ended.finish(COMPLETED)
    for active, asked in [(None, None), (stream, "other"), (ended, None)]:
        with pytest.raises(ProtocolError, match=r"^Cancellation failed") as caught:
            check_can_cancel(active, asked)
        assert caught.value.code == "response_cancel_not_active"


def caller(conversation: Conversation | None = None) -> InputStream:
    return InputStream(conversation or Conversation(), counting_ids(), RATE)


TURN = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]


def test_a_turn_that_the_server_sees() -> None:
    conversation = Conversation()
    conversation.insert(Message(id="before", role="system", content=(InputText("x"),)))
    stream = caller(conversation)
    stream.append(RATE)
    events = stream.speech_started(RATE // 4) + stream.speech_stopped(RATE // 2)
    item_id, committed = stream.commit()
    events += [*committed, *ShownWords().show(item_id, "Hello")]
    events += stream.transcribed(item_id, "Hello there", RATE // 2)
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        *TURN,
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert events[0] == wire.SpeechStarted(item_id=item_id, audio_start_ms=250)
    assert events[1] == wire.SpeechStopped(item_id=item_id, audio_end_ms=500)
    assert events[2] == wire.AudioCommitted(item_id=item_id, previous_item_id="before")
    assert isinstance(events[3], wire.ItemAdded)
    assert (events[3].item.id, events[3].previous_item_id) == (item_id, "before")
    assert isinstance(events[-1], wire.TranscriptionCompleted)
    assert events[-1].usage.seconds == 0.5
    assert shown(conversation) == [("system", "x"), ("user", "Hello there")]


def test_a_silence_that_lasts_too_long() -> None:
    conversation = Conversation()
    stream = caller(conversation)
    stream.append(8 * RATE)
    item_id, events = stream.time_out(RATE, 6 * RATE)
    assert types(events) == ["input_audio_buffer.timeout_triggered", *TURN]
    assert events[0] == wire.TimeoutTriggered(
        item_id=item_id, audio_start_ms=1000, audio_end_ms=6000
    )
    stream.transcribed(item_id, "", 0)
    assert [item.id for item in conversation.items] == [item_id]
    assert shown(conversation) == []
    with pytest.raises(ProtocolError, match="buffer too small"):
        stream.time_out(6 * RATE, 12 * RATE)


def test_a_turn_that_the_client_commits() -> None:
    stream = caller()
    stream.append(RATE // 10)
    first, events = stream.commit()
    assert types(events) == TURN
    stream.append(RATE)
    second, _ = stream.commit()
    assert first != second


@pytest.mark.parametrize("samples", [0, RATE // 10 - 1])
def test_an_empty_commit(samples: int) -> None:
    conversation = Conversation()
    stream = caller(conversation)
    stream.append(samples)
    with pytest.raises(ProtocolError, match="buffer too small") as caught:
        stream.commit()
    assert caught.value.code == "input_audio_buffer_commit_empty"
    assert conversation.items == ()
    stream.append(RATE)
    assert types(stream.commit()[1]) == TURN
    with pytest.raises(ProtocolError):  # what was committed is no longer buffered
        stream.commit()


def test_clear_forgets_audio_and_speech() -> None:
    stream = caller()
    stream.append(RATE)
    stream.speech_started(0)
    lost = stream.item_id
    assert types(stream.clear()) == ["input_audio_buffer.cleared"]
    assert stream.item_id != lost
    assert not stream.is_speaking
    with pytest.raises(ProtocolError):
        stream.commit()


def test_speech_may_go_on_before_the_commit() -> None:
    stream = caller()
    stream.append(RATE)
    (first,) = stream.speech_started(0)
    stream.speech_stopped(10)
    (second,) = stream.speech_started(20)
    assert first.item_id == second.item_id
    with pytest.raises(IllegalTransition):
        stream.speech_started(30)
    stream.speech_stopped(40)
    with pytest.raises(IllegalTransition):
        stream.speech_stopped(50)


def test_a_client_that_takes_the_next_id_does_not_stop_the_turn() -> None:
    conversation = Conversation()
    stream = caller(conversation)
    stream.append(RATE)
    stream.speech_started(0)
    conversation.insert(Message(id=stream.item_id, role="user", content=(InputText("mine"),)))
    item_id, events = stream.commit()
    assert types(events) == TURN
    assert [item.id for item in conversation.items] == [conversation.items[0].id, item_id]


def test_a_transcription_that_failed() -> None:
    event = transcription_failed("item_1", "The ear broke.")
    assert types([event]) == ["conversation.item.input_audio_transcription.failed"]


def test_barge_in() -> None:
    """Order (d), with the history cut to what was heard."""
    conversation = Conversation()
    mouth, ear = response(conversation), caller(conversation)
    mouth.start()
    mouth.audio(b"aa", "Good day to you.")
    ear.append(RATE)
    events = [*ear.speech_started(0), *mouth.finish(TURN_DETECTED)]
    assert types(events) == ["input_audio_buffer.speech_started", *AUDIO_CLOSERS, "response.done"]
    conversation.truncate(mouth.item_id, 0, "Good day")
    ear.speech_stopped(RATE)
    _, committed = ear.commit()
    assert committed[0].previous_item_id == mouth.item_id
    assert shown(conversation) == [("assistant", "Good day")]
