"""What endpoints are asked, for each preset, as JSON beside this; and what is sent ahead."""

import json
import typing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duplex.config import Preset
from engine.brain.chat_shape import PRESETS, ChatShape
from engine.brain.clips import Clip, ClippedSound
from engine.brain.openai_request import Requests, encoded
from engine.types import GenerationOptions, Message, Tool, ToolCall, ToolResult

GOLDEN = Path(__file__).parents[1] / "data" / "requests"
TOOL = Tool("weather", "Of a town.", '{"type": "object"}')


def sound(*seconds: float) -> ClippedSound:
    """Silence, of a length by which each piece is known."""
    return ClippedSound(tuple(Clip(np.zeros(round(16_000 * s), np.float32)) for s in seconds))


def talk() -> list[Message]:
    return [
        Message("system", "Be brief.", tools=(TOOL,)),
        Message("user", "Is it warm in Rome?", sound(0.5)),
        Message("assistant", "", calls=(ToolCall("weather", '{"town":"Rome"}', "c1"),)),
        Message("tool", "", results=(ToolResult("weather", "Sunny.", "c1"),)),
        Message("assistant", "It is."),
        Message("user", "And in Oslo? I may go there.", sound(1.0, 0.25)),
    ]


def named(value: Any) -> Any:
    """``value`` with the lengths of recordings in their place."""
    for seconds in (0.25, 0.5, 1.0):
        wav = sound(seconds).clips[0].wav
        if isinstance(value, str):
            value = value.replace(wav, f"<wav of {seconds:g} s>")
    if isinstance(value, dict):
        return {key: named(each) for key, each in value.items()}
    return [named(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("preset", [*PRESETS])
def test_the_request_of_a_preset(preset: str) -> None:
    requests = Requests("a-model", PRESETS[preset], 8192)
    written = {
        "answer": requests.answer(talk(), GenerationOptions(max_tokens=64)),
        "answer that is to think": requests.answer(
            talk(), GenerationOptions(max_tokens=64, think_tokens=512)
        ),
        "ahead": requests.ahead(talk()[:-1], sound(1.0)),
    }
    golden = json.loads((GOLDEN / f"{preset or 'plain'}.json").read_text("utf-8"))
    assert named(written) == golden


def test_the_configuration_knows_the_presets() -> None:
    assert list(typing.get_args(Preset)) == list(PRESETS)


@pytest.mark.parametrize(
    ("order", "kinds"),
    [
        ("sound", ["input_audio", "input_audio"]),
        ("sound_text", ["input_audio", "input_audio", "text"]),
        ("text_sound", ["text", "input_audio", "input_audio"]),
    ],
)
def test_words_stand_beside_the_sound(order: Any, kinds: list[str]) -> None:
    request = Requests("m", ChatShape(order=order), 8192).answer(talk(), GenerationOptions())
    assert [part["type"] for part in request["messages"][-1]["content"]] == kinds


@pytest.mark.parametrize("preset", [*PRESETS])
def test_what_went_ahead_is_the_beginning_of_what_is_asked(preset: str) -> None:
    requests = Requests("m", PRESETS[preset], 8192)
    ahead = requests.ahead(talk()[:-1], sound(1.0))
    asked = requests.answer(talk(), GenerationOptions())
    *before, opened = ahead["messages"]
    assert asked["messages"][: len(before)] == before
    turn = asked["messages"][len(before)]
    assert turn["role"] == opened["role"]
    assert turn["content"][: len(opened["content"])] == opened["content"]
    assert asked["tools"] == ahead["tools"]


def test_words_go_ahead_to_a_brain_that_reads() -> None:
    ahead = Requests("m", ChatShape(), 8192).ahead([Message("system", "Be brief.")], "And in")
    assert ahead["messages"][-1] == {"role": "user", "content": "And in"}
    assert ahead["max_tokens"] == 1


def test_only_the_last_turns_are_sound_and_the_others_are_freed() -> None:
    turns = [Message("user", f"Turn {n}.", sound(0.5)) for n in range(9)]
    requests = Requests("m", ChatShape(sound_turns=4), 8192)
    counts = []
    for end in range(1, 10):
        asked = requests.answer(turns[:end], GenerationOptions())["messages"]
        counts.append(sum(isinstance(message["content"], list) for message in asked))
    assert counts == [1, 2, 3, 4, 3, 4, 3, 4, 3]
    assert asked[0] == {"role": "user", "content": "Turn 0."}
    assert [bool(turn.sound.clips) for turn in turns] == [False] * 6 + [True] * 3  # type: ignore[union-attr]


def test_sound_counts_for_the_context() -> None:
    turns = [Message("user", "Hi.", sound(20.0)) for _ in range(3)]
    asked = Requests("m", ChatShape(sound_tokens_per_s=25), 1300).answer(turns, GenerationOptions())
    assert len(asked["messages"]) == 1


@pytest.mark.parametrize("title", [r"\ud83d\ude00", r"half \ud83d of one"])
def test_a_request_as_json(title: str) -> None:
    tool = Tool("weather", "", f'{{"title": "{title}"}}')
    messages = [Message("system", "Grüße", tools=(tool,))]
    request = Requests("m", ChatShape(), 8192).ahead(messages, None)
    assert json.loads(encoded(request)) == request


def test_what_is_set_is_sent() -> None:
    shape = replace(
        PRESETS["step-audio-r1"],
        temperature=0.0,
        top_p=0.5,
        limit="max_completion_tokens",
        sound_part={"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,{wav}"}},
    )
    asked = Requests("m", shape, 8192).answer(talk(), GenerationOptions(max_tokens=9))
    assert (asked["temperature"], asked["top_p"], asked["max_completion_tokens"]) == (0.0, 0.5, 9)
    url = named(asked["messages"][-2]["content"][0]["audio_url"]["url"])
    assert url == "data:audio/wav;base64,<wav of 1 s>"
