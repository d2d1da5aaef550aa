"""The encoder of a Whisper for CTranslate2, as weights of this project's own audio encoder.

The file's format is that of CTranslate2's ``Model::load`` (src/models/model.cc): a version, the
name of the architecture, and named arrays one after the other.
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.native.model.config import EncoderShape
from engine.native.model.encoder import Encoder

VERSION = 6
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}  # its DataType
_HEADS = "encoder/num_heads"
_OUTSIDE = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "after_norm",
}
_INSIDE = {
    "self_attention/layer_norm": "attn_ln",
    "self_attention/linear_1": "attn.out",
    "ffn/layer_norm": "mlp_ln",
    "ffn/linear_0": "mlp.0",
    "ffn/linear_1": "mlp.2",
}
_PARTS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def load_tower(directory: Path) -> Encoder:
    """The encoder in ``directory``, in float32 on the CPU.

    Raises:
        ValueError: its model.bin is missing, of another version, or quantised.
    """
    stored = _read(directory / "model.bin")
    weights = _renamed(stored)
    state, mels, _ = weights["conv1.weight"].shape
    shape = EncoderShape(
        mels=mels,
        context=weights["positional_embedding.weight"].shape[0],
        state=state,
        heads=int(stored[_HEADS]),
        layers=sum(key.endswith("attn.key.weight") for key in weights),
    )
    encoder = Encoder(shape)
    for key, to in encoder.destinations().items():
        to.copy_(weights[key])
    return encoder


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise ValueError(f"there is no {path}")
    with path.open("rb") as file:
        (version,) = _numbers(file, "I")
        if version != VERSION:
            raise ValueError(f"{path} has version {version} of CTranslate2's format, not {VERSION}")
        _name(file)
        _, count = _numbers(file, "II")
        return dict(_array(file) for _ in range(count))


def _array(file: BinaryIO) -> tuple[str, NDArray[Any]]:
    name = _name(file)
    (rank,) = _numbers(file, "B")
    sizes = _numbers(file, f"{rank}I")
    kind, length = _numbers(file, "BI")
    if kind not in _TYPES:
        raise ValueError(f"{file.name}: {name} is of a type that is not read here ({kind})")
    return name, np.frombuffer(file.read(length), _TYPES[kind]).reshape(sizes)


def _name(file: BinaryIO) -> str:
    (length,) = _numbers(file, "H")
    return file.read(length).rstrip(b"\0").decode()


def _numbers(file: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = "<" + layout
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _renamed(stored: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """By this project's keys."""
    found: dict[str, Tensor] = {}
    for name, array in stored.items():
        if not name.startswith("encoder/") or not array.ndim:
            continue
        if array.dtype == np.int8:
            raise ValueError(f"{name} is quantised; take the float16 model")
        tensor = torch.from_numpy(array.astype(np.float32))
        where, _, part = name.removeprefix("encoder/").rpartition("/")
        if where == "position_encodings":
            found["positional_embedding.weight"] = tensor
        elif where in _OUTSIDE:
            found[f"{_OUTSIDE[where]}.{_PARTS[part]}"] = tensor
        else:
            layer, _, inner = where.partition("/")
            block = f"blocks.{layer.removeprefix('layer_')}"
            if inner == "self_attention/linear_0":  # query, key and value one below the other
                for key, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    found[f"{block}.attn.{key}.{part}"] = third
            else:
                found[f"{block}.{_INSIDE[inner]}.{_PARTS[part]}"] = tensor
    return found
