"""Phone calls from the first ring to the last word, in virtual time: what a caller hears."""

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from duplex.config import AssistantConfig, Config, DialogueConfig, PhoneConfig
from duplex.errors import ConfigError
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from duplex.testing.voice import ScriptedVoice
from engine.errors import EngineError
from engine.types import Piece, Speech, Thought
from tests._support.phones import GREETING, Phone, bakery, calling, loud, spoken_ms

LONG = Script(says=((Speech("One two three four five six seven eight nine ten. " * 4),),))


def test_a_question_is_answered_and_sent_no_more_than_200_ms_ahead() -> None:
    async def scenario() -> None:
        async with calling() as phone:
            await phone.speak(1)
            await phone.hear_out()
            assert 1000 < phone.heard_ms < 2500
            assert max(buffered for _, buffered in phone.end.sent) <= 8 * 220
            assert phone.end.clears == []
            assert 'duplex_phone_calls_total{provider="twilio"} 1' in phone.metrics.render({})

    virtual(scenario())


def test_the_ear_gets_the_callers_speech_at_its_own_rate() -> None:
    async def scenario() -> None:
        async with calling() as phone:
            await phone.speak(1)
            await phone.hear_out()
            heard = np.concatenate(phone.engine.sessions[0].audio)
            assert (np.abs(heard) > 0.05).sum() / 16_000 == pytest.approx(0.9, abs=0.1)

    virtual(scenario())


def test_the_pace_does_not_drift_over_a_long_answer() -> None:
    async def scenario() -> None:
        async with calling(LONG) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.end.buffered_ms > 0)
            await phone.wait(8)
            buffered = [count for at, count in phone.end.sent if at > phone.end.position - 8000]
            assert min(buffered) > 8 * 120  # neither does it run dry
            assert max(buffered) <= 8 * 220

    virtual(scenario())


def test_the_greeting_comes_first_and_the_brain_knows_it() -> None:
    async def scenario() -> None:
        async with calling(config=bakery()) as phone:
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len(GREETING), abs=100)
            await phone.speak(1)
            await phone.hear_out()
            assert phone.histories == [[("assistant", GREETING), ("user", "What time is it?")]]

    virtual(scenario())


def test_a_greeting_that_was_cut_short_by_words_is_known_as_far_as_it_was_heard() -> None:
    async def scenario() -> None:
        async with calling(config=bakery()) as phone:
            await phone.until(lambda: phone.heard_ms > 400)
            await phone.speak(1)
            assert len(phone.end.clears) == 1
            await phone.hear_out()
            await phone.wait(5)
            ((greeting, question),) = phone.histories
            assert greeting[1] in ("Hello,", "Hello, this")
            assert question == ("user", "What time is it?")

    virtual(scenario())


def test_a_cough_only_holds_the_greeting_up() -> None:
    async def scenario() -> None:
        async with calling(Script(hears=("", "What time is it?")), bakery()) as phone:
            await phone.until(lambda: phone.heard_ms > 400)
            await phone.speak(0.3)
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len(GREETING), abs=150)
            await phone.speak(1)
            await phone.hear_out()
            (history,) = phone.histories
            greeting = " ".join(text for role, text in history if role == "assistant")
            assert greeting == GREETING

    virtual(scenario())


def test_words_end_the_greeting_however_long_it_takes_to_hear_them() -> None:
    async def scenario() -> None:
        async with calling(Script(ear_s=3.5), bakery()) as phone:
            await phone.until(lambda: phone.heard_ms > 400)
            await phone.speak(1)
            before_ms = phone.heard_ms
            await phone.wait(3)
            assert phone.heard_ms == before_ms
            await phone.hear_out()
            assert phone.histories == [[("assistant", "Hello,"), ("user", "What time is it?")]]

    virtual(scenario())


@pytest.mark.parametrize("heard_ms", [0, 550])  # 550: in the gap after the third piece
def test_the_greeting_is_not_said_to_a_caller_who_speaks_first(heard_ms: int) -> None:
    async def scenario() -> None:
        async with calling(config=bakery(), step_s=0.9) as phone:
            await phone.until(lambda: phone.heard_ms >= heard_ms)
            await phone.until(lambda: phone.quiet_ms > 100)
            before_ms = phone.heard_ms
            await phone.speak(3)
            assert phone.heard_ms == before_ms
            await phone.wait(10)
            said = [text for role, text in phone.histories[0] if role == "assistant"]
            assert said == (["Hello,"] if heard_ms > 0 else [])

    virtual(scenario())


