"""A set-up tool: a Qwen2 GGUF file to the directory that `engine.brain.local_brain` serves from.

Installing a model runs it once.

The graph is written by hand: one node per projection, packed QKV, rotary attention with the
KV cache as an in-place buffer, and no output head, so that prefill never pays for logits.
The head is a graph of its own and the embedding a memory-mapped table, of which only the rows
that are looked up are ever read.

All matrices become 8-bit blocks. Q5_0 and Q8_0 tensors keep the file's own scales and lose
nothing; others are rounded (docs/decisions/0021-eight-bit-weights-of-the-brain.md).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.brain.gguf_tokenizer import build_tokenizer

BLOCK = 32  # weights per scale, in GGUF's simple formats and in MatMulNBits alike
RECIPE = "qwen2: decoder, head, embedding, 8-bit blocks of 32; 4"  # changes with the output
_MS = "com.microsoft"
_ROWS_AT_ONCE = 8192
_ALIGN = 4096  # each weight starts on a page, so that onnxruntime can map it

Progress = Callable[[str, float], None]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the graph; names as in the GGUF metadata."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    epsilon: float
    rope_base: float

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix [N, K] as bytes and one float per block of 32 along K: scale * (value - 128)."""

    values: NDArray[np.uint8]  # [N, K / 32, 32]
    scales: Floats  # [N, K / 32]


