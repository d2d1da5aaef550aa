"""A turn that goes on after it was ended, in virtual time: one item, one message, one answer."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duplex.config import Config, TurnConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import CallArguments, CallEnded, CallStarted, Speech
from tests._support.interrupting import ANSWER, LAST_S, created, responses, words_of

FIRST, WHOLE = "I want to buy a present for you.", "I want to buy a present for my brother."
DELETED = "conversation.item.deleted"
SLOW_S = 2.0  # a reply takes so long to its first words; its turn does not wait for them


def goes_on(whole: str = WHOLE, first: str = FIRST, **script: Any) -> Script:
    """What the ear hears at the wrong end, and in all."""
    return Script(hears=(first, whole), says=(ANSWER, (Speech("Buy a book."),)), **script)


def show_words(caller: Caller) -> None:
    sound = {"input": {"transcription": {"model": "whisper-1"}}}
    caller.send("session.update", session={"type": "realtime", "audio": sound})


async def say_half(caller: Caller, heard_s: float | None = None) -> None:
    """Say the first half and wait until it was ended; or until so much of the answer is heard."""
    show_words(caller)
    await caller.speak(1.0)
    kind = "input_audio_buffer.committed" if heard_s is None else "response.output_audio.delta"
    while not caller.all(kind):
        await caller.pause(0.02)
    await caller.pause(heard_s or 0.0)


def users(caller: Caller) -> dict[str, str]:
    """The caller's items that are left, as a client knows them: id -> words."""
    items = {
        event["item"]["id"]: ""
        for event in caller.all("conversation.item.added")
        if event["item"].get("role") == "user"
    }
    for event in caller.all("conversation.item.input_audio_transcription.completed"):
        items[event["item_id"]] = event["transcript"]
    gone = {event["item_id"] for event in caller.all(DELETED)}
    return {item_id: words for item_id, words in items.items() if item_id not in gone}


def user_messages(history: Sequence[tuple[str, str]]) -> list[str]:
    return [text for role, text in history if role != "system"]


def check_reopened(caller: Caller, whole: str = WHOLE) -> None:
    """One turn, one answer to it, and no trace of another."""
    assert [*users(caller).values()] == [whole]
    assert user_messages(caller.heard_by_brain[-1]) == [whole]
    *before, last = responses(caller)
    assert (last["status"], words_of(last)) == ("completed", "Buy a book.")
    gone = {event["item_id"] for event in caller.all(DELETED)}
    assert all(item["id"] in gone for response in before for item in response["output"])
    assert not caller.all("error")


@pytest.mark.parametrize("ear_s", [0.05, 1.5])
def test_speech_before_the_answer_sounds_goes_on_with_the_turn(ear_s: float) -> None:
    async def call() -> None:
        hears = (FIRST, WHOLE) if ear_s < 1 else (WHOLE,)  # the slow pass is never done
        script = Script(hears, (ANSWER, (Speech("Buy a book."),)), ear_s, SLOW_S)
        if ear_s > 1:
            script = Script(hears, ((Speech("Buy a book."),),), ear_s)
        async with Caller(script) as caller:
            await say_half(caller)
            await caller.speak(1.0)
            await caller.pause(6.0)
            check_reopened(caller)
            assert "duplex_reopened_turns_total 1.0" in caller.metrics.render({})

    virtual(call())


