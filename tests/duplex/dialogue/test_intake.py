"""What a message may cost."""

import asyncio

import pytest

from duplex.dialogue.intake import AudioPace, check_cost
from duplex.errors import ProtocolError
from duplex.protocol.items import MAX_AUDIO_BYTES
from duplex.testing.virtual_time import virtual


@pytest.mark.parametrize("message", ["{}" * 20_000, b"[" * 40_000, "," * 300_000])
def test_messages_of_too_many_values_are_refused(message: str | bytes) -> None:
    with pytest.raises(ProtocolError, match="too many values"):
        check_cost(message)


def test_audio_and_long_texts_pass() -> None:
    check_cost('{"type":"input_audio_buffer.append","audio":"' + "A" * 20_000_000 + '"}')
    check_cost('{"text":"' + "Well, then, " * 50_000 + '"}')


def test_audio_is_taken_at_once_until_it_is_too_much_and_then_at_the_rate() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        pace = AudioPace(8.0, loop.time())
        times = []
        for seconds in (300, MAX_AUDIO_BYTES / 48_000 - 300, 16, 8):
            await pace.take(seconds, loop.time())
            times.append(loop.time())
        return times

    assert virtual(run()) == pytest.approx([0, 0, 2, 3])


def test_what_would_have_to_wait_for_long_is_refused_and_costs_nothing() -> None:
    pace = AudioPace(8.0, 0.0)
    pace.check(MAX_AUDIO_BYTES / 48_000 + 80, 0.0)
    for _ in range(2):
        with pytest.raises(ProtocolError, match=r"again in 10 s"):
            pace.check(MAX_AUDIO_BYTES / 48_000 + 160, 0.0)