def convert(
    gguf: Path, target: Path, progress: Progress, *, max_context_tokens: int = 8192
) -> None:
    """Write ``target`` from ``gguf``; it appears whole or not at all.

    ``progress`` is called with the name of the step and the share already done, 0 to 1.
    ``max_context_tokens`` is the longest context that a session may ask for later.

    Raises:
        ValueError: the file is not a Qwen2 model this graph can express.
        ImportError: the set-up packages ``gguf`` and ``onnx`` are missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _Converter(gguf, scratch, progress, max_context_tokens).run()
        scratch.chmod(0o755)  # mkdtemp's is private
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Converter:
    def __init__(self, gguf: Path, out: Path, progress: Progress, max_context: int) -> None:
        try:
            import onnx  # noqa: F401
            from gguf import GGUFReader
        except ImportError as error:
            raise ImportError("converting a GGUF needs the packages 'gguf' and 'onnx'") from error
        self._out = out
        self._progress = progress
        self._max_context = max_context
        self._fields = (reader := GGUFReader(gguf)).fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        if (architecture := self._get("general.architecture")) != "qwen2":
            raise ValueError(f"{gguf} is a {architecture!r} model; only qwen2 can be converted")
        self._shape = Shape(
            layers=self._get("qwen2.block_count"),
            hidden=self._get("qwen2.embedding_length"),
            heads=self._get("qwen2.attention.head_count"),
            kv_heads=self._get("qwen2.attention.head_count_kv"),
            epsilon=self._get("qwen2.attention.layer_norm_rms_epsilon"),
            rope_base=self._get("qwen2.rope.freq_base"),
        )

    def run(self) -> None:
        shape = self._shape
        with Graph(self._out, "decoder") as graph:
            self._decoder(graph)
        self._progress("output head", shape.layers / (shape.layers + 2))
        tied = "output.weight" not in self._tensors
        head = self._blocks("token_embd" if tied else "output")
        with Graph(self._out, "head") as graph:
            graph.input("hidden", np.float32, [1, 1, shape.hidden])
            graph.output(graph.linear("hidden", "logits", head), [1, 1, len(head.values)])
        self._progress("embedding and tokenizer", (shape.layers + 1) / (shape.layers + 2))
        table = self._blocks("token_embd")
        np.save(self._out / "embedding.npy", table.values)
        np.save(self._out / "embedding_scales.npy", table.scales)
        build_tokenizer(self._get).save(str(self._out / "tokenizer.json"))
        meta = {
            "format": RECIPE,
            "name": self._get("general.name"),
            "layers": shape.layers,
            "hidden": shape.hidden,
            "kv_heads": shape.kv_heads,
            "head_size": shape.head_size,
            "vocabulary": len(head.values),
            "max_context_tokens": self._max_context,
        }
        (self._out / "brain.json").write_text(json.dumps(meta, indent=1))
        self._progress("done", 1.0)

    def _decoder(self, graph: "Graph") -> None:
        shape = self._shape
        graph.input("embedded", np.float32, [1, "T", shape.hidden])
        graph.input("last_position", np.int32, [1])
        graph.input("total_tokens", np.int32, [])
        cos, sin = _rope_tables(shape.head_size, shape.rope_base, self._max_context)
        graph.constant("cos", cos)
        graph.constant("sin", sin)
        first = graph.constant("norm_in", self._vector("blk.0.attn_norm.weight"))
        normed = graph.node(
            "SimplifiedLayerNormalization", ["embedded", first], "normed_in",
            domain="", axis=-1, epsilon=shape.epsilon, stash_type=1,
        )  # fmt: skip
        residual = "embedded"
        for layer in range(shape.layers):
            self._progress(f"layer {layer + 1} of {shape.layers}", layer / (shape.layers + 2))
            normed, residual = self._layer(graph, layer, normed, residual)
        graph.constant("last", np.array([-1], np.int64))
        graph.output(graph.node("Gather", [normed, "last"], "hidden", domain="", axis=1),
                     [1, 1, shape.hidden])  # fmt: skip

    def _layer(self, graph: "Graph", layer: int, normed: str, residual: str) -> tuple[str, str]:
        """Attention, then SwiGLU; returns the names of the next normed input and residual."""
        shape, at = self._shape, f"blk.{layer}."
        packed = self._blocks(*(f"{at}attn_{part}" for part in "qkv"))
        bias = np.concatenate([self._vector(f"{at}attn_{part}.bias") for part in "qkv"])
        projected = graph.linear(normed, f"{at}qkv", packed, bias)
        cache: list[int | str] = [1, shape.kv_heads, "C", shape.head_size]
        for part in ("key", "value"):
            graph.input(f"past_{part}_{layer}", np.float32, cache)
        attended = graph.node(
            "GroupQueryAttention",
            [projected, "", "", f"past_key_{layer}", f"past_value_{layer}",
             "last_position", "total_tokens", "cos", "sin"],
            f"{at}attended", f"key_{layer}", f"value_{layer}",
            num_heads=shape.heads, kv_num_heads=shape.kv_heads,
            do_rotary=1, rotary_interleaved=0, scale=shape.head_size**-0.5,
        )  # fmt: skip
        for part in ("key", "value"):
            graph.output(f"{part}_{layer}", cache)
        mixed = graph.linear(attended, f"{at}attn_out", self._blocks(f"{at}attn_output"))
        normed, residual = self._add_norm(graph, mixed, residual, f"{at}ffn_norm.weight")
        gate = graph.linear(normed, f"{at}gate", self._blocks(f"{at}ffn_gate"))
        up = graph.linear(normed, f"{at}up", self._blocks(f"{at}ffn_up"))
        silu = graph.node("QuickGelu", [gate], f"{at}silu", alpha=1.0)  # x * sigmoid(1 * x)
        product = graph.node("Mul", [silu, up], f"{at}product", domain="")
        down = graph.linear(product, f"{at}down", self._blocks(f"{at}ffn_down"))
        last = layer == shape.layers - 1
        following = "output_norm.weight" if last else f"blk.{layer + 1}.attn_norm.weight"
        return self._add_norm(graph, down, residual, following)

    def _add_norm(self, graph: "Graph", x: str, skip: str, weight: str) -> tuple[str, str]:
        gamma = graph.constant(weight, self._vector(weight))
        total = f"{x}+skip"
        normed = graph.node(
            "SkipSimplifiedLayerNormalization", [x, skip, gamma], f"{x}.normed", "", "", total,
            epsilon=self._shape.epsilon,
        )  # fmt: skip
        return normed, total

    def _get(self, key: str) -> Any:
        if key not in self._fields:
            raise ValueError(f"the GGUF has no {key!r}")
        return self._fields[key].contents()

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            raise ValueError(f"the GGUF has no tensor {name!r}")
        return self._tensors[name]

    def _vector(self, name: str) -> Floats:
        return np.array(self._tensor(name).data, np.float32).reshape(-1)

    def _blocks(self, *names: str) -> Blocks:
        """The matrices of those names, stacked."""
        tensors = [self._tensor(f"{name}.weight") for name in names]
        return _stack([_unpack(tensor) for tensor in tensors])


def _unpack(tensor: Any) -> Blocks:
    """8-bit blocks of any GGUF tensor."""
    from gguf import GGMLQuantizationType

    columns, rows = (int(size) for size in tensor.shape)
    if columns % BLOCK:
        raise ValueError(f"{tensor.name}: {columns} columns are no multiple of {BLOCK}")
    if tensor.tensor_type == GGMLQuantizationType.Q8_0:
        return unpack_q8_0(tensor.data.reshape(rows, -1), columns)
    if tensor.tensor_type == GGMLQuantizationType.Q5_0:
        return unpack_q5_0(tensor.data.reshape(rows, -1), columns)
    return _by_rows(tensor)


def _by_rows(tensor: Any) -> Blocks:
    """Round a tensor a part at a time: as floats, an embedding takes a gigabyte and more."""
    from gguf import dequantize

    columns, rows = (int(size) for size in tensor.shape)
    data = tensor.data.reshape(rows, -1)
    return _stack(
        [
            quantize(dequantize(part, tensor.tensor_type).reshape(len(part), columns))
            for part in np.array_split(data, -(-rows // _ROWS_AT_ONCE))
        ]
    )


def _stack(parts: list[Blocks]) -> Blocks:
    return Blocks(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.scales for part in parts]),
    )


def unpack_q8_0(data: NDArray[np.uint8], columns: int) -> Blocks:
    """GGUF Q8_0 (per block: float16 scale, 32 signed bytes) without loss."""
    raw = data.reshape(len(data), columns // BLOCK, 2 + BLOCK)
    values = (raw[..., 2:].view(np.int8).astype(np.int16) + 128).astype(np.uint8)
    return Blocks(values, _half_scales(raw))


def unpack_q5_0(data: NDArray[np.uint8], columns: int) -> Blocks:
    """GGUF Q5_0 without loss. Per block: float16 scale, 32 fifth bits, 16 bytes that hold the
    low four bits of weight i (low half) and of weight i + 16 (high half); 16 is zero."""
    raw = data.reshape(len(data), columns // BLOCK, 2 + 4 + BLOCK // 2)
    fifth = np.unpackbits(raw[..., 2:6], axis=-1, bitorder="little")
    low = np.concatenate([raw[..., 6:] & 15, raw[..., 6:] >> 4], axis=-1)
    return Blocks((low | (fifth << 4)) + np.uint8(128 - 16), _half_scales(raw))


def quantize(weights: Floats) -> Blocks:
    """Round [N, K] floats to 8-bit blocks, symmetric, to nearest."""
    blocks = weights.reshape(len(weights), -1, BLOCK).astype(np.float32, copy=False)
    scales = np.abs(blocks).max(axis=-1) / 127
    scales[scales == 0] = 1
    return Blocks((np.rint(blocks / scales[..., None]) + 128).astype(np.uint8), scales)


def _half_scales(raw: NDArray[np.uint8]) -> Floats:
    return np.ascontiguousarray(raw[..., :2]).view(np.float16)[..., 0].astype(np.float32)


def _rope_tables(head_size: int, base: float, positions: int) -> tuple[Floats, Floats]:
    """cos and sin [positions, head_size / 2] of Su et al., 2021, section 3.2.2."""
    frequencies = base ** -(np.arange(0, head_size, 2) / head_size)
    angles = np.outer(np.arange(positions), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@dataclass
class Graph:
    """An ONNX graph under construction; weights go straight to a file of their own."""

    folder: Path
    name: str
    _nodes: list[Any] = field(default_factory=list)
    _weights: list[Any] = field(default_factory=list)
    _inputs: list[Any] = field(default_factory=list)
    _outputs: list[Any] = field(default_factory=list)
    _file: BinaryIO = field(init=False)

    def __enter__(self) -> "Graph":
        self._file = (self.folder / f"{self.name}.bin").open("wb")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        from onnx import helper

        self._file.close()
        if kind is not None:
            return
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, self._weights
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_MS, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        (self.folder / f"{self.name}.onnx").write_bytes(model.SerializeToString())

    def input(self, name: str, dtype: type, shape: Sequence[int | str]) -> None:
        self._inputs.append(_value_info(name, dtype, shape))

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        self._outputs.append(_value_info(name, np.float32, shape))

    def node(
        self, op: str, inputs: list[str], *outputs: str, domain: str = _MS, **attributes: Any
    ) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import StringStringEntryProto, TensorProto, helper

        start = -(-self._file.tell() // _ALIGN) * _ALIGN
        self._file.seek(start)
        data = np.ascontiguousarray(array)
        self._file.write(data.tobytes())
        tensor = TensorProto(name=name, dims=data.shape, data_location=TensorProto.EXTERNAL)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(data.dtype)
        place = {"location": f"{self.name}.bin", "offset": start, "length": data.nbytes}
        for key, value in place.items():
            tensor.external_data.append(StringStringEntryProto(key=key, value=str(value)))
        self._weights.append(tensor)
        return name

    def linear(self, x: str, out: str, weight: Blocks, bias: Floats | None = None) -> str:
        """x [.., K] -> x W^T + b [.., N], multiplied in int8 (accuracy level 4)."""
        inputs = [x, self.constant(f"{out}.q", weight.values)]
        inputs.append(self.constant(f"{out}.s", weight.scales))
        if bias is not None:
            inputs += ["", "", self.constant(f"{out}.b", bias)]
        rows, blocks, _ = weight.values.shape
        return self.node(
            "MatMulNBits", inputs, out,
            K=blocks * BLOCK, N=rows, bits=8, block_size=BLOCK, accuracy_level=4,
        )  # fmt: skip


def _value_info(name: str, dtype: type, shape: Sequence[int | str]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )
