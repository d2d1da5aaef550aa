"""The time of the flow's solver keeps its precision in half-precision weights."""

import pytest
import torch

from tts.token2wav.dit import TimeEmbedder
from tts.token2wav.flow import solver_times


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_embedding_of_every_solver_time_is_that_of_single_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    exact = TimeEmbedder(64)
    rounded = TimeEmbedder(64)
    rounded.load_state_dict(exact.state_dict())
    rounded.to(dtype)
    times = torch.tensor(solver_times(10))
    with torch.inference_mode():
        wanted, got = exact(times), rounded(times).float()
    error = (got - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    assert error.max() < 0.01
