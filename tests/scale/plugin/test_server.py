"""`vllm serve` with the plugin, asked for recordings, for latents, and by our own brain."""

import base64
import io
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.brain.chat_shape import PRESETS
from engine.brain.clips import Clip, ClippedSound
from engine.brain.openai_compatible import OpenAIBrain
from engine.features import Float32
from engine.native.model.tokens import load_tokenizer
from engine.types import GenerationOptions, Message
from tests._support.native import spoken
from tests._support.published_ear import speechlike
from tests._support.step_reference import LATENT, StepReference
from tests._support.stores import free_port
from tests.scale.plugin.conftest import ENVIRONMENT, SHAPES

pytest.importorskip("vllm", reason="`make test-scale` installs vllm")

pytestmark = pytest.mark.scale

COUNT = 16  # tokens of an answer
SECONDS_TO_START = 280
GREEDY = {
    "model": "tiny",
    "temperature": 0,
    "max_tokens": COUNT,
    "ignore_eos": True,
    "return_token_ids": True,
}


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[str]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(checkpoint)),
        *("--port", str(port), "--host", "127.0.0.1", "--served-model-name", "tiny"),
        *("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"),
        "--enable-mm-embeds",
    ]
    process = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address)
        yield f"{address}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        assert process.poll() is None, "vllm serve ended"
        try:
            if httpx2.get(f"{address}/health").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(1)
    raise TimeoutError("vllm serve does not start")


@pytest.fixture(scope="module")
def pcm() -> Float32:
    """As 16 bits hold it."""
    sixteen = np.round(speechlike(24_000) * 32768)
    return (sixteen / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def latents(reference: StepReference, pcm: Float32) -> Tensor:
    [pieces] = reference.hear(pcm)
    return torch.cat(pieces)


def wav(pcm: Float32) -> str:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, len(pcm), "NONE", ""))
        writer.writeframes((pcm * 32768).astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()


def input_audio(pcm: Float32) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": wav(pcm), "format": "wav"}}


def audio_embeds(latents: Tensor) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(latents.clone(), file)
    return {"type": "audio_embeds", "audio_embeds": base64.b64encode(file.getvalue()).decode()}


def ask(server: str, *content: dict[str, Any], **others: Any) -> httpx2.Response:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": list(content)},
    ]
    request = {**GREEDY, "messages": messages, **others}
    return httpx2.post(f"{server}/chat/completions", json=request, timeout=60)


def heard(checkpoint: Path, latents: int, beginning: str) -> list[int]:
    tokenizer = load_tokenizer(checkpoint)
    before = "<|BOT|>system\nBe brief.<|EOT|><|BOT|>human\n<audio_start>"
    after = f"<audio_end><|EOT|><|BOT|>assistant\n{beginning}"
    return [*tokenizer.encode(before).ids, *[LATENT] * latents, *tokenizer.encode(after).ids]


@pytest.mark.parametrize("form", ["recording", "latents"])
def test_one_turn(
    server: str, checkpoint: Path, reference: StepReference, pcm: Float32, latents: Tensor,
    form: str,
) -> None:  # fmt: skip
    part = input_audio(pcm) if form == "recording" else audio_embeds(latents)
    answer = ask(server, part)
    assert answer.status_code == 200, answer.text
    ids = heard(checkpoint, len(latents), "<think>\n")
    patch = load_tokenizer(checkpoint).token_to_id("<audio_patch>")
    assert answer.json()["prompt_token_ids"] == [patch if i == LATENT else i for i in ids]
    assert answer.json()["choices"][0]["token_ids"] == reference.greedy(ids, COUNT, latents)


def test_what_cannot_be_is_refused(server: str, latents: Tensor) -> None:
    width = SHAPES.decoder.hidden
    for wrong, fault in [
        (torch.ones(4, width + 1), "hidden dimension mismatch"),
        (torch.full((4, width), torch.inf), "not finite"),
        (torch.ones(0, width), "must be rows"),
    ]:
        answer = ask(server, audio_embeds(wrong))
        assert answer.status_code == 400
        assert fault in answer.json()["error"]["message"]
    assert ask(server, input_audio(np.zeros(50, np.float32))).status_code == 400
    assert ask(server, audio_embeds(latents)).status_code == 200


async def test_our_brain_with_the_preset_of_r1(
    server: str, checkpoint: Path, reference: StepReference, pcm: Float32, latents: Tensor
) -> None:
    """As a call asks it: the begun answer goes on, and the words are those of engine.native."""
    preset = PRESETS["step-audio-r1"]
    # The published id of <|EOT|> is none of the tiny vocabulary.
    body = {**preset.body, "stop_token_ids": [], "ignore_eos": True}
    shape = replace(preset, temperature=0.0, body=body)
    brain = OpenAIBrain(server, "tiny", shape=shape)
    session = brain.open()
    messages = [
        Message("system", "Be brief."),
        Message("user", "something", sound=ClippedSound((Clip(pcm),))),
    ]
    options = GenerationOptions(max_tokens=COUNT, think_tokens=0)
    pieces = [piece async for piece in session.generate(messages, options)]
    await session.close()
    ids = heard(checkpoint, len(latents), "<think>\n\n</think>\n")
    expected = load_tokenizer(checkpoint).decode(reference.greedy(ids, COUNT, latents))
    assert spoken(pieces).strip() == expected.strip() != ""
