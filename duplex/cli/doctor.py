"""`duplex doctor`: what would keep a server or a caller of this machine from working, and what to
do about it."""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from duplex.app import build, build_remote
from duplex.app.build_elsewhere import load_elsewhere
from duplex.app.build_vllm import check_options
from duplex.app.needs import check_needs
from duplex.app.plugins import ELSEWHERE, NOTHING_GIVEN
from duplex.cli.options import add_command, add_model_options, config_of
from duplex.config import Config
from duplex.errors import ConfigError, DuplexError
from duplex.server.keys import check_exposure, load_keys
from duplex.server.lifetime import check_address, tls_context

State = Literal["ok", "note", "FAIL"]
_SPARE_BYTES = 200_000_000  # for what is made of models, beside what `_room` counts
_MADE_OF_A_BRAIN = 1.4  # size of the embedded brain's converted files to that of its GGUF


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. A ``note`` keeps nothing from working by itself; ``FAIL`` does."""

    state: State
    part: str
    words: str


Check = Callable[[Config], Iterator[Finding]]


def add(commands: Any) -> None:
    """Add the command."""
    summary = "Check this machine and a configuration before serving, and say what to do."
    parser = add_command(commands, "doctor", doctor, summary)
    parser.epilog = "Exit codes: 0 nothing is in the way; 1 something is."
    parser.add_argument("--host", help="as of `duplex serve`")
    parser.add_argument("--port", type=int, help="as of `duplex serve`")
    add_model_options(parser)


def doctor(options: argparse.Namespace) -> int:
    """Print a line for each thing that was looked at; returns 1 if one of them fails."""
    print(f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}")
    try:
        config = config_of(options)
    except ConfigError as error:
        findings = [Finding("FAIL", "configuration", str(error))]
    else:
        findings = examine(config)
    failed = sum(finding.state == "FAIL" for finding in findings)
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        first, *rest = finding.words.splitlines()
        print(f"{finding.state:4}  {finding.part:{width}}  {first}")
        for line in rest:
            print(f"{'':{width + 8}}{line}")
    print(f"{failed} of {len(findings)} fail" if failed else "nothing is in the way")
    return 1 if failed else 0


def examine(config: Config) -> list[Finding]:
    """What all checks find."""
    findings = [Finding("ok", "configuration", "it can be read")]
    for check in CHECKS:
        findings += check(config)
    return findings


def _packages(config: Config) -> Iterator[Finding]:
    try:
        check_needs(config, NOTHING_GIVEN)
    except ConfigError as error:
        yield Finding("FAIL", "packages", str(error))
    else:
        yield Finding("ok", "packages", "all that this configuration needs")


def _models(config: Config) -> Iterator[Finding]:
    try:
        store = build.open_store(config)
        wanted = build.references(config)
    except DuplexError as error:
        yield Finding("FAIL", "models", str(error))
        return
    known = {row.name: row for row in store.status()}
    missing = [name for name in wanted if name in known and known[name].state == "missing"]
    for name in wanted:
        try:
            store.path(name)
        except DuplexError as error:
            if name not in missing:
                yield Finding("FAIL", "models", str(error))
    needed = sum(known[name].size for name in missing)
    if missing:
        yield Finding(
            "note",
            "models",
            f"{', '.join(missing)}: fetched at the first start ({needed / 1e6:.0f} MB), or now "
            "with `duplex models --install`",
        )
    else:
        yield Finding("ok", "models", f"{len(wanted)} are installed in {store.root}")
    yield _room(store.root, needed)


def _room(root: Path, needed: int) -> Finding:
    """Of a model the packages are there beside it for a while; of a brain, what is made of it."""
    there = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(there).free
    needed = round(needed * (1 + _MADE_OF_A_BRAIN)) + _SPARE_BYTES if needed else 0
    words = f"{free / 1e9:.1f} GB free at {there}"
    if free < needed:
        words += (
            f", and {needed / 1e9:.1f} GB are needed: make room, or set models.cache_dir to "
            "another disk"
        )
        return Finding("FAIL", "disk", words)
    if not os.access(there, os.W_OK):
        return Finding("FAIL", "disk", f"{there} cannot be written: set models.cache_dir")
    return Finding("ok", "disk", words)


def _address(config: Config) -> Iterator[Finding]:
    try:
        check_address(config.server)
    except OSError as error:
        yield Finding("FAIL", "port", error.strerror or str(error))
    else:
        yield Finding("ok", "port", f"{config.server.host}:{config.server.port} is free")
    try:
        check_exposure(config, keys := load_keys(config.access))
    except ConfigError as error:
        yield Finding("FAIL", "keys", str(error))
    else:
        yield Finding("ok", "keys", f"{len(keys)}" if len(keys) else "none: only this machine")
    try:
        tls = tls_context(config.server)
    except ConfigError as error:
        yield Finding("FAIL", "TLS", str(error))
    else:
        yield Finding("ok", "TLS", "none" if tls is None else config.server.tls_certificate)
    if config.sip.enabled:
        yield _sip(config)
    if config.webhooks or config.telemetry.traces:
        yield _observing(config)


def _observing(config: Config) -> Finding:
    from duplex.app import observing

    try:
        observing.check(config)
    except ConfigError as error:
        return Finding("FAIL", "webhooks and traces", str(error))
    traced = "all" if config.telemetry.traces else "no"
    found = f"webhooks: {len(config.webhooks)}; {traced} calls are traced"
    return Finding("ok", "webhooks and traces", found)


def _sip(config: Config) -> Finding:
    from duplex.phone.sip import admission

    try:
        admission.check(config)
    except ConfigError as error:
        return Finding("FAIL", "SIP", str(error))
    return Finding("ok", "SIP", config.sip.listen)


def _endpoints(config: Config) -> Iterator[Finding]:
    parts = [part for part in ("ear", "brain", "voice") if getattr(config, part).kind == "openai"]
    if not parts:
        return
    name = ", ".join(parts)
    try:
        _, lines = build_remote.asked_services(config, NOTHING_GIVEN)
    except ConfigError as error:
        yield Finding("FAIL", name, str(error))
        return
    for line in lines:
        yield Finding("FAIL", name, line)
    if not lines:
        yield Finding("ok", name, "answers and has the model")


def _vllm(config: Config) -> Iterator[Finding]:
    if config.brain.kind != "vllm" or find_spec("vllm") is None:
        return  # `_packages` says so
    try:
        yield Finding("ok", "vLLM", f"{check_options(config)} knows the options of brain.vllm")
    except ConfigError as error:
        yield Finding("FAIL", "vLLM", str(error))


def _engine(config: Config) -> Iterator[Finding]:
    if config.engine.kind != ELSEWHERE:
        return
    try:
        about = load_elsewhere(config.engine).about
    except ConfigError as error:
        yield Finding("FAIL", "engine", str(error))
    else:
        assert about is not None
        yield Finding("ok", "engine", f"answers, and has {about.model}")


def _gpu(config: Config) -> Iterator[Finding]:
    kind = config.brain.kind
    if kind not in ("native", "huggingface", "vllm"):
        yield Finding("ok", "GPU", f'not used by brain.kind = "{kind}"')
        return
    if find_spec("torch") is None:
        return  # `_packages` says so
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        yield Finding("ok", "GPU", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free")
    elif kind == "native" and config.native.device.startswith("cuda"):
        yield Finding("FAIL", "GPU", f"torch {torch.__version__} sees none: set native.device")
    else:
        yield Finding("note", "GPU", f"torch {torch.__version__} sees none: a large model is slow")


def _microphone(_: Config) -> Iterator[Finding]:
    from client.live.devices import DeviceError
    from client.live.pyaudio_card import PortAudio

    try:
        system = PortAudio()
    except DeviceError as error:
        yield Finding("note", "microphone", f"for `duplex talk` only: {error}")
        return
    try:
        devices = system.devices()
    finally:
        system.close()
    for direction in ("input", "output"):
        names = [device.name for device in devices if device.channels(direction)]
        part = "microphone" if direction == "input" else "loudspeaker"
        if names:
            yield Finding("ok", part, ", ".join(names))
        else:
            yield Finding("note", part, "none is there; `duplex talk --file` needs none")


CHECKS: tuple[Check, ...] = (
    _packages,
    _models,
    _address,
    _endpoints,
    _engine,
    _vllm,
    _gpu,
    _microphone,
)
