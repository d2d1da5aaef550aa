"""A server under test as a child process: its time to ready and its resident memory."""

import asyncio
import contextlib
import os
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.realtime import ClientError

# With a port: what a server logs before may hold links to its documentation.
ADDRESS = re.compile(r"\b(?:ws|wss|http|https)://[^\s\"'<>/]+:\d+[^\s\"'<>]*")
STOP_TIMEOUT_S = 10.0
MAX_LINE_BYTES = 2**20  # progress that is redrawn with carriage returns is all one line
LAST_LINES = 30  # of output, for the message when the server does not come up


@dataclass(frozen=True, slots=True)
class RunningServer:
    """``ready_s``: from starting the process to the line with its address."""

    pid: int
    url: str
    ready_s: float


@contextlib.asynccontextmanager
async def serving(command: Sequence[str], timeout_s: float = 300.0) -> AsyncIterator[RunningServer]:
    """Start a server, wait for the line that tells its address, and stop it afterwards.

    Raises:
        ClientError: it ended or told no address in time; the message has its last lines.
    """
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=MAX_LINE_BYTES,
        start_new_session=True,  # so that its children are stopped with it
    )
    assert process.stdout is not None  # asked for above
    draining = None
    try:
        url = await _address(process.stdout, command, timeout_s)
        ready_s = loop.time() - began_s
        draining = asyncio.create_task(_drain(process.stdout))
        yield RunningServer(process.pid, url, ready_s)
    finally:
        await _stop(process)
        if draining is not None:
            await draining


def resident_mib(pid: int) -> float:
    """Resident memory of a process and its descendants in MiB; pages they share count for each.

    Raises:
        ProcessLookupError: there is no such process.
    """
    pages = 0
    pending, root = [pid], True
    while pending:
        current = pending.pop()
        folder = Path("/proc") / str(current)
        try:
            pages += int((folder / "statm").read_text().split()[1])
            for children in folder.glob("task/*/children"):
                pending += [int(child) for child in children.read_text().split()]
        except (FileNotFoundError, ProcessLookupError) as error:
            if root:
                raise ProcessLookupError(f"no process {pid}") from error
            # a child may end between being listed and being read
        root = False
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _address(output: asyncio.StreamReader, command: Sequence[str], timeout_s: float) -> str:
    lines: deque[str] = deque(maxlen=LAST_LINES)
    try:
        async with asyncio.timeout(timeout_s):
            while raw := await output.readline():
                line = raw.decode("utf-8", "replace").rstrip()
                lines.append(line)
                if found := ADDRESS.search(line):
                    return found.group(0).rstrip(".,;)")
        problem = "ended before it was ready"
    except TimeoutError:
        problem = f"was not ready within {timeout_s:g} s"
    raise ClientError("\n".join([f"{command[0]} {problem}; it said:", *lines]))


async def _drain(output: asyncio.StreamReader) -> None:
    while await output.read(65536):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
