"""Who thinks and who speaks when: the paper's schedule, and what holds whatever happens."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.brain.chat_format import CHATML, Renderer
from engine.native.minds import Finish, Minds, MindsMode, Pace, Speak, TagWatch, Think
from tests._support.byte_tokens import byte_tokenizer

OPEN, CLOSE, NONE = (1, 2, 3), (4, 5, 6), (1, 7, 6)
MODES: tuple[MindsMode, ...] = ("think_first", "speak_first")
PAPER = Pace(thought_tokens=80, speech_tokens=100, speech_limit=1000)

Action = Think | Speak | Finish


def open_minds(mode: MindsMode, pace: Pace) -> Minds:
    return Minds(mode, pace, think_open=OPEN, think_close=CLOSE, no_thoughts=NONE)


def think(minds: Minds, tokens: int, *, ends: bool = False) -> None:
    for token in range(len(minds.thoughts), len(minds.thoughts) + tokens):
        minds.thought(100_000 + token)
    if ends:
        minds.thoughts_ended()


def speak(minds: Minds, tokens: int, *, ends: bool = False) -> None:
    for token in range(len(minds.said), len(minds.said) + tokens):
        minds.spoke(200_000 + token)
    if ends:
        minds.speech_ended()


def said(tokens: int) -> tuple[int, ...]:
    return tuple(range(200_000, 200_000 + tokens))


def rounds(minds: Minds, thoughts: int, speech: int) -> Iterator[list[Action]]:
    """The schedule of two minds of equal speed: ``thoughts`` and then the end of them, ``speech``
    and then the end of the turn."""
    while actions := minds.decide():
        yield actions
        for action in actions:
            if isinstance(action, Think):
                left = thoughts - len(minds.thoughts)
                think(minds, min(left, action.limit), ends=left < action.limit)
            elif isinstance(action, Speak):
                left = speech - len(minds.said)
                speak(minds, min(left, action.limit), ends=left < action.limit)


def test_the_papers_schedule_think_first() -> None:
    minds = open_minds("think_first", PAPER)
    assert list(rounds(minds, thoughts=200, speech=350)) == [
        [Think(80)],
        [Speak(3 + 80, CLOSE, 100), Think(80)],
        [Speak(3 + 160, CLOSE + said(100), 100), Think(80)],
        [Speak(3 + 200, CLOSE + said(200), 800)],
        [Finish("stop")],
    ]
    assert minds.formulation == [*OPEN, *range(100_000, 100_200)]
    assert tuple(minds.said) == said(350)


def test_the_papers_schedule_speak_first() -> None:
    minds = open_minds("speak_first", PAPER)
    assert list(rounds(minds, thoughts=200, speech=350)) == [
        [Speak(0, NONE, 100), Think(80)],
        [Speak(3 + 80, CLOSE + said(100), 100), Think(80)],
        [Speak(3 + 160, CLOSE + said(200), 100), Think(80)],
        [Speak(3 + 200, CLOSE + said(300), 700)],
        [Finish("stop")],
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_step_prefills_the_end_of_the_block_and_what_was_said(mode: MindsMode) -> None:
    pace = Pace(speech_tokens=20)
    schedule = rounds(open_minds(mode, pace), thoughts=1000, speech=400)
    steps = [action for actions in schedule for action in actions if isinstance(action, Speak)]
    assert len(steps) > 5
    for n, step in enumerate(steps, start=1):
        assert len(step.prefill) == len(CLOSE) + 20 * (n - 1)


@pytest.mark.parametrize(("mode", "before"), [("think_first", 80), ("speak_first", 0)])
@pytest.mark.parametrize("ahead_s", [0.0, 60.0])
def test_so_many_tokens_come_before_speech(mode: MindsMode, before: int, ahead_s: float) -> None:
    minds = open_minds(mode, Pace(speak_margin_s=1.0))
    while not any(isinstance(action, Speak) for action in minds.decide(ahead_s)):
        think(minds, 1)
    assert len(minds.thoughts) == before


def test_thoughts_that_end_soon_are_spoken_on_at_once() -> None:
    minds = open_minds("think_first", PAPER)
    minds.decide()
    think(minds, 5, ends=True)
    assert minds.decide() == [Speak(3 + 5, CLOSE, 1000)]
    minds = open_minds("think_first", PAPER)
    minds.decide()
    think(minds, 0, ends=True)
    assert minds.decide() == [Speak(0, NONE, 1000)]
    speak(minds, 4, ends=True)
    assert minds.decide() == [Finish("stop")]


def test_the_budget_ends_the_thoughts() -> None:
    pace = Pace(thought_limit=100, speech_tokens=20, speech_limit=50)
    assert list(rounds(open_minds("think_first", pace), thoughts=1000, speech=45)) == [
        [Think(80)],
        [Speak(3 + 80, CLOSE, 20), Think(20)],
        [Speak(3 + 100, CLOSE + said(20), 30)],
        [Finish("stop")],
    ]


def test_think_before_speak_and_no_thoughts_are_think_first() -> None:
    before = Pace(thought_tokens=300, thought_limit=300, speech_limit=50)
    assert list(rounds(open_minds("think_first", before), thoughts=200, speech=20)) == [
        [Think(300)],
        [Speak(3 + 200, CLOSE, 50)],
        [Finish("stop")],
    ]
    none = Pace(thought_limit=0, speech_limit=50)
    assert list(rounds(open_minds("think_first", none), thoughts=0, speech=20)) == [
        [Speak(0, NONE, 50)],
        [Finish("stop")],
    ]


def test_the_speech_limit_ends_the_answer() -> None:
    pace = Pace(speech_tokens=20, speech_limit=30)
    minds = open_minds("speak_first", pace)
    assert list(rounds(minds, thoughts=1000, speech=1000))[-1] == [Finish("length")]
    assert len(minds.said) == 30


def test_thoughts_go_on_while_speech_lasts_and_none_is_made_until_it_is_needed() -> None:
    minds = open_minds("think_first", Pace(speech_tokens=20, speak_margin_s=1.5))
    minds.decide()
    think(minds, 80)
    assert minds.decide() == [Speak(3 + 80, CLOSE, 20), Think(80)]
    speak(minds, 20)
    think(minds, 80)
    assert minds.decide(6.0) == [Think(80)]
    think(minds, 80)
    assert minds.decide(3.0) == [Think(80)]
    think(minds, 30)
    assert minds.decide(1.6) == []
    # The segment that F is in comes with the next step.
    assert minds.decide(1.5) == [Speak(3 + 240, CLOSE + said(20), 20)]


def test_thoughts_may_run_ahead_of_a_step_only_while_speech_lasts() -> None:
    minds = open_minds("speak_first", Pace(speak_margin_s=1.5))
    assert minds.decide() == [Speak(0, NONE, 20), Think(80)]
    think(minds, 80)
    assert minds.decide(0.5) == []
    assert minds.decide(2.0) == [Think(80)]


def test_a_step_waits_for_something_new_to_speak_on() -> None:
    minds = open_minds("think_first", Pace(speak_margin_s=1.5))
    minds.decide()
    think(minds, 80)
    minds.decide()
    speak(minds, 20)
    think(minds, 79)
    assert minds.decide(0.0) == []
    think(minds, 1)
    assert minds.decide(0.0) == [Speak(3 + 160, CLOSE + said(20), 20), Think(80)]


def test_whole_thoughts_are_spoken_on_whatever_the_clock_says() -> None:
    minds = open_minds("think_first", Pace(speak_margin_s=1.5))
    minds.decide()
    think(minds, 80)
    minds.decide()
    speak(minds, 20)
    think(minds, 7, ends=True)
    assert minds.decide(60.0) == [Speak(3 + 87, CLOSE + said(20), 492)]


def test_a_step_that_knows_all_goes_on_in_the_log_it_has() -> None:
    minds = open_minds("think_first", Pace())
    minds.decide()
    think(minds, 80)
    minds.decide()
    think(minds, 0, ends=True)  # while it speaks: there is nothing it does not know
    speak(minds, 20)
    assert minds.decide() == [Speak(3 + 80, CLOSE + said(20), 492, continues=True)]


def test_a_turn_ended_too_early_is_taken_up_with_more_thoughts() -> None:
    minds = open_minds("speak_first", Pace())
    minds.decide()
    speak(minds, 4, ends=True)  # "Let me think."
    assert minds.decide() == []
    think(minds, 80)
    assert minds.decide() == [Speak(3 + 80, CLOSE + said(4), 20), Think(80)]
    think(minds, 10, ends=True)
    speak(minds, 0, ends=True)  # it did not know the last ten
    assert minds.decide() == [Speak(3 + 90, CLOSE + said(4), 508)]
    speak(minds, 6, ends=True)
    assert minds.decide() == [Finish("stop")]


def test_a_step_that_fills_its_tokens_has_not_ended_the_turn() -> None:
    minds = open_minds("speak_first", Pace())
    minds.decide()
    speak(minds, 4, ends=True)
    think(minds, 80)
    minds.decide()
    think(minds, 0, ends=True)
    speak(minds, 20)  # knowing all
    assert minds.decide() == [Speak(3 + 80, CLOSE + said(24), 488, continues=True)]


def test_a_word_renews_the_patience() -> None:
    minds = open_minds("speak_first", Pace(patience=2))
    minds.decide()
    for words in (0, 1, 0, 1, 0):
        speak(minds, words, ends=True)
        think(minds, 80)
        assert minds.decide() == [
            Speak(3 + len(minds.thoughts), CLOSE + said(len(minds.said)), 20),
            Think(80),
        ]
    speak(minds, 0, ends=True)
    assert minds.decide() == [Finish("stop")]


def test_whole_thoughts_are_worth_asking_once_more() -> None:
    minds = open_minds("speak_first", Pace(patience=1))
    minds.decide()
    think(minds, 10, ends=True)
    speak(minds, 0, ends=True)
    assert minds.decide() == [Speak(3 + 10, CLOSE, 512)]
    speak(minds, 0, ends=True)
    assert minds.decide() == [Finish("stop")]


def test_a_mind_that_has_no_more_to_say_is_not_asked_for_ever() -> None:
    minds = open_minds("speak_first", Pace(patience=3))
    minds.decide()
    speak(minds, 4, ends=True)
    for _ in range(3):
        think(minds, 80)
        assert minds.decide()
        speak(minds, 0, ends=True)
    assert minds.decide() == [Finish("stop")]  # though thoughts go on
    with pytest.raises(RuntimeError, match="not asked to think"):
        think(minds, 1)


def test_who_was_not_asked_cannot_tell() -> None:
    minds = open_minds("think_first", Pace())
    for tell in (minds.thoughts_ended, minds.speech_ended):
        with pytest.raises(RuntimeError, match="was not asked"):
            tell()
    assert minds.thoughts_wanted == 0
    minds.decide()
    with pytest.raises(RuntimeError, match="not asked to speak"):
        minds.spoke(1)
    think(minds, 30)
    assert minds.thoughts_wanted == 50
    think(minds, 50)
    assert minds.thoughts_wanted == 0
    with pytest.raises(RuntimeError, match="not asked to think"):
        minds.thought(1)
    assert len(minds.thoughts) == 80


@pytest.mark.parametrize(
    "values",
    [
        {"thought_tokens": 0},
        {"speech_tokens": 0},
        {"speech_limit": 0},
        {"thought_limit": -1},
        {"patience": 0},
        {"speak_margin_s": -1.0},
        {"speak_margin_s": math.nan},
    ],
)
def test_a_bad_pace(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Pace(**values)  # type: ignore[arg-type]


class Course:
    """Drives two minds at will, and checks what they are asked."""

    def __init__(self, mode: MindsMode, pace: Pace) -> None:
        self.pace = pace
        self.minds = open_minds(mode, pace)
        self.thinks = self.speaks = self.finished = False
        self.thoughts_over = pace.thought_limit == 0
        self.steps = self.given = 0
        self.limits = {"F": 0, "A": 0}  # tokens each has left

    def decide(self, ahead_s: float) -> None:
        minds = self.minds
        for action in minds.decide(ahead_s):
            assert not self.finished
            match action:
                case Think(limit):
                    assert not self.thinks
                    assert not self.thoughts_over
                    assert limit >= 1
                    self.thinks, self.limits["F"] = True, limit
                case Speak(shared, prefill, limit):
                    assert not self.speaks
                    assert limit >= 1
                    self.check_prefix(shared, prefill)
                    self.steps += 1
                    self.speaks, self.limits["A"] = True, limit
                case Finish():
                    self.finished = True
        assert self.finished or self.thinks or self.speaks  # never do both wait

    def check_prefix(self, shared: int, prefill: tuple[int, ...]) -> None:
        thoughts = max(0, shared - len(OPEN))
        block = CLOSE if thoughts else NONE
        assert prefill == (*block, *self.minds.said)
        assert self.minds.formulation[:shared] == [
            *(OPEN if thoughts else ()),
            *self.minds.thoughts[:thoughts],
        ]
        whole = self.thoughts_over and thoughts == len(self.minds.thoughts)
        assert whole or thoughts % self.pace.thought_tokens == 0
        assert thoughts >= self.given
        self.given = thoughts

    def think(self, token: int | None) -> None:
        if token is None:
            self.minds.thoughts_ended()
        else:
            self.minds.thought(token)
            self.limits["F"] -= 1
        self.thoughts_over = self.thoughts_over or token is None
        self.thoughts_over |= len(self.minds.thoughts) == self.pace.thought_limit
        self.thinks = self.limits["F"] > 0 and token is not None
        assert self.minds.thoughts_wanted == (self.limits["F"] if self.thinks else 0)

    def speak(self, token: int | None) -> None:
        if token is None:
            self.minds.speech_ended()
        else:
            self.minds.spoke(token)
            self.limits["A"] -= 1
        self.speaks = self.limits["A"] > 0 and token is not None


paces = st.builds(
    Pace,
    thought_tokens=st.integers(1, 6),
    speech_tokens=st.integers(1, 5),
    thought_limit=st.integers(0, 25),
    speech_limit=st.integers(1, 25),
    speak_margin_s=st.sampled_from([0.0, 1.0, math.inf]),
    patience=st.integers(1, 3),
)
tokens = st.one_of(st.none(), *[st.integers(0, 1000)] * 6)  # None: the mind ends
ticks = st.tuples(st.sampled_from("FA"), tokens, st.sampled_from([0.0, 0.5, 1.5, math.inf]))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MODES), paces, st.lists(ticks, max_size=60))
def test_whatever_happens(
    mode: MindsMode, pace: Pace, script: list[tuple[str, int | None, float]]
) -> None:
    course = Course(mode, pace)
    thought: list[int] = []
    said: list[int] = []
    course.decide(0.0)
    for who, token, ahead_s in [*script, *[("F", 1, 0.0), ("A", 2, 0.0)] * 60]:
        if course.finished:
            break
        if who == "F" and course.thinks:
            course.think(token)
            thought += [] if token is None else [token]
        elif who == "A" and course.speaks:
            course.speak(token)
            said += [] if token is None else [token]
        course.decide(ahead_s)
    minds = course.minds
    assert course.finished
    assert minds.decide() == []
    assert list(minds.thoughts) == thought
    assert list(minds.said) == said
    assert len(thought) <= pace.thought_limit
    assert len(said) <= pace.speech_limit
    # One for each segment, one without any, one that knows all, and its continuation.
    assert course.steps <= math.ceil(len(thought) / pace.thought_tokens) + 3


def watch(ids: list[int]) -> tuple[list[int], bool]:
    text, tags = Renderer(byte_tokenizer(), CHATML).stream(), TagWatch()
    thoughts: list[int] = []
    for token in ids:
        thoughts += [certain for certain, _ in tags.feed(token, text.feed(token))]
        if tags.is_closed:
            break
    return thoughts, tags.is_closed


@given(st.text("</think>é🎉 a", max_size=20))
def test_thoughts_are_what_comes_before_the_tag(thoughts: str) -> None:
    tokenizer = byte_tokenizer()
    encoded = tokenizer.encode(f"{thoughts}</think>\n\nHi", add_special_tokens=False).ids
    found, closed = watch(encoded)
    assert closed
    before = f"{thoughts}</think>".partition("</think>")[0]
    assert tokenizer.decode(found) == before


def test_a_tag_within_longer_tokens() -> None:
    tags = TagWatch()
    assert tags.feed(1, "so ") == [(1, "so ")]
    assert tags.feed(2, "a < b") == [(2, "a < b")]
    assert tags.feed(3, "</") == []
    assert tags.feed(4, "th") == []
    assert tags.feed(5, "en") == [(3, "</"), (4, "th"), (5, "en")]
    assert tags.feed(6, "\n</") == []
    assert tags.feed(7, "think") == []
    assert tags.feed(8, ">\n\n") == []
    assert tags.is_closed
    with pytest.raises(RuntimeError, match="have ended"):
        tags.feed(9, "Hi")