def test_a_cough_before_the_greeting_only_delays_it() -> None:
    async def scenario() -> None:
        async with calling(Script(hears=("",)), bakery(), step_s=0.5) as phone:
            await phone.speak(0.3)
            await phone.until(lambda: phone.quiet_ms > 1500)
            assert phone.heard_ms == pytest.approx(60 * len(GREETING), abs=100)

    virtual(scenario())


def test_who_speaks_into_an_answer_empties_the_buffer_and_the_rest_was_not_said() -> None:
    async def scenario() -> None:
        async with calling(LONG) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.heard_ms > 1500)
            began = phone.now_ms
            phone.end.say(loud(2.5))
            await phone.until(lambda: phone.end.clears)
            assert phone.now_ms - began < 350
            await phone.wait(0.04)
            assert phone.end.buffered_ms == 0
            heard_ms = phone.heard_ms
            await phone.until(lambda: len(phone.histories) == 2)
            answer = phone.histories[-1][1][1]
            assert LONG.says[0][0].text.startswith(answer)
            # 60 ms a letter; words that were half heard count.
            assert len(answer) * 60 == pytest.approx(heard_ms, abs=250)

    virtual(scenario())


def test_after_a_false_interruption_the_answer_goes_on() -> None:
    async def scenario() -> None:
        script = Script(hears=("What time is it?", ""), says=LONG.says)
        async with calling(script) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.heard_ms > 1500)
            await phone.speak(0.3)
            await phone.until(lambda: phone.quiet_ms > 1500, 30)
            assert len(phone.end.clears) == 1
            assert len(phone.histories) == 1
            assert phone.heard_ms == pytest.approx(60 * len(LONG.says[0][0].text), abs=250)

    virtual(scenario())


def test_speech_after_the_answer_was_made_still_clears_what_is_not_played() -> None:
    async def scenario() -> None:
        async with calling() as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.heard_ms > 0)
            phone.end.stall_ms = 1500  # a bad line: the session believes it was played long ago
            await phone.wait(1.4)
            await phone.speak(2.5)
            assert len(phone.end.clears) == 1
            heard_ms = phone.heard_ms
            await phone.until(lambda: len(phone.histories) == 2)
            said = phone.histories[-1][1][1]
            assert len(said) < len("It is ten. Time for tea.")
            assert len(said) * 60 == pytest.approx(heard_ms, abs=250)

    virtual(scenario())


@pytest.mark.parametrize(("keys", "told"), [("123#", "1 2 3"), ("42", "4 2"), ("#", "#")])
def test_keys_are_told_together(keys: str, told: str) -> None:
    async def scenario() -> None:
        async with calling() as phone:
            for key in keys:
                phone.end.press(key)
                await phone.wait(0.6)
            await phone.hear_out()
            text = f"[The caller pressed these keys of the telephone: {told}]"
            assert phone.histories == [[("user", text)]]

    virtual(scenario())


def test_keys_during_an_answer_stop_it_and_are_answered() -> None:
    async def scenario() -> None:
        async with calling(LONG) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.heard_ms > 500)
            phone.end.press("9#")
            await phone.wait(0.1)
            assert len(phone.end.clears) == 1
            await phone.hear_out()
            assert phone.histories[-1][-1][1].endswith(": 9]")

    virtual(scenario())


@pytest.mark.slow
def test_keys_are_not_lost_while_an_answer_begins() -> None:
    async def scenario(after_s: float) -> None:
        async with calling() as phone:
            await phone.speak(1)
            await phone.wait(after_s)
            phone.end.press("7#")
            await phone.until(
                lambda: phone.histories and any("7" in text for _, text in phone.histories[-1])
            )
            await phone.hear_out()

    for after_s in np.arange(0, 0.7, 0.06):
        virtual(scenario(float(after_s)))


def test_at_the_end_of_the_time_goodbye_is_said() -> None:
    async def scenario() -> None:
        goodbye = "Our time is up."
        limits = PhoneConfig(
            assistant="bakery", cost_per_minute=0.5, max_cost=0.25, out_of_time=goodbye
        )
        async with calling(LONG, bakery("", limits)) as phone:
            await phone.wait(16)
            await phone.speak(1)
            await phone.until(lambda: phone.is_over, 30)
            assert phone.now_ms < 30_000
            assert len(phone.end.clears) == 1  # it was in the middle of an answer
            last_ms = spoken_ms(phone.end.heard(phone.end.clears[0]))
            assert last_ms == pytest.approx(60 * len(goodbye), abs=100)

    virtual(scenario())


