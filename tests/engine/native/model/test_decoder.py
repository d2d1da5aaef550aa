"""The decoder against transformers, and its cache against runs that never saw what was cut."""

from collections.abc import Sequence
from typing import Literal

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.native.kv_cache import BlockPool, Log
from engine.native.model.config import DecoderShape
from engine.native.model.decoder import Decoder, Rows, make_batch
from engine.native.runtime.runner import Runner, StepInput

pytestmark = pytest.mark.torch

SHAPE = DecoderShape(
    layers=2,
    hidden=48,
    intermediate=80,
    heads=6,
    kv_heads=2,
    head_dim=8,
    vocab=97,
    eps=1e-5,
    rope_theta=1e6,
    max_positions=256,
)


@pytest.fixture(scope="module")
def oracle() -> transformers.Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=SHAPE.vocab,
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        max_position_embeddings=SHAPE.max_positions,
        rms_norm_eps=SHAPE.eps,
        rope_parameters={"rope_type": "default", "rope_theta": SHAPE.rope_theta},
        tie_word_embeddings=False,
        initializer_range=0.4,
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def decoder(oracle: transformers.Qwen2ForCausalLM) -> Decoder:
    decoder = Decoder(SHAPE)
    state = oracle.state_dict()
    destinations = decoder.destinations()
    assert set(destinations) == set(state)
    for name, destination in destinations.items():
        destination.copy_(state[name])
    return decoder


def expected(oracle: transformers.Qwen2ForCausalLM, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return oracle(torch.tensor([list(ids)])).logits[0]


def run(
    decoder: Decoder, pool: BlockPool, parts: Sequence[tuple[Log, Sequence[int]]]
) -> list[torch.Tensor]:
    """Scores of every position of each part, all in one step."""
    rows = [Rows(log, log.extend(list(ids))) for log, ids in parts]
    x = decoder.embed(torch.tensor([i for _, ids in parts for i in ids]))
    scores = decoder.logits(decoder.forward(x, make_batch(rows, "cpu"), pool))
    return list(scores.split([len(ids) for _, ids in parts]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_scores_equal_transformers_for_any_cutting_into_steps(
    decoder: Decoder, oracle: transformers.Qwen2ForCausalLM, data: st.DataObject
) -> None:
    pool = decoder.open_pool(64, block_tokens=4)
    texts = [
        data.draw(st.lists(st.integers(0, SHAPE.vocab - 1), min_size=1, max_size=30))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    logs = [pool.open() for _ in texts]
    scores: list[list[torch.Tensor]] = [[] for _ in texts]
    at = [0] * len(texts)
    while any(done < len(text) for done, text in zip(at, texts, strict=True)):
        parts = []
        for index, text in enumerate(texts):
            if at[index] < len(text):
                count = data.draw(st.integers(1, len(text) - at[index]))
                parts.append((index, text[at[index] : at[index] + count]))
                at[index] += count
        results = run(decoder, pool, [(logs[index], ids) for index, ids in parts])
        for (index, _), result in zip(parts, results, strict=True):
            scores[index].append(result)
    for text, got in zip(texts, scores, strict=True):
        torch.testing.assert_close(torch.cat(got), expected(oracle, text), rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_appending_cutting_and_forking_equals_a_fresh_run_of_what_remains(
    decoder: Decoder, oracle: transformers.Qwen2ForCausalLM, data: st.DataObject
) -> None:
    pool = decoder.open_pool(128, block_tokens=4)
    logs = [pool.open()]
    for _ in range(data.draw(st.integers(1, 10))):
        log = data.draw(st.sampled_from(logs))
        kind = data.draw(st.sampled_from(["append", "truncate", "fork"]))
        if kind == "append":
            ids = data.draw(st.lists(st.integers(0, SHAPE.vocab - 1), min_size=1, max_size=9))
            run(decoder, pool, [(log, ids)])
        elif kind == "truncate":
            log.truncate(data.draw(st.integers(0, log.length)))
        else:
            logs.append(log.fork(data.draw(st.integers(0, log.length))))
    scores = run(decoder, pool, [(log, [5]) for log in logs])
    for log, got in zip(logs, scores, strict=True):
        torch.testing.assert_close(got[-1], expected(oracle, log.entries)[-1], rtol=1e-4, atol=1e-4)
    for log in logs:
        log.close()
    assert pool.free_blocks == 128


def test_latents_take_the_place_of_embeddings(
    decoder: Decoder, oracle: transformers.Qwen2ForCausalLM
) -> None:
    runner = Runner(decoder, decoder.open_pool(8))
    latents = decoder.embed(torch.tensor([7, 8]))
    outcome = runner.step(
        [StepInput(runner.pool.open(), [3, -1, -2, 4], latents, wants_scores=True)]
    )
    assert outcome.scores is not None
    torch.testing.assert_close(
        outcome.scores[0], expected(oracle, [3, 7, 8, 4])[-1], rtol=1e-4, atol=1e-4
    )


def test_a_sequence_without_room_is_named_and_the_others_run(decoder: Decoder) -> None:
    runner = Runner(decoder, decoder.open_pool(2, block_tokens=4))
    small, large = runner.pool.open(), runner.pool.open()
    outcome = runner.step(
        [
            StepInput(large, list(range(9)), wants_scores=True),
            StepInput(small, [1], wants_scores=True),
        ]
    )
    assert list(outcome.failures) == [0]
    assert outcome.scores is not None
    assert len(outcome.scores) == 1
    assert (large.length, small.length) == (0, 1)


def test_a_failed_step_leaves_the_logs_as_they_were(decoder: Decoder) -> None:
    runner = Runner(decoder, decoder.open_pool(4))
    log = runner.pool.open()
    runner.step([StepInput(log, [1, 2, 3])])
    with pytest.raises(IndexError):
        runner.step([StepInput(log, [SHAPE.vocab])])
    assert log.entries == [1, 2, 3]


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_weights_stay_close(bits: Literal[4, 8]) -> None:
    shape = DecoderShape(1, 128, 128, 4, 2, 32, 50, 1e-5, 1e4, 64)
    torch.manual_seed(1)
    model = Decoder(shape)
    for tensor in model.destinations().values():
        tensor.normal_(std=0.1)
    exact = scores_of(model)
    model.quantise(bits)
    close = scores_of(model)
    error = ((exact - close).norm() / exact.norm()).item()
    assert 0 < error < {8: 0.02, 4: 0.3}[bits]


def scores_of(model: Decoder) -> torch.Tensor:
    pool = model.open_pool(2)
    return run(model, pool, [(pool.open(), [1, 2, 3])])[0]
