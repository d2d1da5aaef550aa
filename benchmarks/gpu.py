"""The native engine on a GPU, at the true shapes, with random weights.

    python benchmarks/gpu.py --out out/gpu

Writes ``gpu.json`` as it goes and prints a short table last. It is spread over three calls of at
most nine minutes on one H100 or H200, the most valuable first: ``--call a``, ``b`` and ``c``, each
with an ``--out`` of its own. ``--model tiny --device cpu`` rehearses them. A section that fails is
written down with its error and the others go on; when the budget is spent, what is left is named.
On CUDA the sections run in a process of their own, because an error on the device ends the process
it happens in: another goes on after it.
"""

import argparse
import math
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_kernels import Ceilings
from benchmarks.native.floors import measure_floors
from benchmarks.native.record import Record, circumstances
from benchmarks.native.sections import CALLS, EACH, MODELS, ONCE, Bench, seconds_needed
from benchmarks.native.table import table
from benchmarks.native.timing import wait_for
from engine.ops.interpreter import interpret_without_cuda

FLOORS = "floors"
SPARE_S = 20.0  # for a process that is to be ended
DEVICE_LOST = 3  # how a process ends that can do no more


def tasks_of(model: str, sections: Sequence[str] | None) -> list[str]:
    """``model/section`` in the order in which they run: kernels, which need no model, last."""
    names = {"both": ["7b", "32b"]}.get(model, [model])
    tasks = [f"{name}/{section}" for name in names for section in MODELS[name][1].sections]
    tasks.sort(key=lambda task: task.endswith("/kernels"))
    chosen = [t for t in tasks if sections is None or t.partition("/")[2] in sections]
    return [FLOORS, *chosen]


def tasks_of_call(call: str, model: str) -> list[str]:
    """The tasks of one of the three calls; of the tiny model to rehearse it."""
    tasks = CALLS[call]
    if model == "tiny":
        tasks = tuple(dict.fromkeys(f"tiny/{task.partition('/')[2]}" for task in tasks))
    return [FLOORS, *tasks]


def run_here(record: Record, tasks: Sequence[str], device: torch.device, deadline: float) -> None:
    """Run the tasks one after the other. ``deadline``: seconds of the epoch.

    Raises:
        RuntimeError: the device is of no more use to this process.
    """
    interpret_without_cuda()  # before anything else imports Triton
    if "circumstances" not in record.data:
        record.data["circumstances"] = circumstances(device)
    bench: Bench | None = None
    current = ""
    for task in tasks:
        model, _, section = task.partition("/")
        left = deadline - time.time()
        needed = 10.0 if task == FLOORS else seconds_needed(model, section)
        if needed > left:
            record.put("skipped", task, f"takes about {needed:.0f} s, {max(0, left):.0f} were left")
            continue
        print(f"{task} ...", flush=True)
        start = time.perf_counter()
        try:
            if task == FLOORS:
                sizes = MODELS["tiny" if device.type == "cpu" else "7b"][1].floors
                result = asdict(measure_floors(device, sizes))
            else:
                if bench is None or model != current:
                    if bench is not None:
                        bench.drop()  # before the next takes its memory
                    unknown = {"bytes_per_s": math.nan, "flops_per_s": math.nan}
                    limits = Ceilings(**record.data["results"].get(FLOORS, unknown))
                    bench, current = Bench(model, device, limits), model
                result = bench.run(section, partial(record.keep, task))
            record.data["partial"].pop(task, None)
            record.put("results", task, result)
        except Exception as error:  # the boundary of a section
            traceback.print_exc()
            record.put("failed", task, f"{type(error).__name__}: {error}"[:2000])
            try:
                wait_for(device)
            except RuntimeError as lost:
                raise RuntimeError("the device is lost to this process") from lost
        finally:
            record.put("seconds", task, round(time.perf_counter() - start, 1))
        if bench is not None and task in record.data["failed"]:
            bench.drop()  # it may hold blocks or be half quantised


def run_apart(path: Path, tasks: Sequence[str], device: str, deadline: float) -> None:
    """Run the tasks in processes of their own, each going on after what the last one left."""
    todo = list(tasks)
    while todo:
        command = [sys.executable, __file__, "--out", str(path.parent), "--device", device]
        command += ["--tasks", ",".join(todo), "--deadline", str(deadline)]
        limit_s = max(1.0, deadline - time.time()) + SPARE_S
        try:
            code = subprocess.run(command, timeout=limit_s, check=False).returncode
            end = f"the process ended with {code}"
        except subprocess.TimeoutExpired:
            code, end = None, "it was still running when the time was up"
        record = Record.open(path)
        left = [task for task in todo if not record.has(task)]
        if left and (left == todo or code != DEVICE_LOST):
            record.put("failed", left.pop(0), end)  # what it was at when it ended
        todo = left


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the directory for gpu.json")
    parser.add_argument("--model", choices=["7b", "32b", "both", "tiny"], default="both")
    parser.add_argument("--sections", help=f"of {', '.join((*EACH, *ONCE))}; default all")
    parser.add_argument("--call", choices=sorted(CALLS), help="a third of it all, best first: a")
    parser.add_argument("--budget-s", type=float, default=540.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tasks", help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; --model tiny --device cpu tries it without one")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "gpu.json"
    if arguments.tasks:  # one of `run_apart`
        try:
            run_here(Record.open(path), arguments.tasks.split(","), device, arguments.deadline)
        except RuntimeError:
            traceback.print_exc()
            return DEVICE_LOST
        return 0
    deadline = time.time() + arguments.budget_s
    sections = arguments.sections.split(",") if arguments.sections else None
    tasks = tasks_of(arguments.model, sections)
    if arguments.call:
        tasks = tasks_of_call(arguments.call, arguments.model)
    path.unlink(missing_ok=True)
    record = Record.open(path)
    if device.type == "cuda":
        for _, group in groupby(tasks[1:], lambda task: task.partition("/")[0]):
            # A model of its own in each process: the last one's memory is free for certain.
            own = [*(tasks[:1] if not record.has(FLOORS) else []), *group]
            run_apart(path, own, arguments.device, deadline)
            record = Record.open(path)
    else:
        run_here(record, tasks, device, deadline)
    done = Record.open(path).data
    print(table(done))
    return 1 if done["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
