"""`TokenLog` on onnxruntime, for a directory that `engine.brain.convert` wrote."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from engine.brain.token_log import check_cut

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """Weights and sessions, shared by all calls; no call's state."""

    decoder: ort.InferenceSession
    head: ort.InferenceSession
    embedding: NDArray[np.uint8]  # [V, K / 32, 32], mapped: only rows in use are read
    scales: Floats  # [V, K / 32]
    layers: int
    cache_shape: tuple[int, int, int, int]  # [1, H, C, D] of keys, and of values, per layer

    def embed(self, tokens: Sequence[int]) -> Floats:
        """Embeddings [1, T, K] of ``tokens``."""
        rows = np.asarray(tokens)
        centred = self.embedding[rows].astype(np.float32) - 128
        embedded: Floats = centred * self.scales[rows][..., None]
        return embedded.reshape(1, len(rows), -1)


def load_model(directory: Path, *, threads: int, context_tokens: int) -> OnnxModel:
    """Load the weights.

    Raises:
        ValueError: ``context_tokens`` is more than the directory was converted for.
    """
    meta = json.loads((directory / "brain.json").read_text())
    if not 0 < context_tokens <= meta["max_context_tokens"]:
        raise ValueError(
            f"context of {context_tokens} tokens; {directory.name} holds at most "
            f"{meta['max_context_tokens']}"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that spins between operators takes the core from the ear and the voice.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3

    def session(name: str) -> ort.InferenceSession:
        path = str(directory / f"{name}.onnx")
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    return OnnxModel(
        decoder=session("decoder"),
        head=session("head"),
        embedding=np.load(directory / "embedding.npy", mmap_mode="r"),
        scales=np.load(directory / "embedding_scales.npy", mmap_mode="r"),
        layers=meta["layers"],
        cache_shape=(1, meta["kv_heads"], context_tokens, meta["head_size"]),
    )


class OnnxTokenLog:
    """One call's keys and values, written in place by the attention operator.

    Positions at and after ``len(tokens)`` hold garbage that is never read, so cutting back is
    a matter of forgetting.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self._tokens: list[int] = []
        self._hidden_at = 0  # the log's length that self._hidden belongs to; 0 = none
        self._binding = model.decoder.io_binding()
        # np.zeros touches no memory: a short call only ever pays for the positions it used.
        self._cache: dict[str, Floats] = {
            f"{part}_{layer}": np.zeros(model.cache_shape, np.float32)
            for layer in range(model.layers)
            for part in ("key", "value")
        }
        self._hidden = np.zeros((1, 1, model.embedding[0].size), np.float32)
        self._values = []  # keeps onnxruntime's views alive as long as the binding
        for name, array in self._cache.items():
            value = ort.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_input(f"past_{name}", value)
            self._binding.bind_ortvalue_output(name, value)
            self._values.append(value)
        hidden = ort.OrtValue.ortvalue_from_numpy(self._hidden)
        self._binding.bind_ortvalue_output("hidden", hidden)
        self._values.append(hidden)

    @property
    def tokens(self) -> Sequence[int]:
        return self._tokens

    def append(self, tokens: Sequence[int]) -> None:
        length = len(self._tokens) + len(tokens)
        if not tokens or length > self._model.cache_shape[2]:
            raise ValueError(
                f"cannot append {len(tokens)} tokens to {len(self._tokens)} "
                f"in a cache of {self._model.cache_shape[2]}"
            )
        self._hidden_at = 0
        self._binding.bind_cpu_input("embedded", self._model.embed(tokens))
        self._binding.bind_cpu_input("last_position", np.array([length - 1], np.int32))
        self._binding.bind_cpu_input("total_tokens", np.array(length, np.int32))
        self._model.decoder.run_with_iobinding(self._binding)
        self._tokens.extend(tokens)
        self._hidden_at = length

    def truncate(self, length: int) -> None:
        check_cut(len(self._tokens), length)
        del self._tokens[length:]

    def logits(self) -> Floats:
        if not self._tokens:
            raise ValueError("an empty log has no next token")
        if self._hidden_at != len(self._tokens):
            last = self._tokens.pop()
            self.append([last])
        scores: Floats = self._model.head.run(None, {"hidden": self._hidden})[0][0, 0]
        return scores

    def close(self) -> None:
        self._tokens = []
        self._values.clear()
        self._cache.clear()
        del self._binding
