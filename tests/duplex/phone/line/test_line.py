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
from duplex.phone.assistants import LINE_TOOLS, LineSettings, format_of
from duplex.phone.events import PCMU, CallerAudio, Encoding, KeyPressed, Played, Stopped
from duplex.phone.line.actions import Action, Clear, HangUp, Say, SendEvent, Transfer
from duplex.phone.line.announcement import Announcement
from duplex.phone.line.line import PhoneLine
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


def line(encoding: Encoding = PCMU, settings: LineSettings | None = None) -> PhoneLine:
    return PhoneLine(
        encoding, format_of(encoding), settings or LineSettings(), frame_ms=20, has_marks=True
    )


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
    return [action.event for action in actions if isinstance(action, SendEvent)]


def frames(actions: Sequence[Action]) -> list[bytes]:
    return [action.audio for action in actions if isinstance(action, Frame)]


def test_mu_law_passes_as_it_is() -> None:
    phone, audio = line(), encode_ulaw(TONE[:160])
    assert phone.handle_phone_event(CallerAudio(audio), 0.0) == [
        SendEvent(wire.AudioAppend(audio=audio))
    ]
    phone.handle_server_event(created("a"), 0.0)
    assert frames(phone.handle_server_event(delta("a", audio), 0.0)) == [audio]


def test_wide_audio_is_resampled_both_ways() -> None:
    phone = line(WIDE)
    (event,) = events(phone.handle_phone_event(CallerAudio(encode_pcm16(TONE)), 0.0))
    assert isinstance(event, wire.AudioAppend)
    assert len(event.audio) == pytest.approx(2 * 12_000, abs=200)
    phone.handle_server_event(created("a"), 0.0)
    out = frames(phone.handle_server_event(delta("a", encode_pcm16(TONE[:4800])), 0.0))
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
        line(WIDE).handle_phone_event(CallerAudio(b"\0"), 0.0)


def test_audio_of_an_answer_that_was_cut_is_not_played() -> None:
    phone, audio = line(), b"x" * 1600
    phone.handle_server_event(created("a"), 0.0)
    phone.handle_server_event(delta("a", audio), 0.0)
    actions = phone.handle_phone_event(KeyPressed("#"), 0.1)
    assert [type(event).__name__ for event in events(actions)] == [
        "ResponseCancel",
        "ItemTruncate",
        "ItemCreate",
        "ResponseCreate",
    ]
    assert Clear() in actions
    assert phone.handle_server_event(delta("a", audio), 0.11) == []
    assert events(phone.handle_server_event(done("a"), 0.12)) == []  # it was asked for already
    phone.handle_server_event(created("b"), 0.13)
    assert frames(phone.handle_server_event(delta("b", audio), 0.14))


def test_an_answer_that_cannot_begin_yet_is_asked_for_again() -> None:
    phone = line()
    assert any(
        isinstance(event, wire.ResponseCreate)
        for event in events(phone.handle_phone_event(KeyPressed("#"), 0.0))
    )
    phone.handle_server_event(created("of the turn before"), 0.1)  # they have crossed
    body = told.ErrorBody(type="invalid_request_error", code=Code.RESPONSE_ACTIVE, message="wait")
    assert phone.handle_server_event(told.Error(error=body), 0.1) == []
    assert events(phone.handle_server_event(done("of the turn before"), 0.2)) == [
        wire.ResponseCreate()
    ]
    phone.handle_server_event(created("of the keys"), 0.3)
    assert events(phone.handle_server_event(done("of the keys"), 0.4)) == []


def test_an_answer_begun_on_hold_is_refused_and_not_kept_as_said() -> None:
    phone = line(settings=LineSettings(tools=LINE_TOOLS))
    phone.handle_server_event(created("a"), 0.0)
    phone.handle_server_event(called("a", "hold"), 0.1)
    phone.handle_server_event(done("a"), 0.2)
    assert phone.handle_server_event(created("b"), 0.3) == [
        SendEvent(wire.ResponseCancel(response_id="b"))
    ]
    assert phone.handle_server_event(delta("b", b"x" * 1600), 0.4) == []
    item = Message(id="item_b", role="assistant", content=())
    ended = told.ResponseDone(response=structs.replace(_response("b", "cancelled"), output=(item,)))
    assert phone.handle_server_event(ended, 0.5) == [
        SendEvent(wire.ItemTruncate(item_id="item_b", content_index=0, audio_end_ms=0))
    ]
    back = events(phone.handle_phone_event(KeyPressed("#"), 1.0))
    assert [type(event).__name__ for event in back] == [
        "ItemCreate",
        "ItemCreate",
        "ResponseCreate",
    ]


