"""The kernels at the shapes of a model: what is drawn, what is compared, what it costs.

A case is a kernel at one shape, the fastest that torch has for the same work, and a reference in
fp32. `benchmarks.gpu_kernels` checks and times them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.native.model.config import AdaptorShape, DecoderShape, EncoderShape
from engine.ops import dispatch
from engine.ops.quant.reference import OUTPUTS_AT_ONCE

BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel at one shape: `make` draws fresh inputs, the rest are functions of them."""

    op: str
    shape: dict[str, Any]
    make: Callable[[], tuple[Any, ...]]
    kernel: Callable[..., Tensor]
    torch: Callable[..., Tensor]  # the fastest way torch has, given what it likes for free
    exact: Callable[..., Tensor]  # in fp32
    bytes: int
    flops: int
    note: str = ""


class Drawer:
    """Random tensors of one dtype on one device."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, device=self.device, dtype=self.dtype)

    @property
    def size(self) -> int:
        return self.dtype.itemsize


def norm_cases(draw: Drawer, columns: int, rows: int) -> Iterator[Case]:
    from engine.ops.norm import reference, triton

    def torch_norm(x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        return functional.rms_norm(x + residual, (columns,), weight, 1e-6)

    yield Case(
        "rms_norm",
        {"rows": rows, "columns": columns},
        lambda: (draw(rows, columns), draw(columns), draw(rows, columns)),
        lambda x, weight, residual: triton.rms_norm(x, weight, 1e-6, residual)[0],
        torch_norm,
        lambda x, weight, residual: reference.rms_norm((x + residual).float(), weight, 1e-6)[0],
        (4 * rows + 1) * columns * draw.size,
        6 * rows * columns,
    )


def swiglu_cases(draw: Drawer, half: int, rows: int) -> Iterator[Case]:
    from engine.ops.swiglu import reference, triton

    yield Case(
        "swiglu",
        {"rows": rows, "columns": half},
        lambda: (draw(rows, 2 * half),),
        triton.swiglu,
        lambda x: functional.silu(x[:, :half]) * x[:, half:],
        lambda x: reference.swiglu(x.float()),
        3 * rows * half * draw.size,
        6 * rows * half,
    )


def rope_cases(draw: Drawer, shape: DecoderShape, rows: int) -> Iterator[Case]:
    from engine.ops.rope import reference, triton

    heads, kv_heads, dim = shape.heads, shape.kv_heads, shape.head_dim
    blocks = -(-rows // BLOCK_TOKENS) + 1

    def make() -> tuple[Tensor, ...]:
        angle = torch.rand(rows, dim // 2, device=draw.device)
        at = torch.randperm(rows, device=draw.device)
        cache = [draw(blocks, kv_heads, BLOCK_TOKENS, dim) for _ in range(2)]
        qkv = draw(rows, (heads + 2 * kv_heads) * dim)
        return (qkv, angle.cos(), angle.sin(), at, at + 1, *cache)

    def torch_rope(qkv: Tensor, cos: Tensor, sin: Tensor, at: Tensor, *rest: Tensor) -> Tensor:
        slots, keys, values = rest
        lines = qkv.view(rows, -1, dim)
        turned = lines[:, : heads + kv_heads]
        low, high = turned.chunk(2, -1)
        c, s = (torch.cat((part[at],) * 2, -1).to(qkv.dtype).unsqueeze(1) for part in (cos, sin))
        turned = turned * c + torch.cat((-high, low), -1) * s
        # A cache of whole rows, which one index_copy_ can write.
        keys.view(-1, kv_heads, dim).index_copy_(0, slots, turned[:, heads:])
        values.view(-1, kv_heads, dim).index_copy_(0, slots, lines[:, heads + kv_heads :])
        return turned[:, :heads]

    yield Case(
        "rope_and_cache",
        {"rows": rows, "heads": heads, "kv_heads": kv_heads, "dim": dim},
        make,
        lambda *given: triton.rope_and_cache(*given, heads),
        torch_rope,
        lambda qkv, *given: reference.rope_and_cache(qkv.float(), *given, heads),
        2 * rows * (heads + 2 * kv_heads) * dim * draw.size + rows * dim * 4,
        6 * rows * (heads + kv_heads) * dim,
    )


@dataclass(frozen=True, slots=True)
class Attention:
    """`sequences` of `rows` new rows over `context` keys, of which `shared` are common to all."""

    op: str
    heads: int
    kv_heads: int
    dim: int
    rows: int
    context: int
    sequences: int = 1
    causal: bool = True
    shared: int = 0

    @property
    def costs(self) -> tuple[int, int]:
        """Elements read or written once, and operations."""
        earlier = self.rows * (self.rows - 1) // 2 if self.causal else 0
        pairs = self.rows * self.context - earlier
        keys_read = self.shared + self.sequences * (self.context - self.shared)
        lines = keys_read * self.kv_heads + self.sequences * self.rows * self.heads
        return 2 * self.dim * lines, 4 * self.sequences * pairs * self.heads * self.dim

    def draw(self, draw: Drawer) -> tuple[Tensor, ...]:
        """Queries; keys and values in blocks of a cache, out of order; the tables of blocks; and
        keys and values gathered, contiguous: torch gets those for nothing."""
        own = -(-(self.context - self.shared) // BLOCK_TOKENS)
        common = self.shared // BLOCK_TOKENS
        order = torch.randperm(common + self.sequences * own, device=draw.device).int()
        together = order[:common].expand(self.sequences, -1)
        tables = torch.cat((together, order[common:].view(self.sequences, own)), 1).contiguous()
        cache = [draw(len(order), self.kv_heads, BLOCK_TOKENS, self.dim) for _ in range(2)]
        gathered = [
            part[tables.long()].transpose(1, 2).reshape(self.sequences, self.kv_heads, -1, self.dim)
            for part in cache
        ]
        contiguous = [part[:, :, : self.context].contiguous() for part in gathered]
        q = draw(self.sequences * self.rows, self.heads, self.dim)
        return (q, *cache, tables, *contiguous)

    def torch(self, q: Tensor, *given: Tensor) -> Tensor:
        """Torch's own. With a prefix it is spared the mask: it does a little more than it has
        to."""
        *_, k, v = given
        lines = q.view(self.sequences, self.rows, self.heads, self.dim).transpose(1, 2)
        whole = self.causal and self.rows == self.context
        return functional.scaled_dot_product_attention(
            lines, k, v, is_causal=whole, enable_gqa=self.heads != self.kv_heads
        ).transpose(1, 2)

    def case(self, draw: Drawer) -> Case:
        """The case of the kernel that reads a paged cache."""
        from engine.ops.attention import reference, triton

        new = {"device": draw.device, "dtype": torch.int32}
        starts = torch.arange(0, (self.sequences + 1) * self.rows, self.rows, **new)
        contexts = torch.full((self.sequences,), self.context, **new)
        prefix = None
        if self.shared:
            members = torch.arange(self.sequences, **new).view(1, -1)
            prefix = dispatch.SharedPrefix(members, torch.full((1,), self.shared, **new))
        fixed: dict[str, Any] = {
            "causal": self.causal,
            "max_query": self.rows,
            "scale": self.dim**-0.5,
        }

        def kernel(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, *_: Tensor) -> Tensor:
            cache = (keys, values, tables, starts, contexts)
            return triton.paged_attention(q, *cache, prefix=prefix, **fixed)

        def exact(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, *_: Tensor) -> Tensor:
            wide = (q.float(), keys.float(), values.float())
            return reference.paged_attention(*wide, tables, starts, contexts, **fixed)

        elements, flops = self.costs
        return Case(
            self.op,
            {
                "sequences": self.sequences,
                "rows": self.rows,
                "context": self.context,
                "shared": self.shared,
                "heads": self.heads,
                "kv_heads": self.kv_heads,
                "dim": self.dim,
            },
            lambda: self.draw(draw),
            kernel,
            self.torch,
            exact,
            draw.size * elements,
            flops,
            "torch reads shared keys once per row" if self.shared else "",
        )


def quant_cases(draw: Drawer, inputs: int, outputs: int, rows: int) -> Iterator[Case]:
    from engine.ops.quant import reference, triton

    for bits in (8, 4):

        def make(bits: int = bits) -> tuple[Any, ...]:
            weight = draw(outputs, inputs)
            return (draw(rows, inputs), dispatch.quantize(weight, bits), weight)

        yield Case(
            f"quant_matvec_int{bits}",
            {"rows": rows, "inputs": inputs, "outputs": outputs},
            make,
            lambda x, quant, _: triton.quant_matvec(x, quant),
            lambda x, _, weight: functional.linear(x, weight),
            lambda x, quant, _: reference.quant_matvec(x.float(), quant),
            outputs * inputs * bits // 8
            + outputs * (inputs // 128) * 4
            + rows * (inputs + outputs) * draw.size,
            2 * rows * inputs * outputs,
            "torch: the product with the weight as it was",
        )


def unpack_cases(draw: Drawer, inputs: int, outputs: int) -> Iterator[Case]:
    from engine.ops.quant import triton, weight

    for bits in (8, 4):

        def make(bits: int = bits) -> tuple[Any, ...]:
            return (dispatch.quantize(draw(outputs, inputs), bits),)

        yield Case(
            f"dequantize_int{bits}",
            {"inputs": inputs, "outputs": outputs},
            make,
            lambda quant: triton.dequantize(quant, draw.dtype),
            lambda quant: weight.dequantize(quant, draw.dtype),
            lambda quant: weight.dequantize(quant, torch.float32),
            outputs * inputs * bits // 8
            + outputs * (inputs // 128) * 4
            + outputs * inputs * draw.size,
            outputs * inputs,
        )


def ear_cases(
    draw: Drawer, encoder: EncoderShape, adaptor: AdaptorShape, columns: int
) -> Iterator[Case]:
    """The convolutions on a window of the clip: `columns` mel frames, half as many frames."""
    from engine.ops.conv import reference, triton

    mels, state, frames = encoder.mels, encoder.state, columns // 2
    edges = {"left_edge": True, "right_edge": True}

    def weights(*shapes: tuple[int, ...]) -> Iterator[Tensor]:
        for shape in shapes:  # tap by tap in memory, as the encoder holds them
            tensor = draw(*shape, scale=math.prod(shape[1:]) ** -0.5)
            if len(shape) == 3:
                tensor = tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)
            yield tensor

    def case(op: str, shapes: list[tuple[int, ...]], flops: int, window: tuple[int, ...]) -> Case:
        run, exact = getattr(triton, op), getattr(reference, op)
        elements = sum(math.prod(shape) for shape in [*shapes, window])

        def torch_run(x: Tensor, *given: Tensor) -> Tensor:
            return exact(x, *given[len(shapes) :], **edges)

        def make() -> tuple[Tensor, ...]:
            held = list(weights(*shapes))
            return (draw(*window), *held, *(tensor.contiguous() for tensor in held))

        return Case(
            op,
            {"window": list(window)},
            make,
            lambda x, *given: run(x, *given[: len(shapes)], **edges),
            torch_run,
            lambda x, *given: exact(
                x.float(), *(tensor.float() for tensor in given[: len(shapes)]), **edges
            ),
            elements * draw.size,
            flops,
        )

    stem = [(state, mels, 3), (state,), (state, state, 3), (state,)]
    flops = 6 * columns * mels * state + 6 * frames * state * state
    yield case("conv_stem", stem, flops, (1, mels, columns))
    latents = -(-frames // adaptor.stride)
    hidden, output = adaptor.hidden, adaptor.output
    linears = [(hidden, state), (hidden,), (output, hidden), (output,)]
    flops = 6 * latents * state * state + 2 * latents * hidden * (state + output)
    yield case("adaptor", [(state, state, 3), (state,), *linears], flops, (1, frames, state))


def decoder_attention(
    shape: DecoderShape, rows: Sequence[int], contexts: Sequence[int], chunk: int
) -> Iterator[Attention]:
    """Decoding, with a shared prefix and without, and the prefill of a chunk."""
    heads = (shape.heads, shape.kv_heads, shape.head_dim)
    for context in contexts:
        for count in rows:
            yield Attention("decode", *heads, 1, context, sequences=count)
        shared = context * 3 // 4 // BLOCK_TOKENS * BLOCK_TOKENS
        for count in sorted({rows[-1], 2}):
            yield Attention("decode_shared", *heads, 1, context, sequences=count, shared=shared)
        yield Attention("prefill", *heads, min(chunk, context), context)
        yield Attention("prefill", *heads, min(13, context), context)
    yield Attention("prefill", *heads, chunk, chunk)


def encoder_attention(encoder: EncoderShape, rows: Sequence[int]) -> Iterator[Attention]:
    """A chunk of the caller's sound over what was heard before it, of one call and of several."""
    heads = (encoder.heads, encoder.heads, encoder.state // encoder.heads)
    for context in sorted({min(encoder.context, 100), encoder.context}):
        for count in sorted({1, rows[-1]}):
            yield Attention("encoder_chunk", *heads, 40, context, sequences=count, causal=False)


def matvec_cases(draw: Drawer, shape: DecoderShape, rows: Sequence[int]) -> Iterator[Case]:
    """The decoder's four products with quantised weights, for the rows that the kernel takes."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    for inputs, outputs in (
        (shape.hidden, queries + 2 * keys),
        (queries, shape.hidden),
        (shape.hidden, 2 * shape.intermediate),
        (shape.intermediate, shape.hidden),
    ):
        yield from unpack_cases(draw, inputs, min(outputs, OUTPUTS_AT_ONCE))
        for count in rows:
            if count <= dispatch.MATVEC_ROWS:
                yield from quant_cases(draw, inputs, outputs, count)


def cases(
    draw: Drawer,
    shape: DecoderShape,
    encoder: EncoderShape,
    adaptor: AdaptorShape,
    rows: Sequence[int],
    contexts: Sequence[int],
    chunk: int,
) -> Iterator[Case]:
    """All kernels at the shapes of one model; `chunk` rows are prefilled at a time."""
    for count in (*rows, chunk):
        yield from norm_cases(draw, shape.hidden, count)
        yield from swiglu_cases(draw, shape.intermediate, count)
        yield from rope_cases(draw, shape, count)
    for attention in decoder_attention(shape, rows, contexts, chunk):
        yield attention.case(draw)
    for attention in encoder_attention(encoder, rows):
        yield attention.case(draw)
    for columns in (84, 2 * encoder.context):
        yield from ear_cases(draw, encoder, adaptor, columns)
    yield from matvec_cases(draw, shape, rows)
