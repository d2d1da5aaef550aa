"""The default brain with its real weights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.brain.convert import convert
from engine.brain.local_brain import LocalBrain
from engine.brain.onnx_log import OnnxTokenLog, load_model
from engine.types import Message
from tests._support.brain_contract import SYSTEM, answer, knows_and_follows, speaks_other_scripts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def directory(models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    [gguf] = models("qwen2.5-coder-0.5b").glob("*.gguf")
    target = tmp_path_factory.mktemp("brain") / "converted"
    convert(gguf, target, lambda *_: None)
    return target


@pytest.fixture(scope="module")
def brain(directory: Path) -> Iterator[LocalBrain]:
    brain = LocalBrain(directory, threads=2)
    yield brain
    brain.close()


def assert_close(a: np.ndarray, b: np.ndarray) -> None:
    """Equal up to what the chunks' sizes do: a single row takes another kernel, and activations
    are rounded to 8 bits."""
    assert np.abs(a - b).max() < 0.05 * np.abs(b).max()
    assert np.corrcoef(a, b)[0, 1] > 0.995


async def test_it_knows_something_and_follows_the_conversation(brain: LocalBrain) -> None:
    await knows_and_follows(brain)


async def test_after_barge_in_nothing_of_the_rest_is_left(brain: LocalBrain) -> None:
    used, fresh = brain.open(), brain.open()
    talk = [SYSTEM, Message("user", "Tell me about the moon.")]
    said, _ = await answer(used, talk, characters=40)
    talk += [Message("assistant", said[:20]), Message("user", "How far away is it?")]
    await used.prefill(talk[:-1], "How far away was")
    await used.prefill(talk)
    await fresh.prefill(talk)
    assert list(used._log.tokens) == list(fresh._log.tokens)
    assert_close(used._log.logits(), fresh._log.logits())
    await used.close()
    await fresh.close()


async def test_it_speaks_other_scripts(brain: LocalBrain) -> None:
    await speaks_other_scripts(brain)


def test_a_cut_log_equals_a_fresh_one(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(directory, threads=2, context_tokens=512)
    with monkeypatch.context() as patch:
        patch.setattr(np, "zeros", lambda shape, dtype: np.full(shape, np.nan, dtype))
        log, fresh = OnnxTokenLog(model), OnnxTokenLog(model)
    log.append(range(1000, 1040))
    log.truncate(25)
    log.append(range(2000, 2010))
    log.append([5, 6, 7])
    fresh.append([*range(1000, 1025), *range(2000, 2010), 5, 6, 7])
    assert_close(log.logits(), fresh.logits())
