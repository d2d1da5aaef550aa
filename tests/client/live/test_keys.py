"""A terminal tells when a key comes, never when it is let go."""

from client.live.keys import REPEAT_S, PushToTalk, Step, split_keys


def test_pressed_and_pressed_again():
    push = PushToTalk()
    assert push.press(1.0) is Step.BEGIN
    assert push.tick(9.0) is None
    assert push.talking
    assert push.press(9.0) is None
    assert push.tick(9.0 + 0.9 * REPEAT_S) is None
    assert push.tick(9.0 + REPEAT_S) is Step.END
    assert not push.talking
    assert push.tick(20.0) is None
    assert push.press(21.0) is Step.BEGIN


def test_held_and_let_go():
    push = PushToTalk()
    assert push.press(1.0) is Step.BEGIN
    at_s = 1.6  # the first repetition comes late, the others fast
    while at_s < 3.0:
        assert push.press(at_s) is None
        assert push.tick(at_s + 0.09) is None
        at_s += 0.09
    assert push.talking
    assert push.tick(at_s + REPEAT_S) is Step.END


def test_arrows_are_no_keys():
    assert split_keys("\x1b[A") == []
    assert split_keys("\x1b") == ["\x1b"]
    assert split_keys("\x1b ") == ["\x1b", " "]
    assert split_keys("mq") == ["m", "q"]