@pytest.mark.parametrize("heard_s", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("resumes", [True, False])
def test_an_answer_that_has_just_begun_is_silent_at_once_and_leaves_no_trace(
    heard_s: float, resumes: bool
) -> None:
    async def call() -> None:
        config = Config(turn=TurnConfig(resume_interrupted=resumes))
        async with Caller(goes_on(), config) as caller:
            await say_half(caller, heard_s)
            onset_s = caller.now_s
            await caller.speak(1.0)
            assert responses(caller)[0]["status_details"]["reason"] == "turn_detected"
            assert caller.time_of("response.done") - onset_s < 0.13
            await caller.pause(4.0)
            check_reopened(caller)
            kinds = caller.kinds()
            assert kinds.index("response.done") < kinds.index(DELETED)
            assert len(caller.all(DELETED)) == 2
            assert ("conversation.item.truncated" in kinds) == resumes
            rendered = caller.metrics.render({})
            assert "duplex_reopened_turns_total 1.0" in rendered
            assert "duplex_interruptions_total{" not in rendered

    virtual(call())


def test_the_whole_turn_is_heard_again_without_a_gap_or_a_repeat() -> None:
    async def call() -> None:
        async with Caller(goes_on(piece_s=SLOW_S)) as caller:
            await say_half(caller)
            await caller.speak(1.0)
            await caller.pause(0.5)
            heard_s = sum(map(len, caller.engine.sessions[0].audio)) / 16_000
            assert heard_s == pytest.approx(caller.now_s, abs=0.2)

    virtual(call())


def test_nothing_but_a_backchannel_lets_a_fresh_answer_go_on() -> None:
    async def call() -> None:
        async with Caller(goes_on(f"{FIRST} Mm-hm.")) as caller:
            await say_half(caller, 0.3)
            await caller.speak(0.3)
            await caller.pause(LAST_S + 1)
            assert [*users(caller).values()] == [FIRST, "Mm-hm."]
            cut, resumed = responses(caller)
            assert resumed["metadata"] == {"duplex_resumes": cut["id"]}
            assert not caller.all(DELETED)

    virtual(call())


def test_the_answers_own_echo_does_not_reopen_a_turn() -> None:
    async def call() -> None:
        async with Caller(goes_on(f"{FIRST} This is")) as caller:
            await say_half(caller, 0.5)
            await caller.speak(0.4)
            await caller.pause(2.0)
            assert len(created(caller)) == 2
            assert created(caller)[1]["metadata"]
            assert not caller.all(DELETED)

    virtual(call())


def test_speech_whose_words_the_ear_misses_is_no_backchannel() -> None:
    async def call() -> None:
        async with Caller(goes_on(FIRST)) as caller:
            await say_half(caller, 0.3)
            await caller.speak(1.5)
            await caller.pause(4.0)
            check_reopened(caller, FIRST)

    virtual(call())


def test_whoever_speaks_on_for_long_goes_on_before_they_pause() -> None:
    async def call() -> None:
        async with Caller(goes_on()) as caller:
            await say_half(caller, 0.3)
            await caller.speak(2.4)
            assert len(caller.all(DELETED)) == 2
            await caller.pause(4.0)
            check_reopened(caller)

    virtual(call())


def test_a_turn_may_go_on_more_than_once() -> None:
    async def call() -> None:
        script = Script((FIRST, "One.", WHOLE), ((Speech("Buy a book."),),), piece_s=SLOW_S)
        async with Caller(script) as caller:
            show_words(caller)
            for _ in range(3):
                await caller.speak(0.6)
                await caller.pause(0.5)
            await caller.pause(4.0)
            check_reopened(caller)

    virtual(call())


def test_words_that_come_too_late_to_tell_belong_to_all_of_it() -> None:
    async def call() -> None:
        script = Script((FIRST, WHOLE), (ANSWER, (Speech("Buy a book."),)), ear_s=0.05)
        async with Caller(script) as caller:
            await say_half(caller, 0.3)
            session = caller.engine.sessions[0]
            session._script = Script(script.hears, script.says, ear_s=1.5)
            await caller.speak(0.4)
            await caller.pause(1.2)  # committed; its words are not known
            assert len(caller.all("input_audio_buffer.committed")) == 2
            await caller.speak(0.4)
            await caller.pause(6.0)
            check_reopened(caller)
            assert len(caller.all(DELETED)) == 3

    virtual(call())


def test_speech_over_what_was_understood_is_a_barge_in() -> None:
    async def call() -> None:
        async with Caller(goes_on("Wait, stop.")) as caller:
            await say_half(caller, 0.9)
            await caller.speak(0.6)
            await caller.pause(3.0)
            assert [*users(caller).values()] == [FIRST, "Wait, stop."]
            assert not caller.all(DELETED)

    virtual(call())


def test_all_of_a_turn_is_bounded() -> None:
    async def call() -> None:
        async with Caller(
            goes_on(piece_s=SLOW_S), Config(turn=TurnConfig(max_turn_s=3.0))
        ) as caller:
            await say_half(caller)
            await caller.speak(2.5)
            ends = caller.all("input_audio_buffer.speech_stopped")
            assert ends[1]["audio_end_ms"] == pytest.approx(3000, abs=100)

    virtual(call())


@pytest.mark.parametrize(
    "detection",
    [{"create_response": False}, {"interrupt_response": False}],
)
def test_clients_that_run_the_replies_find_their_turns_as_they_were(
    detection: dict[str, Any],
) -> None:
    async def call() -> None:
        async with Caller(goes_on("My brother.", piece_s=SLOW_S)) as caller:
            vad = {"turn_detection": {"type": "server_vad", **detection}}
            caller.send("session.update", session={"type": "realtime", "audio": {"input": vad}})
            await say_half(caller)
            await caller.speak(1.0)
            await caller.pause(4.0)
            assert [*users(caller).values()] == [FIRST, "My brother."]
            assert not caller.all(DELETED)

    virtual(call())


NOTE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("conversation.item.create", {"item": NOTE}),
        ("response.cancel", {}),
        ("input_audio_buffer.commit", {}),
    ],
)
def test_a_turn_that_the_client_acts_on_is_over(kind: str, fields: dict[str, Any]) -> None:
    async def call() -> None:
        async with Caller(goes_on("My brother.", piece_s=SLOW_S)) as caller:
            if kind == "input_audio_buffer.commit":
                show_words(caller)
                await caller.speak(1.0)
                caller.send(kind)
                await caller.pause(0.1)
            else:
                await say_half(caller)
                caller.send(kind, **fields)
                await caller.pause(0.04)
            await caller.speak(1.0)
            await caller.pause(4.0)
            assert next(iter(users(caller).values())) == FIRST
            assert not caller.all(DELETED)

    virtual(call())


