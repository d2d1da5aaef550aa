"""The line without a session: audio of all encodings, and events that come out of order."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from duplex.audio.formats import encode_pcm16, encode_ulaw
from duplex.dialogue.reply import RESUMES
from duplex.errors import ProtocolError
from duplex.phone.assistants import LINE_TOOLS, Manners, format_of
from duplex.phone.events import PCMU, Encoding, Heard, KeyPressed, Played, Stopped
from duplex.phone.line.actions import Action, Clear, HangUp, Say, Tell, Transfer
from duplex.phone.line.announcement import Announcement
from duplex.phone.line.line import Line
from duplex.phone.line.playout import Frame, Mark
from duplex.phone.line.sound import to_line, to_session
from duplex.protocol import client_events as wire
from duplex.protocol import server_events as told
from duplex.protocol.codes import Code
from duplex.protocol.items import Message
from duplex.protocol.response_types import Response
from duplex.protocol.session_config import Pcm
from tts.types import SpokenWord

WIDE = Encoding("pcm16", 16_000)
TONE = (0.3 * np.sin(np.arange(8000) * 0.1)).astype(np.float32)


def line(encoding: Encoding = PCMU, manners: Manners | None = None) -> Line:
    return Line(encoding, format_of(encoding), manners or Manners(), frame_ms=20, has_marks=True)


def created(name: str) -> told.ResponseCreated:
    return told.ResponseCreated(response=_response(name, "in_progress"))


def done(name: str) -> told.ResponseDone:
    return told.ResponseDone(response=_response(name, "completed"))


def _response(name: str, status: str) -> Response:
    return Response(
        id=name,
        status=status,  # type: ignore[arg-type]
        output=(),
        conversation_id="conv_1",
        output_modalities=("audio",),
        max_output_tokens="inf",
        audio=None,  # type: ignore[arg-type]
    )


def delta(name: str, audio: bytes) -> told.OutputAudioDelta:
    return told.OutputAudioDelta(response_id=name, item_id=f"item_{name}", delta=audio)


def events(actions: Sequence[Action]) -> list[wire.ClientEvent]:
    return [action.event for action in actions if isinstance(action, Tell)]


def frames(actions: Sequence[Action]) -> list[bytes]:
    return [action.audio for action in actions if isinstance(action, Frame)]


def test_mu_law_passes_as_it_is() -> None:
    phone, audio = line(), encode_ulaw(TONE[:160])
    assert phone.receive(Heard(audio), 0.0) == [Tell(wire.AudioAppend(audio=audio))]
    phone.hear(created("a"), 0.0)
    assert frames(phone.hear(delta("a", audio), 0.0)) == [audio]


def test_wide_audio_is_resampled_both_ways() -> None:
    phone = line(WIDE)
    (event,) = events(phone.receive(Heard(encode_pcm16(TONE)), 0.0))
    assert isinstance(event, wire.AudioAppend)
    assert len(event.audio) == pytest.approx(2 * 12_000, abs=200)
    phone.hear(created("a"), 0.0)
    out = frames(phone.hear(delta("a", encode_pcm16(TONE[:4800])), 0.0))
    assert {len(frame) for frame in out} == {640}


@given(cuts=st.lists(st.integers(0, 1500), max_size=10))
def test_any_cuts_give_the_same_sound(cuts: list[int]) -> None:
    pcm = encode_pcm16(TONE[: sum(cuts)])
    for stream, whole in (
        (to_session(WIDE, Pcm()), to_session(WIDE, Pcm())),
        (to_line(WIDE, Pcm()), to_line(WIDE, Pcm())),
    ):
        parts, at = b"", 0
        for cut in cuts:
            parts += stream.convert(pcm[2 * at : 2 * (at + cut)])
            at += cut
        expected = whole.convert(pcm) + whole.flush()
        assert parts + stream.flush() == expected
        assert stream.convert(pcm) + stream.flush() == expected  # the sound before is forgotten


def test_a_sample_cut_in_two_is_refused() -> None:
    with pytest.raises(ProtocolError):
        line(WIDE).receive(Heard(b"\0"), 0.0)


def test_audio_of_an_answer_that_was_cut_is_not_played() -> None:
    phone, audio = line(), b"x" * 1600
    phone.hear(created("a"), 0.0)
    phone.hear(delta("a", audio), 0.0)
    actions = phone.receive(KeyPressed("#"), 0.1)
    assert [type(event).__name__ for event in events(actions)] == [
        "ResponseCancel",
        "ItemTruncate",
        "ItemCreate",
        "ResponseCreate",
    ]
    assert Clear() in actions
    assert phone.hear(delta("a", audio), 0.11) == []
    assert events(phone.hear(done("a"), 0.12)) == []  # it was asked for already
    phone.hear(created("b"), 0.13)
    assert frames(phone.hear(delta("b", audio), 0.14))


def test_an_answer_that_cannot_begin_yet_is_asked_for_again() -> None:
    phone = line()
    assert any(
        isinstance(event, wire.ResponseCreate)
        for event in events(phone.receive(KeyPressed("#"), 0.0))
    )
    phone.hear(created("of the turn before"), 0.1)  # they have crossed
    body = told.ErrorBody(type="invalid_request_error", code=Code.RESPONSE_ACTIVE, message="wait")
    assert phone.hear(told.Error(error=body), 0.1) == []
    assert events(phone.hear(done("of the turn before"), 0.2)) == [wire.ResponseCreate()]
    phone.hear(created("of the keys"), 0.3)
    assert events(phone.hear(done("of the keys"), 0.4)) == []


def test_an_answer_begun_on_hold_is_refused_and_not_kept_as_said() -> None:
    phone = line(manners=Manners(tools=LINE_TOOLS))
    phone.hear(created("a"), 0.0)
    phone.hear(called("a", "hold"), 0.1)
    phone.hear(done("a"), 0.2)
    assert phone.hear(created("b"), 0.3) == [Tell(wire.ResponseCancel(response_id="b"))]
    assert phone.hear(delta("b", b"x" * 1600), 0.4) == []
    item = Message(id="item_b", role="assistant", content=())
    ended = told.ResponseDone(response=structs.replace(_response("b", "cancelled"), output=(item,)))
    assert phone.hear(ended, 0.5) == [
        Tell(wire.ItemTruncate(item_id="item_b", content_index=0, audio_end_ms=0))
    ]
    back = events(phone.receive(KeyPressed("#"), 1.0))
    assert [type(event).__name__ for event in back] == [
        "ItemCreate",
        "ItemCreate",
        "ResponseCreate",
    ]


def test_the_rest_of_an_answer_answers_nothing_that_came_meanwhile() -> None:
    phone = line()
    phone.hear(created("a"), 0.0)
    phone.hear(called("a", "look_up"), 0.1)
    phone.hear(done("a"), 0.2)
    phone.hear(told.SpeechStarted(item_id="i", audio_start_ms=0), 0.3)
    (output,) = events(phone.called("call_1", "{}"))  # the caller speaks
    assert isinstance(output, wire.ItemCreate)
    assert phone.hear(transcribed("i", "Mm-hm."), 0.5) == []
    rest = structs.replace(_response("b", "in_progress"), metadata={RESUMES: "a"})
    phone.hear(told.ResponseCreated(response=rest), 0.6)
    assert events(phone.hear(done("b"), 0.7)) == [wire.ResponseCreate()]


def test_what_is_still_owed_does_not_keep_the_goodbye_from_being_said() -> None:
    phone = line(manners=Manners(can_say=False, out_of_time="Over.", limit_s=30))
    phone.hear(told.SessionCreated(session={}), 0.0)
    phone.hear(told.SpeechStarted(item_id="i", audio_start_ms=0), 1.0)
    phone.receive(KeyPressed("#"), 2.0)
    assert phone.hear(created("early"), 3.0) == [Tell(wire.ResponseCancel(response_id="early"))]
    (ask,) = events(phone.tick(18.0))
    assert isinstance(ask, wire.ResponseCreate)
    phone.hear(created("bye"), 18.1)
    assert frames(phone.hear(delta("bye", b"x" * 160), 18.2))


def test_speech_in_silence_clears_nothing() -> None:
    phone = line()
    assert phone.hear(told.SpeechStarted(item_id="i", audio_start_ms=0), 1.0) == []


def test_nothing_is_done_after_the_end() -> None:
    phone = line()
    phone.hear(created("a"), 0.0)
    phone.hear(delta("a", b"x" * 16_000), 0.0)
    assert phone.receive(Stopped(), 0.1) == [HangUp()]
    assert phone.tick(1.0) == []
    assert phone.due_s is None


def test_deadlines_are_in_the_future_once_they_were_met() -> None:
    phone = line(manners=Manners(greeting="Hello.", limit_s=60, out_of_time="Bye."))
    session = told.SessionCreated(session={})
    assert phone.hear(session, 0.0) == [Say("Hello.")]
    now_s, marks = 0.0, list[str]()
    phone.announce(b"x" * 4000, [SpokenWord("Hello.", 4000)], 0.0, is_last=True)
    for _ in range(10_000):
        if phone.due_s is None:
            break
        assert phone.due_s > now_s - 1e-9
        now_s = max(now_s, phone.due_s)
        actions = phone.tick(now_s)
        marks += [action.name for action in actions if isinstance(action, Mark)]
        if Say("Bye.") in actions:
            assert now_s == pytest.approx(48)
            phone.announce(b"x" * 4000, [SpokenWord("Bye.", 4000)], now_s, is_last=True)
        for name in marks:
            phone.receive(Played(name), now_s)
        marks.clear()
    assert phone.due_s is None  # it has hung up
    assert now_s == pytest.approx(48.5, abs=0.1)


def test_a_held_announcement_goes_on_word_by_word() -> None:
    words = [SpokenWord("One ", 1000), SpokenWord("two ", 2000), SpokenWord("three.", 3000)]
    announcement = Announcement(PCMU)
    announcement.begin()
    assert announcement.feed(b"x" * 2000, words[:2]) == b"x" * 2000
    (cut,) = announcement.cut(1100, hold=True)
    assert _said(cut) == "One"
    assert announcement.feed(b"y" * 1000, words[2:]) == b""  # it was still being made
    assert announcement.finish() == []
    rest, (item,) = announcement.resume()
    assert rest == b"x" * 900 + b"y" * 1000
    assert _said(item) == "two three."
    deleted, again = announcement.cut(1000, hold=False)
    assert isinstance(deleted, wire.ItemDelete)
    assert _said(again) == "two"
    assert announcement.feed(b"z", []) == b""  # nobody wants it any more


def _said(event: wire.ClientEvent) -> str:
    assert isinstance(event, wire.ItemCreate)
    return event.item.content[0].text  # type: ignore[union-attr]


def called(response: str, name: str, arguments: str = "{}") -> told.FunctionArgumentsDone:
    return told.FunctionArgumentsDone(
        response_id=response, item_id="f", call_id="call_1", name=name, arguments=arguments
    )


def transcribed(item_id: str, words: str) -> told.TranscriptionCompleted:
    usage = told.DurationUsage(seconds=1)
    return told.TranscriptionCompleted(item_id=item_id, transcript=words, usage=usage)


BODY = told.ErrorBody(type="invalid_request_error", code=Code.RESPONSE_ACTIVE, message="wait")
SERVER_EVENTS = st.sampled_from(
    [
        created("a"),
        created("b"),
        done("a"),
        done("b"),
        delta("a", b"x" * 999),
        delta("b", b"x" * 4000),
        told.OutputAudioDone(response_id="a", item_id="item_a"),
        told.SpeechStarted(item_id="i", audio_start_ms=0),
        told.SpeechStopped(item_id="i", audio_end_ms=0),
        transcribed("i", ""),
        transcribed("i", "a"),
        called("a", "hang_up"),
        called("a", "hold"),
        called("b", "transfer", '{"to": "x"}'),
        called("b", "something"),
        told.Error(error=BODY),
    ]
)
LINE_EVENTS = st.sampled_from(
    [KeyPressed("1"), KeyPressed("#"), Heard(b"x" * 160), Played("m1"), Played("m3")]
)
MANNERS = Manners(
    greeting="Hello.",
    goodbye="Bye.",
    out_of_time="Over.",
    tools=LINE_TOOLS,
    numbers={"x": "+1"},
    limit_s=30,
)


@given(
    steps=st.lists(
        st.one_of(
            SERVER_EVENTS,
            LINE_EVENTS,
            st.floats(0, 4),
            st.booleans(),
            st.just("called"),
        ),
        max_size=40,
    )
)
def test_whatever_happens_nothing_stays_due_and_the_call_ends(steps: list[object]) -> None:
    phone, now_s, said = line(manners=MANNERS), 0.0, 0
    ended: list[Action] = []

    def do(actions: Sequence[Action]) -> None:
        nonlocal said
        for action in actions:
            if isinstance(action, Say):
                said = 0
            elif isinstance(action, HangUp | Transfer):
                ended.append(action)

    do(phone.hear(told.SessionCreated(session={}), now_s))
    for step in steps:
        match step:
            case bool():
                said += 800
                do(phone.announce(b"x" * 800, [SpokenWord("Hi", said)], now_s, is_last=step))
            case float():
                now_s += step
            case "called":
                do(phone.called("call_1", "{}"))
            case KeyPressed() | Heard() | Played():
                do(phone.receive(step, now_s))
            case _:
                do(phone.hear(step, now_s))  # type: ignore[arg-type]
        do(phone.tick(now_s))
        assert phone.due_s is None or phone.due_s > now_s
    while phone.due_s is not None and now_s < 200:
        now_s = max(now_s, phone.due_s)
        do(phone.tick(now_s))
    assert len(ended) == 1
    assert now_s < 200
