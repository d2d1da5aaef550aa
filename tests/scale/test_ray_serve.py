"""Replicas on a real Ray Serve: full, drained, updated, killed, and as many as there are calls.
`make test-scale` installs ray."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
def cluster() -> Iterator[None]:
    env = {"DUPLEX_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    ray.init(num_cpus=6, include_dashboard=False, runtime_env={"env_vars": env})
    yield
    serve.shutdown()
    ray.shutdown()


def deployment(**options: Any) -> Any:
    """An edge that holds two calls a replica."""
    from tests._support.ray_edge import scripted

    return serve.deployment(
        serve.ingress(scripted)(),
        name="Edge",
        max_ongoing_requests=8,
        graceful_shutdown_timeout_s=12,
        **options,
    ).bind()


@pytest.fixture(scope="module")
def replicas(cluster: None) -> None:
    serve.run(deployment(num_replicas=2), name="duplex")


async def opened(url: str = URL) -> ClientConnection:
    """A call that was taken.

    Raises:
        OverflowError: the server is full.
    """
    caller = await connect(url, additional_headers=AUTHORISED)
    first = json.loads(await asyncio.wait_for(caller.recv(), 10))
    if first["type"] == "error":
        assert first["error"]["code"] == "server_full"
        await caller.wait_closed()
        assert caller.close_code == 1013
        raise OverflowError
    assert first["type"] == "session.created"
    return caller


async def filled() -> list[ClientConnection]:
    """All places taken. Serve may choose a full replica while the other has room, or is not up
    again yet."""
    return [await _until_taken(URL, 60) for _ in range(PLACES)]


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
    for call in calls:
        await call.close()


async def test_a_rolling_update_cuts_no_answer_and_tells_each_caller(replicas: None) -> None:
    calls = await filled()
    before = await _replicas()
    answering = [asyncio.create_task(say_something(call)) for call in calls]
    await asyncio.sleep(0.5)
    second = {"env_vars": {"DUPLEX_API_KEY": KEY, "PYTHONPATH": str(ROOT), "GENERATION": "2"}}
    updated = deployment(num_replicas=2, ray_actor_options={"runtime_env": second})
    updating = asyncio.create_task(asyncio.to_thread(serve.run, updated, name="duplex"))
    ends = [
        asyncio.create_task(_said_then_end(answer, c))
        for answer, c in zip(answering, calls, strict=True)
    ]
    taken = 0
    while not updating.done():
        caller = await _until_taken(URL, 30)  # somebody answers new callers all the time
        taken += 1
        await caller.close()
        await asyncio.sleep(1)
    await updating
    assert [await end for end in ends] == [("completed", 1012)] * PLACES
    assert taken > 1
    assert not set(before) & set(await _replicas())


async def test_as_many_replicas_as_calls_need_and_none_is_cut(cluster: None) -> None:
    scaling = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": 1,
        "upscale_delay_s": 1.0,
        "downscale_delay_s": 5.0,
        "metrics_interval_s": 0.5,
        "look_back_period_s": 1.0,
    }
    app = deployment(autoscaling_config=scaling)
    await asyncio.to_thread(serve.run, app, name="scaled", route_prefix="/scaled")
    url = URL.replace("/v1", "/scaled/v1")
    assert _running("scaled") == 1
    calls = [await opened(url) for _ in range(2)]
    with pytest.raises(OverflowError):
        await opened(url)
    calls.append(await _until_taken(url, 60))  # by a second replica
    assert _running("scaled") == 2
    talking = [asyncio.create_task(_talk_until_end(call)) for call in calls]
    for number in (0, 2):
        talking[number].cancel()
        await calls[number].close()
    async with asyncio.timeout(60):
        while _running("scaled") != 1:
            await asyncio.sleep(0.2)
    # Whichever replica was stopped: the last call goes on, or was ended between two answers.
    done, _ = await asyncio.wait([talking[1]], timeout=14)
    assert [task.result() for task in done] in ([], [("completed", 1012)])
    talking[1].cancel()
    await calls[1].close()
    serve.delete("scaled")


async def test_a_replica_that_is_killed_costs_its_calls_and_is_replaced(replicas: None) -> None:
    calls = [await _until_taken(URL, 60) for _ in range(2)]
    for pid in (await _replicas()).values():
        os.kill(pid, signal.SIGKILL)
    assert [await end_of(call) for call in calls] == [1006, 1006]
    caller = await _until_taken(URL, 60)
    await caller.close()


async def _said_then_end(answer: "asyncio.Task[dict[str, Any]]", call: ClientConnection) -> Any:
    """How the answer and the call ended."""
    return (await answer)["status"], await end_of(call)


async def _talk_until_end(call: ClientConnection) -> Any:
    """Talk without a pause; returns how the last answer and the call ended."""
    status = None
    while True:
        try:
            status = (await say_something(call))["status"]
        except ConnectionClosed as closed:
            return status, closed.rcvd.code if closed.rcvd is not None else 1006


def _running(app: str) -> int:
    """How many replicas take calls."""
    states = serve.status().applications[app].deployments["Edge"].replica_states
    return int(states.get("RUNNING", 0))


async def _until_taken(url: str, limit_s: float) -> ClientConnection:
    async with asyncio.timeout(limit_s):
        while True:
            try:
                return await opened(url)
            except (OverflowError, InvalidStatus, OSError, ConnectionClosed):
                await asyncio.sleep(0.2)


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
