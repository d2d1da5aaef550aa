"""Decode steps over fixed memory equal steps that are run kernel by kernel."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from engine.native.device_setup import warm
from engine.native.runtime.graphs import DecodeGraphs
from engine.native.runtime.planning import Limits
from engine.native.runtime.runner import Runner, StepInput, StepOutput
from tests._support.native import load_tiny
from tests._support.tiny_decoder import tiny_decoder

pytestmark = pytest.mark.torch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_steps_of_any_number_of_rows_equal_eager_ones(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    decoder = tiny_decoder(device=device)
    pools = [decoder.open_pool(64, block_tokens=4) for _ in range(2)]
    graphs = DecodeGraphs(decoder, pools[0], context_tokens=64, sizes=(1, 2, 4))
    fixed, eager = Runner(decoder, pools[0], graphs), Runner(decoder, pools[1])
    logs = [(pools[0].open(), pools[1].open()) for _ in range(6)]
    for index, (one, other) in enumerate(logs):
        prompt = list(range(1, 3 + 5 * index))
        fixed.step([StepInput(one, prompt)])
        eager.step([StepInput(other, prompt)])
    # Growing and shrinking: rows that are left over must not show in the next step.
    for step, count in enumerate((4, 1, 3, 2, 4, 1, 6)):
        mine = [StepInput(one, [7 + step], wants_scores=True) for one, _ in logs[:count]]
        theirs = [StepInput(other, [7 + step], wants_scores=True) for _, other in logs[:count]]
        assert graphs.fits(mine) == (count <= 4)
        scores, expected = fixed.step(mine).scores, eager.step(theirs).scores
        assert scores is not None
        assert expected is not None
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)


def test_only_one_token_of_few_short_sequences_fits() -> None:
    decoder = tiny_decoder()
    pool = decoder.open_pool(64, block_tokens=4)
    graphs = DecodeGraphs(decoder, pool, context_tokens=8, sizes=(1, 2))
    log = pool.open()
    log.extend([1] * 8)
    assert graphs.fits([StepInput(log, [1], wants_scores=True)])
    assert not graphs.fits([StepInput(log, [1])])
    assert not graphs.fits([StepInput(log, [1, 2], wants_scores=True)])
    assert not graphs.fits([StepInput(log, [-1], wants_scores=True)])
    assert not graphs.fits([StepInput(log, [1], wants_scores=True)] * 3)
    log.extend([1])
    assert not graphs.fits([StepInput(log, [1], wants_scores=True)])


def test_warming_up_runs_steps_of_all_sizes_and_leaves_nothing(tmp_path: Path) -> None:
    model = load_tiny(tmp_path)
    model.brain.close()
    runner = model.brain.scheduler.runner
    assert model.tower is not None
    seen: set[int] = set()
    step = runner.step

    def watched(feeds: Sequence[StepInput]) -> StepOutput:
        seen.update(len(feed.entries) for feed in feeds)
        return step(feeds)

    runner.step = watched  # type: ignore[method-assign]
    warm(runner, model.tower, Limits(prefill_beside_decode=128, prefill_alone=512))
    assert {1, 128, 512} <= seen
    assert runner.pool.free_blocks == runner.pool.blocks
    assert model.tower.pool.free_blocks == model.tower.pool.blocks
