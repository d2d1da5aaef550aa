"""Delivery to a real HTTP server: order, tries, bounds, and what happens at the end."""

import asyncio
import base64
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from standardwebhooks import Webhook

from duplex.config import WebhookConfig
from duplex.metrics import Metrics
from duplex.webhooks.endpoint import Endpoint, Event
from duplex.webhooks.retrying import Backoff
from duplex.webhooks.signing import key_of
from tests._support.receiver import SECRET, Receiver, Request, receiving

QUICK = Backoff(first_s=0.01, most_s=0.02)


def counts(metrics: Metrics) -> dict[str, float]:
    """Events by their result."""
    families = text_string_to_metric_families(metrics.render({}))
    return {
        sample.labels["result"]: sample.value
        for family in families
        if family.name == "duplex_webhooks"
        for sample in family.samples
    }


def event(number: int, call: str = "a") -> Event:
    return Event(f"evt_{call}{number}", call, b'{"n":%d}' % number)


@contextlib.asynccontextmanager
async def endpoint(
    url: str, metrics: Metrics, backoff: Backoff = QUICK, patience_s: float = 10, **options: float
) -> AsyncIterator[Endpoint]:
    config = WebhookConfig(url=url, **options)  # type: ignore[arg-type]
    made = Endpoint(config, key_of(SECRET), metrics, backoff)
    try:
        yield made
    finally:
        await made.finish(patience_s)


def ids(receiver: Receiver) -> list[str]:
    return [request.headers["webhook-id"] for request in receiver.requests]


@pytest.mark.realtime
async def test_what_fails_first_is_delivered_later_signed_and_in_order() -> None:
    def answer(request: Request, number: int) -> web.Response:
        statuses = {1: 500, 2: 429, 3: 503}
        return web.Response(status=statuses.get(number, 204))

    metrics = Metrics()
    async with (
        receiving(answer) as receiver,
        endpoint(f"{receiver.url}/hook?token=x", metrics) as hook,
    ):
        for number in range(3):
            hook.enqueue(event(number))
    assert ids(receiver) == ["evt_a0"] * 4 + ["evt_a1", "evt_a2"]
    for request in receiver.requests:
        Webhook(SECRET).verify(request.body, dict(request.headers))
        assert request.headers["content-type"] == "application/json"
    assert counts(metrics) == {"delivered": 3}


@pytest.mark.realtime
async def test_an_event_that_is_tried_again_holds_up_no_other_call() -> None:
    def answer(request: Request, number: int) -> web.Response:
        is_a = request.headers["webhook-id"].startswith("evt_a")
        return web.Response(status=500 if is_a else 200)

    metrics = Metrics()
    slow = Backoff(first_s=60)
    async with (
        receiving(answer) as receiver,
        endpoint(receiver.url, metrics, slow, patience_s=0) as hook,
    ):
        hook.enqueue(event(1, "a"))
        await receiver.wait_for(1)
        hook.enqueue(event(2, "a"))
        hook.enqueue(event(1, "b"))
        hook.enqueue(event(2, "b"))
        await receiver.wait_for(3)
        while counts(metrics).get("delivered") != 2:
            await asyncio.sleep(0.01)
    assert ids(receiver) == ["evt_a1", "evt_b1", "evt_b2"]
    assert counts(metrics) == {"delivered": 2, "dropped": 2}


@pytest.mark.realtime
async def test_a_refusal_is_not_tried_again_and_redirects_are_not_followed() -> None:
    def answer(request: Request, number: int) -> web.Response:
        headers = {"Location": "/elsewhere"}
        return web.Response(status={1: 400, 2: 307}.get(number, 200), headers=headers)

    metrics = Metrics()
    async with receiving(answer) as receiver, endpoint(f"{receiver.url}/here", metrics) as hook:
        for number in range(3):
            hook.enqueue(event(number))
    assert ids(receiver) == ["evt_a0", "evt_a1", "evt_a2"]
    assert {request.path for request in receiver.requests} == {"/here"}
    assert counts(metrics) == {"failed": 2, "delivered": 1}


@pytest.mark.realtime
async def test_410_ends_it_for_all_calls() -> None:
    metrics = Metrics()
    async with (
        receiving(lambda request, number: web.Response(status=410)) as receiver,
        endpoint(receiver.url, metrics, patience_s=5) as hook,
    ):
        hook.enqueue(event(1))
        hook.enqueue(event(2))
        while "dropped" not in counts(metrics):
            await asyncio.sleep(0.01)
        hook.enqueue(event(1, "b"))
    assert ids(receiver) == ["evt_a1"]
    assert counts(metrics) == {"failed": 1, "dropped": 2}


@pytest.mark.realtime
async def test_a_dead_address_fills_a_bounded_queue_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/very-secret-path"
        metrics = Metrics()
        with caplog.at_level(logging.DEBUG):
            async with endpoint(url, metrics, patience_s=0.05, queue=10) as hook:
                for number in range(1000):
                    hook.enqueue(event(number, f"call{number}"))
                await asyncio.sleep(0.1)
                assert counts(metrics) == {"dropped": 990}
    assert counts(metrics) == {"dropped": 1000}
    assert sum("new ones are dropped" in record.message for record in caplog.records) == 1
    assert "very-secret" not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.realtime
async def test_an_address_may_hold_a_secret_which_no_log_shows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    statuses = {1: 500, 2: 204, 3: 404}
    metrics = Metrics()
    with caplog.at_level(logging.DEBUG):
        async with receiving(lambda _, number: web.Response(status=statuses[number])) as receiver:
            url = receiver.url.replace("//", "//bob:s3cret@") + "/very-secret?token=hush"
            async with endpoint(url, metrics) as hook:
                hook.enqueue(event(1))
                hook.enqueue(event(2))
    assert {request.path for request in receiver.requests} == {"/very-secret"}
    authorization = receiver.requests[0].headers["authorization"]
    assert authorization == "Basic " + base64.b64encode(b"bob:s3cret").decode()
    assert counts(metrics) == {"delivered": 1, "failed": 1}
    assert "status 404" in caplog.text
    for secret in ("very-secret", "hush", "s3cret", SECRET, authorization):
        assert secret not in caplog.text


@pytest.mark.realtime
async def test_a_receiver_that_is_silent_is_given_up_in_time() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    metrics = Metrics()
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with endpoint(url, metrics, timeout_s=0.05, retry_s=0.2) as hook:
            hook.enqueue(event(1))
    assert counts(metrics) == {"failed": 1}


@pytest.mark.realtime
async def test_an_answer_without_an_end_has_delivered_it_all_the_same() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        await reader.read(-1)
        writer.close()

    metrics = Metrics()
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with endpoint(url, metrics, timeout_s=0.2) as hook:
            hook.enqueue(event(1))
    assert counts(metrics) == {"delivered": 1}
