"""A trace of a call with the default models, as a picture: the call, and one turn enlarged.

    python -m benchmarks.server.trace

Writes `docs/trace.svg` and `benchmarks/results/trace.json`. The spans are those that
OpenTelemetry's exporter sends to a collector, which here is this program.
"""

import argparse
import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from client.bench.machine import source_commit, this_machine
from client.bench.server_process import serving
from client.caller.caller import CallOptions, Utterance, hold_call
from client.drawing import svg
from client.realtime import connect
from client.sound.speech import Recording
from duplex.cli.recordings import server_command, speaker
from duplex.config import Config

SAYS = ("What is the capital of France?", "How many days are in a week?")
WIDTH, LEFT, RIGHT, ROW = 1000.0, 150.0, 880.0, 20.0
BEFORE_MS, AFTER_MS = 700.0, 700.0  # of a turn's end and of its first sound, that are shown
COLOURS = {  # of spans that are no stage of `client.drawing.svg`
    "call": "soft", "turn": "line", "reply": "line", "speech": "caller", "playback": "assistant",
}  # fmt: skip


class Span(msgspec.Struct):
    """One, in ms of the call."""

    name: str
    depth: int
    start_ms: float
    end_ms: float
    inside: list["Span"]


@contextlib.contextmanager
def collecting() -> Iterator[list[bytes]]:
    """Be a collector while the block runs; gives what it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bodies
    finally:
        server.shutdown()


async def hold(says: Sequence[str]) -> None:
    """A call of a server process that is traced."""
    speak = speaker(Config())
    spoken = [Utterance(Recording(id=text, text=text, samples=speak(text))) for text in says]
    async with serving(server_command(["--set", "telemetry.traces=true"])) as server:
        await hold_call(await connect(server.url), spoken, CallOptions())


def tree(bodies: Sequence[bytes]) -> Span:
    """The call's span, with all others inside."""
    found = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    (call,) = [span for span in found if span.name == "call"]
    zero_ns = call.start_time_unix_nano

    def grow(span_id: bytes, depth: int) -> list[Span]:
        children = [span for span in found if span.parent_span_id == span_id]
        return [
            Span(
                span.name,
                depth,
                round((span.start_time_unix_nano - zero_ns) / 1e6, 1),
                round((span.end_time_unix_nano - zero_ns) / 1e6, 1),
                grow(span.span_id, depth + 1),
            )
            for span in sorted(children, key=lambda each: each.start_time_unix_nano)
        ]

    (root,) = grow(call.parent_span_id, 0)
    return root


def flat(span: Span) -> list[Span]:
    """It, and all that is inside."""
    return [span, *(found for each in span.inside for found in flat(each))]


def waterfall(
    spans: Sequence[Span], title: str, zero_ms: float, shown_ms: tuple[float, float], y: float
) -> tuple[str, float]:
    """Draw ``spans``, a row each, inside ``shown_ms``; the axis counts from ``zero_ms``.
    Returns the height too."""
    low, high = shown_ms

    def x(at_ms: float) -> float:
        return LEFT + (RIGHT - LEFT) * (min(max(at_ms, low), high) - low) / (high - low)

    drawn = [svg.text(24, y + 18, title, "head")]
    top = y + 30
    bottom = top + ROW * len(spans)
    unit, per = ("s", 1000) if high - low > 4000 else ("ms", 1)
    for tick in svg.nice_ticks((low - zero_ms) / per, (high - zero_ms) / per, 8):
        at = x(zero_ms + tick * per)
        drawn.append(svg.line(at, top, at, bottom, "grid"))
        drawn.append(svg.text(at, bottom + 15, f"{tick:g} {unit}", "small", "middle"))
    for row, span in enumerate(spans):
        drawn += _bar(span, x(span.start_ms), x(span.end_ms), top + ROW * row)
    return "\n".join(drawn), bottom + 44 - y


def _bar(span: Span, x1: float, x2: float, y: float) -> list[str]:
    lasts = span.end_ms - span.start_ms
    css = f"f-{COLOURS[span.name]}" if span.name in COLOURS else f"f-stage-{span.name}"
    shown = f"{lasts / 1000:.2f} s" if lasts >= 1000 else f"{lasts:.0f} ms"
    return [
        svg.text(24 + 14 * span.depth, y + 14, span.name, "name"),
        svg.rect(x1, y + 4, max(x2 - x1, 2), ROW - 8, css, f"{span.name}: {shown}"),
        svg.text(x2 + 6, y + 14, shown, "small"),
    ]


def picture(call: Span) -> str:
    """The whole call, and its last turn enlarged."""
    overview = [span for span in flat(call) if span.name in COLOURS]
    whole = (call.start_ms, call.end_ms)
    first, y = waterfall(overview, "The call", call.start_ms, whole, 0)
    turn = [flat(span) for span in call.inside if span.name == "turn"][-1]
    named = {span.name: span for span in turn}
    end_ms = named["speech"].end_ms
    shown = (end_ms - BEFORE_MS, named["playback"].start_ms + AFTER_MS)
    title = "Its last turn, from the end of the caller's speech"
    second, height = waterfall(turn, title, end_ms, shown, y)
    y += height
    css = svg.colour_css() + (
        "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink)}"
        ".head{font-size:14px;font-weight:600}.small{font-size:11px;fill:var(--soft)}"
        ".name{font-size:12px}.grid{stroke:var(--line)}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {y:.0f}" '
        f'width="{WIDTH:.0f}" height="{y:.0f}" role="img">\n<style>{css}</style>\n'
        f'<rect width="100%" height="100%" class="f-page"/>\n' + f"{first}\n{second}\n</svg>\n"
    )


def main() -> None:
    """Hold the call and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/trace.json"))
    parser.add_argument("--svg", type=Path, default=Path("docs/trace.svg"))
    options = parser.parse_args()
    with collecting() as bodies:
        asyncio.run(hold(SAYS))
        call = tree(bodies)
    result = {
        "machine": asdict(this_machine()),
        "commit": source_commit(),
        "says": SAYS,
        "call": msgspec.to_builtins(call),
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    options.svg.write_text(picture(call))
    print(f"{len(flat(call))} spans")


if __name__ == "__main__":
    main()
