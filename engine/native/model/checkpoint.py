"""A checkpoint's tensors, from memory-mapped safetensors files straight to where they are used."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
HEAD = "lm_head.weight"
_PLAIN = frozenset({"BF16", "F16", "F32", "F64"})
_NAMED = 4  # how many tensors of a kind an error names

Progress = Callable[[str, float], None]  # what is being done, and the share done, 0 to 1


class CheckpointError(ValueError):
    """The files of a checkpoint are damaged, or are not the model they are loaded as."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor as its file's header describes it."""

    file: str
    shape: tuple[int, ...]
    dtype: str


def full_keys(
    decoder: Mapping[str, Tensor],
    encoder: Mapping[str, Tensor] | None = None,
    adaptor: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """One mapping by the checkpoint's keys: the decoder's, which has them already, and those of
    the encoder and the adaptor, whose keys lack ``encoder.`` and ``adapter.``"""
    return {
        **decoder,
        **{f"encoder.{key}": to for key, to in (encoder or {}).items()},
        **{f"adapter.{key}": to for key, to in (adaptor or {}).items()},
    }


def load_checkpoint(
    directory: Path,
    destinations: Mapping[str, Tensor],
    progress: Progress,
    *,
    tied_embeddings: bool = False,
    placed: Callable[[str, Tensor], None] | None = None,
) -> None:
    """Copy every tensor of the checkpoint to its destination, in that one's dtype and device.

    The files are memory-mapped and read tensor by tensor, so that the host never holds a second
    copy of more than one tensor. Nothing is copied unless everything fits. ``progress`` is called
    after each tensor with the file's name and the share of all bytes.

    ``placed``: called with each key and tensor of the files in place of the copy.
    ``tied_embeddings``: the output head is the embedding, and a copy of it in the files is passed
    over.

    Raises:
        CheckpointError: a file is missing or damaged, the weights are quantised, or the tensors
            are not those of ``destinations``; missing, unexpected and misshapen ones are named.
    """
    files = _files(directory)
    with ExitStack() as stack:
        opened = {name: stack.enter_context(_open(directory / name)) for name in files}
        stored = {
            key: stored
            for name, keys in files.items()
            for key, stored in _headers(directory / name, opened[name], keys).items()
        }
        if tied_embeddings and HEAD not in destinations:
            stored.pop(HEAD, None)
        shapes = {key: tensor.shape for key, tensor in stored.items()}
        compare_shapes(directory, shapes, destinations)
        _copy(opened, stored, destinations, progress, placed)


def _files(directory: Path) -> dict[str, list[str]]:
    """The keys that are in each file, by the file's name."""
    index = directory / INDEX
    if not index.is_file():
        if not (directory / SINGLE).is_file():
            raise CheckpointError(f"{directory} has neither {INDEX} nor {SINGLE}")
        with _open(directory / SINGLE) as file:
            return {SINGLE: list(file.keys())}
    by_file: dict[str, list[str]] = {}
    try:
        for key, name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items():
            by_file.setdefault(name, []).append(key)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of safetensors files: {error!r}") from error
    for name in by_file:
        # The name only: a hub's cache keeps the files themselves behind links.
        if not isinstance(name, str) or name in {"", ".", ".."} or set(name) & set("/\\\0"):
            raise CheckpointError(f"{index} names a file outside its directory: {name!r}")
        if not (directory / name).is_file():
            raise CheckpointError(f"{index} names {name}, which is not there")
    return by_file


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def _headers(path: Path, file: Any, keys: Iterable[str]) -> dict[str, _Stored]:
    if absent := sorted(set(keys) - set(file.keys())):
        raise CheckpointError(f"{path} lacks what the index says it has: {_few(absent)}")
    stored = {}
    for key in keys:
        header = file.get_slice(key)
        stored[key] = _Stored(path.name, tuple(header.get_shape()), header.get_dtype())
        if stored[key].dtype not in _PLAIN:
            raise CheckpointError(
                f"{path}: {key} is stored as {stored[key].dtype}; quantised checkpoints cannot "
                "be loaded, take the bfloat16 one"
            )
    return stored


def compare_shapes(
    source: Path, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor]
) -> None:
    """Raises:
    CheckpointError: ``stored`` are not the tensors ``wanted``; says which, and how many.
    """
    misshapen = [
        f"{key} is {list(stored[key])}, not {list(to.shape)}"
        for key, to in wanted.items()
        if key in stored and stored[key] != tuple(to.shape)
    ]
    faults = {
        "missing": [key for key in wanted if key not in stored],
        "unexpected": [key for key in stored if key not in wanted],
        "misshapen": misshapen,
    }
    if any(faults.values()):
        listed = [f"{len(names)} {kind} ({_few(names)})" for kind, names in faults.items() if names]
        raise CheckpointError(f"{source} is another model: {'; '.join(listed)}")


def _copy(
    opened: Mapping[str, Any],
    stored: Mapping[str, _Stored],
    wanted: Mapping[str, Tensor],
    progress: Progress,
    placed: Callable[[str, Tensor], None] | None,
) -> None:
    total = sum(to.nbytes for to in wanted.values()) or 1
    done = 0
    for name, file in opened.items():
        for key in file.offset_keys():  # in the order of the file: a disk reads ahead
            if key not in wanted or stored[key].file != name:
                continue
            if placed is None:
                wanted[key].copy_(file.get_tensor(key))
            else:
                placed(key, file.get_tensor(key))
            done += wanted[key].nbytes
            progress(name, done / total)


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
