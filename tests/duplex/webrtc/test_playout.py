"""What is played, frame by frame, and what is known of it."""

from hypothesis import given
from hypothesis import strategies as st

from duplex.webrtc.playout import FRAME_SAMPLES, Began, Cut, Ended, Pace, Playout

FRAME = 2 * FRAME_SAMPLES


def audio(samples: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * samples


def drained(playout: Playout, frames: int) -> tuple[bytes, list[Began | Ended]]:
    out = b""
    notes: list[Began | Ended] = []
    for _ in range(frames):
        part, told = playout.frame()
        assert len(part) == FRAME
        out += part
        notes += told
    return out, notes


def test_silence_is_played_while_there_is_nothing() -> None:
    assert Playout().frame() == (bytes(FRAME), [])


def test_a_response_begins_and_ends_once() -> None:
    playout = Playout()
    playout.put("r", "i", audio(3 * FRAME_SAMPLES))
    out, notes = drained(playout, 5)
    assert notes == [Began("r")]  # more of it may come
    assert out == audio(3 * FRAME_SAMPLES) + bytes(2 * FRAME)
    playout.finish("r")
    assert playout.frame()[1] == [Ended("r")]
    assert playout.frame()[1] == []


def test_a_part_of_a_frame_waits_unless_it_is_the_last() -> None:
    playout = Playout()
    playout.put("r", "i", audio(FRAME_SAMPLES // 2))
    assert playout.frame() == (bytes(FRAME), [])
    playout.finish("r")
    out, notes = playout.frame()
    assert out == audio(FRAME_SAMPLES // 2) + bytes(FRAME // 2)
    assert notes == [Began("r"), Ended("r")]


def test_items_and_responses_follow_one_another_without_a_gap() -> None:
    playout = Playout()
    for response, item in (("r1", "a"), ("r1", "b"), ("r2", "c")):
        playout.put(response, item, audio(FRAME_SAMPLES * 3 // 2))
    playout.finish("r1")
    playout.finish("r2")
    out, notes = drained(playout, 5)
    assert out == audio(FRAME_SAMPLES * 9 // 2) + bytes(FRAME // 2)
    assert notes == [Began("r1"), Ended("r1"), Began("r2"), Ended("r2")]


def test_what_was_heard_of_each_item_is_known_when_it_is_cut() -> None:
    playout = Playout()
    playout.put("r", "a", audio(FRAME_SAMPLES * 2))
    playout.put("r", "b", audio(FRAME_SAMPLES * 9))
    playout.put("r", "c", audio(FRAME_SAMPLES * 9))
    drained(playout, 5)
    cuts, cleared = playout.clear()
    assert cuts == [Cut("b", 60), Cut("c", 0)]
    assert cleared == "r"
    assert drained(playout, 3) == (bytes(3 * FRAME), [])
    assert playout.clear() == ([], None)


def test_a_response_that_was_heard_whole_is_not_cut() -> None:
    playout = Playout()
    playout.put("r", "a", audio(FRAME_SAMPLES))
    playout.finish("r")
    playout.frame()
    assert playout.clear() == ([], None)


def test_a_response_that_falls_silent_in_between_is_cut_there() -> None:
    playout = Playout()
    playout.put("r", "a", audio(FRAME_SAMPLES))
    drained(playout, 3)
    assert playout.clear() == ([Cut("a", 20)], "r")


@given(st.lists(st.integers(0, 3 * FRAME_SAMPLES), max_size=30), st.lists(st.booleans()))
def test_nothing_is_lost_or_doubled(sizes: list[int], plays: list[bool]) -> None:
    playout = Playout()
    sent, out = b"", b""
    for index, size in enumerate(sizes):
        part = audio(size, index + 1)
        sent += part
        playout.put("r", f"i{index % 3}", part)
        if index < len(plays) and plays[index]:
            out += playout.frame()[0]
    playout.finish("r")
    out += drained(playout, len(sent) // FRAME + 2)[0]
    assert out.replace(b"\0\0", b"") == sent.replace(b"\0\0", b"")
    assert playout.clear() == ([], None)


def test_frames_are_due_every_20_ms_and_a_stall_does_not_flood() -> None:
    pace = Pace()
    due = [pace.next_s(10.0) for _ in range(4)]
    assert [round(at - 10, 3) for at in due] == [0, 0.02, 0.04, 0.06]
    late = [pace.next_s(20.0) for _ in range(8)]
    assert sum(round(at, 3) < 20 for at in late) == 5
    assert round(late[-1], 3) == 20.04
