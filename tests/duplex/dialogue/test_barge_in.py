"""Speech over an answer, in virtual time: what stops it, and what does not."""

from dataclasses import replace
from typing import Any

import pytest

from duplex.config import Config, ServerConfig, TurnConfig
from duplex.interruption.judge import InterruptionConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.turns import PatientJudge
from duplex.testing.virtual_time import virtual
from engine.types import Speech
from tests._support.interrupting import (
    ANSWER,
    LAST_S,
    QUESTION,
    WHOLE,
    ask,
    created,
    falsely,
    interrupt,
    last,
    responses,
    retrieve,
    words_of,
)


def test_a_sound_too_short_to_be_an_interruption_does_nothing() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            await ask(caller, 1.0)
            for _ in range(3):
                await caller.speak(0.1)
                await caller.pause(0.5)
            await caller.pause(LAST_S)
            assert len(caller.all("input_audio_buffer.speech_started")) == 1
            (response,) = responses(caller)
            assert response["status"] == "completed"
            assert words_of(response) == WHOLE
            assert len(caller.engine.sessions[0].histories) == 1

    virtual(call())


def test_speech_over_an_answer_is_told_when_it_is_proven_and_from_its_onset() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            await ask(caller, 1.0)
            before = len(caller.events)
            onset_s = caller.now_s
            await caller.speak(0.6)
            told = caller.events[before:]
            at = [event["type"] for event in told].index("input_audio_buffer.speech_started")
            # Five frames of 32 ms; the first may hold little of it, and 20 ms are sent at once.
            assert 0.108 <= caller.times_s[before + at] - onset_s <= 0.16
            # 300 ms of padding before the onset; the detector works in frames of 32 ms.
            start_s = told[at]["audio_start_ms"] / 1000
            assert start_s == pytest.approx(onset_s - 0.3, abs=0.04)
            heard_s = sum(map(len, caller.engine.sessions[0].audio)) / 16_000
            assert heard_s == pytest.approx(0.9, abs=0.06)

    virtual(call())


def test_words_that_mean_it_give_the_answer_up_before_the_next_is_begun() -> None:
    async def call() -> None:
        script = Script((QUESTION, "Wait, what?"), says=(ANSWER * 4, (Speech("Yes?"),)))
        async with Caller(script) as caller:
            await interrupt(caller)
            assert caller.engine.sessions[0].cancelled == 0
            await caller.pause(2.0)
            assert caller.engine.sessions[0].cancelled == 1
            assert [r.get("metadata") for r in created(caller)] == [None, None]
            assert words_of(responses(caller)[1]) == "Yes?"

    virtual(call())


def test_what_begins_like_a_backchannel_and_goes_on_is_meant() -> None:
    async def call() -> None:
        script = Script((QUESTION, "Yeah.", "Yeah, but why?"), (ANSWER, (Speech("Because."),)))
        async with Caller(script) as caller:
            await interrupt(caller)
            await caller.pause(0.2)  # the words so far are known; less than ends a turn
            await caller.speak(0.5)
            await caller.pause(2.0)
            assert words_of(responses(caller)[-1]) == "Because."
            assert len(responses(caller)) == 2
        assert caller.heard_by_brain[-1][-1] == ("user", "Yeah, but why?")

    virtual(call())


def test_whoever_speaks_on_is_believed_before_the_words_are_known() -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4,))) as caller:
            await ask(caller, 1.0)
            await caller.speak(1.9)
            assert caller.engine.sessions[0].cancelled == 0
            await caller.speak(0.4)
            assert caller.engine.sessions[0].cancelled == 1

    virtual(call())


def test_speech_that_outlasts_the_answer_is_a_turn_from_its_onset() -> None:
    async def call() -> None:
        async with Caller(
            Script((QUESTION, "Yes."), says=((Speech("Shall I do it?"),),))
        ) as caller:
            await ask(caller, 14 * 0.06 - 0.1)
            onset_s = caller.now_s
            await caller.speak(0.14)  # too short to be an interruption
            await caller.pause(1.5)
            (_, started) = caller.all("input_audio_buffer.speech_started")
            assert started["audio_start_ms"] / 1000 == pytest.approx(onset_s - 0.3, abs=0.04)
            assert responses(caller)[0]["status"] == "completed"
        assert caller.heard_by_brain[-1][1:] == [
            ("user", QUESTION),
            ("assistant", "Shall I do it?"),
            ("user", "Yes."),
        ]

    virtual(call())


