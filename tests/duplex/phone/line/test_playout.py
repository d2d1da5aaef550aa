"""Pacing, marks and what was heard, by the sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplex.phone.events import PCMA, PCMU, Encoding
from duplex.phone.line.playout import LEAD_S, Cut, Frame, Mark, Playout

FRAME = 160


def playout(*, has_marks: bool = True, encoding: Encoding = PCMU, frame_ms: int = 20) -> Playout:
    return Playout(encoding, frame_ms, has_marks=has_marks)


def frames(actions: list[Frame | Mark]) -> int:
    return sum(isinstance(action, Frame) for action in actions)


def marks(actions: list[Frame | Mark]) -> list[str]:
    return [action.name for action in actions if isinstance(action, Mark)]


def test_a_burst_of_200_ms_goes_out_then_a_frame_each_20_ms() -> None:
    play = playout()
    play.put("a", b"x" * FRAME * 50)
    assert frames(play.tick(100.0)) == 10
    assert play.due_s == pytest.approx(100.02)
    assert frames(play.tick(100.019)) == 0
    assert frames(play.tick(100.0201)) == 1
    assert frames(play.tick(100.1001)) == 4  # what was due meanwhile, no more
    assert frames(play.tick(1024.0)) in (9, 10)  # a gap is no debt; sums of 0.02 are not exact


def test_frames_are_whole_and_the_last_is_filled_with_silence() -> None:
    play = playout(encoding=PCMA)
    play.put("a", b"x" * 170)
    assert frames(play.tick(0.0)) == 1  # the rest may grow
    play.finish()
    last = [a.audio for a in play.tick(0.0) if isinstance(a, Frame)]
    assert last == [b"x" * 10 + b"\xd5" * 150]
    assert play.due_s is None


@given(cuts=st.lists(st.integers(0, 700), max_size=12))
def test_any_cuts_give_the_same_frames(cuts: list[int]) -> None:
    audio = bytes(i % 251 for i in range(sum(cuts)))
    play, at, now_s, sent = playout(), 0, 0.0, b""
    for cut in cuts:
        play.put("a", audio[at : at + cut])
        at += cut
        now_s += 0.013
        sent += b"".join(a.audio for a in play.tick(now_s) if isinstance(a, Frame))
    play.finish()
    while play.due_s is not None:
        now_s = max(now_s, play.due_s)
        sent += b"".join(a.audio for a in play.tick(now_s) if isinstance(a, Frame))
    assert sent == audio + PCMU.silence * (-len(audio) % FRAME)


def test_marks_follow_each_100_ms_and_the_end_and_have_names_of_their_own() -> None:
    play = playout()
    play.put("a", b"x" * FRAME * 11)
    play.finish()
    names = marks(play.tick(0.0))
    assert len(names) == 2  # after 5 and 10 frames
    names += marks(play.tick(0.5))  # and the last
    assert len(names) == 3
    assert len(set(names)) == 3


def test_what_was_heard_is_what_the_marks_say_and_between_them_the_time() -> None:
    play = playout()
    play.put("a", b"x" * FRAME * 10)
    play.finish()
    first, last = marks(play.tick(10.0))
    assert play.heard(10.0) == 0
    assert play.heard(10.05) == 400
    assert play.heard(11.0) == 5 * FRAME  # never past a mark that has not come back
    play.played(first, 10.3)  # late: the line is slow
    assert play.heard(10.3) == 5 * FRAME
    assert play.heard(10.32) == 6 * FRAME
    play.played(last, 10.5)
    assert play.heard(10.5) == 10 * FRAME
    play.played(first, 10.6)  # it was here already
    play.played("nonsense", 10.6)
    assert play.heard(10.6) == 10 * FRAME
    assert not play.is_playing(10.6)


def test_clearing_tells_what_was_cut_and_returned_marks_of_it_tell_nothing() -> None:
    play = playout()
    play.put("a", b"x" * FRAME * 5)
    play.put("b", b"y" * FRAME * 50)
    play.put("c", b"z" * FRAME)
    names = marks(play.tick(0.0))
    play.played(names[0], 0.1)
    assert play.clear(0.14) == [Cut("b", 2 * FRAME), Cut("c", 0)]
    for name in names[1:]:  # as Twilio returns them at once
        play.played(name, 0.15)
    assert not play.is_playing(0.15)
    assert play.clear(0.16) == []
    play.put("d", b"x" * FRAME * 10)
    play.tick(0.2)
    assert play.clear(0.24) == [Cut("d", 320)]


def test_an_item_that_was_heard_to_its_end_is_not_cut() -> None:
    play = playout()
    play.put("a", b"x" * FRAME)
    play.finish()
    (name,) = marks(play.tick(0.0))
    assert play.is_playing(0.5)  # its mark is outstanding
    play.played(name, 0.6)
    assert play.clear(0.6) == []


def test_marks_that_never_come_back_hold_nothing_up_for_ever() -> None:
    play = playout()
    play.put("a", b"x" * FRAME)
    play.finish()
    play.tick(0.0)
    assert play.is_playing(2.9)
    assert play.settles_s == pytest.approx(3.02)
    assert not play.is_playing(3.03)


def test_without_marks_the_time_tells_alone_and_never_more_than_was_sent() -> None:
    play = playout(has_marks=False)
    play.put("a", b"x" * FRAME * 20)
    assert marks(play.tick(5.0)) == []
    assert play.heard(5.1) == 800
    assert play.heard(50.0) == 10 * FRAME
    play.tick(6.0)  # an underrun: playing begins anew
    assert play.heard(6.02) == 11 * FRAME
    assert play.clear(6.02) == [Cut("a", 11 * FRAME)]
    assert not play.is_playing(6.03)


@pytest.mark.parametrize("has_marks", [True, False])
@given(data=st.data())
def test_what_was_heard_never_goes_back_nor_past_what_was_sent(
    has_marks: bool, data: st.DataObject
) -> None:
    play, now_s, sent, heard = playout(has_marks=has_marks), 0.0, 0, 0
    outstanding: list[str] = []
    for _ in range(data.draw(st.integers(1, 30))):
        match data.draw(st.sampled_from(["put", "tick", "mark", "clear"])):
            case "put":
                play.put("a", b"x" * data.draw(st.integers(0, 4000)))
            case "tick":
                now_s += data.draw(st.floats(0, 0.5))
                actions = play.tick(now_s)
                sent += frames(actions) * FRAME
                outstanding += marks(actions)
                assert play.due_s is None or play.due_s > now_s
            case "mark" if outstanding:
                play.played(outstanding.pop(0), now_s)
            case "clear":
                play.clear(now_s)
                heard = play.heard(now_s)
        assert heard <= play.heard(now_s) <= sent
        heard = play.heard(now_s)


def test_wide_audio_and_long_frames() -> None:
    play = playout(encoding=Encoding("pcm16", 8000), frame_ms=100)
    play.put("a", b"xy" * 800 * 4)
    actions = play.tick(0.0)
    assert {len(a.audio) for a in actions if isinstance(a, Frame)} == {1600}
    assert frames(actions) == round(LEAD_S / 0.1)
    assert len(marks(actions)) == frames(actions)
