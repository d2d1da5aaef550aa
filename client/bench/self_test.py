"""The bench measured by itself: clicks at known delays through the client it measures with."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import numpy as np

from client.bench.click_server import ANSWER_DELAYS_MS, CLICK, STOP_DELAY_MS
from client.bench.result import MeasuringError
from client.bench.server_process import RunningServer, serving
from client.bench.stats import Summary, summarise
from client.caller.caller import CallOptions, CallResult, Utterance, hold_call
from client.realtime import (
    CHUNK_SAMPLES,
    SAMPLE_RATE_HZ,
    ClientError,
    SessionOptions,
    connect,
)
from client.sound.speech import Recording

QUICK = 4
SHORT = 10  # clicks that every run of the bench begins with
LONG = 60
Serve = Callable[[], AbstractAsyncContextManager[RunningServer]]


def echo_server() -> AbstractAsyncContextManager[RunningServer]:
    """The echo server in a process of its own."""
    return serving([sys.executable, "-m", "client.bench.click_server"], timeout_s=30.0)


async def measure_error(clicks: int = SHORT, serve: Serve = echo_server) -> MeasuringError:
    """Measure delays and stops that are known, ``clicks`` of the one and a third of the other.

    Raises:
        ClientError: the echo server did not come up, or a click was lost on the way.
    """
    async with serve() as server:
        answers = await _hold(server.url, _clicks(clicks), "short")
        stops = await _hold(server.url, _interruptions(max(3, clicks // 3)), "long")
    v2v = [
        turn.v2v_ms - ANSWER_DELAYS_MS[index % len(ANSWER_DELAYS_MS)]
        for index, turn in enumerate(answers.turns)
        if turn.v2v_ms is not None
    ]
    stop = [
        turn.barge_in_ms - STOP_DELAY_MS
        for turn in stops.turns
        if turn.interrupted and turn.barge_in_ms is not None
    ]
    if len(v2v) < clicks:
        raise ClientError(f"the bench lost {clicks - len(v2v)} of {clicks} clicks of its own")
    if not stop:
        raise ClientError("none of the bench's own interruptions stopped an answer")
    found = summarise(v2v)
    assert found is not None  # there are clicks
    return MeasuringError(found, summarise(stop), tuple(v2v), tuple(stop))


def describe(error: MeasuringError) -> list[str]:
    """The lines that a person reads."""
    lines = [f"delays: {_line(error.v2v)}"]
    if error.stop is not None:
        lines.append(f"stops: {_line(error.stop)}")
    return lines


def _line(summary: Summary) -> str:
    return (
        f"measured {summary.p50:+.2f} ms too long at the median, sd {summary.sd:.2f} ms, "
        f"from {summary.low:+.2f} to {summary.high:+.2f} ms in {summary.n}"
    )


async def _hold(url: str, utterances: list[Utterance], instructions: str) -> CallResult:
    session = SessionOptions(instructions=instructions, transcription_model=None)
    options = CallOptions(session=session, gap_ms=120.0, answer_timeout_s=5.0)
    result = await hold_call(await connect(url), utterances, options)
    if result.lost is not None:
        raise ClientError(f"the bench's own echo server failed: {result.lost}")
    return result


def _clicks(count: int) -> list[Utterance]:
    """Each at another place within the microphone's packets."""
    return [Utterance(click(index, index * 7 * 13 % CHUNK_SAMPLES)) for index in range(count)]


def _interruptions(count: int) -> list[Utterance]:
    """A click that is answered with a long sound, and then one into each sound."""
    first = _clicks(1)
    return first + [
        Utterance(
            click(index, index * 7 * 13 % CHUNK_SAMPLES), interrupt_after_ms=150.0 + 7 * index
        )
        for index in range(1, count + 1)
    ]


def click(index: int, offset: int) -> Recording:
    """A recording of one loud sample."""
    samples = np.zeros(SAMPLE_RATE_HZ // 25, dtype=np.float32)
    samples[offset] = CLICK
    return Recording(f"click-{index}", "", samples)
