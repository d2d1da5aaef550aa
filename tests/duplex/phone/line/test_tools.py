"""What a call's model may do with the line and beside it, in virtual time."""

import asyncio
import json
from pathlib import Path

import pytest

from duplex.config import PhoneConfig
from duplex.errors import ConfigError
from duplex.logs import AnyLogger
from duplex.phone.events import Started
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.types import Speech
from tests._support.phones import Phone, bakery, calling, function_call, loud


def test_hanging_up_waits_for_the_last_word() -> None:
    async def scenario() -> None:
        script = Script(says=(function_call("hang_up", before="Goodbye then."),))
        async with calling(script, bakery("", tools=("hang_up",))) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.is_over)
            assert phone.heard_ms == pytest.approx(60 * len("Goodbye then."), abs=60)
            assert phone.wire.close_code == 1000
            assert phone.end.buffered_ms == 0

    virtual(scenario())


def test_who_hangs_up_without_a_word_says_the_goodbye_of_the_configuration() -> None:
    async def scenario() -> None:
        script = Script(says=(function_call("hang_up"),))
        async with calling(script, bakery("", tools=("hang_up",), goodbye="Farewell.")) as phone:
            await phone.speak(1)
            await phone.until(lambda: phone.is_over)
            assert phone.heard_ms == pytest.approx(60 * len("Farewell."), abs=60)

    virtual(scenario())


class Exchange:
    """Connects or not."""

    def __init__(self, *, works: bool) -> None:
        self.works = works
        self.asked: list[tuple[str, str]] = []

    async def transfer(self, call: Started, number: str, log: AnyLogger) -> bool:
        self.asked.append((call.call_id, number))
        return self.works


TRANSFERS = bakery("", tools=("transfer",), transfer_to={"the baker": "+15550100"})


def test_a_transfer_comes_after_the_last_word_and_reaches_known_numbers_alone() -> None:
    async def scenario() -> None:
        exchange = Exchange(works=True)
        call = function_call("transfer", '{"to": "the baker"}', before="One moment.")
        async with calling(Script(says=(call,)), TRANSFERS, switchboard=exchange) as phone:
            await phone.speak(1)
            await phone.until(lambda: exchange.asked)
            assert phone.heard_ms == pytest.approx(60 * len("One moment."), abs=60)
            await phone.until(lambda: phone.is_over)
            assert exchange.asked == [(phone.end.call_sid, "+15550100")]

    virtual(scenario())


@pytest.mark.parametrize(
    ("arguments", "works"),
    [('{"to": "+4990012345"}', True), ("[]", True), ("{", True), ('{"to": "the baker"}', False)],
)
def test_the_model_is_told_of_a_transfer_that_cannot_be(arguments: str, works: bool) -> None:
    async def scenario() -> None:
        exchange = Exchange(works=works)
        script = Script(says=(function_call("transfer", arguments), (Speech("Sorry."),)))
        async with calling(script, TRANSFERS, switchboard=exchange) as phone:
            await phone.speak(1)
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len("Sorry."), abs=60)
            assert not phone.is_over
            assert len(exchange.asked) == (not works)
            history = phone.engine.sessions[0].histories[-1]
            assert '"failed"' in history[-1].results[-1].output

    virtual(scenario())


def test_a_transfer_is_not_offered_where_there_is_no_exchange() -> None:
    async def scenario() -> None:
        async with calling(config=TRANSFERS) as phone:
            await phone.speak(1)
            await phone.hear_out()
            assert not phone.engine.sessions[0].histories[-1][0].tools

    virtual(scenario())


@pytest.mark.parametrize("key", ["5", ""])
def test_on_hold_nothing_is_heard_until_a_key_or_too_long(key: str) -> None:
    async def scenario() -> None:
        config = bakery("", PhoneConfig(assistant="bakery", hold_s=20), tools=("hold",))
        says = (function_call("hold", before="I wait."), (Speech("Welcome back."),))
        async with calling(Script(says=says), config) as phone:
            await phone.speak(1)
            await phone.hear_out()
            await phone.speak(3)  # to somebody in the room
            await phone.wait(5)
            assert len(phone.histories) == 1
            before_ms = phone.heard_ms
            phone.end.press(key)
            await phone.until(lambda: phone.heard_ms > before_ms, 15)
            await phone.until(lambda: phone.quiet_ms > 500)
            assert len(phone.histories) == 2
            assert ("key" in phone.histories[-1][-1][1]) == bool(key)
            await phone.speak(1)
            await phone.until(lambda: len(phone.histories) == 3)

    virtual(scenario())


