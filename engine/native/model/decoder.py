"""A Qwen2 decoder over paged keys and values: weights, and one step for many sequences.

Architecture as in transformers' ``modeling_qwen2.py``: pre-norm, biases on q, k and v only,
rotate-half positions, grouped queries, SwiGLU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.native.kv_cache import BlockPool, Log
from engine.native.model.config import DecoderShape
from engine.ops import dispatch as ops
from engine.ops.device import with_index

Weight = Tensor | ops.QuantWeight


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's rows, sequence after sequence. ``N`` rows of ``S`` sequences."""

    positions: Tensor  # [N] int64
    slots: Tensor  # [N] int64, where keys and values are written; -1: nowhere
    tables: Tensor  # [S, M] int32
    query_starts: Tensor  # [S + 1] int32
    contexts: Tensor  # [S] int32, keys that are visible after the step
    max_query: int


@dataclass(frozen=True, slots=True)
class Rows:
    """What one sequence adds in a step: ``slots`` as `Log.extend` gave them."""

    log: Log
    slots: list[int]


def make_batch(rows: Sequence[Rows], device: torch.device | str) -> Batch:
    """The tensors of a step, copied to ``device`` in one go each. No row may be empty."""
    counts = [len(row.slots) for row in rows]
    starts = np.cumsum([0, *counts], dtype=np.int32)
    contexts = np.array([row.log.length for row in rows], np.int32)
    positions = np.concatenate(
        [np.arange(n - count, n) for n, count in zip(contexts, counts, strict=True)]
    )
    tables = np.zeros((len(rows), max(len(row.log.blocks) for row in rows)), np.int32)
    for row, table in zip(rows, tables, strict=True):
        table[: len(row.log.blocks)] = row.log.table
    slots = np.concatenate([np.asarray(row.slots, np.int64) for row in rows])
    return Batch(
        positions=_to(positions, device),
        slots=_to(slots, device),
        tables=_to(tables, device),
        query_starts=_to(starts, device),
        contexts=_to(contexts, device),
        max_query=max(counts),
    )


_MATRICES = ("qkv", "out", "gate_up", "down")  # of a layer, which may be quantised


class _Layer:
    """Weights of one layer; q, k, v and gate, up lie one below the other in one matrix each."""

    def __init__(
        self,
        shape: DecoderShape,
        device: torch.device | str,
        dtype: torch.dtype,
        *,
        is_late: bool = False,
    ) -> None:
        """``is_late``: the matrices take no memory before `allocate`."""

        def empty(*size: int) -> Tensor:
            return torch.empty(size, device=device, dtype=dtype)

        def matrix(*size: int) -> Tensor:
            return torch.empty(size, device="meta" if is_late else device, dtype=dtype)

        self.heads = shape.heads
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self._splits = (queries, keys, keys)
        self.input_norm = empty(shape.hidden)
        self.qkv: Weight = matrix(queries + 2 * keys, shape.hidden)
        self.qkv_bias = empty(queries + 2 * keys)
        self.out: Weight = matrix(shape.hidden, queries)
        self.mlp_norm = empty(shape.hidden)
        self.gate_up: Weight = matrix(2 * shape.intermediate, shape.hidden)
        self.down: Weight = matrix(shape.hidden, shape.intermediate)

    def allocate(self) -> None:
        """Give the matrices memory, where the norms lie."""
        for name in _MATRICES:
            matrix = _unquantised(getattr(self, name))
            setattr(self, name, torch.empty_like(matrix, device=self.input_norm.device))

    def destinations(self) -> dict[str, Tensor]:
        matrices = (self.qkv, self.out, self.gate_up, self.down)
        qkv, out, gate_up, down = (_unquantised(matrix) for matrix in matrices)
        query, key, value = qkv.split(self._splits)
        query_bias, key_bias, value_bias = self.qkv_bias.split(self._splits)
        gate, up = gate_up.chunk(2)
        return {
            "self_attn.q_proj.weight": query,
            "self_attn.q_proj.bias": query_bias,
            "self_attn.k_proj.weight": key,
            "self_attn.k_proj.bias": key_bias,
            "self_attn.v_proj.weight": value,
            "self_attn.v_proj.bias": value_bias,
            "self_attn.o_proj.weight": out,
            "mlp.gate_proj.weight": gate,
            "mlp.up_proj.weight": up,
            "mlp.down_proj.weight": down,
            "input_layernorm.weight": self.input_norm,
            "post_attention_layernorm.weight": self.mlp_norm,
        }

    def quantise(self, bits: Literal[4, 8]) -> None:
        for name in _MATRICES:
            setattr(self, name, ops.quantize(_unquantised(getattr(self, name)), bits))