def test_without_a_word_for_the_end_of_the_time_all_of_it_is_the_callers() -> None:
    async def scenario() -> None:
        limits = PhoneConfig(assistant="bakery", max_call_s=60, out_of_time="")
        async with calling(config=bakery("", limits)) as phone:
            await phone.until(lambda: phone.is_over, 70)
            assert phone.now_ms == pytest.approx(60_000, abs=100)

    virtual(scenario())


@pytest.mark.parametrize("wanted", [{"voice": "nobody"}, {"model": "none"}])
def test_a_voice_or_model_that_is_not_there_is_refused(wanted: dict[str, str]) -> None:
    async def scenario() -> None:
        async with calling(config=bakery("", **wanted)):  # type: ignore[arg-type]
            pass

    with pytest.raises(ConfigError, match="is not loaded"):
        virtual(scenario())


def test_parameters_choose_the_assistant_and_unknown_ones_get_the_default() -> None:
    async def instructions(name: str) -> str:
        assistants = {
            "a": AssistantConfig(instructions="You are A."),
            "b": AssistantConfig(instructions="You are B."),
        }
        config = Config(assistants=assistants, phone=PhoneConfig(assistant="a"))
        async with calling(config=config, parameters={"assistant": name}) as phone:
            await phone.speak(1)
            await phone.hear_out()
            return str(phone.engine.sessions[0].histories[-1][0].text)

    assert virtual(instructions("b")) == "You are B."
    assert virtual(instructions("c")) == "You are A."
    assert virtual(instructions("")) == "You are A."


def test_the_caller_hangs_up_in_the_middle_of_an_answer() -> None:
    async def scenario() -> Phone:
        async with calling(LONG) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.heard_ms > 500)
        await asyncio.sleep(1)
        return phone

    phone = virtual(scenario())
    assert phone.engine.sessions[0].closed


def test_an_answer_that_fails_is_not_silence() -> None:
    async def scenario() -> None:
        async with calling(config=bakery("", PhoneConfig(trouble="Once more?"))) as phone:

            async def fail(*_: object) -> AsyncGenerator[Piece, None]:
                raise EngineError("out of memory")
                yield

            working = phone.engine.sessions[0].respond
            phone.engine.sessions[0].respond = fail  # type: ignore[method-assign, assignment]
            await phone.speak(1)
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len("Once more?"), abs=60)
            phone.engine.sessions[0].respond = working  # type: ignore[method-assign, assignment]
            await phone.speak(1)
            await phone.hear_out()
            assert phone.histories[-1][1:] == [
                ("assistant", "Once more?"),
                ("user", "What time is it?"),
            ]

    virtual(scenario())


class OwnVoice(ScriptedVoice):
    """Stands in for a voice that the brain drives: it cannot be given words."""

    takes_codes = True


def test_a_brain_with_a_voice_of_its_own_is_asked_to_greet_and_to_say_goodbye() -> None:
    async def scenario() -> None:
        limits = PhoneConfig(assistant="bakery", max_call_s=30, out_of_time="Time is up.")
        script = Script(says=((Speech("Hello."),), (Speech("Bye now."),)))
        async with calling(script, bakery("Hello.", limits), voice=OwnVoice()) as phone:
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len("Hello."), abs=60)
            await phone.until(lambda: phone.is_over)
            assert phone.heard_ms == pytest.approx(60 * len("Hello.Bye now."), abs=60)
            instructions = [h[0].text for h in phone.engine.sessions[0].histories]
            assert [text.rpartition(": ")[2] for text in instructions] == ["Hello.", "Time is up."]

    virtual(scenario())


@pytest.mark.parametrize("sentence", ["", "Pardon?"])
def test_nobody_on_the_phone_is_left_in_silence(sentence: str) -> None:
    """Whatever the server's other clients get: a telephone has no screen."""
    phone_config = PhoneConfig(not_understood=sentence, no_answer="No idea.")
    config = Config(phone=phone_config, dialogue=DialogueConfig(not_understood=""))
    script = Script(hears=("", "What time is it?"), says=((Thought("Well."),),), is_unclear=True)

    async def scenario() -> None:
        async with calling(script, config) as phone:
            await phone.speak(1)
            await phone.hear_out()
            said = sentence or "Sorry, I did not catch that."
            assert phone.heard_ms == pytest.approx(60 * len(said), abs=150)
            await phone.speak(1)
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len(said + "No idea."), abs=300)

    virtual(scenario())
