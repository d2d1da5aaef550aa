"""Speech over an answer, in virtual time: what stops it, what does not, and how it goes on."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from calls import Caller, PatientJudge, virtual

from duplex.config import Config, ServerConfig, TurnConfig
from duplex.interruption import InterruptionConfig
from engine.errors import EngineError
from engine.fake import Script
from engine.types import Finished, Piece, Speech
from tts.fake import FakeVoice

QUESTION = "What time is it?"
ANSWER = tuple(Speech(f"This is sentence number {n}. ") for n in range(1, 6))  # 1.5 s each
WHOLE = "".join(piece.text for piece in ANSWER)
LAST_S = len(WHOLE) * 0.06


def falsely(*more: str, says: Sequence[Sequence[Any]] = (ANSWER,)) -> Script:
    """The caller asks, and says "mm-hm" into the answer."""
    return Script((QUESTION, "Mm-hm.", *more), says)


def audio_of(caller: Caller, response: dict[str, Any]) -> bytes:
    """All audio that was sent of a response."""
    deltas = caller.all("response.output_audio.delta")
    mine = [event["delta"] for event in deltas if event["response_id"] == response["id"]]
    return b"".join(map(base64.b64decode, mine))


def words_of(response: dict[str, Any]) -> str:
    """The transcript of a response."""
    return "".join(
        part["transcript"] for item in response["output"] for part in item.get("content", ())
    )


def responses(caller: Caller) -> list[dict[str, Any]]:
    """What was told of the responses that are done."""
    return [event["response"] for event in caller.all("response.done")]


async def ask(caller: Caller, heard_s: float) -> None:
    """Take a turn, and hear so much of the answer."""
    await caller.speak(1.0)
    while not caller.all("response.output_audio.delta"):
        await caller.pause(0.02)
    await caller.pause(heard_s)


async def retrieve(caller: Caller, item_id: str) -> str:
    """The transcript of an item as the conversation holds it."""
    caller.send("conversation.item.retrieve", item_id=item_id)
    await caller.pause(0.02)
    item = caller.all("conversation.item.retrieved")[-1]["item"]
    text: str = item["content"][0]["transcript"]
    return text


@cache
def whole_audio() -> bytes:
    """The answer that nobody interrupted."""

    async def call() -> bytes:
        async with Caller(Script(says=(ANSWER,))) as caller:
            await ask(caller, LAST_S)
            return audio_of(caller, responses(caller)[0])

    return virtual(call())


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


def test_an_answer_goes_on_where_a_false_interruption_cut_it() -> None:
    async def call() -> None:
        async with Caller(falsely(QUESTION)) as caller:
            await ask(caller, 2.0)
            await caller.speak(0.3)
            await caller.pause(0.7)
            cut, *_ = responses(caller)
            assert cut["status_details"]["reason"] == "turn_detected"
            begun = caller.all("response.created")[1]["response"]
            assert begun["metadata"] == {"duplex_resumes": cut["id"]}
            stopped = caller.times_s[_last(caller, "input_audio_buffer.speech_stopped")]
            first = caller.times_s[caller.kinds().index("response.created", 30)]
            assert first - stopped < 0.01
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert resumed["status"] == "completed"
            heard = await retrieve(caller, cut["output"][0]["id"])
            assert heard + words_of(resumed) == WHOLE
            assert 0 < len(heard) < len(WHOLE)
            assert len(caller.engine.sessions[0].histories) == 1  # the same answer
            await caller.speak(1.0)
            await caller.pause(2.0)
        assert caller.heard_by_brain[-1][1:] == [
            ("user", QUESTION),
            ("assistant", heard),
            ("user", "Mm-hm."),
            ("assistant", words_of(resumed)),
            ("user", QUESTION),
        ]

    virtual(call())


def _last(caller: Caller, kind: str) -> int:
    kinds = caller.kinds()
    return len(kinds) - 1 - kinds[::-1].index(kind)


@pytest.mark.parametrize("lead_s", [0.3, 2.0, 1000.0])
@pytest.mark.parametrize("heard_s", [(0.0,), (1.1, 0.7), (2.5, 0.1, 0.9)])
def test_nothing_is_lost_or_said_twice_wherever_it_is_cut(
    heard_s: tuple[float, ...], lead_s: float
) -> None:
    async def call() -> tuple[list[bytes], list[int], str]:
        config = Config(server=ServerConfig(playout_lead_s=lead_s))
        async with Caller(falsely(), config) as caller:
            await ask(caller, 0.0)
            for seconds in heard_s:
                await caller.pause(seconds)
                await caller.speak(0.3)
                await caller.pause(0.6)
            await caller.pause(LAST_S)
            done = responses(caller)
            cuts = [event["audio_end_ms"] for event in caller.all("conversation.item.truncated")]
            items = [response["output"][0]["id"] for response in done]
            words = "".join([await retrieve(caller, item_id) for item_id in items])
            return [audio_of(caller, response) for response in done], cuts, words

    parts, cuts, words = virtual(call())
    assert words == WHOLE
    assert len(parts) == len(cuts) + 1 == len(heard_s) + 1
    rest = whole_audio()
    for part, following, cut_ms in zip(parts, parts[1:], cuts, strict=False):
        assert rest.startswith(part)  # sent; not all of it was heard
        ends = range(cut_ms * 24, cut_ms * 24 + 24)  # told in whole ms
        end = next(n for n in ends if rest[n * 2 :].startswith(following[:4800]))
        rest = rest[end * 2 :]
    assert parts[-1] == rest


async def interrupt(caller: Caller, script_words_s: float = 0.3) -> dict[str, Any]:
    """Hear some of the answer, say something over it; returns the response that was cut."""
    await ask(caller, 2.0)
    await caller.speak(script_words_s)
    await caller.pause(0.04)  # the words are not known yet
    cut: dict[str, Any] = responses(caller)[-1]
    assert cut["status_details"]["reason"] == "turn_detected"
    return cut


def created(caller: Caller) -> list[dict[str, Any]]:
    """What was told of the responses when they began."""
    return [event["response"] for event in caller.all("response.created")]


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


def test_a_false_interruption_at_the_last_word_leaves_nothing_to_say() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(playout_lead_s=1000.0))
        async with Caller(falsely(), config) as caller:
            detection = {"type": "server_vad", "idle_timeout_ms": 5000}
            sound = {"input": {"turn_detection": detection}}
            caller.send("session.update", session={"type": "realtime", "audio": sound})
            await ask(caller, LAST_S - 0.2)
            await caller.speak(0.3)
            await caller.pause(1.0)
            assert len(created(caller)) == 1
            item_id = responses(caller)[0]["output"][0]["id"]
            assert await retrieve(caller, item_id) == WHOLE
            assert not caller.all("input_audio_buffer.timeout_triggered")
            await caller.pause(5.0)  # the answer counts as heard: now it is for the caller to speak
            assert caller.all("input_audio_buffer.timeout_triggered")

    virtual(call())


def test_the_clients_truncate_decides_where_the_answer_goes_on() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            cut = await interrupt(caller)
            reckoned = caller.one("conversation.item.truncated")["audio_end_ms"]
            item_id = cut["output"][0]["id"]
            end_ms = reckoned - 800  # its buffers are long
            caller.send(
                "conversation.item.truncate",
                item_id=item_id,
                content_index=0,
                audio_end_ms=end_ms,
            )
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert audio_of(caller, resumed) == whole_audio()[end_ms * 48 :]
            assert await retrieve(caller, item_id) + words_of(resumed) == WHOLE

    virtual(call())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.cancel", {}),
        ("input_audio_buffer.clear", {}),
        ("input_audio_buffer.commit", {}),
        ("conversation.item.delete", {"item_id": "cut"}),
    ],
)
def test_what_the_client_takes_in_hand_is_not_resumed(kind: str, fields: dict[str, str]) -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4, (Speech("Yes?"),)))) as caller:
            cut = await interrupt(caller)
            known = {"cut": cut["output"][0]["id"]}
            caller.send(kind, **{key: known[value] for key, value in fields.items()})
            await caller.pause(2.0)
            assert not caller.all("error")
            assert caller.engine.sessions[0].cancelled == 1
            assert all(response.get("metadata") is None for response in created(caller))
            await caller.speak(1.0)
            await caller.pause(2.0)
            assert responses(caller)[-1]["status"] == "completed"

    virtual(call())


def test_a_response_that_the_client_asks_for_takes_the_place_of_the_suspended_one() -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4, (Speech("Yes?"),)))) as caller:
            await interrupt(caller)
            caller.send("response.create")
            await caller.pause(2.0)
            assert not caller.all("error")
            assert words_of(responses(caller)[1]) == "Yes?"
            assert all(response.get("metadata") is None for response in created(caller))

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
            started = caller.times_s[_last(caller, "input_audio_buffer.speech_started")]
            assert started - onset_s < 0.1
            await caller.pause(LAST_S)
            assert responses(caller)[0]["status"] == "completed"

    virtual(call())


def test_an_engine_that_fails_while_the_answer_is_suspended_is_told_when_it_goes_on() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            session = caller.engine.sessions[0]
            respond, fails = session.respond, asyncio.Event()

            async def fail(*args: Any) -> AsyncGenerator[Piece, None]:
                async for piece in respond(*args):
                    if isinstance(piece, Finished):
                        break
                    yield piece
                await fails.wait()
                raise EngineError("the model server is gone")

            session.respond = fail  # type: ignore[method-assign]
            cut = await interrupt(caller)
            fails.set()
            session.respond = respond  # type: ignore[method-assign]
            await caller.pause(0.1)
            assert not caller.all("error")
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert resumed["status"] == "failed"
            assert "is gone" in caller.one("error")["error"]["message"]
            heard = await retrieve(caller, cut["output"][0]["id"])
            assert WHOLE.startswith(heard + words_of(resumed))  # what was made is still said
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert len(created(caller)) == 3

    virtual(call())


def test_a_caller_who_hangs_up_while_the_answer_is_suspended_leaves_nothing_behind() -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4,))) as caller:
            await interrupt(caller)
        assert caller.engine.sessions[0].closed
        assert caller.engine.sessions[0].cancelled == 1
        (task,) = asyncio.all_tasks()
        assert task is asyncio.current_task()

    virtual(call())


def test_metadata_of_the_client_stays_with_what_is_resumed() -> None:
    async def call() -> None:
        async with Caller(Script(("Mm-hm.",), (ANSWER,))) as caller:
            content = [{"type": "input_text", "text": QUESTION}]
            item = {"type": "message", "role": "user", "content": content}
            caller.send("conversation.item.create", item=item)
            full = {f"key{n}": "value" for n in range(15)}
            caller.send("response.create", response={"metadata": full})
            await caller.pause(2.0)
            await caller.speak(0.3)
            await caller.pause(1.0)
            first, second = created(caller)[-2:]
            assert second["metadata"] == {**full, "duplex_resumes": first["id"]}

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
        script = Script((QUESTION, "Mm-hm.", "And why?"), (ANSWER * 4, (Speech("Oh."),)), 1.5)
        async with Caller(script) as caller:
            await interrupt(caller)
            await caller.pause(1.1)
            assert caller.engine.sessions[0].cancelled == 0
            await caller.speak(0.5)
            assert caller.engine.sessions[0].cancelled == 1
            await caller.pause(6.0)
            assert words_of(responses(caller)[-1]) == "Oh."
            assert len(responses(caller)) == 2
        assert [text for _, text in caller.heard_by_brain[-1][-2:]] == ["Mm-hm.", "And why?"]

    virtual(call())


def test_an_answer_that_has_no_words_yet_is_told_whole_after_a_false_interruption() -> None:
    async def call() -> None:
        script = Script((QUESTION, "Mm-hm."), (ANSWER,), piece_s=2.0)
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(0.5)
            assert len(created(caller)) == 1
            await caller.speak(0.3)
            await caller.pause(0.1)
            cut = responses(caller)[0]
            assert (cut["status"], cut["output"]) == ("cancelled", [])
            await caller.pause(LAST_S * 2)
            assert audio_of(caller, responses(caller)[1]) == whole_audio()
            assert words_of(responses(caller)[1]) == WHOLE

    virtual(call())


def test_what_it_cost_is_told_once() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            cut = await interrupt(caller)
            await caller.pause(LAST_S)
            told = [response["usage"]["output_tokens"] for response in responses(caller)]
            assert cut["status"] == "cancelled"
            assert sorted(told) == [0, len(ANSWER)]

    virtual(call())


def test_written_answers_are_cut_for_good() -> None:
    async def call() -> None:
        script = Script((QUESTION, "Mm-hm."), (ANSWER,), piece_s=0.5)
        async with Caller(script) as caller:
            session = {"type": "realtime", "output_modalities": ["text"]}
            caller.send("session.update", session=session)
            await caller.speak(1.0)
            await caller.pause(1.0)
            onset_s = caller.now_s
            await caller.speak(0.3)
            started = caller.times_s[_last(caller, "input_audio_buffer.speech_started")]
            assert started - onset_s < 0.1
            assert caller.engine.sessions[0].cancelled == 1

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


ASKING = (Speech("Shall I book the train? "), *ANSWER)  # it has asked after 1.4 s


@pytest.mark.parametrize("words", ["Yes.", "Okay.", "Mm-hm."])
@pytest.mark.parametrize(
    ("heard_s", "is_answer"),
    [(0.5, False), (1.1, True), (1.5, True), (3.5, False)],
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


def test_an_answer_that_was_cut_after_its_last_word_counts_as_heard() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(playout_lead_s=0.05))
        async with Caller(falsely(says=(ANSWER[:1],)), config) as caller:
            session = caller.engine.sessions[0]
            respond = session.respond

            async def slow(*args: Any) -> AsyncGenerator[Piece, None]:
                async for piece in respond(*args):
                    if isinstance(piece, Finished):
                        await asyncio.sleep(3.0)
                    yield piece

            session.respond = slow  # type: ignore[method-assign]
            detection = {"type": "server_vad", "idle_timeout_ms": 5000}
            sound = {"input": {"turn_detection": detection}}
            caller.send("session.update", session={"type": "realtime", "audio": sound})
            await ask(caller, len(ANSWER[0].text) * 0.06 + 0.3)
            await caller.speak(0.3)
            await caller.pause(4.0)
            assert words_of(responses(caller)[1]) == ""
            await caller.pause(5.0)
            assert caller.all("input_audio_buffer.timeout_triggered")

    virtual(call())


def test_what_is_resumed_is_released_with_its_first_audio_and_measures_no_stage() -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER[:1],))) as caller:
            session = caller.engine.sessions[0]
            respond, goes_on = session.respond, asyncio.Event()

            async def wait(*args: Any) -> AsyncGenerator[Piece, None]:
                async for piece in respond(*args):
                    await goes_on.wait()
                    yield piece

            session.respond = wait  # type: ignore[method-assign]
            metrics = {"type": "realtime", "duplex": {"metrics": True}}
            caller.send("session.update", session=metrics)
            await caller.speak(1.0)
            await caller.pause(0.5)
            await caller.speak(0.3)
            stopped_s = caller.now_s
            await caller.pause(2.0)
            assert len(created(caller)) == 2
            goes_on.set()
            await caller.pause(4.0)
            first_s = caller.time_of("response.output_audio.delta")
            marks = caller.all("duplex.turn_metrics")[1]["marks_ms"]
            assert marks["released"] / 1000 == pytest.approx(first_s - stopped_s, abs=0.05)
            assert 'duplex_stage_seconds_count{stage="released"}' not in caller.metrics.render({})

    virtual(call())


@pytest.mark.parametrize(
    "session",
    [
        {"output_modalities": ["text"]},
        {"audio": {"output": {"voice": "high"}}},
        {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    ],
)
def test_what_is_suspended_is_not_resumed_in_a_form_that_the_client_no_longer_wants(
    session: dict[str, Any],
) -> None:
    async def call() -> None:
        caller = Caller(falsely(says=(ANSWER * 4, (Speech("Yes?"),))))
        caller.parts = replace(caller.parts, voices={"high": FakeVoice()})
        async with caller:
            await interrupt(caller)
            caller.send("session.update", session={"type": "realtime", **session})
            await caller.pause(2.0)
            assert not caller.all("error")
            assert created(caller)[1].get("metadata") is None
            assert caller.heard_by_brain[-1][-1] == ("user", "Mm-hm.")

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