class Decoder:
    """Weights; no call's state. Everything runs on the thread that owns the device."""

    def __init__(
        self,
        shape: DecoderShape,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        bits: Literal[4, 8, 16] = 16,
    ) -> None:
        """``bits`` other than 16: the layers' matrices are quantised as `place` completes them, so
        that a layer or two at a time are held in ``dtype``. The output head stays as it is."""
        self.shape = shape
        self.device = device = with_index(device)
        self.dtype = dtype
        self._bits = bits
        self.embedding = torch.empty(shape.vocab, shape.hidden, device=device, dtype=dtype)
        self.layers = [
            _Layer(shape, device, dtype, is_late=bits != 16) for _ in range(shape.layers)
        ]
        self._lacking: dict[int, dict[str, Tensor]] = {}  # of layers that are being filled
        self.norm = torch.empty(shape.hidden, device=device, dtype=dtype)
        self.head: Weight = (
            self.embedding if shape.tied_embeddings else torch.empty_like(self.embedding)
        )
        self._cos, self._sin = rotary_tables(shape, device)

    def destinations(self) -> dict[str, Tensor]:
        """Where a checkpoint's tensors go, by their full names."""
        named = {
            f"model.layers.{index}.{name}": tensor
            for index, layer in enumerate(self.layers)
            for name, tensor in layer.destinations().items()
        }
        named |= {"model.embed_tokens.weight": self.embedding, "model.norm.weight": self.norm}
        if not self.shape.tied_embeddings:
            named["lm_head.weight"] = _unquantised(self.head)
        return named

    def quantise(self, bits: Literal[4, 8]) -> None:
        """Keep the layers' matrices in ``bits`` from now on; the output head stays as it is."""
        for layer in self.layers:
            layer.quantise(bits)

    def place(self, key: str, tensor: Tensor) -> bool:
        """Take a checkpoint's tensor in; False if it is none of a layer's that is quantised, and
        goes to its destination as it is."""
        if self._bits == 16 or not key.startswith("model.layers."):
            return False
        number, name = key.removeprefix("model.layers.").split(".", 1)
        layer = self.layers[int(number)]
        if int(number) not in self._lacking:
            layer.allocate()
            self._lacking[int(number)] = layer.destinations()
        lacking = self._lacking[int(number)]
        lacking.pop(name).copy_(tensor)
        if not lacking:
            del self._lacking[int(number)]
            layer.quantise(self._bits)
        return True

    def open_pool(self, blocks: int, block_tokens: int = 16) -> BlockPool:
        """A cache for this model's sequences."""
        return BlockPool(
            self.shape.layers,
            self.shape.kv_heads,
            self.shape.head_dim,
            blocks=blocks,
            block_tokens=block_tokens,
            device=self.device,
            dtype=self.dtype,
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings [N, C] of token ids [N]."""
        return F.embedding(ids, self.embedding)

    def forward(self, x: Tensor, batch: Batch, pool: BlockPool) -> Tensor:
        """Run embeddings [N, C] through all layers, writing their keys and values.
        Returns [N, C] before the final norm."""
        residual = None
        for layer, keys, values in zip(self.layers, pool.keys, pool.values, strict=True):
            x, residual = ops.rms_norm(x, layer.input_norm, self.shape.eps, residual)
            x = self._attend(x, layer, batch, keys, values)
            x, residual = ops.rms_norm(x, layer.mlp_norm, self.shape.eps, residual)
            x = project(ops.swiglu(project(x, layer.gate_up)), layer.down)
        assert residual is not None
        return residual + x

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [R, V] in fp32 of the tokens after the rows [R, C] of `forward`."""
        normed, _ = ops.rms_norm(hidden, self.norm, self.shape.eps)
        return project(normed, self.head).float()

    def _attend(
        self, x: Tensor, layer: _Layer, batch: Batch, keys: Tensor, values: Tensor
    ) -> Tensor:
        qkv = project(x, layer.qkv, layer.qkv_bias)
        query = ops.rope_and_cache(
            qkv, self._cos, self._sin, batch.positions, batch.slots, keys, values, layer.heads
        )
        attended = ops.paged_attention(
            query,
            keys,
            values,
            batch.tables,
            batch.query_starts,
            batch.contexts,
            causal=True,
            max_query=batch.max_query,
            scale=self.shape.head_dim**-0.5,
        )
        return project(attended.flatten(1), layer.out)


def project(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """x [N, K] times weight [O, K] transposed, plus bias."""
    if isinstance(weight, Tensor):
        return F.linear(x, weight, bias)
    product = ops.quant_matvec(x, weight)
    return product if bias is None else product + bias


def rotary_tables(shape: DecoderShape, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Cosines and sines [P, D / 2] in fp32 of Su et al. 2021 (RoFormer), section 3.2.2."""
    powers = torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim
    positions = torch.arange(shape.max_positions, dtype=torch.float64)
    angles = positions[:, None] * shape.rope_theta**-powers
    return angles.cos().float().to(device), angles.sin().float().to(device)


def _unquantised(weight: Weight) -> Tensor:
    if not isinstance(weight, Tensor):
        raise ValueError("the weights were quantised already")
    return weight


def _to(array: NDArray[np.generic], device: torch.device | str) -> Tensor:
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
