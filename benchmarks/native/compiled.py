"""Compiles every kernel variant of the native engine for an H100, on a machine without a GPU.

    python -m benchmarks.native.compiled --json out/compiled.json

Triton compiles for a device that is only described to it: its driver is replaced by one that says
sm_90, launches nothing and keeps what it is given to load. The model lies on torch's ``meta``
device, so its true shapes cost no memory. What runs is the server's own code: `warm`, then steps
that calls may take. A variant that is compiled after `warm` would hold up a caller.

Registers, stack and shared memory are those that ``cuobjdump`` of the triton wheel reads from the
compiled code. A stack means that registers were spilled.
"""

import argparse
import importlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from engine.native.audio_tower import AudioTower
from engine.native.device_setup import (
    NativeOptions,
    encode_silence,
    open_tower,
    warm,
    warm_ear,
)
from engine.native.model import decoder as decoder_module
from engine.native.model.adaptor import Adaptor
from engine.native.model.config import MINI_7B, R1_32B, StepAudioConfig
from engine.native.model.decoder import Decoder
from engine.native.model.encoder import Encoder
from engine.native.runtime.graphs import SIZES, DecodeGraphs
from engine.native.runtime.planning import Limits
from engine.native.runtime.runner import Runner, StepInput
from engine.ops import dispatch

PROCESSORS, SHARED_BYTES = 132, 232_448  # of an H100
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def _of_one_layer(config: StepAudioConfig) -> StepAudioConfig:
    """The same shapes: all layers launch the same kernels."""
    assert config.encoder is not None
    return replace(
        config,
        decoder=replace(config.decoder, layers=1),
        encoder=replace(config.encoder, layers=1),
    )


MODELS = {"r1-32b": _of_one_layer(R1_32B), "mini-7b": _of_one_layer(MINI_7B)}
_LAUNCHERS = ("engine.ops.attention.triton", "engine.ops.quant.triton")
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")


@dataclass(frozen=True, slots=True)
class Variant:
    """One compiled kernel: ``shared_bytes`` with what it asks for at the launch."""

    kernel: str
    constants: str
    phase: str
    registers: int
    stack_bytes: int
    shared_bytes: int


@dataclass(slots=True)
class _Loaded:
    """What the driver was given to load, in which phase."""

    phase: str = ""
    kernels: list[tuple[str, str, str, bytes, int]] = field(default_factory=list)

    def load_binary(
        self, name: str, code: bytes, shared: int, device: int
    ) -> tuple[int, int, int, int, int]:
        """In place of the driver's: a module, a function, registers, spills, threads at most."""
        self.kernels.append((self.phase, name, _Launcher.latest, code, shared))
        return 1, 1, 0, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        """As the driver's, of what Triton asks."""
        return {"max_shared_mem": SHARED_BYTES, "multiprocessor_count": PROCESSORS}


class _Launcher:
    """Launches nothing; the last one made says what its kernel was specialised for."""

    latest = ""

    def __init__(self, source: Any, metadata: object) -> None:
        names = source.fn.arg_names
        constants = {names[path[0]]: value for path, value in source.constants.items()}
        _Launcher.latest = " ".join(f"{name}={value}" for name, value in constants.items())

    def __call__(self, *arguments: object) -> None:
        pass


class _Driver:
    """An H100 that is not there."""

    launcher_cls = _Launcher

    def __init__(self, loaded: _Loaded) -> None:
        self.utils = loaded

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


@contextmanager
def described_h100() -> Iterator[_Loaded]:
    """Kernels are compiled for an H100 and not run; yields what was compiled."""
    loaded = _Loaded()
    attention, quant = map(importlib.import_module, _LAUNCHERS)
    with ExitStack() as stack:
        for module, name, stand_in in (
            (dispatch, "_kernel", lambda op, x: op in dispatch.KEPT),
            (decoder_module, "_to", lambda array, device: torch.from_numpy(array).to(device)),
            (attention, "multiprocessors", lambda device: PROCESSORS),
            (quant, "multiprocessors", lambda device: PROCESSORS),
        ):
            stack.enter_context(patch.object(module, name, stand_in))
        driver.set_active(_Driver(loaded))
        for kernel in _kernels():
            kernel.device_caches.clear()  # of a server that was compiled before
        yield loaded


def _kernels() -> Iterator[JITFunction[Any]]:
    for name in (
        "attention.kernels",
        "norm.triton",
        "quant.triton",
        "rope.triton",
        "swiglu.triton",
    ):
        module = importlib.import_module(f"engine.ops.{name}")
        yield from (each for each in vars(module).values() if isinstance(each, JITFunction))


