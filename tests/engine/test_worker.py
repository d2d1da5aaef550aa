"""The worker thread: urgency, cancellation, and what it promises about letting go."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from engine.worker import Priority, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("test")
    yield worker
    worker.close()


async def test_runs_on_its_own_thread_and_returns_the_result(worker: Worker) -> None:
    name = await worker.run(lambda: threading.current_thread().name)
    assert name == "test"


async def test_an_error_reaches_the_caller_and_the_thread_lives_on(worker: Worker) -> None:
    def fail() -> None:
        raise ValueError("bad input")

    with pytest.raises(ValueError, match="bad input"):
        await worker.run(fail)
    assert await worker.run(lambda: 1) == 1


async def test_urgent_steps_overtake_queued_ones(worker: Worker) -> None:
    order: list[str] = []
    hold = threading.Event()
    blocker = asyncio.create_task(worker.run(lambda: hold.wait(90)))
    await asyncio.sleep(0)
    slow = asyncio.create_task(worker.run(lambda: order.append("b"), Priority.BACKGROUND))
    fast = asyncio.create_task(worker.run(lambda: order.append("a"), Priority.REPLY))
    await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(blocker, slow, fast)
    assert order == ["a", "b"]


async def test_streams_take_turns_step_by_step(worker: Worker) -> None:
    order: list[str] = []

    def job(name: str) -> Iterator[None]:
        for _ in range(3):
            order.append(name)
            yield

    async def drain(name: str) -> None:
        async for _ in worker.stream(job(name)):
            pass

    hold = threading.Event()
    blocker = asyncio.create_task(worker.run(lambda: hold.wait(90)))
    await asyncio.sleep(0)
    jobs = [asyncio.create_task(drain("a")), asyncio.create_task(drain("b"))]
    await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(blocker, *jobs)
    assert sorted(order[:2]) == ["a", "b"]
    assert sorted(order) == ["a", "a", "a", "b", "b", "b"]


async def test_cancelling_waits_until_the_running_step_has_let_go(worker: Worker) -> None:
    started, hold, ended = threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        started.set()
        hold.wait(90)
        ended.set()

    task = asyncio.create_task(worker.run(step))
    while not started.is_set():
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_cancelling_a_queued_step_means_it_never_runs(worker: Worker) -> None:
    ran: list[int] = []
    hold = threading.Event()
    blocker = asyncio.create_task(worker.run(lambda: hold.wait(90)))
    await asyncio.sleep(0)
    queued = asyncio.create_task(worker.run(lambda: ran.append(1)))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    hold.set()
    await blocker
    await worker.run(lambda: None)
    assert ran == []


async def test_closing_a_stream_closes_its_iterator_on_the_thread(worker: Worker) -> None:
    closed_on: list[str] = []

    def job() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed_on.append(threading.current_thread().name)

    stream = worker.stream(job())
    assert await anext(stream) == 1
    await stream.aclose()
    assert closed_on == ["test"]


async def test_a_closed_worker_takes_no_step() -> None:
    worker = Worker("test")
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(lambda: 1)
