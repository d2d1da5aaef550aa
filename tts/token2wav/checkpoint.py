"""Weights of token2wav: ``flow.yaml`` + ``flow.pt`` and ``hift.pt`` of a Step-Audio checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tts.token2wav.config import HiftConfig, parse_flow_yaml
from tts.token2wav.flow import Flow
from tts.token2wav.hift import Hift

NAMED = 6  # names of one kind in an error; the rest are counted


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt`` file, memory-mapped; nothing in it is executed.

    Raises:
        ValueError: it holds something else than named tensors.
        OSError: it cannot be read.
    """
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(loaded, dict) or not all(isinstance(t, Tensor) for t in loaded.values()):
        raise ValueError(f"{path} holds no dictionary of tensors")
    return loaded


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy ``tensors`` into ``module``, all or none.

    Raises:
        ValueError: names or shapes do not fit; the message lists which.
    """
    own = module.state_dict()
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    problems = {
        "missing": sorted(own.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - own.keys()),
        "misshapen": misshapen,
    }
    listed = [f"{kind}: {_some(names)}" for kind, names in problems.items() if names]
    if listed:
        raise ValueError(f"{where} does not fit its module; {'; '.join(listed)}")
    module.load_state_dict(dict(tensors))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def plain_hift(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``hift.pt`` without the prefix ``generator.`` and with weight norms multiplied out.

    A weight-normed tensor is stored as length and direction, under one of two pairs of names:
    ``parametrizations.weight.original0/1``, or ``weight_g/weight_v`` of older torch.
    """
    named = {name.removeprefix("generator."): tensor for name, tensor in tensors.items()}
    plain = {}
    for name, tensor in named.items():
        for length, direction in (
            (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
            (".weight_g", ".weight_v"),
        ):
            if name.endswith(direction):
                stem = name.removesuffix(direction)
                if stem + length not in named:
                    raise ValueError(f"hift.pt has {name} without {stem + length}")
                norm = torch.linalg.vector_norm(
                    tensor, dim=tuple(range(1, tensor.ndim)), keepdim=True
                )
                plain[stem + ".weight"] = named[stem + length] * tensor / norm
                break
            if name.endswith(length) and name.removesuffix(length) + direction in named:
                break  # comes with its direction
        else:
            plain[name] = tensor
    return plain


def load_flow(directory: Path) -> Flow:
    """The flow of a ``token2wav`` directory, fp32 on the CPU.

    Raises:
        ValueError: ``flow.yaml`` or ``flow.pt`` needs something that is not implemented.
        OSError: a file cannot be read.
    """
    config = parse_flow_yaml((directory / "flow.yaml").read_text("utf-8"))
    flow = Flow(config).requires_grad_(False).eval()
    fill(flow, read_tensors(directory / "flow.pt"), str(directory / "flow.pt"))
    return flow


def load_hift(directory: Path) -> Hift:
    """The vocoder of a ``token2wav`` directory, fp32 on the CPU.

    No file says its shape: the widths are read off the tensors, the rest is as published.

    Raises:
        ValueError: ``hift.pt`` does not fit.
        OSError: it cannot be read.
    """
    path = directory / "hift.pt"
    tensors = plain_hift(read_tensors(path))
    config = HiftConfig()
    first, pitch = tensors.get("conv_pre.weight"), tensors.get("f0_predictor.condnet.0.weight")
    if first is not None and pitch is not None and first.ndim == pitch.ndim == 3:
        config = replace(
            config, channels=first.shape[0], mels=first.shape[1], f0_channels=pitch.shape[0]
        )
    hift = Hift(config).requires_grad_(False).eval()
    fill(hift, tensors, str(path))
    return hift
