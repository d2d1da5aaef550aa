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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.native.kernel_cases import Case, Drawer, cases
from engine.native.model.config import MINI_7B, R1_32B, AdaptorShape, DecoderShape, EncoderShape
from engine.ops.interpreter import interpret_without_cuda

TOLERANCE = {torch.bfloat16: 1.5e-2, torch.float16: 3e-3, torch.float32: 1e-4}
SETS_BYTES = 256 << 20  # several times the L2 cache of the largest device
MAX_SETS = 32
MIN_CALLS = 10  # in a graph, so that starting it does not count


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the device was seen to do: bytes read plus written, and bf16 operations, a second."""

    bytes_per_s: float
    flops_per_s: float


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