@pytest.mark.parametrize("detection", [{"create_response": False}, {"type": "none"}])
def test_those_who_do_without_are_interrupted_for_good(detection: dict[str, Any]) -> None:
    async def call() -> None:
        resumes = detection.get("type") != "none"
        config = Config(turn=TurnConfig(resume_interrupted=resumes))
        async with Caller(falsely(says=(ANSWER * 4,)), config) as caller:
            await caller.speak(1.0)
            await caller.pause(1.0)
            if resumes:
                vad = {"turn_detection": {"type": "server_vad", **detection}}
                caller.send("session.update", session={"type": "realtime", "audio": {"input": vad}})
            await caller.speak(0.3)
            assert caller.engine.sessions[0].cancelled == 1
            await caller.pause(3.0)
            assert all(response.get("metadata") is None for response in created(caller))

    virtual(call())


def test_speech_interrupts_nothing_where_the_client_wants_it_so() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            vad = {"turn_detection": {"type": "server_vad", "interrupt_response": False}}
            caller.send("session.update", session={"type": "realtime", "audio": {"input": vad}})
            await ask(caller, 1.0)
            onset_s = caller.now_s
            await caller.speak(0.3)
            started = caller.times_s[last(caller, "input_audio_buffer.speech_started")]
            assert started - onset_s < 0.1
            await caller.pause(LAST_S)
            assert responses(caller)[0]["status"] == "completed"

    virtual(call())


def test_an_ear_that_is_slower_than_the_turn_still_decides() -> None:
    async def call() -> None:
        script = Script((QUESTION, "Mm-hm."), (ANSWER,), ear_s=1.5)
        async with Caller(script) as caller:
            cut = await interrupt(caller)
            await caller.pause(1.1)
            assert len(caller.all("input_audio_buffer.committed")) == 2
            assert len(created(caller)) == 1
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert resumed["metadata"] == {"duplex_resumes": cut["id"]}
            assert await retrieve(caller, cut["output"][0]["id"]) + words_of(resumed) == WHOLE

    virtual(call())


def test_a_second_turn_before_the_first_is_understood_means_it() -> None:
    async def call() -> None:
        words = (QUESTION, "Mm-hm. And why?")  # the second pass is over both
        script = Script(words, (ANSWER * 4, (Speech("Oh."),)), 1.5)
        async with Caller(script) as caller:
            await interrupt(caller)
            await caller.pause(1.1)
            assert caller.engine.sessions[0].cancelled == 0
            await caller.speak(0.5)
            assert caller.engine.sessions[0].cancelled == 1
            await caller.pause(6.0)
            assert words_of(responses(caller)[-1]) == "Oh."
            assert len(responses(caller)) == 2
        assert caller.heard_by_brain[-1][-1] == ("user", "Mm-hm. And why?")

    virtual(call())


def test_interruptions_are_counted() -> None:
    async def call() -> str:
        async with Caller(Script((QUESTION, "Mm-hm.", "Stop it!"), (ANSWER * 4,))) as caller:
            await interrupt(caller)
            await caller.pause(2.0)
            await caller.speak(0.5)
            await caller.pause(1.0)
            return caller.metrics.render({})

    told = virtual(call())
    assert 'duplex_interruptions_total{meant="no"} 1' in told
    assert 'duplex_interruptions_total{meant="yes"} 1' in told


class SureJudge(PatientJudge):
    """Stands in for one that takes whatever is said for a backchannel, by its sound."""

    @property
    def sounds_false(self) -> float | None:
        return 0.99


@pytest.mark.parametrize(
    ("words", "judge", "resumes"),
    [
        ("Man.", SureJudge, True),
        ("Man.", PatientJudge, False),
        ("Stop!", SureJudge, False),
    ],
)
def test_a_misheard_backchannel_is_known_by_its_sound(
    words: str, judge: type[PatientJudge], resumes: bool
) -> None:
    async def call() -> None:
        caller = Caller(Script((QUESTION, words), (ANSWER * 4, (Speech("Yes?"),))))
        caller.parts = replace(caller.parts, open_judge=judge)
        async with caller:
            cut = await interrupt(caller)
            await caller.pause(2.0)
            told = {"duplex_resumes": cut["id"]} if resumes else None
            assert created(caller)[1].get("metadata") == told

    virtual(call())