def test_an_assistants_own_functions_are_called_and_answered_from(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "functions.py"
        path.write_text(
            "async def price(cake: str) -> int:\n"
            "    'Tell what a cake costs.'\n"
            "    return 3 * len(cake)\n"
            "FUNCTIONS = [price]\n"
        )
        config = bakery("", tools=("hang_up",), functions=str(path))
        says = (function_call("price", '{"cake": "plum"}'), (Speech("It is twelve."),))
        async with calling(Script(says=says), config) as phone:
            await phone.speak(1)
            await phone.hear_out()
            first, second = phone.engine.sessions[0].histories
            assert [tool.name for tool in first[0].tools] == ["price", "hang_up"]
            assert second[-1].results[-1].output == "12"
            assert phone.heard_ms == pytest.approx(60 * len("It is twelve."), abs=60)

    virtual(scenario())


FILE = """
import asyncio
from pathlib import Path

async def quick() -> str:
    'Look it up.'
    return "Q"

async def slow() -> str:
    'Look it up for long.'
    await asyncio.sleep(5)
    (Path(__file__).parent / "done").touch()
    return "S"

FUNCTIONS = [quick, slow]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "functions.py"
    path.write_text(FILE)
    return str(path)


def outputs(phone: Phone) -> list[list[str]]:
    """What functions had told when each answer was begun."""
    (session,) = phone.engine.sessions
    return [[r.output for m in h for r in m.results] for h in session.histories]


@pytest.mark.parametrize("has_file", [True, False])
def test_a_name_that_the_model_makes_up_is_told_to_it(file: str, has_file: bool) -> None:
    async def scenario() -> None:
        script = Script(says=(function_call("prize"), (Speech("Sorry."),)))
        async with calling(script, bakery("", functions=file if has_file else "")) as phone:
            await phone.speak(1)
            await phone.hear_out()
            assert not phone.is_over
            assert json.loads(outputs(phone)[-1][0]) == {"error": "there is no such function"}

    virtual(scenario())


@pytest.mark.parametrize("name", ["hang_up", "transfer", "hold"])
def test_what_the_line_was_not_to_do_is_no_function(name: str) -> None:
    async def scenario() -> None:
        exchange = Exchange(works=True)
        script = Script(says=(function_call(name, '{"to": "x"}'), (Speech("Sorry."),)))
        config = bakery("", transfer_to={"x": "+15550100"})
        async with calling(script, config, switchboard=exchange) as phone:
            await phone.speak(1)
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len("Sorry."), abs=60)
            assert not phone.is_over
            assert exchange.asked == []

    virtual(scenario())


def test_a_function_is_not_named_as_what_the_line_can_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "functions.py"
        path.write_text("def hang_up() -> None:\n 'Do.'\nFUNCTIONS = [hang_up]\n")
        async with calling(config=bakery("", functions=str(path))):
            pass

    with pytest.raises(ConfigError, match="hang_up"):
        virtual(scenario())


def test_who_hangs_up_waits_for_no_function_and_it_is_finished(file: str) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        script = Script(says=(function_call("slow"),))
        async with calling(script, bakery("", functions=file)) as phone:
            await phone.speak(1)
            await phone.wait(2)
            hung_up_s = loop.time()
        assert loop.time() - hung_up_s < 2  # of which 1.5 are spent in `calling`
        done = Path(file).parent / "done"
        assert not done.exists()
        await asyncio.sleep(5)
        assert done.exists()

    virtual(scenario())


class SlowExchange:
    """Does not know for long, and then cannot."""

    async def transfer(self, call: Started, number: str, log: AnyLogger) -> bool:
        await asyncio.sleep(10)
        return False


def test_who_hangs_up_waits_for_no_transfer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        script = Script(says=(function_call("transfer", '{"to": "the baker"}'),))
        async with calling(script, TRANSFERS, switchboard=SlowExchange()) as phone:
            await phone.speak(1)
            await phone.wait(2)
            hung_up_s = loop.time()
        assert loop.time() - hung_up_s < 2

    virtual(scenario())


def test_what_is_said_during_a_transfer_is_not_answered() -> None:
    async def scenario() -> None:
        call = function_call("transfer", '{"to": "the baker"}')
        script = Script(says=(call, (Speech("It failed."),)))
        async with calling(script, TRANSFERS, switchboard=SlowExchange()) as phone:
            await phone.speak(1)
            await phone.wait(2)
            await phone.speak(1)
            await phone.hear_out()
            assert len(phone.histories) == 2
            assert phone.heard_ms == pytest.approx(60 * len("It failed."), abs=60)

    virtual(scenario())


def test_a_functions_result_is_not_told_over_the_caller(file: str) -> None:
    async def scenario() -> None:
        script = Script(
            hears=("Look it up.", "And a second thing."),
            says=(function_call("slow", before="Wait."), (Speech("Both are there."),)),
        )
        async with calling(script, bakery("", functions=file)) as phone:
            await phone.speak(1)
            await phone.hear_out()
            before_ms = phone.heard_ms
            await phone.speak(8)
            assert phone.heard_ms == before_ms
            await phone.hear_out()
            await phone.wait(5)
            assert outputs(phone) == [[], ['"S"']]  # one answer for both
            assert phone.histories[-1][-1] == ("user", "And a second thing.")

    virtual(scenario())


@pytest.mark.parametrize("is_unclear", [False, True])
def test_neither_is_it_lost_if_the_caller_only_coughs_or_mumbles(
    file: str, is_unclear: bool
) -> None:
    async def scenario() -> None:
        script = Script(
            hears=("Look it up.", ""),
            says=(function_call("slow", before="Wait."), (Speech("It is there."),)),
            is_unclear=is_unclear,
        )
        async with calling(script, bakery("", functions=file)) as phone:
            await phone.speak(1)
            await phone.hear_out()
            await phone.until(lambda: phone.quiet_ms > 1800)
            await phone.wait(1.8)
            await phone.speak(1)
            await phone.hear_out()
            assert outputs(phone) == [[], ['"S"']]

    virtual(scenario())


def test_keys_are_not_answered_over_the_callers_words() -> None:
    async def scenario() -> None:
        async with calling() as phone:
            phone.end.say(loud(6))
            await phone.wait(1)
            phone.end.press("5#")
            await phone.wait(5)
            assert phone.heard_ms == 0
            await phone.hear_out()
            await phone.wait(5)
            ((keys, words),) = phone.histories
            assert keys[1].endswith("5]")
            assert words == ("user", "What time is it?")

    virtual(scenario())


def test_two_functions_get_one_answer_that_knows_both(file: str) -> None:
    async def scenario() -> None:
        calls = [*function_call("slow"), *function_call("quick")]
        script = Script(says=(calls, (Speech("Both."),)))
        async with calling(script, bakery("", functions=file)) as phone:
            await phone.speak(1)
            await phone.hear_out()
            await phone.wait(8)
            assert [sorted(told) for told in outputs(phone)] == [[], ['"Q"', '"S"']]

    virtual(scenario())


def test_on_hold_a_functions_result_waits_for_the_caller(file: str) -> None:
    async def scenario() -> None:
        calls = [*function_call("slow"), *function_call("hold")]
        script = Script(says=(calls, (Speech("It is there."),)))
        async with calling(script, bakery("", tools=("hold",), functions=file)) as phone:
            await phone.speak(1)
            await phone.wait(10)
            assert len(phone.histories) == 1  # nothing is said that nobody hears
            phone.end.press("#")
            await phone.hear_out()
            assert phone.heard_ms == pytest.approx(60 * len("It is there."), abs=60)
            assert '"S"' in outputs(phone)[-1]

    virtual(scenario())


def test_keys_that_end_a_hold_are_all_told() -> None:
    async def scenario() -> None:
        script = Script(says=(function_call("hold", before="I wait."), (Speech("Yes."),)))
        async with calling(script, bakery("", tools=("hold",))) as phone:
            await phone.speak(1)
            await phone.hear_out()
            for key in "1234#":
                phone.end.press(key)
                await phone.wait(0.2)
            await phone.hear_out()
            assert phone.histories[-1][-1][1].endswith(": 1 2 3 4]")
            assert len(phone.histories) == 2

    virtual(scenario())


COUNTING = """
count = 0
async def book(day: str) -> int:
    'Book a day.'
    global count
    count += 1
    return count
FUNCTIONS = [book]
"""
BOOK = function_call("book", '{"day": "Monday"}')


def test_a_function_that_is_called_again_is_not_run_again_and_the_model_has_to_speak(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        path = tmp_path / "functions.py"
        path.write_text(COUNTING)
        says = (BOOK, BOOK, (Speech("It is booked."),), BOOK, (Speech("Booked again."),))
        async with calling(Script(says=says), bakery("", functions=str(path))) as phone:
            await phone.speak(1)
            await phone.hear_out()
            first, second, third = phone.engine.sessions[0].histories
            assert first[0].tools
            assert second[0].tools
            assert second[-1].results[-1].output == "1"
            assert not third[0].tools  # it has to speak
            assert third[-1].text.endswith("in one short spoken sentence: 1")
            await phone.speak(1)  # the caller asks anew: so may the model
            await phone.hear_out()
            assert phone.engine.sessions[0].histories[4][-1].results[-1].output == "2"

    virtual(scenario())


def test_after_keys_a_function_may_be_called_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "functions.py"
        path.write_text(COUNTING)
        says = (BOOK, (Speech("It is booked."),), BOOK, (Speech("Booked again."),))
        async with calling(Script(says=says), bakery("", functions=str(path))) as phone:
            await phone.speak(1)
            await phone.hear_out()
            phone.end.press("1")
            await phone.hear_out()
            assert phone.engine.sessions[0].histories[-1][-1].results[-1].output == "2"

    virtual(scenario())
