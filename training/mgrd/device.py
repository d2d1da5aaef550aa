"""Where and how models are taught: on the GPU if there is one."""

from pathlib import Path
from typing import Any

import torch

from training.mgrd.config import Scale


def device() -> str:
    """The device's name."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def trainer_arguments(scale: Scale, *, seed: int, folder: Path) -> dict[str, Any]:
    """The arguments that all of TRL's trainers get here."""
    has_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "seed": seed,
        "use_cpu": not has_gpu,
        "bf16": has_gpu and scale.has_bfloat16,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
