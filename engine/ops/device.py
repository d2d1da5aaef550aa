"""What kernels must know of the device they run on."""

from functools import cache

import torch

INTERPRETED_PROCESSORS = 4  # without a device kernels are interpreted: few programs


def multiprocessors(device: torch.device) -> int:
    """Streaming multiprocessors of a device, for choosing how work is split."""
    if device.type != "cuda":
        return INTERPRETED_PROCESSORS
    return _multiprocessors(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _multiprocessors(index: int) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count
