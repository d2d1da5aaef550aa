"""Step-Audio on a real vLLM, through the plugin's entry point, says what engine.native says."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.native.audio_stream import AudioConfig
from engine.native.model.tokens import SpecialTokens, load_tokenizer
from tests._support.published_ear import speechlike
from tests._support.step_reference import LATENT, StepReference
from tests.scale.plugin.conftest import SHAPES

vllm = pytest.importorskip("vllm", reason="`make test-scale` installs vllm")

pytestmark = [pytest.mark.scale, pytest.mark.asyncio(loop_scope="module")]

HIDDEN, VOCABULARY = SHAPES.decoder.hidden, SHAPES.decoder.vocab
COUNT = 32  # tokens of a greedy answer
NOISE = 1e-4  # between two orders of the same sums in fp32
NOISE_OF_MEL = 2e-3  # and of two ways to a log-mel

_requests = itertools.count()


class Prompts:
    """Prompts of one recording: for vLLM, and for the reference."""

    def __init__(self, checkpoint: Path) -> None:
        self.tokenizer = load_tokenizer(checkpoint)
        self.special = SpecialTokens.resolve(self.tokenizer, VOCABULARY)

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    @property
    def before(self) -> list[int]:
        text = "<|BOT|>system\nBe brief.<|EOT|><|BOT|>human\n<audio_start>"
        return self.ids(text)

    @property
    def after(self) -> list[int]:
        return self.ids("<audio_end><|EOT|><|BOT|>assistant\n")

    def asked(self, placeholders: int = 1) -> list[int]:
        return [*self.before, *[self.special.audio_patch] * placeholders, *self.after]

    def heard(self, latents: int) -> list[int]:
        return [*self.before, *[LATENT] * latents, *self.after]


@pytest.fixture(scope="module")
def prompts(checkpoint: Path) -> Prompts:
    return Prompts(checkpoint)


def sampling(tokens: int = COUNT, **others: Any) -> Any:
    return vllm.SamplingParams(
        temperature=0.0,
        max_tokens=tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=vllm.sampling_params.RequestOutputKind.DELTA,
        **others,
    )


def prompt(ids: Sequence[int], audio: Any = None) -> dict[str, Any]:
    data = {} if audio is None else {"multi_modal_data": {"audio": audio}}
    return {"prompt_token_ids": list(ids), **data}


async def generated(llm: Any, prompt: Any, params: Any = None) -> list[Any]:
    outputs = llm.generate(prompt, params or sampling(), f"request-{next(_requests)}")
    return [output async for output in outputs]


async def greedy(llm: Any, prompt: Any) -> list[int]:
    outputs = await generated(llm, prompt)
    return [id_ for output in outputs for id_ in output.outputs[0].token_ids]


async def log_probabilities(llm: Any, prompt: Any) -> Tensor:
    """[N, V] of what follows each place of the prompt."""
    outputs = await generated(llm, prompt, sampling(1, prompt_logprobs=-1, logprobs=-1))
    of_prompt = next(o.prompt_logprobs for o in outputs if o.prompt_logprobs)
    assert of_prompt[0] is None
    rows = [*of_prompt[1:], *outputs[-1].outputs[0].logprobs]
    return torch.tensor([[row[i].logprob for i in range(VOCABULARY)] for row in rows])


async def test_text_alone(llm: Any, reference: StepReference, prompts: Prompts) -> None:
    ids = prompts.ids("<|BOT|>human\nWhen does the shop close?<|EOT|><|BOT|>assistant\n")
    ours = await log_probabilities(llm, prompt(ids))
    assert (ours - reference.log_probabilities(ids)).abs().max() < NOISE
    assert await greedy(llm, prompt(ids)) == reference.greedy(ids, COUNT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
async def test_latents_of_the_native_tower(
    llm: Any, reference: StepReference, prompts: Prompts, dtype: torch.dtype
) -> None:
    [pieces] = reference.hear(speechlike(40_000))
    latents = torch.cat(pieces).to(dtype)
    ids, heard = prompts.asked(), prompts.heard(len(latents))
    ours = await log_probabilities(llm, prompt(ids, [latents]))
    expected = reference.log_probabilities(heard, latents.float())
    assert (ours - expected).abs().max() < NOISE
    assert await greedy(llm, prompt(ids, [latents])) == reference.greedy(
        heard, COUNT, latents.float()
    )
    other = torch.roll(latents, 1, dims=0).float()  # they are heard, and in their order
    assert (reference.log_probabilities(heard, other) - expected).abs().max() > 100 * NOISE


@pytest.mark.parametrize("seconds", [1.7, 26.0])
async def test_a_recording(
    llm: Any, reference: StepReference, prompts: Prompts, seconds: float
) -> None:
    """The plugin's own tower; the blocks of a long recording have marks between them."""
    pcm = speechlike(int(16_000 * seconds))
    blocks = [torch.cat(pieces) for pieces in reference.hear(pcm)]
    between = [prompts.special.audio_end, prompts.special.audio_start]
    inside = [LATENT] * len(blocks[0])
    for block in blocks[1:]:
        inside += [*between, *[LATENT] * len(block)]
    heard, latents = [*prompts.before, *inside, *prompts.after], torch.cat(blocks)
    ours = await log_probabilities(llm, prompt(prompts.asked(), [(pcm, 16_000)]))
    assert (ours - reference.log_probabilities(heard, latents)).abs().max() < NOISE_OF_MEL
    assert await greedy(llm, prompt(prompts.asked(), [pcm])) == reference.greedy(
        heard, COUNT, latents
    )