def test_the_rest_of_an_answer_answers_nothing_that_came_meanwhile() -> None:
    phone = line()
    phone.handle_server_event(created("a"), 0.0)
    phone.handle_server_event(called("a", "look_up"), 0.1)
    phone.handle_server_event(done("a"), 0.2)
    phone.handle_server_event(told.SpeechStarted(item_id="i", audio_start_ms=0), 0.3)
    (output,) = events(phone.function_returned("call_1", "{}"))  # the caller speaks
    assert isinstance(output, wire.ItemCreate)
    assert phone.handle_server_event(transcribed("i", "Mm-hm."), 0.5) == []
    rest = structs.replace(_response("b", "in_progress"), metadata={RESUMES: "a"})
    phone.handle_server_event(told.ResponseCreated(response=rest), 0.6)
    assert events(phone.handle_server_event(done("b"), 0.7)) == [wire.ResponseCreate()]


def test_what_is_still_owed_does_not_keep_the_goodbye_from_being_said() -> None:
    phone = line(settings=LineSettings(can_say=False, out_of_time="Over.", limit_s=30))
    phone.handle_server_event(told.SessionCreated(session={}), 0.0)
    phone.handle_server_event(told.SpeechStarted(item_id="i", audio_start_ms=0), 1.0)
    phone.handle_phone_event(KeyPressed("#"), 2.0)
    assert phone.handle_server_event(created("early"), 3.0) == [
        SendEvent(wire.ResponseCancel(response_id="early"))
    ]
    (ask,) = events(phone.tick(18.0))
    assert isinstance(ask, wire.ResponseCreate)
    phone.handle_server_event(created("bye"), 18.1)
    assert frames(phone.handle_server_event(delta("bye", b"x" * 160), 18.2))


def test_speech_in_silence_clears_nothing() -> None:
    phone = line()
    assert phone.handle_server_event(told.SpeechStarted(item_id="i", audio_start_ms=0), 1.0) == []


def test_nothing_is_done_after_the_end() -> None:
    phone = line()
    phone.handle_server_event(created("a"), 0.0)
    phone.handle_server_event(delta("a", b"x" * 16_000), 0.0)
    assert phone.handle_phone_event(Stopped(), 0.1) == [HangUp()]
    assert phone.tick(1.0) == []
    assert phone.due_s is None


def test_deadlines_are_in_the_future_once_they_were_met() -> None:
    phone = line(settings=LineSettings(greeting="Hello.", limit_s=60, out_of_time="Bye."))
    session = told.SessionCreated(session={})
    assert phone.handle_server_event(session, 0.0) == [Say("Hello.")]
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
            phone.handle_phone_event(Played(name), now_s)
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
    [KeyPressed("1"), KeyPressed("#"), CallerAudio(b"x" * 160), Played("m1"), Played("m3")]
)
SETTINGS = LineSettings(
    greeting="Hello.",
    goodbye="Bye.",
    out_of_time="Over.",
    tools=LINE_TOOLS,
    numbers={"x": "+1"},
    limit_s=30,
)


class Simulation:
    """A line to which anything may happen; keeps how it ended."""

    def __init__(self) -> None:
        self.phone, self.now_s, self.said = line(settings=SETTINGS), 0.0, 0
        self.ended: list[Action] = []
        self.do(self.phone.handle_server_event(told.SessionCreated(session={}), self.now_s))

    def do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                self.said = 0
            elif isinstance(action, HangUp | Transfer):
                self.ended.append(action)

    def step(self, step: object) -> None:
        phone, now_s = self.phone, self.now_s
        match step:
            case bool():
                self.said += 800
                words = [SpokenWord("Hi", self.said)]
                self.do(phone.announce(b"x" * 800, words, now_s, is_last=step))
            case float():
                self.now_s += step
            case "called":
                self.do(phone.function_returned("call_1", "{}"))
            case KeyPressed() | CallerAudio() | Played():
                self.do(phone.handle_phone_event(step, now_s))
            case _:
                self.do(phone.handle_server_event(step, now_s))  # type: ignore[arg-type]
        self.do(phone.tick(self.now_s))


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
    run = Simulation()
    phone = run.phone
    for step in steps:
        run.step(step)
        assert phone.due_s is None or phone.due_s > run.now_s
    while phone.due_s is not None and run.now_s < 200:
        run.now_s = max(run.now_s, phone.due_s)
        run.do(phone.tick(run.now_s))
    assert len(run.ended) == 1
    assert run.now_s < 200
