"""A whole server with a brain behind an endpoint that hears: what is said at the start, and a
recorded person over a real socket."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from msgspec.structs import replace
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from duplex import Server
from duplex.audio.formats import encode_pcm16
from duplex.audio.resample import resample
from duplex.config import BrainConfig, ChatTable, Config, LimitsConfig, ServerConfig, load_config
from duplex.errors import ConfigError
from duplex.testing import LoudnessVad, ScriptedVoice
from tests._support.endpoint import chunk, endpoint, events, hello, status
from tests._support.hearing_endpoint import MODELS, hearing_endpoint, recordings, saying
from tests._support.wire import say_something, send, until

pytestmark = pytest.mark.realtime

QUESTION = Path(__file__).parents[2] / "engine" / "data" / "question_capital.wav"
CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),
    brain=BrainConfig(kind="openai", model="a-model", hears=True),
)


class HelloEar:
    """Hears the same in everything."""

    def transcribe(self, pcm: object) -> str:
        return "Hello there."


def config_of(base_url: str, **brain: Any) -> Config:
    return replace(CONFIG, brain=replace(CONFIG.brain, base_url=base_url, **brain))


def server_of(config: Config) -> Server:
    return Server(config, ear=HelloEar(), voice=ScriptedVoice(), vad=LoudnessVad())


def question() -> tuple[NDArray[np.float32], str]:
    """A person asks for a capital: at 16 kHz, and as a client sends it, with a silence."""
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    sent = np.concatenate([resample(samples, rate, 24_000), np.zeros(24_000, np.float32)])
    return resample(samples, rate, 16_000), base64.b64encode(encode_pcm16(sent)).decode()


def likeness(heard: NDArray[np.int16], said: NDArray[np.float32]) -> float:
    """The highest correlation of what was heard with what was said."""
    a = np.concatenate([heard / 32768, np.zeros(len(said))])
    b = np.concatenate([said, np.zeros(len(heard))])
    product = np.fft.irfft(np.fft.rfft(a) * np.conj(np.fft.rfft(b)))
    return float(product.max() / (np.linalg.norm(a) * np.linalg.norm(b)))


async def test_the_brain_hears_the_caller_and_a_recording_and_thoughts_are_not_spoken() -> None:
    said, sent = question()
    answer = saying("A capital is asked for.\n</th", "ink>\nIt is Paris.")
    async with hearing_endpoint(answer) as served:
        config = config_of(
            served.served.base_url,
            preset="step-audio-r1",
            thinking="before",
            prefill_ahead=True,
            extra_body={"seed": 7},
            extra_headers={"X-Org": "us"},
            chat=ChatTable(order="sound_text", piece_s=1),
        )
        async with server_of(config).listen() as running, connect(running.url) as connection:
            await send(connection, "input_audio_buffer.append", audio=sent)
            first = (await until(connection, "response.done"))["response"]
            part = {"type": "input_audio", "audio": sent}
            item = {"type": "message", "role": "user", "content": [part]}
            await send(connection, "conversation.item.create", item=item)
            await send(connection, "response.create")
            await until(connection, "response.done")
    assert first["output"][0]["content"][0]["transcript"].strip() == "It is Paris."
    request = served.asked[0]
    assert (request["seed"], request["max_tokens"]) == (7, 256 + 1024)
    assert served.served.requests[-1].headers["x-org"] == "us"
    system, turn, start = request["messages"]
    assert (system["role"], turn["role"]) == ("system", "human")
    assert (start["content"], start["eot"]) == ("<think>\n", False)
    assert turn["content"][-1] == {"type": "text", "text": "Hello there."}
    assert likeness(np.concatenate(recordings(turn)), said) > 0.99
    *_, recorded, _ = served.asked[-1]["messages"]
    assert likeness(np.concatenate(recordings(recorded)), said) > 0.99
    assert served.asked[-1]["messages"][1]["content"] == turn["content"]  # the turn before is sound
    assert served.asked[-1]["messages"][2]["content"].strip() == "It is Paris."


@pytest.mark.parametrize(
    "refusal",
    [
        status(400, '{"object": "error", "message": "a-model is not a multimodal model"}'),
        status(500, '{"error": {"message": "audio input is not supported"}}'),
    ],
)
async def test_an_endpoint_that_takes_no_sound_is_told_at_the_start(refusal: Any) -> None:
    async with endpoint(refusal, pages=MODELS) as served:
        with pytest.raises(ConfigError, match=r"brain\.hears: the brain's endpoint refuses sound"):
            async with server_of(config_of(served.base_url)).listen():
                pass
    assert len(served.requests) == 1
    heard = recordings(served.requests[0].json["messages"][0])[0]
    assert (len(heard), heard.any()) == (16_000, False)


async def test_a_refusal_in_the_call_fails_the_response_and_says_why() -> None:
    refusal = status(400, json.dumps({"message": "audio is longer than 29.98 s"}))
    start, good = events(*hello()), events(chunk({"content": "Hello you."}), chunk({}, "stop"))
    async with (
        endpoint(start, refusal, good, pages=MODELS) as served,
        server_of(config_of(served.base_url)).listen() as running,
        connect(running.url) as connection,
    ):
        failed = await say_something(connection)
        answered = await say_something(connection)
    assert failed["status"] == "failed"
    message = failed["status_details"]["error"]["message"]
    assert "audio is longer than 29.98 s" in message
    assert "brain.hears" in message
    assert answered["status"] == "completed"


async def test_an_endpoint_that_cannot_be_asked_now_does_not_stop_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        endpoint(status(503, "loading"), events(*hello()), pages=MODELS) as served,
        server_of(config_of(served.base_url)).listen() as running,
        connect(running.url) as connection,
    ):
        assert (await say_something(connection))["status"] == "completed"
    assert "brain.hears is not checked: the brain's endpoint says 503: loading" in caplog.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('preset = "r1"', "r1"),
        ('hears = true\nkind = "embedded"', r"brain\.hears is for brain\.kind"),
        ('chat = { ordr = "sound" }', r"order"),  # what was meant
        ("chat = { sound_turns = 0 }", r"brain\.chat\.sound_turns"),
    ],
)
def test_what_cannot_be_is_told(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "duplex.toml"
    path.write_text(f"[brain]\n{text}\n")
    with pytest.raises(ConfigError, match=told):
        load_config(path)
