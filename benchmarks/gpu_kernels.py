"""Every kernel against torch and against what the device allows, at the true shapes.

    python -m benchmarks.gpu_kernels --out kernels.json   # on a CUDA device
    python -m benchmarks.gpu_kernels --check              # tiny shapes, correctness only

Each case is checked against torch in fp32 first; a kernel that is wrong gets no time. Times are
medians over replays of a CUDA graph that goes around several sets of inputs, so that weights and
keys do not stay in the L2 cache. The floor is the larger of bytes (each input read once, each
output written once) over the rate of a large copy and operations over the rate of a large bf16
product, both measured in the same run.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engine.native.model.config import MINI_7B, R1_32B, AdaptorShape, DecoderShape, EncoderShape
from engine.ops import dispatch
from engine.ops.interpreter import interpret_without_cuda

TOLERANCE = {torch.bfloat16: 1.5e-2, torch.float16: 3e-3, torch.float32: 1e-4}
SETS_BYTES = 256 << 20  # several times the L2 cache of the largest device
MAX_SETS = 32
MIN_CALLS = 10  # in a graph, so that starting it does not count
BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the device was seen to do: bytes read plus written, and bf16 operations, a second."""

    bytes_per_s: float
    flops_per_s: float


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


def ceilings(size_bytes: int = 4 << 30, side: int = 8192) -> Ceilings:
    """Rates of a large copy and a large product on random data."""
    source = torch.randint(0, 255, (size_bytes // 8,), device="cuda", dtype=torch.int64)
    target = torch.empty_like(source)
    copy_s = _graph_s([partial(target.copy_, source)])
    del source, target
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product_s = _graph_s([lambda: a @ b])
    return Ceilings(2 * size_bytes / copy_s, 2 * side**3 / product_s)


def _graph_s(calls: Sequence[Callable[[], Any]], replays: int = 15) -> float:
    """Median seconds of one call: all are captured in a graph, which is replayed."""
    calls = [*calls] * math.ceil(MIN_CALLS / len(calls))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls[:3]:  # compiles, chooses algorithms
            call()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    graph.replay()
    times = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / len(calls))
    return statistics.median(times)


def measure(case: Case, limits: Ceilings | None) -> dict[str, Any]:
    """Check one case, then time it if it is right and there are `limits` to hold it against."""
    record: dict[str, Any] = {"op": case.op, **case.shape, "bytes": case.bytes, "flops": case.flops}
    if case.note:
        record["note"] = case.note
    first = case.make()
    out = case.kernel(*first)
    expected = case.exact(*first).float()
    error = float((out.float() - expected).norm() / expected.norm())
    record |= {"error": error, "ok": error <= TOLERANCE[out.dtype]}
    if limits is None or not record["ok"]:
        return record
    floors = (case.bytes / limits.bytes_per_s, case.flops / limits.flops_per_s)
    sets = min(MAX_SETS, math.ceil(SETS_BYTES / case.bytes))
    inputs = [first, *(case.make() for _ in range(sets - 1))]
    kernel_s = _graph_s([lambda one=one: case.kernel(*one) for one in inputs])
    torch_s = _graph_s([lambda one=one: case.torch(*one) for one in inputs])
    return record | {
        "kernel_us": kernel_s * 1e6,
        "torch_us": torch_s * 1e6,
        "floor_us": max(floors) * 1e6,
        "bound": "bytes" if floors[0] >= floors[1] else "flops",
        "speedup": torch_s / kernel_s,
        "of_floor": max(floors) / kernel_s,
        "sets": len(inputs),
    }


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


def attention_case(
    draw: Drawer,
    op: str,
    heads: tuple[int, int, int],
    rows: int,
    context: int,
    *,
    sequences: int = 1,
    causal: bool = True,
    shared: int = 0,
) -> Case:
    """`sequences` of `rows` new rows over `context` keys, of which `shared` are common to all."""
    from engine.ops.attention import reference, triton

    count, kv_heads, dim = heads
    own, common = -(-(context - shared) // BLOCK_TOKENS), shared // BLOCK_TOKENS
    new = {"device": draw.device, "dtype": torch.int32}
    starts = torch.arange(0, (sequences + 1) * rows, rows, **new)
    contexts = torch.full((sequences,), context, **new)
    prefix = None
    if shared:
        members = torch.arange(sequences, **new).view(1, -1)
        prefix = dispatch.SharedPrefix(members, torch.full((1,), shared, **new))
    fixed: dict[str, Any] = {"causal": causal, "max_query": rows, "scale": dim**-0.5}

    def make() -> tuple[Tensor, ...]:
        order = torch.randperm(common + sequences * own, device=draw.device).int()
        together = order[:common].expand(sequences, -1)
        tables = torch.cat((together, order[common:].view(sequences, own)), 1).contiguous()
        cache = [draw(len(order), kv_heads, BLOCK_TOKENS, dim) for _ in range(2)]
        # Torch gets its keys and values gathered, contiguous, for nothing.
        gathered = [
            part[tables.long()].transpose(1, 2).reshape(sequences, kv_heads, -1, dim)
            for part in cache
        ]
        contiguous = [part[:, :, :context].contiguous() for part in gathered]
        q = draw(sequences * rows, count, dim)
        return (q, *cache, tables, *contiguous)

    def kernel(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, *_: Tensor) -> Tensor:
        return triton.paged_attention(
            q, keys, values, tables, starts, contexts, prefix=prefix, **fixed
        )

    def torch_attention(q: Tensor, *given: Tensor) -> Tensor:
        *_, k, v = given
        lines = q.view(sequences, rows, count, dim).transpose(1, 2)
        # With a prefix torch is spared the mask: it does a little more than it has to.
        whole = causal and rows == context
        return functional.scaled_dot_product_attention(
            lines, k, v, is_causal=whole, enable_gqa=count != kv_heads
        ).transpose(1, 2)

    def exact(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, *_: Tensor) -> Tensor:
        wide = (q.float(), keys.float(), values.float())
        return reference.paged_attention(*wide, tables, starts, contexts, **fixed)

    pairs = rows * context - (rows * (rows - 1) // 2 if causal else 0)
    keys_read = shared + sequences * (context - shared)
    return Case(
        op,
        {
            "sequences": sequences,
            "rows": rows,
            "context": context,
            "shared": shared,
            "heads": count,
            "kv_heads": kv_heads,
            "dim": dim,
        },
        make,
        kernel,
        torch_attention,
        exact,
        2 * draw.size * dim * (keys_read * kv_heads + sequences * rows * count),
        4 * sequences * pairs * count * dim,
        "torch reads shared keys once per row" if shared else "",
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
    heads = (shape.heads, shape.kv_heads, shape.head_dim)
    for count in (*rows, chunk):
        yield from norm_cases(draw, shape.hidden, count)
        yield from swiglu_cases(draw, shape.intermediate, count)
        yield from rope_cases(draw, shape, count)
    for context in contexts:
        for count in rows:
            yield attention_case(draw, "decode", heads, 1, context, sequences=count)
        shared = context * 3 // 4 // BLOCK_TOKENS * BLOCK_TOKENS
        for count in sorted({rows[-1], 2}):
            yield attention_case(
                draw, "decode_shared", heads, 1, context, sequences=count, shared=shared
            )
        yield attention_case(draw, "prefill", heads, min(chunk, context), context)
        yield attention_case(draw, "prefill", heads, min(13, context), context)
    yield attention_case(draw, "prefill", heads, chunk, chunk)
    listen = (encoder.heads, encoder.heads, encoder.state // encoder.heads)
    for context in sorted({min(encoder.context, 100), encoder.context}):
        for count in sorted({1, rows[-1]}):
            yield attention_case(
                draw, "encoder_chunk", listen, 40, context, sequences=count, causal=False
            )
    for columns in (84, 2 * encoder.context):
        yield from ear_cases(draw, encoder, adaptor, columns)
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    for inputs, outputs in (
        (shape.hidden, queries + 2 * keys),
        (queries, shape.hidden),
        (shape.hidden, 2 * shape.intermediate),
        (shape.intermediate, shape.hidden),
    ):
        for count in rows:
            if count <= dispatch.MATVEC_ROWS:
                yield from quant_cases(draw, inputs, outputs, count)


def measure_kernels(
    shape: DecoderShape,
    encoder: EncoderShape,
    adaptor: AdaptorShape,
    *,
    rows: Sequence[int] = (1, 2, 8, 32),
    contexts: Sequence[int] = (1024, 8192),
    chunk: int = 256,
    limits: Ceilings | None = None,
    device: str = "cuda",
    dtype: torch.dtype = torch.bfloat16,
) -> list[dict[str, Any]]:
    """One record per kernel and shape; without `limits` only the errors.

    A case that cannot run (a kernel that does not compile, memory) becomes a record with its
    failure, so that the others are still measured.
    """
    records = []
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # or the fp32 references of convolutions are not fp32
    try:
        for case in cases(Drawer(device, dtype), shape, encoder, adaptor, rows, contexts, chunk):
            try:
                records.append(measure(case, limits))
            except Exception as failure:  # the boundary of a case
                problem = f"{type(failure).__name__}: {failure}"[:500]
                records.append({"op": case.op, **case.shape, "ok": False, "failure": problem})
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    return records


TINY = (
    DecoderShape(1, 128, 128, 4, 2, 32, 64, 1e-6, 1e4, 256),
    EncoderShape(mels=16, context=60, state=32, heads=2, layers=1),
    AdaptorShape(state=32, hidden=48, output=20),
)


def check_tiny(device: str, dtype: torch.dtype) -> list[dict[str, Any]]:
    """The errors of all kernels at small shapes."""
    return measure_kernels(*TINY, rows=(1, 3), contexts=(40,), chunk=20, device=device, dtype=dtype)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or check; 1 if a kernel is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="tiny shapes, no times, any device")
    parser.add_argument("--model", choices=["32b", "7b"], help="one model only")
    parser.add_argument("--out", type=Path, help="write JSON here instead of to stdout")
    arguments = parser.parse_args(argv)
    report: dict[str, Any] = {"torch": torch.__version__}
    if arguments.check:
        interpreted = interpret_without_cuda()
        device, dtype = ("cpu", torch.float32) if interpreted else ("cuda", torch.bfloat16)
        report |= {"device": device, "kernels": {"tiny": check_tiny(device, dtype)}}
    else:
        limits = ceilings()
        report |= {"device": torch.cuda.get_device_name(), "ceilings": asdict(limits)}
        models = {"32b": R1_32B, "7b": MINI_7B}
        names = [arguments.model] if arguments.model else list(models)
        report["kernels"] = {
            name: measure_kernels(
                models[name].decoder, models[name].encoder, models[name].adaptor, limits=limits
            )
            for name in names
        }
    text = json.dumps(report, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    else:
        print(text)
    wrong = [one for records in report["kernels"].values() for one in records if not one["ok"]]
    for one in wrong:
        print("wrong:", json.dumps(one), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
