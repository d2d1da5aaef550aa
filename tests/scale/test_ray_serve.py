"""Two replicas on a real Ray Serve: full, drained, killed. `make test-scale` installs ray."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests._support.wire import say_something, until

ray = pytest.importorskip("ray", reason="`make test-scale` installs ray")
serve = pytest.importorskip("ray.serve")

pytestmark = pytest.mark.scale

ROOT = Path(__file__).parents[2]
URL = "ws://127.0.0.1:8000/v1/realtime"
KEY = "a-key-of-sixteen-letters-or-more"
AUTHORISED = {"Authorization": f"Bearer {KEY}"}
PLACES = 4  # two replicas with two calls each


@pytest.fixture(scope="module")
def replicas() -> Iterator[None]:
    from tests._support.ray_edge import scripted

    env = {"DUPLEX_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    ray.init(num_cpus=4, include_dashboard=False, runtime_env={"env_vars": env})
    edge = serve.deployment(
        serve.ingress(scripted)(),
        name="Edge",
        num_replicas=2,
        max_ongoing_requests=8,
        graceful_shutdown_timeout_s=12,
    )
    serve.run(edge.bind(), name="duplex")
    yield
    serve.shutdown()
    ray.shutdown()


async def opened() -> ClientConnection:
    """A call that was taken.

    Raises:
        OverflowError: the server is full.
    """
    caller = await connect(URL, additional_headers=AUTHORISED)
    first = json.loads(await asyncio.wait_for(caller.recv(), 10))
    if first["type"] == "error":
        assert first["error"]["code"] == "server_full"
        await caller.wait_closed()
        assert caller.close_code == 1013
        raise OverflowError
    assert first["type"] == "session.created"
    return caller


async def filled() -> list[ClientConnection]:
    """All places taken. Serve may choose a full replica while the other has room."""
    calls: list[ClientConnection] = []
    for _ in range(40):
        try:
            calls.append(await opened())
        except OverflowError:
            await asyncio.sleep(0.1)
        if len(calls) == PLACES:
            return calls
    raise AssertionError(f"{len(calls)} calls were taken")


async def end_of(caller: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(until(caller, "nothing of that name"), 30)
    received = closed.value.rcvd
    return received.code if received is not None else 1006


async def test_both_replicas_fill_and_then_refuse(replicas: None) -> None:
    calls = await filled()
    with pytest.raises(OverflowError):
        await opened()
    response = await say_something(calls[0])
    assert response["output"][0]["content"][0]["transcript"] == "You said: Hello there."
    for call in calls:
        await call.close()


async def test_a_replica_on_the_board_drains_and_the_other_goes_on(replicas: None) -> None:
    from docker.serve_app import board

    calls = await filled()
    first = next(iter(await _replicas()))
    await board().put.remote(first)
    ends = [asyncio.create_task(end_of(call)) for call in calls]
    done, open_ = await asyncio.wait(ends, timeout=15)
    assert sorted(task.result() for task in done) == [1012, 1012]
    assert len(open_) == 2
    for task in open_:
        task.cancel()


async def test_a_replica_that_is_killed_costs_its_calls_and_is_replaced(replicas: None) -> None:
    calls = [await _until_taken(60) for _ in range(2)]
    for pid in (await _replicas()).values():
        os.kill(pid, signal.SIGKILL)
    assert [await end_of(call) for call in calls] == [1006, 1006]
    caller = await _until_taken(60)
    await caller.close()


async def _until_taken(limit_s: float) -> ClientConnection:
    async with asyncio.timeout(limit_s):
        while True:
            try:
                return await opened()
            except (OverflowError, InvalidStatus, OSError, ConnectionClosed):
                await asyncio.sleep(0.5)


async def _replicas() -> dict[str, int]:
    """The processes of the replicas by their names."""
    found: dict[str, int] = {}
    async with httpx2.AsyncClient() as client:
        for _ in range(100):
            name, pid = (await client.get("http://127.0.0.1:8000/who")).json()
            found[name] = pid
            if len(found) == 2:
                break
    return found
