"""What kernels must know of the device they run on."""

from functools import cache

import torch

INTERPRETED_PROCESSORS = 4  # without a device kernels are interpreted: few programs


def with_index(device: torch.device | str) -> torch.device:
    """The device with its number, as `torch.cuda.set_device` wants it: ``cuda`` alone is refused.
    It is the current one of the calling thread."""
    device = torch.device(device)
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def multiprocessors(device: torch.device) -> int:
    """Streaming multiprocessors of a device, for choosing how work is split."""
    if device.type != "cuda":
        return INTERPRETED_PROCESSORS
    return _multiprocessors(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _multiprocessors(index: int) -> int:
    return torch.cuda.get_device_properties(index).multi_processor_count
