"""The voice of an OpenAI-compatible endpoint, without the endpoint."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tts.errors import VoiceError
from tts.openai.voice import OpenAIVoice
from tts.types import AudioChunk

RAMP = np.arange(24_000, dtype="<i2").tobytes()


class Endpoint:
    """Gives ``pieces`` for every request."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.requests: list[dict[str, Any]] = []
        self.closed = 0

    def fetch(self, request: dict[str, Any]) -> Iterator[bytes]:
        self.requests.append(request)
        try:
            yield from self.pieces
        finally:
            self.closed += 1


def voice_of(endpoint: Endpoint, instructions: str = "") -> OpenAIVoice:
    return OpenAIVoice(endpoint.fetch, "a-model", "alloy", instructions)


def spoken(chunks: list[AudioChunk]) -> str:
    return "".join(word.text for chunk in chunks for word in chunk.words)


def test_an_answer_is_asked_for_segment_by_segment() -> None:
    endpoint = Endpoint(RAMP[:1001], b"", RAMP[1001:1010], RAMP[1010:])
    utterance = voice_of(endpoint, "Calm.").open(1.2)
    first = [*utterance.feed("Hello **there**, ")]
    second = [*utterance.feed("you. ")]
    assert [*utterance.finish()] == []
    assert [request["input"] for request in endpoint.requests] == ["Hello there,", "you."]
    assert endpoint.requests[0] | {"input": ""} == {
        "model": "a-model",
        "voice": "alloy",
        "instructions": "Calm.",
        "response_format": "pcm",
        "speed": 1.2,
        "input": "",
    }
    assert spoken(first) == "Hello **there**, "
    samples = np.concatenate([chunk.samples for chunk in first])
    assert (samples * 32768).tolist() == list(range(24_000))
    assert len(first[0].samples) == 500  # the first piece goes on before the next has come
    ends = [word.end_sample for chunk in [*first, *second] for word in chunk.words]
    assert ends == sorted(ends)
    assert ends[-1] == 48_000
    assert all(word.is_estimated for chunk in first for word in chunk.words)


def test_the_usual_pace_is_not_asked_for() -> None:
    endpoint = Endpoint(RAMP)
    assert [*voice_of(endpoint).open().feed("Hi.")]
    assert endpoint.requests == [
        {"model": "a-model", "voice": "alloy", "response_format": "pcm", "input": "Hi."}
    ]
    with pytest.raises(ValueError, match="speed"):
        voice_of(endpoint).open(9.0)


def test_signs_alone_are_not_sent_but_named_if_there_is_nothing_else() -> None:
    endpoint = Endpoint(RAMP)
    utterance = voice_of(endpoint).open()
    assert spoken([*utterance.feed("🙂")]) == "🙂"
    assert endpoint.requests == []
    assert spoken([*utterance.finish()]) == ""
    assert endpoint.requests[0]["input"] == "slightly smiling face"


@pytest.mark.parametrize("pieces", [(), (b"",), (b"a",)])
def test_no_sound_is_an_error(pieces: tuple[bytes, ...]) -> None:
    endpoint = Endpoint(*pieces)
    with pytest.raises(VoiceError, match="no sound"):
        _ = [*voice_of(endpoint).open().feed("Hi.")]
    assert endpoint.closed == 1


def test_sound_without_an_end_is_an_error() -> None:
    with pytest.raises(VoiceError, match="without an end"):
        _ = [*voice_of(Endpoint(*[RAMP] * 60)).open().feed("Hi.")]


def test_closing_ends_the_request() -> None:
    endpoint = Endpoint(RAMP[:1000], RAMP[1000:])
    chunks = voice_of(endpoint).open().feed("Hi.")
    assert len(next(chunks).samples) == 500
    chunks.close()  # type: ignore[attr-defined]
    assert endpoint.closed == 1
