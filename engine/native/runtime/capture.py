"""Steps over fixed memory, recorded as CUDA graphs where there is CUDA."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")
Memory = tuple[int, int]  # that graphs may share, as CUDA names it


@torch.inference_mode()
def captured(forward: Callable[[], T], memory: Memory | None) -> tuple[Callable[[], T], Memory]:
    """Record ``forward`` on the current device.

    Returns:
        What replays it, with the result in the same memory each time, and the memory that other
        graphs may share, which are not replayed at the same time.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compiles kernels, which cannot be done in a capture
        for _ in range(2):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=memory):  # type: ignore[arg-type]
        result = forward()

    def replay() -> T:
        graph.replay()
        return result

    return replay, graph.pool()