async def test_placeholders_may_be_as_many_as_the_latents(llm: Any, prompts: Prompts) -> None:
    first, second = torch.randn(5, HIDDEN), torch.randn(3, HIDDEN)
    expanded = prompt(prompts.asked(placeholders=8), {"audio_embeds": [first, second]})
    ids = await greedy(llm, prompt(prompts.asked(placeholders=2), [first, second]))
    assert await greedy(llm, expanded) == ids


async def test_pieces_of_a_streamed_prompt(
    llm: Any, checkpoint: Path, reference: StepReference, prompts: Prompts
) -> None:
    """Latents go ahead as they become stable; the answer is that to one prompt."""
    from vllm.engine.protocol import StreamingInput

    incremental = StepReference(checkpoint, AudioConfig(chunk=5, lookahead=6))
    [pieces] = incremental.hear(speechlike(48_000))
    assert len(pieces) > 4
    patch = prompts.special.audio_patch

    async def turn() -> AsyncIterator[Any]:
        yield StreamingInput(prompt(prompts.before), sampling(1))
        for piece in pieces:
            yield StreamingInput(prompt([patch], [piece]), sampling(1))
        yield StreamingInput(prompt(prompts.after), sampling())

    outputs = await generated(llm, turn())
    streamed = [id_ for output in outputs for id_ in output.outputs[0].token_ids]
    answer = streamed[-COUNT:]
    latents = torch.cat(pieces)
    assert len(streamed) == COUNT + 1 + len(pieces)
    assert answer == await greedy(llm, prompt(prompts.asked(), [latents]))
    assert answer == reference.greedy(prompts.heard(len(latents)), COUNT, latents)


async def test_two_at_once(llm: Any, reference: StepReference, prompts: Prompts) -> None:
    turns = [torch.cat(reference.hear(speechlike(n, seed=n))[0]) for n in (20_000, 33_000)]
    answers = await asyncio.gather(
        *(greedy(llm, prompt(prompts.asked(), [latents])) for latents in turns)
    )
    for latents, answer in zip(turns, answers, strict=True):
        assert answer == reference.greedy(prompts.heard(len(latents)), COUNT, latents)
    assert answers[0] != answers[1]


LATENTS = torch.ones(4, HIDDEN)


@pytest.mark.parametrize(
    ("audio", "placeholders", "fault"),
    [
        ([torch.ones(4, HIDDEN // 2)], 1, "hidden dimension mismatch"),
        ([torch.ones(HIDDEN)], 1, "too short to be heard"),  # taken for samples
        ([LATENTS, torch.ones(2, 4, HIDDEN)], 2, "2D"),
        (torch.ones(1, 0, HIDDEN), 1, "must be rows"),
        ([torch.ones(4, HIDDEN, dtype=torch.int64)], 1, "must be rows of floating point"),
        ([torch.full((4, HIDDEN), torch.nan)], 1, "not finite"),
        ({"audio_embeds": [LATENTS], "other": [LATENTS]}, 1, "not audio_embeds alone"),
        ([LATENTS], 0, "0 <audio_patch> in the prompt, for 1 items"),
        ([LATENTS], 3, "3 <audio_patch> in the prompt, for 1 items of audio with 4 latents"),
        ([LATENTS, LATENTS], 1, "1 <audio_patch> in the prompt, for 2 items"),
        ([torch.ones(3000, HIDDEN)], 1, "3000|long"),
        ([np.zeros(100, np.float32)], 1, "too short to be heard"),
    ],
)
async def test_what_cannot_be_harms_nobody(
    llm: Any, prompts: Prompts, audio: Any, placeholders: int, fault: str
) -> None:
    other = asyncio.create_task(greedy(llm, prompt(prompts.asked(), [LATENTS])))
    with pytest.raises(vllm.exceptions.VLLMValidationError, match=fault):
        await greedy(llm, prompt(prompts.asked(placeholders), audio))
    assert len(await other) == COUNT
    assert await greedy(llm, prompt(prompts.asked(), [LATENTS])) == await other


async def test_a_wrong_piece_ends_its_session_only(llm: Any, prompts: Prompts) -> None:
    from vllm.engine.protocol import StreamingInput

    async def turn() -> AsyncIterator[Any]:
        yield StreamingInput(prompt(prompts.before), sampling(1))
        wrong = torch.ones(4, HIDDEN + 1)
        yield StreamingInput(prompt([prompts.special.audio_patch], [wrong]), sampling(1))

    with pytest.raises(vllm.exceptions.VLLMValidationError, match="hidden dimension mismatch"):
        await generated(llm, turn())
    assert len(await greedy(llm, prompt(prompts.asked(), [LATENTS]))) == COUNT
