"""Where a model is taught: on the GPU if there is one."""

from typing import Any

import torch

from training.mgrd.config import Scale


def device() -> str:
    """The device's name."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def on_device(scale: Scale) -> dict[str, Any]:
    """The arguments of TRL's trainers that follow from it."""
    has_gpu = torch.cuda.is_available()
    return {"use_cpu": not has_gpu, "bf16": has_gpu and scale.has_bfloat16}
