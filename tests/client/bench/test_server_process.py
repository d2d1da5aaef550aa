"""A server as a child process."""

import os
import sys

import pytest

from client.bench.machine import this_machine
from client.bench.server_process import resident_mib, serving
from client.realtime import ClientError

pytestmark = pytest.mark.realtime

READY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print("see https://docs.vllm.ai/en/latest/", flush=True)
print("loading" * 20000 + "\\n\\nlistening on ws://127.0.0.1:4321/v1/realtime.", flush=True)
child.wait()
"""


async def test_the_address_memory_and_end_of_a_server():
    async with serving([sys.executable, "-c", READY]) as server:
        assert server.url == "ws://127.0.0.1:4321/v1/realtime"
        assert server.ready_s > 0
        whole = resident_mib(server.pid)
        assert whole > 10, "the server and its child"
    with pytest.raises(ProcessLookupError):
        resident_mib(server.pid)


async def test_children_are_counted():
    own = resident_mib(os.getpid())
    async with serving([sys.executable, "-c", READY]) as server:
        assert resident_mib(os.getpid()) > own + 0.9 * resident_mib(server.pid) - 5


async def test_a_server_that_ends_tells_why():
    program = "print('the model is missing'); raise SystemExit(1)"
    with pytest.raises(ClientError, match=r"ended before it was ready[\s\S]*the model is missing"):
        async with serving([sys.executable, "-c", program]):
            pass


async def test_a_server_that_never_gets_ready_is_stopped():
    with pytest.raises(ClientError, match=r"was not ready within 0\.3 s"):
        async with serving([sys.executable, "-c", "import time; time.sleep(60)"], 0.3):
            pass


def test_the_machine_is_described():
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.python.startswith("CPython 3.")
