"""Chat endpoints as a target and as a judge, and answers from a file."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from client.evaluation.chat import ChatEndpoint
from client.evaluation.items import Item, Record, Sound
from client.evaluation.judging import described, judge, judged_gold
from client.evaluation.results import scored
from client.evaluation.sets import clips
from client.evaluation.targets.answers import AnswersFile
from client.evaluation.targets.chat import ChatTarget
from client.realtime import Unreachable
from duplex.audio.files import decode_sound
from tests._support.endpoint import Reply, endpoint, status

TONE = clips.tone(300, 0.2)
ITEM = Item("q", "sound", "q", (Sound(lambda: TONE), "How many?"), "number", {}, "Be brief.")


def answers(code: int, body: object) -> Reply:
    return status(code, json.dumps(body))


def says(text: str, finish: str = "stop", **message: str) -> Reply:
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    chosen = {"message": {"content": text, **message}, "finish_reason": finish}
    return answers(200, {"choices": [chosen], "usage": usage})


async def test_an_endpoint_is_sent_the_sound_and_the_text() -> None:
    async with endpoint(says("<think>1</think>three")) as served:
        answer = await ChatTarget(ChatEndpoint(served.base_url, "m", "key")).ask(ITEM, {0: TONE})
    (request,) = served.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer key"
    system, user = request.json["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    heard, text = user["content"]
    assert text == {"type": "text", "text": "How many?"}
    assert heard["input_audio"]["format"] == "wav"
    samples, rate = decode_sound(io.BytesIO(base64.b64decode(heard["input_audio"]["data"])), "x")
    assert rate == 24_000
    assert np.abs(samples - TONE).max() < 1e-3
    assert (answer.text, answer.thought, answer.error) == ("three", "1", None)
    assert answer.tokens == {"input_tokens": 9, "output_tokens": 2}


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ([answers(400, {"error": "no audio here"})], "HTTP 400"),
        ([answers(200, {"choices": []})], "no chat completion"),
        ([answers(200, [])], "no chat completion"),
        ([says("x", content=["x"])], "the answer is no text"),  # type: ignore[arg-type]
    ],
)
async def test_what_an_endpoint_does_wrong_is_in_the_answer(
    replies: Sequence[Reply], error: str
) -> None:
    async with endpoint(*replies) as served:
        answer = await ChatTarget(ChatEndpoint(served.base_url, "m")).ask(ITEM, {0: TONE})
    assert answer.error is not None
    assert error in answer.error


async def test_an_answer_that_was_cut_and_a_thought_of_its_own_field() -> None:
    async with endpoint(says("thr", "length", reasoning_content="one, two")) as served:
        answer = await ChatTarget(ChatEndpoint(served.base_url, "m")).ask(ITEM, {0: TONE})
    assert (answer.is_cut, answer.thought) == (True, "one, two")


async def test_no_endpoint_is_an_error_of_the_run() -> None:
    with pytest.raises(Unreachable):
        await ChatTarget(ChatEndpoint("http://127.0.0.1:9/v1", "m")).ask(ITEM, {0: TONE})


def free(number: int, **more: object) -> Record:
    gold = {**judged_gold("Was {thing} said? {answer}", thing="it"), "most": 10}
    return Record(f"q-{number}", "speech", "q", ["?"], "judged_rating", gold, **more)  # type: ignore[arg-type]


async def test_a_judge_scores_what_no_rule_can_and_its_words_are_kept() -> None:
    records = [
        free(0, answer="<think>no</think>so"),
        free(1, answer="so", judged="Score: 2"),
        free(2, answer="so", error="lost"),
        Record("q-3", "speech", "q", ["?"], "number", {"answer": 1}, answer="1"),
    ]
    assert [score.value for _, score in scored(records)] == [None, 0.2, 0.0, 1.0]
    kept: list[Record] = []
    async with endpoint(says("Fine.\nScore: 8")) as served:
        judging = ChatEndpoint(served.base_url, "judge")
        judged = await judge(records, judging, 2, kept.append, print)
        assert await judge(judged, judging, 2, kept.append, print) == judged
    (request,) = served.requests
    assert request.json["messages"] == [{"role": "user", "content": "Was it said? so"}]
    assert request.json["temperature"] == 0
    assert [score.value for _, score in scored(judged)] == [0.8, 0.2, 0.0, 1.0]
    assert [record.id for record in kept] == ["q-0"]
    told = described(judging, records)
    assert told is not None
    assert told.startswith("judge at http://127.0.0.1")
    assert described(judging, records[3:]) is None


async def test_a_judge_that_fails_or_babbles_leaves_no_score() -> None:
    told: list[str] = []
    async with endpoint(answers(500, {}), says("Lovely!")) as served:
        judging = ChatEndpoint(served.base_url, "judge")
        records = await judge([free(0, answer="a")], judging, 1, print, told.append)
        assert [score.value for _, score in scored(records)] == [None]
        assert "HTTP 500" in told[0]
        records = await judge(records, judging, 1, print, told.append)
    ((_, score),) = scored(records)
    assert (score.value, score.is_invalid) == (None, True)


async def test_answers_of_a_file_are_found_by_id_and_condition(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [
        {"id": "q", "condition": "sound", "answer": "<think>a</think>3"},
        {"id": "r", "answer": "4", "model": "other"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    target = AnswersFile(path)
    assert (await target.ask(ITEM, {})).text == "3"
    for key, text in (("r", "4"), ("s", "")):
        item = Item(key, "text", "q", ("?",), "number", {})
        answer = await target.ask(item, {})
        assert answer.text == text
        assert (answer.error is None) == bool(text)
    path.write_text('{"id": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        AnswersFile(path)