def test_a_function_that_was_called_may_have_run() -> None:
    async def call() -> None:
        called = (CallStarted("buy"), CallArguments("{}"), CallEnded())
        async with Caller(Script((FIRST, "My brother."), (called, ANSWER))) as caller:
            tool = {"type": "function", "name": "buy", "parameters": {}}
            caller.send("session.update", session={"type": "realtime", "tools": [tool]})
            await say_half(caller)
            await caller.pause(0.1)
            assert caller.all("response.function_call_arguments.done")
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert not caller.all(DELETED)
            assert [*users(caller).values()] == [FIRST, "My brother."]

    virtual(call())


@pytest.mark.parametrize(("piece_s", "reopens"), [(0.02, False), (SLOW_S, True)])
def test_a_written_answer_is_taken_back_only_before_its_first_word(
    piece_s: float, reopens: bool
) -> None:
    async def call() -> None:
        async with Caller(goes_on(piece_s=piece_s)) as caller:
            caller.send(
                "session.update", session={"type": "realtime", "output_modalities": ["text"]}
            )
            await say_half(caller)
            await caller.pause(0.1)
            await caller.speak(1.0)
            await caller.pause(6.0)
            assert bool(caller.all(DELETED)) == reopens
            assert len(users(caller)) == (1 if reopens else 2)

    virtual(call())


def test_a_client_that_cuts_what_was_taken_back_is_not_refused() -> None:
    async def call() -> None:
        async with Caller(goes_on(), Config(turn=TurnConfig(resume_interrupted=False))) as caller:
            await say_half(caller, 0.3)
            item_id = caller.all("response.output_item.added")[0]["item"]["id"]
            await caller.speak(0.5)
            assert item_id in {event["item_id"] for event in caller.all(DELETED)}
            caller.send(
                "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100
            )
            await caller.pause(4.0)
            check_reopened(caller)

    virtual(call())


def test_a_rest_that_was_asked_for_is_kept_for_the_whole_turn() -> None:
    async def call() -> None:
        hears = ("Tell me a story.", "Wait, stop.", "Go on.", "Go on please.")
        script = Script(hears, (ANSWER * 2, (Speech("Yes?"),)))
        async with Caller(script) as caller:
            await say_half(caller, 2.0)
            await caller.speak(0.5)
            await caller.pause(2.5)
            before = len(caller.all("response.created"))
            await caller.speak(0.6)
            while len(caller.all("response.created")) == before:
                await caller.pause(0.02)
            await caller.pause(0.1)
            await caller.speak(0.4)
            await caller.pause(3.0)
            assert users(caller).popitem()[1] == "Go on please."
            told = caller.all("response.output_audio_transcript.delta")[-1]["delta"]
            assert told in "".join(piece.text for piece in ANSWER)

    virtual(call())


async def take(caller: Caller, step: str, seconds: float) -> None:
    """One step of a caller or of their client."""
    known = caller.all("conversation.item.added")
    fields: dict[str, Any] = {}
    if step == "speak":
        await caller.speak(seconds)
    elif step.endswith("create"):
        fields = {"item": NOTE}
    elif step.endswith("delete"):
        fields = {"item_id": known[-1]["item"]["id"] if known else "none"}
    if "." in step:
        caller.send(step, **fields)
    await caller.pause(0.02 if step == "speak" else seconds)


ORDERS = (
    "response.cancel",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.delete",
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.sampled_from([0.1, 0.3, 0.8, 2.3])),
        st.tuples(st.just("pause"), st.sampled_from([0.1, 0.4, 0.7, 1.5])),
        st.tuples(st.sampled_from(ORDERS), st.just(0.02)),
    ),
    min_size=4,
    max_size=9,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, ear_s=st.sampled_from([0.05, 0.8]), piece_s=st.sampled_from([0.02, 0.6]))
def test_client_and_server_hold_the_same_conversation_whatever_happens(
    steps: list[tuple[str, float]], ear_s: float, piece_s: float
) -> None:
    async def call() -> None:
        hears = (FIRST, f"{FIRST} Mm-hm.", WHOLE, "Wait.", "Go on.", WHOLE, FIRST)
        async with Caller(Script(hears, (ANSWER[:2], ANSWER[:1]), ear_s, piece_s)) as caller:
            show_words(caller)
            for step, seconds in steps:
                await take(caller, step, seconds)
            await caller.pause(5.0)
            await check_same(caller)

    virtual(call())


async def check_same(caller: Caller) -> None:
    """Ask for every item that the client ever knew: what it has is there, and nothing else."""
    gone = {event["item_id"] for event in caller.all(DELETED)}
    ids = [event["item"]["id"] for event in caller.all("conversation.item.added")]
    words = users(caller)
    for item_id in ids:
        caller.send("conversation.item.retrieve", item_id=item_id, event_id=item_id)
    await caller.pause(0.1)
    refused = {event["error"].get("event_id") for event in caller.all("error")}
    assert refused & {*ids} == gone & {*ids}
    held = {
        event["item"]["id"]: event["item"] for event in caller.all("conversation.item.retrieved")
    }
    for item_id, item in held.items():
        if item["content"][0]["type"] == "input_audio":
            assert (item["content"][0]["transcript"] or "") == words[item_id]
    assert {r["id"] for r in responses(caller)} == {r["id"] for r in created(caller)}