ASKING = (Speech("Shall I book the early train? "), *ANSWER)  # it has asked after 1.8 s


@pytest.mark.parametrize("words", ["Yes.", "Okay.", "Mm-hm."])
@pytest.mark.parametrize(
    ("heard_s", "is_answer"),
    [(0.8, False), (1.5, True), (1.9, True), (3.9, False)],
)
def test_a_short_yes_to_a_question_is_an_answer(
    words: str, heard_s: float, is_answer: bool
) -> None:
    async def call() -> None:
        says = (ASKING, (Speech("It is booked."),))
        async with Caller(Script((QUESTION, words), says)) as caller:
            await ask(caller, heard_s)
            await caller.speak(0.3)
            await caller.pause(2.0)
            cut, then = created(caller)[:2]
            if is_answer:
                assert then.get("metadata") is None
                assert words_of(responses(caller)[1]) == "It is booked."
                assert caller.heard_by_brain[-1][-1] == ("user", words)
            else:
                assert then["metadata"] == {"duplex_resumes": cut["id"]}

    virtual(call())


def test_a_word_at_the_last_word_is_for_the_model_to_answer() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(playout_lead_s=1000.0))
        script = Script((QUESTION, "Okay."), (ANSWER, (Speech("Anything else?"),)))
        async with Caller(script, config) as caller:
            await ask(caller, LAST_S - 0.2)
            await caller.speak(0.3)
            await caller.pause(2.0)
            assert [r.get("metadata") for r in created(caller)] == [None, None]
            assert words_of(responses(caller)[1]) == "Anything else?"

    virtual(call())


@pytest.mark.parametrize("by_voice", [True, False])
def test_only_interruptions_by_voice_are_counted(by_voice: bool) -> None:
    async def call() -> str:
        async with Caller(falsely(says=(ANSWER * 4,))) as caller:
            if by_voice:  # and for good: the client answers turns itself
                vad = {"turn_detection": {"type": "server_vad", "create_response": False}}
                caller.send("session.update", session={"type": "realtime", "audio": {"input": vad}})
                content = [{"type": "input_text", "text": QUESTION}]
                item = {"type": "message", "role": "user", "content": content}
                caller.send("conversation.item.create", item=item)
                caller.send("response.create")
                await caller.pause(2.0)
                await caller.speak(0.3)
            else:
                await interrupt(caller)
                caller.send("response.cancel")
            await caller.pause(1.0)
            return caller.metrics.render({})

    told = virtual(call())
    assert ('duplex_interruptions_total{meant="yes"} 1' in told) == by_voice
    assert 'meant="no"' not in told


@pytest.mark.parametrize("ear_s", [0.05, 0.2, 0.3])
def test_what_was_committed_before_does_not_decide_what_the_caller_means_now(ear_s: float) -> None:
    async def call() -> None:
        script = Script(
            (QUESTION, "", "Wait, stop that please."), (ANSWER * 4, (Speech("Stopped."),)), ear_s
        )
        async with Caller(script) as caller:
            await ask(caller, 1.0)
            await caller.speak(0.1)
            caller.send("input_audio_buffer.commit")  # it is not understood yet when
            await caller.speak(1.2)  # the caller interrupts
            await caller.pause(2.0)
            assert [r.get("metadata") for r in created(caller)] == [None, None]
            assert words_of(responses(caller)[1]) == "Stopped."

    virtual(call())


def test_the_configured_proof_is_the_measured_one() -> None:
    assert TurnConfig().interruption_ms == InterruptionConfig().speech_ms


def test_a_long_wait_for_more_words_does_not_turn_a_backchannel_into_an_interruption() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            vad = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 2500}}
            caller.send("session.update", session={"type": "realtime", "audio": {"input": vad}})
            await ask(caller, 1.0)
            await caller.speak(0.5)
            await caller.pause(LAST_S + 3.0)
            cut, resumed = responses(caller)
            assert resumed["metadata"] == {"duplex_resumes": cut["id"]}
            assert resumed["status"] == "completed"

    virtual(call())
