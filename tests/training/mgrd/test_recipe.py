"""The recipe end to end, in miniature: every stage trains, and what is trained holds a call."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.evaluation.items import RATE_HZ, Samples
from client.evaluation.sets import clips
from client.realtime import RealtimeClient, SessionOptions, connect
from duplex.app import build
from duplex.app.plugins import Given
from duplex.app.server import DialogueServer, address
from duplex.audio.files import read_sound
from duplex.audio.resample import resample
from duplex.config import BrainConfig, Config, NativeConfig, ServerConfig
from duplex.model_store import ModelStore, Progress
from duplex.testing.voice import ScriptedVoice
from engine.features import SAMPLE_RATE_HZ
from training.mgrd import evaluate, sft
from training.mgrd.checkpoint import export
from training.mgrd.config import TINY, Wish
from training.mgrd.features import FrozenEar
from training.mgrd.hearing import SoundTable
from training.mgrd.policy import new_policy
from training.mgrd.prompts import Example
from training.mgrd.stages import Run, Workshop
from training.mgrd.study import study
from training.mgrd.tasks import Question
from training.mgrd.whisper_tower import load_tower

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("trl") is None, reason="the extra `train` is not installed"),
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # of the trainers, about what they will be
]
WHISPER = "whisper-tiny.en"
STATE = 384
ASKED = "Does the pitch rise or fall?"
DATA = Path(__file__).parents[2] / "engine" / "data"
TAUGHT = {"rising": "capital", "falling": "ocean"}  # by heart: the answers to two recordings


def hum(text: str, *, speed: float = 1.0, semitones: int = 0) -> Samples:
    """A voice that costs nothing."""
    return clips.tone(200 * 2 ** (semitones / 12), 0.1 * len(text.split()) / speed + 0.3)


@pytest.fixture(scope="module")
def ear(models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> FrozenEar:
    return FrozenEar(lambda: load_tower(models(WHISPER)), WHISPER, tmp_path_factory.mktemp("ear"))


def test_every_stage_runs_is_kept_and_is_reported(tmp_path: Path, ear: FrozenEar) -> None:
    # Nothing is learnt here, so all selections are of prompts that are never right.
    workshop = Workshop(tmp_path, TINY, hum, ear, STATE)
    wish = Wish(TINY, 0, select="all", rounds=1)
    stages = Run(workshop, wish).recipe()
    assert list(stages) == ["cold", "distil1", "rl1"]
    assert len(stages["rl1"]["curve"]) == TINY.rl_steps
    assert stages["cold"]["test"]["questions"] == TINY.test_questions
    assert {"thinks", "correct", "reward"} <= set(stages["rl1"]["curve"][0])
    study(workshop, [0], ["C5"])
    page = (tmp_path / "mgrd.html").read_text()
    assert "not decided" in page
    found = json.loads((tmp_path / "mgrd.json").read_text())
    assert found["scales"]["TINY"]["parameters"] > 0
    # A second run does nothing anew: it needs neither a voice nor an ear.
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("TINY-0/*")}
    assert Run(workshop, wish).recipe() == stages
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("TINY-0/*")} == written


def recording(name: str) -> Samples:
    """A question that somebody asks, 24 kHz."""
    samples, rate = read_sound(DATA / f"question_{name}.wav")
    return resample(samples, rate, RATE_HZ)


def question(answer: str, name: str, ear: FrozenEar) -> Question:
    choices = {"answer": answer, "choices": {word: [word] for word in TAUGHT}}
    return Question(
        id=answer,
        kind="pitch",
        text=ASKED,
        words="",
        answer=answer,
        scorer="choice",
        gold=choices,
        chance=0.5,
        measured=(),
        frames=ear.frames(resample(recording(name), RATE_HZ, SAMPLE_RATE_HZ)),
    )


async def ask(client: RealtimeClient, samples: Samples) -> tuple[str, str]:
    """The thought and the answer of a turn that the caller ends."""
    await client.append(samples)
    await client.send({"type": "input_audio_buffer.commit"})
    await client.send({"type": "response.create"})
    thought = said = ""
    async with asyncio.timeout(60):
        while True:
            event: Any = (await client.receive()).event
            assert event["type"] != "error", event
            if event["type"] == "duplex.thought.delta":
                thought += event["delta"]
            if event["type"] == "response.output_audio_transcript.done":
                said = event["transcript"]
            if event["type"] == "response.done":
                return thought.strip(), said.strip()


async def test_what_is_taught_answers_in_a_spoken_call(
    tmp_path: Path, ear: FrozenEar, store: ModelStore, models: Callable[[str], Path]
) -> None:
    policy = new_policy(replace(TINY, sft_batch=4, max_new_tokens=12), SoundTable(STATE), 0)
    asked = [question(answer, name, ear) for answer, name in TAUGHT.items()]
    policy.standardise(asked)
    examples = [
        Example(policy.writer.prompt(q), policy.writer.answer(f"pitch so {q.answer}", q.answer))
        for q in asked
    ]
    sft.train(
        policy.model, policy.tokenizer, examples * 4, policy.scale, epochs=100, rate=3e-3, seed=0,
        folder=tmp_path,
    )  # fmt: skip
    assert evaluate.answers(policy, asked).right() == [True, True]

    checkpoint = tmp_path / "checkpoint"
    export(policy, load_tower(models(WHISPER)), checkpoint)
    config = Config(
        server=ServerConfig(port=0),
        brain=BrainConfig(
            kind="native", model=f"path:{checkpoint}", thinking="before", instructions=ASKED
        ),
        native=NativeConfig(cache_tokens=8192, hearing="exact"),
    )
    parts = build.load(config, store, Progress(sys.stderr), Given(voice=ScriptedVoice()))
    async with DialogueServer(config, parts).listen() as server:
        client = await connect(address(server))
        options = SessionOptions(manual_turns=True, duplex=True, thoughts=True)
        await client.send(options.update())
        for answer, name in TAUGHT.items():
            assert await ask(client, recording(name)) == (f"pitch so {answer}", answer)
        await client.close()


def test_the_tower_is_the_published_one(models: Callable[[str], Path]) -> None:
    import ctranslate2  # type: ignore[import-untyped]
    import torch

    mel = np.random.default_rng(0).standard_normal((80, 300)).astype(np.float32) / 3
    published = ctranslate2.models.Whisper(
        str(models(WHISPER)), device="cpu", compute_type="float32", intra_threads=1
    )
    theirs = np.array(published.encode(ctranslate2.StorageView.from_array(mel[None])))[0]
    tower = load_tower(models(WHISPER))
    pool = tower.pool(blocks=16)
    (frames,) = tower.forward(
        [tower.window(torch.from_numpy(mel), pool.open(), right_edge=True)], pool
    )
    np.testing.assert_allclose(tower.norm(frames).numpy(), theirs, atol=1e-3)
