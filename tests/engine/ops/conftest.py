"""Kernels run compiled where there is a CUDA device, interpreted elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.ops.interpreter import interpret_without_cuda

INTERPRETED = interpret_without_cuda()
# The interpreter does not multiply bf16 matrices.
DTYPES = ["float32", "float16"] if INTERPRETED else ["float32", "float16", "bfloat16"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of kernels need a GPU exactly when they run compiled."""
    if INTERPRETED:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and "device" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def device() -> str:
    """Where kernels run: interpreted on the CPU, compiled on a GPU."""
    return "cpu" if INTERPRETED else "cuda"


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """What kernels compute on."""
    return getattr(torch, str(request.param))


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Fresh memory is nan, so that an element nobody writes shows."""
    fill = "fill_uninitialized_memory"  # which torch's types leave out
    before = getattr(torch.utils.deterministic, fill)
    setattr(torch.utils.deterministic, fill, True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
    setattr(torch.utils.deterministic, fill, before)