def compile_server(config: StepAudioConfig, bits: int, loaded: _Loaded) -> None:
    """What the language model of a server compiles: when it warms up, and later."""
    decoder = Decoder(config.decoder, device="meta", dtype=torch.bfloat16)
    if bits != 16:
        decoder.quantise(bits)  # type: ignore[arg-type]
    pool = decoder.open_pool(2048, 16)
    sizes = SIZES if bits == 16 else [n for n in SIZES if n <= dispatch.MATVEC_ROWS]
    graphs = DecodeGraphs(decoder, pool, context_tokens=8192, sizes=sizes)
    runner = Runner(decoder, pool, graphs)
    loaded.phase = "warm"
    with torch.inference_mode():
        for step in graphs._steps.values():
            step._forward()  # what a capture runs first
    warm(runner, None, Limits())
    loaded.phase = "call"
    decode_and_prefill(Runner(decoder, pool), runner)


def compile_ear(config: StepAudioConfig, loaded: _Loaded) -> None:
    """What the ear of a server compiles, with and without graphs. It is never quantised, and the
    same in both models."""
    assert config.encoder is not None
    assert config.adaptor is not None
    tower = open_tower(
        Encoder(config.encoder, device="meta", dtype=torch.bfloat16),
        Adaptor(config.adaptor, device="meta", dtype=torch.bfloat16),
        NativeOptions(device="meta", dtype=torch.bfloat16, calls=16),
    )
    loaded.phase = "warm"
    warm_ear(tower)
    loaded.phase = "call"
    hear(tower, (0.3, 0.9, 1.7, 4.0, 11.0, 27.0))
    loaded.phase = "warm"
    tower.use_graphs()
    assert tower.graphs is not None
    with torch.inference_mode():
        for step in tower.graphs._steps.values():
            step._forward()
    loaded.phase = "call"
    hear(tower, (0.9, 4.0))  # what is no graph was heard above


def decode_and_prefill(plain: Runner, runner: Runner) -> None:
    """Steps of all kinds: prompts, tails beside decoding rows, many rows."""
    pool = runner.pool
    for context in (0, 1, 100, 1000, 4000):
        for count in (1, 3, 7, 20, 33, 64, 128, 511):
            log = pool.open()
            if context:
                log.extend([0] * context)
            runner.step([StepInput(log, [0] * count, wants_scores=count > 1)])
            log.close()
    for rows in (2, 3, 9, 17, 32):
        logs = [pool.open() for _ in range(rows)]
        for number, log in enumerate(logs):
            log.extend([0] * (10 * number + 1))
        tail = pool.open()
        plain.step(
            [StepInput(tail, [0] * 24), *(StepInput(log, [0], wants_scores=True) for log in logs)]
        )
        for log in (*logs, tail):
            log.close()


def hear(tower: AudioTower, turns_s: Sequence[float]) -> None:
    """Turns of such lengths, alone and together, and the exact pass."""
    for calls in (1, 2, 5, 8):
        for seconds in turns_s:
            encode_silence(tower, calls, seconds)


def usage(loaded: Sequence[tuple[str, str, str, bytes, int]]) -> list[Variant]:
    """Registers, stack and shared memory of compiled code."""
    variants = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (phase, name, constants, code, shared) in enumerate(loaded):
            path = Path(folder) / f"{number}.cubin"
            path.write_bytes(code)
            text = subprocess.run(
                [CUOBJDUMP, "-res-usage", path], check=True, capture_output=True, text=True
            ).stdout
            found = _USAGE.search(text)
            if found is None:
                raise RuntimeError(f"cuobjdump says nothing of {name}: {text}")
            registers, stack, static = map(int, found.groups())
            variants.append(Variant(name, constants, phase, registers, stack, max(shared, static)))
    return variants


def compile_all(models: Sequence[str], bits: Sequence[int]) -> dict[str, list[Variant]]:
    """The variants of the ear, and of each model and number of bits."""
    with described_h100() as loaded:
        compile_ear(MODELS[models[0]], loaded)
        found = {"ear": usage(loaded.kernels)}
    for model in models:
        for each in bits:
            with described_h100() as loaded:
                compile_server(MODELS[model], each, loaded)
                found[f"{model}/{each} bit"] = usage(loaded.kernels)
    return found


def main() -> None:
    """Print the table; write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    arguments = parser.parse_args()
    models = list(MODELS) if arguments.model == "all" else [arguments.model]
    found = compile_all(models, (16, 8, 4))
    result: dict[str, Any] = {"triton": triton.__version__, "target": "sm_90", "servers": {}}
    for server, variants in found.items():
        late = [each for each in variants if each.phase != "warm"]
        most = max(variants, key=lambda each: each.registers)
        print(
            f"{server}: {len(variants)} variants, {len(late)} after warm, at most "
            f"{most.registers} registers, {max(v.stack_bytes for v in variants)} B stack, "
            f"{max(v.shared_bytes for v in variants)} B shared memory"
        )
        for each in late:
            print(f"  after warm: {each.kernel} {each.constants}")
        result["servers"][server] = [asdict(each) for each in variants]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
