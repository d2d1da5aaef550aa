"""The native decoder with real weights of its family, against transformers' Qwen2."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from engine.native.device_setup import NativeOptions
from engine.native.load import NativeModel, load_model
from engine.native.model.decoder import Decoder
from engine.native.runtime.runner import Runner, StepInput
from engine.types import GenerationOptions, Message
from tests._support.native import answer, finished, spoken

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TEXT = (
    "The lighthouse keeper climbed the stairs every evening at dusk, lit the lamp, and wrote down "
    "the weather in a small blue book. In forty years he had missed only one night."
)
TALK = [
    Message("system", "You are a kind voice assistant. Answer in one short sentence."),
    Message("user", "What is the capital of France?"),
]


@pytest.fixture(scope="module")
def model(models: Callable[[str], Path]) -> Iterator[NativeModel]:
    options = NativeOptions(context_tokens=1024, cache_tokens=4096)
    model = load_model(models("qwen2.5-coder-0.5b"), options, lambda what, done: None)
    yield model
    model.brain.close()


def oracle(decoder: Decoder) -> torch.nn.Module:
    """transformers' model on the very same tensors."""
    import transformers

    shape = decoder.shape
    config = transformers.Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.max_positions,
        rms_norm_eps=shape.eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tied_embeddings,
    )
    with torch.device("meta"):
        made = transformers.Qwen2ForCausalLM(config)
    made.load_state_dict(decoder.destinations(), assign=True)
    made.model.rotary_emb = type(made.model.rotary_emb)(config)  # its buffers are not weights
    return made.eval()


def perplexity(scores: torch.Tensor, ids: list[int]) -> float:
    """Of every id but the first, from the scores [T, V] after each."""
    return float(torch.nn.functional.cross_entropy(scores[:-1], torch.tensor(ids[1:])).exp())


def greedy(runner: Runner, ids: list[int], count: int) -> list[int]:
    """What is written after ``ids``."""
    log, pending, written = runner.pool.open(), ids, []
    for _ in range(count):
        outcome = runner.step([StepInput(log, pending, wants_scores=True)])
        assert outcome.scores is not None
        pending = [int(outcome.scores[0].argmax())]
        written += pending
    log.close()
    return written


def test_perplexity_and_greedy_text_equal_transformers(model: NativeModel) -> None:
    brain = model.brain
    runner = brain.scheduler.runner
    ids = brain.renderer.plain(TEXT)
    log = runner.pool.open()
    mine = []
    for entry in ids:  # one by one, over the cache
        outcome = runner.step([StepInput(log, [entry], wants_scores=True)])
        assert outcome.scores is not None
        mine.append(outcome.scores[0])
    log.close()
    reference = oracle(runner.decoder)
    with torch.inference_mode():
        theirs = reference(torch.tensor([ids])).logits[0]
        again = reference.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)  # type: ignore[operator]
    ours, published = perplexity(torch.stack(mine), ids), perplexity(theirs, ids)
    assert ours == pytest.approx(published, rel=1e-3)
    assert ours < 200  # of 151,936: it knows English
    assert [*ids, *greedy(runner, ids, 24)] == again[0].tolist()


def test_the_published_file_is_read_as_it_was_meant(model: NativeModel) -> None:
    renderer, runner = model.brain.renderer, model.brain.scheduler.runner
    # The published ids of the thinking tags, which are plain text.
    assert renderer.plain("<think>\n") == [13708, 766, 397]
    assert renderer.plain("</think>") == [522, 26865, 29]
    written = greedy(runner, renderer.plain("def is_even(n):\n    return"), 7)
    stream = renderer.stream()
    assert "".join(map(stream.feed, written)) == " n % 2 == 0"


async def test_it_serves_as_a_text_brain_of_this_engine(model: NativeModel) -> None:
    session = model.brain.open()
    options = GenerationOptions(max_tokens=24, repetition_penalty=1.0)
    pieces = await answer(session, TALK, options)
    assert "Paris" in spoken(pieces)
    assert finished(pieces).reason == "stop"
    cut = [*TALK, Message("assistant", "Paris is"), Message("user", "And of Italy?")]
    assert "Rome" in spoken(await answer(session, cut, options))
    await session.close()
