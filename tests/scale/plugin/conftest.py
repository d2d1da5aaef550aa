"""A tiny Step-Audio checkpoint on a real vLLM. `make test-scale` installs vllm."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests._support.step_reference import StepReference
from tests._support.tiny_checkpoint import TINY, write_tiny_checkpoint

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

# vLLM's attention on a CPU has no heads of 16.
assert TINY.adaptor is not None
SHAPES = replace(
    TINY,
    decoder=replace(TINY.decoder, hidden=128, head_dim=32),
    adaptor=replace(TINY.adaptor, output=128),
)
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("step_audio")
    write_tiny_checkpoint(directory, SHAPES)
    return directory


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> StepReference:
    """The same weights in engine.native; a block's latents in one pass."""
    return StepReference(checkpoint)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llm(checkpoint: Path) -> AsyncIterator["AsyncLLM"]:
    """The engine runs in a process of its own."""
    pytest.importorskip("vllm", reason="`make test-scale` installs vllm")
    os.environ.update(ENVIRONMENT)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(
        model=str(checkpoint),
        dtype="float32",
        max_model_len=1024,
        enforce_eager=True,
        enable_mm_embeds=True,
        max_logprobs=-1,
        block_size=32,  # the smallest on a CPU
        limit_mm_per_prompt={"audio": 32},
    )
    engine = AsyncLLM.from_engine_args(arguments)
    yield engine
    engine.shutdown()
